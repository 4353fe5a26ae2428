//! The gRPC services over a real connection, and what no client may bring
//! about over a direct one.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use claimgate::{
    Answer, Answering, Credential, Engine, Principal, Provider, Reason,
    check::{ConfigHandle, Snapshot},
    envoy::{
        MAX_MESSAGE_BYTES, SERVICE_NAME, framing::CheckBody, health::health, reflection,
        service::AuthorizationServer,
    },
    metrics::{CheckMeters, Metrics},
    settings::{AuthSettings, GrpcProviderSettings, ProviderKind, ProviderSettings},
    status::denials::DenialLog,
    token_cache::TokenCache,
};
use envoy_types::pb::envoy::service::auth::v3::{CheckResponse, check_response::HttpResponse};
use prost::Message;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    codegen::{Service, http},
    transport::Server,
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::{
    v1::{
        self, ServerReflectionRequest, server_reflection_request::MessageRequest,
        server_reflection_response::MessageResponse,
    },
    v1alpha,
};

use crate::support::envoy::{channel, check_token as request, connect, http_of, reason, status};

/// Does what the token says.
struct Obedient;

impl Provider for Obedient {
    fn name(&self) -> &str {
        "obedient"
    }

    fn method(&self) -> &str {
        "scripted"
    }

    fn authenticate<'a>(&'a self, credential: &'a Credential<'a>) -> Answering<'a> {
        let allow = || {
            let principal = Principal::new(Some("me".into()));
            Answer::Authenticated(Arc::new(principal.with_scopes(vec!["read".to_owned()])))
        };
        match credential.token() {
            "allow" => Answering::Now(allow()),
            "allow-later" => Answering::later(async move {
                tokio::task::yield_now().await;
                allow()
            }),
            "never" => Answering::later(std::future::pending()),
            "panic" => panic!("a provider's defect"),
            "panic-later" => Answering::later(async {
                tokio::task::yield_now().await;
                panic!("a provider's defect")
            }),
            _ => Answering::Now(Answer::Refused(Reason::KeyRevoked)),
        }
    }
}

fn live(metrics: &Metrics, settings: AuthSettings) -> Snapshot {
    let provider = ProviderSettings {
        name: "obedient".into(),
        forward_token: None,
        kind: ProviderKind::Grpc(GrpcProviderSettings::default()),
    };
    let settings = AuthSettings { providers: vec![provider], ..settings };
    let cache = Arc::new(TokenCache::new(10));
    let engine = Engine::new(&settings, vec![Arc::new(Obedient)], cache);
    let meters = CheckMeters::new(metrics, &engine);
    Snapshot {
        engine,
        meters,
        check_timeout: Duration::from_millis(20),
        denials: None,
        tracer: None,
    }
}

fn metrics() -> Metrics {
    Metrics::new("0", "0").expect("metrics")
}

fn server(metrics: &Metrics, settings: AuthSettings) -> AuthorizationServer {
    AuthorizationServer::new(ConfigHandle::new(live(metrics, settings)))
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("a message that fits a frame");
    [&[0], &length.to_be_bytes()[..], message].concat()
}

async fn send(
    server: &mut AuthorizationServer,
    path: &str,
    body: Vec<u8>,
) -> http::Response<CheckBody> {
    let mut request = http::Request::new(axum::body::Body::from(body));
    *request.uri_mut() = path.parse().expect("a path");
    server.call(request).await.expect("never an error")
}

/// Sends these very bytes and reads the answer.
async fn check_raw(server: &mut AuthorizationServer, body: Vec<u8>) -> CheckResponse {
    let response = send(server, &format!("/{SERVICE_NAME}/Check"), body).await;
    let status = response.headers().get("grpc-status");
    assert_eq!(status, None, "the call itself succeeds");
    let body = axum::body::to_bytes(axum::body::Body::new(response.into_body()), 1 << 20).await;
    CheckResponse::decode(&body.expect("a body")[5..]).expect("a readable answer")
}

/// The HTTP status and the reason; an allowed request has status 200.
fn outcome(response: &CheckResponse) -> (i32, String) {
    (status(response), reason(response).to_owned())
}

