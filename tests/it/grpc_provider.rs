//! `type: grpc`: a provider in another process, called over real gRPC.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use claimgate::{
    Answer, Answering, Credential, Engine, Provider, Reason, Request,
    provider::grpc::{
        GrpcProvider,
        proto::{
            AuthenticateRequest, AuthenticateResponse, Authenticated, NotMine, Refused,
            authenticate_response::Result as Outcome,
            provider_server::{self, ProviderServer},
        },
    },
    settings::{AuthSettings, GrpcProviderSettings, ProviderKind, ProviderSettings},
    time::UnixTime,
    token_cache::TokenCache,
};
use tokio::{net::TcpListener, runtime::Handle};
use tokio_stream::wrappers::TcpListenerStream;

/// Answers by the token's text and counts.
#[derive(Clone, Default)]
struct Turnstile(Arc<AtomicUsize>);

#[tonic::async_trait]
impl provider_server::Provider for Turnstile {
    async fn authenticate(
        &self,
        request: tonic::Request<AuthenticateRequest>,
    ) -> Result<tonic::Response<AuthenticateResponse>, tonic::Status> {
        self.0.fetch_add(1, Ordering::SeqCst);
        let request = request.into_inner();
        let facts = request.request.expect("facts");
        assert_eq!((facts.method.as_str(), facts.path.as_str()), ("GET", "/x"));
        let refused = |reason: &str| Outcome::Refused(Refused { reason: reason.into() });
        let until = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let caller = Authenticated {
            subject: "rider".into(),
            scopes: vec!["ride".into()],
            ..Authenticated::default()
        };
        let outcome = match request.token.as_str() {
            "good" => Outcome::Authenticated(caller),
            "lasting" => {
                Outcome::Authenticated(Authenticated { expires_at: until(4_000_000_000), ..caller })
            }
            "once" => Outcome::Authenticated(Authenticated {
                expires_at: until(4_000_000_000),
                this_request_only: true,
                ..caller
            }),
            "ended" => Outcome::Authenticated(Authenticated { expires_at: until(1), ..caller }),
            "revoked" => refused("key_revoked"),
            "odd" => refused("ok"),
            "other" => Outcome::NotMine(NotMine {}),
            "empty" => return Ok(tonic::Response::new(AuthenticateResponse { result: None })),
            "slow" => std::future::pending().await,
            _ => return Err(tonic::Status::internal("broken")),
        };
        Ok(tonic::Response::new(AuthenticateResponse { result: Some(outcome) }))
    }
}

async fn start(turnstile: Turnstile) -> GrpcProvider {
    start_with_cache(turnstile, 100).await
}

async fn start_with_cache(turnstile: Turnstile, cache_entries: usize) -> GrpcProvider {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let server = tonic::transport::Server::builder().add_service(ProviderServer::new(turnstile));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    provider(&address, cache_entries)
}

fn provider(address: &str, cache_entries: usize) -> GrpcProvider {
    let settings = GrpcProviderSettings {
        address: address.into(),
        timeout: Duration::from_millis(500),
        cache_entries,
        ..GrpcProviderSettings::default()
    };
    GrpcProvider::new("turnstile", None, &settings, Handle::current()).unwrap()
}

async fn ask(provider: &GrpcProvider, token: &str) -> Answer {
    let request = Request { method: "GET", path: "/x?secret=1", ..Request::default() };
    let credential = Credential::new(token, &request, UnixTime::now());
    match provider.authenticate(&credential) {
        Answering::Now(answer) => answer,
        Answering::Later(answer) => answer.await,
    }
}

#[tokio::test]
async fn answers_are_read_and_cached_only_as_long_as_they_hold() {
    let turnstile = Turnstile::default();
    let provider = start(turnstile.clone()).await;
    let cases = [
        ("good", Ok("rider"), 2),
        ("lasting", Ok("rider"), 1),
        ("once", Ok("rider"), 2),
        ("ended", Err(Some(Reason::Expired)), 2),
        ("revoked", Err(Some(Reason::KeyRevoked)), 2),
        ("odd", Err(Some(Reason::UnknownKey)), 2),
    ];
    for (token, expected, calls) in cases {
        turnstile.0.store(0, Ordering::SeqCst);
        for _ in 0..2 {
            let answer = ask(&provider, token).await;
            let got = match &answer {
                Answer::Authenticated(principal) => {
                    assert!(principal.scopes.grant("ride"));
                    Ok(principal.subject.as_deref().unwrap())
                }
                Answer::Refused(reason) => Err(Some(*reason)),
                _ => Err(None),
            };
            assert_eq!(got, expected, "{token}");
        }
        assert_eq!(turnstile.0.load(Ordering::SeqCst), calls, "{token}");
    }
    assert!(matches!(ask(&provider, "other").await, Answer::NotMine));
}

