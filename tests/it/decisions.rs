//! The engine as a library: no runtime, no network, scripted providers.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use claimgate::{
    Answer, Answering, Credential, Engine, Principal, Provider, Reason, Request,
    claims::ClaimPath,
    decision::{Denial, ProviderId, Verdict},
    provider::AnswerKind,
    settings::{
        AuthSettings, ClaimRule, GrpcProviderSettings, ProviderKind, ProviderSettings,
        RouteSettings, TokenPlace, TokenSourceSettings,
    },
    time::UnixTime,
    token_cache::TokenCache,
};
use serde_json::{Value, json};

/// A provider with scripted answers, which counts how often it is asked.
struct Scripted {
    name: &'static str,
    issuer: Option<&'static str>,
    answer: Answer,
    later: bool,
    asked: Arc<AtomicUsize>,
}

impl Provider for Scripted {
    fn name(&self) -> &str {
        self.name
    }

    fn method(&self) -> &str {
        "scripted"
    }

    fn issuer(&self) -> Option<&str> {
        self.issuer
    }

    fn authenticate<'a>(&'a self, _: &'a Credential<'a>) -> Answering<'a> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let answer = self.answer.clone();
        match self.later {
            // Pending once, as if it had to fetch something.
            true => Answering::later(async move {
                let mut first = true;
                std::future::poll_fn(|context| {
                    context.waker().wake_by_ref();
                    if std::mem::take(&mut first) { Poll::Pending } else { Poll::Ready(()) }
                })
                .await;
                answer
            }),
            false => Answering::Now(answer),
        }
    }
}

fn scripted(name: &'static str, answer: Answer) -> Scripted {
    Scripted { name, issuer: None, answer, later: false, asked: Arc::default() }
}

fn good() -> Answer {
    let claims = json!({"team": "search", "groups": ["a", "b"]}).as_object().cloned().unwrap();
    let principal = Principal::new(Some("me".into())).with_claims(claims);
    Answer::Authenticated(Arc::new(principal.with_scopes(vec!["read".to_owned()])))
}

fn engine(settings: AuthSettings, providers: Vec<Scripted>) -> Engine {
    let named = providers.iter().map(|provider| ProviderSettings {
        name: provider.name.into(),
        forward_token: None,
        kind: ProviderKind::Grpc(GrpcProviderSettings::default()),
    });
    let settings = AuthSettings { providers: named.collect(), ..settings };
    let providers = providers.into_iter().map(|provider| Arc::new(provider) as Arc<dyn Provider>);
    Engine::new(&settings, providers.collect(), Arc::new(TokenCache::new(10)))
}

fn get<'a>(path: &'a str, headers: &[(&'a str, &'a str)]) -> Request<'a> {
    let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    Request { method: "GET", host: "api.example.com", path, headers, ..Request::default() }
}

fn with_token(token: &str) -> Vec<(&str, &str)> {
    vec![("authorization", token)]
}

/// Runs a future that never needs a reactor.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
    }
}

const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000.0);

fn decide(engine: &Engine, request: &Request<'_>) -> (Verdict, Reason) {
    let decision = engine.check_now(request, NOW).expect("no I/O");
    (decision.verdict, decision.reason)
}

#[test]
fn the_answers_of_a_chain_come_to_one() {
    use AnswerKind::{Authenticated, NotMine, Refused, Unavailable};
    let not_mine = || Answer::NotMine;
    let revoked = || Answer::Refused(Reason::KeyRevoked);
    let expired = || Answer::Refused(Reason::Expired);
    let unavailable = || Answer::Unavailable;
    let deny = |denial, reason| (Verdict::Deny(denial), reason);
    let cases = [
        (vec![good()], (Verdict::Allow, Reason::Ok), Some(0), vec![Authenticated]),
        (
            vec![not_mine(), good()],
            (Verdict::Allow, Reason::Ok),
            Some(1),
            vec![NotMine, Authenticated],
        ),
        (
            vec![revoked(), good()],
            (Verdict::Allow, Reason::Ok),
            Some(1),
            vec![Refused, Authenticated],
        ),
        (
            vec![unavailable(), good(), revoked()],
            (Verdict::Allow, Reason::Ok),
            Some(1),
            vec![Unavailable, Authenticated],
        ),
        (
            vec![not_mine(), revoked(), expired()],
            deny(Denial::InvalidToken, Reason::KeyRevoked),
            Some(1),
            vec![NotMine, Refused, Refused],
        ),
        (
            vec![unavailable(), expired()],
            deny(Denial::InvalidToken, Reason::Expired),
            Some(1),
            vec![Unavailable, Refused],
        ),
        (
            vec![not_mine(), unavailable()],
            deny(Denial::Unavailable, Reason::ProviderUnavailable),
            Some(1),
            vec![NotMine, Unavailable],
        ),
        (vec![not_mine()], deny(Denial::InvalidToken, Reason::UnknownKey), None, vec![NotMine]),
    ];
    for later in [false, true] {
        for (answers, expected, provider, kinds) in &cases {
            let names = ["first", "second", "third"];
            let providers = answers
                .iter()
                .zip(names)
                .map(|(answer, name)| Scripted { later, ..scripted(name, answer.clone()) });
            let engine = engine(AuthSettings::default(), providers.collect());
            let headers = with_token("Bearer t");
            let request = get("/", &headers);
            assert_eq!(engine.check_now(&request, NOW).is_none(), later);
            let decision = block_on(engine.check(&request, NOW));
            assert_eq!((decision.verdict, decision.reason), *expected, "{answers:?}");
            assert_eq!(decision.provider, provider.map(ProviderId));
            assert_eq!(decision.answers.iter().map(|(_, kind)| *kind).collect::<Vec<_>>(), *kinds);
        }
    }
}