#[tokio::test]
async fn a_call_never_fails_whatever_happens_in_it() {
    let metrics = metrics();
    let denials = Arc::new(DenialLog::new(NonZeroUsize::MIN));
    let live = live(&metrics, AuthSettings::default());
    let live = Snapshot { denials: Some(Arc::clone(&denials)), ..live };
    let mut server = AuthorizationServer::new(ConfigHandle::new(live));
    let encoded = |token| framed(&request(token).encode_to_vec());
    let mut cut_short = request("allow").encode_to_vec();
    cut_short.pop();
    let over_the_limit = u32::try_from(MAX_MESSAGE_BYTES + 1).expect("a length");
    let cases: [(&str, Vec<u8>, i32, &str); 11] = [
        ("known", encoded("allow"), 200, "ok"),
        ("waited for", encoded("allow-later"), 200, "ok"),
        ("refused", encoded("other"), 401, "key_revoked"),
        ("too slow", encoded("never"), 503, "provider_unavailable"),
        ("panic", encoded("panic"), 500, "internal"),
        ("panic later", encoded("panic-later"), 500, "internal"),
        ("empty message", framed(&[]), 400, "malformed_request"),
        ("message cut short", framed(&cut_short), 400, "malformed_request"),
        ("no protobuf", framed(b"\xff\xff"), 400, "malformed_request"),
        ("no message", vec![], 400, "malformed_request"),
        (
            "message over the limit",
            [&[0], &over_the_limit.to_be_bytes()[..]].concat(),
            400,
            "malformed_request",
        ),
    ];
    for (name, body, status, reason) in &cases {
        let response = check_raw(&mut server, body.clone()).await;
        assert_eq!(outcome(&response), (*status, (*reason).to_owned()), "{name}");
    }
    let remembered = denials.latest().into_iter().rev().map(|denial| denial.reason.as_str());
    let denied = cases.iter().filter(|(_, _, status, _)| *status != 200);
    assert!(remembered.eq(denied.map(|(.., reason)| *reason)), "the status page has all denials");
    let text = metrics.encode().expect("text");
    for line in [
        r#"claimgate_checks_total{decision="allow",provider="obedient",reason="ok"} 2"#,
        r#"claimgate_checks_total{decision="deny",provider="",reason="internal"} 2"#,
        r#"claimgate_checks_total{decision="deny",provider="",reason="malformed_request"} 5"#,
        r#"claimgate_checks_total{decision="deny",provider="obedient",reason="provider_unavailable"} 1"#,
        r#"claimgate_checks_total{decision="deny",provider="obedient",reason="key_revoked"} 1"#,
        r#"claimgate_provider_answers_total{answer="authenticated",provider="obedient"} 2"#,
        r#"claimgate_check_duration_seconds_count{decision="deny"} 9"#,
        "claimgate_in_flight_checks 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} not in\n{text}");
    }
}

#[tokio::test]
async fn large_messages_are_read() {
    let mut server = server(&metrics(), AuthSettings::default());
    let mut message = request("allow");
    http_of(&mut message).raw_body = vec![0; MAX_MESSAGE_BYTES - 1024];
    let response = check_raw(&mut server, framed(&message.encode_to_vec())).await;
    assert_eq!(outcome(&response), (200, "ok".to_owned()));
}

#[tokio::test]
async fn what_cannot_be_read_is_allowed_only_when_authentication_is_off() {
    let off = AuthSettings { enabled: false, ..AuthSettings::default() };
    let mut server = server(&metrics(), off);
    let response = check_raw(&mut server, framed(b"\xff\xff")).await;
    assert_eq!(outcome(&response), (200, "disabled".to_owned()));
    let Some(HttpResponse::OkResponse(ok)) = response.http_response else { panic!("denied") };
    assert!(ok.headers_to_remove.contains(&"x-auth-subject".to_owned()));
}

#[tokio::test]
async fn other_methods_are_not_implemented() {
    let mut server = server(&metrics(), AuthSettings::default());
    let response = send(&mut server, &format!("/{SERVICE_NAME}/Other"), framed(&[])).await;
    assert_eq!(response.headers()["grpc-status"], "12");
}