/// `check_now` must not cost a call: a token may be valid for one alone.
#[tokio::test]
async fn a_request_is_one_call() {
    let turnstile = Turnstile::default();
    let provider = start(turnstile.clone()).await;
    let settings = AuthSettings {
        providers: vec![ProviderSettings {
            name: "turnstile".into(),
            forward_token: None,
            kind: ProviderKind::Grpc(GrpcProviderSettings::default()),
        }],
        ..AuthSettings::default()
    };
    let cache = Arc::new(TokenCache::new(1));
    let engine = Engine::new(&settings, vec![Arc::new(provider)], cache);
    let headers = [("authorization", b"Bearer good".as_slice())].into_iter().collect();
    let request = Request { method: "GET", path: "/x", headers, ..Request::default() };
    assert!(engine.check_now(&request, UnixTime::now()).is_none());
    let decision = engine.check(&request, UnixTime::now()).await;
    assert_eq!(decision.reason, Reason::Ok);
    assert_eq!(turnstile.0.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn every_failure_is_unavailable() {
    let here = start(Turnstile::default()).await;
    for token in ["empty", "slow", "broken"] {
        assert!(matches!(ask(&here, token).await, Answer::Unavailable), "{token}");
    }
    let unreachable = provider("http://127.0.0.1:9", 100);
    assert!(matches!(ask(&unreachable, "good").await, Answer::Unavailable));
    let settings = GrpcProviderSettings {
        address: "not an address".into(),
        ..GrpcProviderSettings::default()
    };
    let error = GrpcProvider::new("x", None, &settings, Handle::current()).unwrap_err();
    assert!(error.to_string().contains("write http://host:port"), "{error}");
}

#[tokio::test]
async fn a_cache_without_entries_caches_nothing() {
    let turnstile = Turnstile::default();
    let provider = start_with_cache(turnstile.clone(), 0).await;
    for calls in 1..4 {
        assert!(matches!(ask(&provider, "lasting").await, Answer::Authenticated(_)));
        assert_eq!(turnstile.0.load(Ordering::SeqCst), calls);
    }
}

#[tokio::test]
async fn requests_at_the_same_time_share_one_call_where_its_answer_holds() {
    let cases = [
        // Token, cache entries, calls, requests let through.
        ("lasting", 100, 1, 3),
        ("lasting", 0, 3, 3),
        ("good", 100, 3, 3),
        ("once", 100, 3, 3),
        ("revoked", 100, 3, 0),
        ("other", 100, 3, 0),
        ("broken", 100, 3, 0),
    ];
    for (token, cache_entries, calls, let_through) in cases {
        let turnstile = Turnstile::default();
        let provider = start_with_cache(turnstile.clone(), cache_entries).await;
        let answers =
            tokio::join!(ask(&provider, token), ask(&provider, token), ask(&provider, token));
        let authenticated = [answers.0, answers.1, answers.2]
            .iter()
            .filter(|answer| matches!(answer, Answer::Authenticated(_)))
            .count();
        let counted = (turnstile.0.load(Ordering::SeqCst), authenticated);
        assert_eq!(counted, (calls, let_through), "{token}, {cache_entries} entries");
    }
}

#[tokio::test]
async fn a_call_goes_on_without_the_request_that_made_it() {
    let turnstile = Turnstile::default();
    let provider = start(turnstile.clone()).await;
    tokio::select! {
        biased;
        _ = ask(&provider, "lasting") => panic!("a call takes I/O"),
        () = std::future::ready(()) => {}
    }
    assert!(matches!(ask(&provider, "lasting").await, Answer::Authenticated(_)));
    assert_eq!(turnstile.0.load(Ordering::SeqCst), 1);
}