/// `alg: RS256` and this payload; the signature is `sig`.
fn jwt(claims: Value) -> String {
    let encode = |part: String| base64_simd::URL_SAFE_NO_PAD.encode_to_string(part);
    format!(
        "Bearer {}.{}.c2ln",
        encode(json!({"alg": "RS256"}).to_string()),
        encode(claims.to_string())
    )
}

#[test]
fn a_token_that_no_provider_recognises_is_described() {
    let opaque = || vec![scripted("keys", Answer::NotMine)];
    let bound = || vec![Scripted { issuer: Some("https://a"), ..scripted("a", Answer::NotMine) }];
    let unknown = jwt(json!({"iss": "https://b"}));
    let no_issuer = jwt(json!({"sub": "x"}));
    let cases = [
        ("Bearer k", Reason::UnknownKey, Reason::MalformedToken),
        ("Bearer a.b.c", Reason::MalformedToken, Reason::MalformedToken),
        ("Bearer ..", Reason::MalformedToken, Reason::MalformedToken),
        ("Bearer ......", Reason::UnknownKey, Reason::MalformedToken),
        (&unknown, Reason::UnknownIssuer, Reason::UnknownIssuer),
        (&no_issuer, Reason::UnknownIssuer, Reason::UnknownIssuer),
    ];
    for (token, with_keys, without_keys) in cases {
        for (providers, expected) in [(opaque(), with_keys), (bound(), without_keys)] {
            let engine = engine(AuthSettings::default(), providers);
            let decision = decide(&engine, &get("/", &with_token(token)));
            assert_eq!(decision, (Verdict::Deny(Denial::InvalidToken), expected), "{token}");
        }
    }
}

#[test]
fn only_the_providers_of_an_issuer_are_asked_about_its_tokens() {
    let providers = vec![
        Scripted { issuer: Some("https://a"), ..scripted("a", Answer::Unavailable) },
        scripted("keys", Answer::NotMine),
        Scripted { issuer: Some("https://b"), ..scripted("b", Answer::Refused(Reason::Expired)) },
        Scripted { issuer: Some("https://b"), ..scripted("b2", good()) },
    ];
    let asked: Vec<_> = providers.iter().map(|provider| Arc::clone(&provider.asked)).collect();
    let engine = engine(AuthSettings::default(), providers);
    let token = jwt(json!({"iss": "https://b"}));
    assert_eq!(decide(&engine, &get("/", &with_token(&token))), (Verdict::Allow, Reason::Ok));
    let asked: Vec<_> = asked.iter().map(|count| count.load(Ordering::Relaxed)).collect();
    assert_eq!(asked, [0, 1, 1, 1]);
}