#[tokio::test]
async fn another_configuration_counts_from_the_next_check_on() {
    let metrics = metrics();
    let config = ConfigHandle::new(live(&metrics, AuthSettings::default()));
    let mut server = AuthorizationServer::new(config.clone());
    let message = framed(&request("other").encode_to_vec());
    assert_eq!(outcome(&check_raw(&mut server, message.clone()).await).0, 401);
    let off = AuthSettings { enabled: false, ..AuthSettings::default() };
    config.store(live(&metrics, off));
    assert_eq!(outcome(&check_raw(&mut server, message).await).0, 200);
}

/// Serves until the test ends.
async fn serve() -> (String, claimgate::envoy::health::HealthSwitch) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    let (switch, health) = health().await;
    let router = Server::builder()
        .add_service(server(&metrics(), AuthSettings::default()))
        .add_service(health)
        .add_service(reflection::reflection().expect("descriptors"))
        .add_service(reflection::reflection_alpha().expect("descriptors"));
    tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
    (address, switch)
}

#[tokio::test]
async fn the_reference_client_gets_its_answers() {
    let (address, _) = serve().await;
    let mut client = connect(&address).await;
    for (token, status, reason) in
        [("allow", 200, "ok"), ("allow-later", 200, "ok"), ("other", 401, "key_revoked")]
    {
        let response = client.check(request(token)).await.expect("an answer").into_inner();
        assert_eq!(outcome(&response), (status, reason.to_owned()), "{token}");
    }
}

#[tokio::test]
async fn health_follows_the_switch() {
    let (address, switch) = serve().await;
    let mut client = HealthClient::new(channel(&address).await);
    for serving in [false, true, false] {
        switch.set_serving(serving).await;
        for service in ["", SERVICE_NAME] {
            let request = HealthCheckRequest { service: service.into() };
            let status = client.check(request).await.expect("an answer").into_inner().status;
            assert_eq!(status, if serving { 1 } else { 2 }, "{service:?}");
        }
    }
    let unknown = client.check(HealthCheckRequest { service: "other".into() }).await;
    assert_eq!(unknown.expect_err("unknown").code(), tonic::Code::NotFound);
}

#[tokio::test]
async fn reflection_describes_the_service() {
    let (address, _) = serve().await;
    let ask = |message_request| {
        tokio_stream::once(ServerReflectionRequest {
            host: String::new(),
            message_request: Some(message_request),
        })
    };
    let channel = channel(&address).await;
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(channel.clone());

    let list = ask(MessageRequest::ListServices(String::new()));
    let mut responses = client.server_reflection_info(list).await.expect("a stream").into_inner();
    let response = responses.message().await.expect("an answer").expect("one");
    let Some(MessageResponse::ListServicesResponse(list)) = response.message_response else {
        panic!("no list");
    };
    let names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    for name in [SERVICE_NAME, "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"] {
        assert!(names.iter().any(|found| found == name), "{name} not in {names:?}");
    }

    let symbol = ask(MessageRequest::FileContainingSymbol(SERVICE_NAME.into()));
    let mut responses = client.server_reflection_info(symbol).await.expect("a stream").into_inner();
    let response = responses.message().await.expect("an answer").expect("one");
    let Some(MessageResponse::FileDescriptorResponse(files)) = response.message_response else {
        panic!("no files");
    };
    let file = file_name(&files.file_descriptor_proto[0]);
    assert_eq!(file, "envoy/service/auth/v3/external_auth.proto");

    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel);
    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(
            v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol(format!(
                "{SERVICE_NAME}.Check"
            )),
        ),
    };
    let request = tokio_stream::once(request);
    let mut responses =
        client.server_reflection_info(request).await.expect("a stream").into_inner();
    let response = responses.message().await.expect("an answer").expect("one");
    assert!(matches!(
        response.message_response,
        Some(v1alpha::server_reflection_response::MessageResponse::FileDescriptorResponse(_))
    ));
}

/// The name of an encoded `FileDescriptorProto`: its first field.
fn file_name(file: &[u8]) -> String {
    let length = usize::from(file[1]);
    assert_eq!(file[0], 0x0a);
    String::from_utf8(file[2..2 + length].into()).expect("UTF-8")
}