#[test]
fn the_steps_of_a_decision_have_an_order() {
    let route = |name: &str, path: &str| RouteSettings {
        name: name.into(),
        path_prefix: Some(path.into()),
        ..RouteSettings::default()
    };
    let rule =
        |name: &str, value: Value| ClaimRule { claim: ClaimPath::named(name), any_of: vec![value] };
    let settings = AuthSettings {
        public_paths: vec!["/health".into(), "/x%2F..#".into()],
        allow_cors_preflight: true,
        required_scopes: vec!["read".into()],
        routes: vec![
            RouteSettings {
                required_scopes: Some(vec!["admin".into()]),
                ..route("admin", "/admin")
            },
            RouteSettings { public: true, ..route("open", "/open") },
            RouteSettings { providers: Some(vec!["second".into()]), ..route("second", "/second") },
            RouteSettings {
                required_claims: vec![rule("team", json!("ads"))],
                ..route("ads", "/ads")
            },
            RouteSettings {
                required_claims: vec![rule("plan", json!(1))],
                ..route("plan", "/plan")
            },
            RouteSettings { required_claims: vec![rule("groups", json!("b"))], ..route("b", "/b") },
        ],
        max_token_bytes: 100,
        ..AuthSettings::default()
    };
    let engine =
        engine(settings, vec![scripted("first", good()), scripted("second", Answer::NotMine)]);
    let long = format!("Bearer {}", "x".repeat(101));
    let deny = |denial, reason| (Verdict::Deny(denial), reason);
    let good = (Verdict::Allow, Reason::Ok);
    let public = (Verdict::Allow, Reason::Public);
    let ambiguous = deny(Denial::BadRequest, Reason::AmbiguousPath);
    let missing = deny(Denial::Challenge, Reason::MissingToken);
    let cases = [
        (get("", &[]), deny(Denial::BadRequest, Reason::MalformedRequest)),
        (
            Request { method: "", ..get("/health", &[]) },
            deny(Denial::BadRequest, Reason::MalformedRequest),
        ),
        (get("/health", &[]), public),
        (get("/health?x", &[]), public),
        (get("/health/", &[]), missing),
        (get("//health", &[]), ambiguous),
        (get("/%68ealth", &[]), missing),
        (get("/x%2F..#", &[]), public),
        (get("/open/x", &[]), public),
        (get("/open/../admin", &with_token("Bearer t")), ambiguous),
        (get("/open%2f..%2fadmin", &with_token("Bearer t")), ambiguous),
        (get("/open/x;%2fy/..;/..;/admin", &[]), ambiguous),
        (get("/ADMIN", &with_token("Bearer t")), ambiguous),
        (get("//x/admin", &with_token("Bearer t")), ambiguous),
        (get("/Orders;x=1//%2Fy", &[]), missing),
        (get("/admin#", &with_token("Bearer t")), ambiguous),
        (Request { route: Some("open"), ..get("/admin#", &[]) }, public),
        (
            Request { route: Some("none"), ..get("/open", &[]) },
            deny(Denial::Internal, Reason::UnknownRoute),
        ),
        (Request { route: Some("none"), ..get("/health", &[]) }, public),
        (get("/", &[]), missing),
        (get("/", &with_token("Basic t")), missing),
        (get("/", &with_token("Bearer t,u")), deny(Denial::BadRequest, Reason::MalformedRequest)),
        (get("/", &with_token(&long)), deny(Denial::InvalidToken, Reason::TokenTooLarge)),
        (get("/", &with_token("Bearer t")), good),
        (get("/second", &with_token("Bearer t")), deny(Denial::InvalidToken, Reason::UnknownKey)),
        (get("/ads", &with_token("Bearer t")), deny(Denial::Forbidden, Reason::WrongClaim)),
        (get("/plan", &with_token("Bearer t")), deny(Denial::Forbidden, Reason::MissingClaim)),
        (get("/b", &with_token("Bearer t")), good),
        (Request { method: "OPTIONS", ..get("*", &with_token("Bearer t")) }, good),
        (
            Request {
                method: "OPTIONS",
                ..get("/admin", &[("origin", "x"), ("access-control-request-method", "GET")])
            },
            public,
        ),
        (Request { method: "OPTIONS", ..get("/admin", &[("origin", "x")]) }, missing),
    ];
    for (request, expected) in cases {
        assert_eq!(decide(&engine, &request), expected, "{request:?}");
    }
}

#[test]
fn switched_off_allows_everything() {
    let engine = engine(AuthSettings { enabled: false, ..AuthSettings::default() }, vec![]);
    assert_eq!(decide(&engine, &Request::default()), (Verdict::Allow, Reason::Disabled));
}

#[test]
fn a_token_outside_ascii_reaches_no_provider() {
    let asked = Arc::new(AtomicUsize::new(0));
    let provider = Scripted { asked: Arc::clone(&asked), ..scripted("any", good()) };
    let engine = engine(AuthSettings::default(), vec![provider]);
    for token in [&b"Bearer \xff"[..], b"Bearer \xfe", b"Bearer a\tb", b"Bearer \xc3\xa9"] {
        let headers = [("authorization", token)].into_iter().collect();
        let request = Request { headers, ..get("/", &[]) };
        let expected = (Verdict::Deny(Denial::InvalidToken), Reason::MalformedToken);
        assert_eq!(decide(&engine, &request), expected, "{token:?}");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 0);
}

/// A token that is not searched for can't be removed before the upstream.
#[test]
fn a_crowd_that_may_hide_a_token_is_refused_on_public_paths_too() {
    let crowded = format!("/open?{}", "a&".repeat(claimgate::token::MAX_PAIRS));
    let cookies = "a;".repeat(claimgate::token::MAX_PAIRS);
    let settings = |forward_token| AuthSettings {
        forward_token,
        public_paths: vec!["/open".into()],
        token_sources: [TokenPlace::Query("t".into()), TokenPlace::Cookie("s".into())]
            .into_iter()
            .map(|place| TokenSourceSettings { place, providers: None })
            .collect(),
        ..AuthSettings::default()
    };
    let refused = (Verdict::Deny(Denial::BadRequest), Reason::MalformedRequest);
    let public = (Verdict::Allow, Reason::Public);
    for (forwarded, path, cookie, expected) in [
        (true, &*crowded, "", public),
        (true, "/open", &*cookies, public),
        (true, "/other", &*cookies, refused),
        (false, &*crowded, "", refused),
        (false, "/open", &*cookies, refused),
        (false, "/open", "s=t", public),
    ] {
        let engine = engine(settings(forwarded), vec![scripted("any", good())]);
        let request = get(path, &[("cookie", cookie)]);
        let length = path.len();
        assert_eq!(decide(&engine, &request), expected, "{forwarded} {length} {}", cookie.len());
    }
}

#[test]
fn a_source_limits_who_sees_its_token() {
    let source = |place, providers: Option<&str>| TokenSourceSettings {
        place,
        providers: providers.map(|name| vec![name.into()]),
    };
    let header = |name: &str| TokenPlace::Header { name: name.into(), scheme: None };
    let settings = AuthSettings {
        token_sources: vec![
            source(header("x-a"), Some("first")),
            source(header("x-b"), Some("second")),
        ],
        ..AuthSettings::default()
    };
    let engine =
        engine(settings, vec![scripted("first", good()), scripted("second", Answer::NotMine)]);
    let by = |headers: &[(&str, &str)]| {
        engine
            .check_now(&get("/", headers), NOW)
            .map(|decision| (decision.reason, decision.answers.len()))
    };
    assert_eq!(by(&[("x-a", "t")]), Some((Reason::Ok, 1)));
    assert_eq!(by(&[("x-b", "t")]), Some((Reason::UnknownKey, 1)));
    assert_eq!(by(&[("x-a", "t"), ("x-b", "t")]), Some((Reason::Ok, 1)));
    assert_eq!(by(&[("x-a", "t"), ("x-b", "u")]), Some((Reason::MalformedRequest, 0)));
}

#[test]
fn a_caller_whose_subject_fits_no_header_is_refused() {
    let principal = Principal::new(Some("é".repeat(5000)));
    let answer = Answer::Authenticated(Arc::new(principal));
    let engine = engine(AuthSettings::default(), vec![scripted("first", answer)]);
    let decision = decide(&engine, &get("/", &with_token("Bearer t")));
    assert_eq!(decision, (Verdict::Deny(Denial::InvalidToken), Reason::MalformedToken));
}

/// A provider that never answers.
struct Silent;

impl Provider for Silent {
    fn name(&self) -> &str {
        "silent"
    }

    fn method(&self) -> &str {
        "scripted"
    }

    fn authenticate<'a>(&'a self, _: &'a Credential<'a>) -> Answering<'a> {
        Answering::later(std::future::pending())
    }
}

#[test]
fn a_provider_that_times_out_is_unavailable_and_the_next_is_asked() {
    let settings = AuthSettings::default();
    let cache = || Arc::new(TokenCache::new(10));
    let silent = || Arc::new(Silent) as Arc<dyn Provider>;
    let headers = with_token("Bearer t");
    let request = get("/", &headers);

    let alone = Engine::new(&settings, vec![silent(), silent()], cache());
    let decision = block_on(alone.check_until(&request, NOW, std::future::ready(())));
    assert_eq!(decision.verdict, Verdict::Deny(Denial::Unavailable));
    assert_eq!(decision.reason, Reason::ProviderUnavailable);
    assert_eq!(decision.provider, Some(ProviderId(0)));
    assert_eq!(decision.answers.len(), 2);

    let helped = vec![silent(), Arc::new(scripted("second", good())) as Arc<dyn Provider>];
    let helped = Engine::new(&settings, helped, cache());
    let decision = block_on(helped.check_until(&request, NOW, std::future::ready(())));
    assert_eq!((decision.reason, decision.provider), (Reason::Ok, Some(ProviderId(1))));
}
