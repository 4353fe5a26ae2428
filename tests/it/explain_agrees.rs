//! `explain` and the service always agree: random requests and tokens go
//! through both, twice through the service over gRPC, so that its token cache
//! takes part, and get the same decision, status, reason and headers.

use std::collections::{BTreeMap, BTreeSet};

use claimgate::{
    app::offline::Offline,
    envoy::capture::Capture,
    explain::{Explanation, explain},
    issuer::signing::SigningKey,
    provider::oauth2::Algorithm,
    time::UnixTime,
};
use envoy_types::pb::{
    envoy::{
        config::core::v3::{HeaderMap, HeaderValue, HeaderValueOption},
        service::auth::v3::{CheckRequest, CheckResponse, check_response::HttpResponse},
    },
    google::protobuf::value::Kind,
};
use proptest::{
    collection, option,
    prelude::*,
    sample::select,
    test_runner::{Config, TestRunner},
};
use prost::Message;
use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;

use crate::support::{
    envoy::{Client, check, connect, http, on_route},
    folder::Folder,
    ports::Reserved,
    service::Service,
};

const SERVER: &str = r#"
server:
  grpc: {address: "127.0.0.1:0"}
  admin: {address: "127.0.0.1:0"}
  check_timeout_ms: 20000
"#;

const AUTH: &str = include_str!("../agreement.yaml");

/// The service and the engine that explains, of one config.
struct Both {
    runtime: Runtime,
    service: Client,
    offline: Offline,
    _running: Service,
    _unreachable: Reserved,
    _folder: Folder,
}

impl Both {
    fn start(several_tokens: &str, key: &SigningKey, other: &SigningKey) -> Self {
        let unreachable = Reserved::new();
        let auth = AUTH.replace("UNREACHABLE", &unreachable.address.to_string());
        let auth = auth.replace("SEVERAL", several_tokens).replace("MAX_TOKEN_BYTES", "2000");
        let folder = Folder::with_keys(&(SERVER.to_owned() + &auth), &[key, other]);
        let path = folder.config();
        let runtime = Runtime::new().unwrap();
        let (running, service, offline) = runtime.block_on(async {
            let running = Service::start(&path).await;
            let service = connect(&running.grpc).await;
            (running, service, Offline::open(&path, &[]).await.unwrap())
        });
        Self {
            runtime,
            service,
            offline,
            _running: running,
            _unreachable: unreachable,
            _folder: folder,
        }
    }

    fn serve(&self, request: &CheckRequest) -> Outcome {
        let mut service = self.service.clone();
        let answer = self.runtime.block_on(service.check(request.clone()));
        Outcome::of_answer(answer.expect("never an RPC error").into_inner())
    }

    fn explain(&self, request: &CheckRequest) -> (Outcome, Explanation) {
        let capture = Capture::read(&request.encode_to_vec()).unwrap();
        let sent = capture.sent().unwrap();
        let Offline { engine, check_timeout, .. } = &self.offline;
        let (request, now) = (sent.request(), UnixTime::now());
        let told = self.runtime.block_on(explain(engine, &request, now, *check_timeout));
        (Outcome::of_explanation(&told), told)
    }
}

/// The result that a caller of Envoy, the upstream and the operator see.
#[derive(Debug, PartialEq)]
struct Outcome {
    allowed: bool,
    status: i32,
    reason: String,
    provider: Option<String>,
    set: BTreeMap<String, String>,
    removed: BTreeSet<String>,
    body: String,
}

impl Outcome {
    fn of_answer(answer: CheckResponse) -> Self {
        let metadata = answer.dynamic_metadata.unwrap_or_default().fields;
        let text = |name: &str| match metadata.get(name).and_then(|value| value.kind.clone()) {
            Some(Kind::StringValue(text)) => Some(text),
            _ => None,
        };
        let headers = |options: Vec<HeaderValueOption>| {
            let headers = options.into_iter().filter_map(|option| option.header);
            let shown = |name: &str, value| match name {
                "cookie" => "(without the token)".to_owned(),
                _ => value,
            };
            headers.map(|it| (it.key.clone(), shown(&it.key, it.value))).collect()
        };
        let (status, set, removed, body) = match answer.http_response.expect("a response") {
            HttpResponse::OkResponse(ok) => {
                let query = ok.query_parameters_to_remove.iter().map(|name| format!("?{name}"));
                let removed = ok.headers_to_remove.iter().cloned().chain(query).collect();
                (200, headers(ok.headers), removed, String::new())
            }
            HttpResponse::DeniedResponse(denied) => {
                let status = denied.status.expect("a status").code;
                (status, headers(denied.headers), BTreeSet::new(), denied.body)
            }
            HttpResponse::ErrorResponse(_) => panic!("an error"),
        };
        let allowed = answer.status.expect("a verdict").code == 0;
        let reason = text("reason").expect("a reason");
        Self { allowed, status, reason, provider: text("provider"), set, removed, body }
    }

    fn of_explanation(told: &Explanation) -> Self {
        let (set, removed, body) = match (&told.upstream, &told.client) {
            (Some(upstream), None) => {
                let query = upstream.remove_query.iter().map(|name| format!("?{name}"));
                let removed = upstream.remove.iter().cloned().chain(query).collect();
                (&upstream.set, removed, String::new())
            }
            (None, Some(client)) => (&client.headers, BTreeSet::new(), client.body.clone()),
            _ => panic!("both or neither"),
        };
        Self {
            allowed: told.decision == "allow",
            status: told.status.into(),
            reason: told.reason.into(),
            provider: told.provider.clone(),
            set: set.shown().map(|(name, value)| (name.into(), value.into())).collect(),
            removed,
            body,
        }
    }
}

/// A token for one request.
#[derive(Clone, Debug)]
enum Token {
    Text(String),
    Jwt {
        claims: Map<String, Value>,
        header: Map<String, Value>,
        times: [Option<f64>; 3],
        by: usize,
    },
}

impl Token {
    fn text(&self, keys: &[SigningKey], now: f64) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Jwt { claims, header, times, by } => {
                let key = &keys[*by];
                let mut all = json!({"alg": "ES256", "kid": key.kid()});
                all.as_object_mut().unwrap().extend(header.clone());
                let mut claims = claims.clone();
                for (name, time) in ["exp", "nbf", "iat"].into_iter().zip(times) {
                    claims.extend(time.map(|time| (name.into(), json!(now + time))));
                }
                key.sign_with(&all, Value::Object(claims).to_string().as_bytes()).unwrap()
            }
        }
    }
}

/// A member that is usually good, sometimes absent, sometimes odd.
fn member(name: &'static str, usual: Vec<Value>) -> impl Strategy<Value = Map<String, Value>> {
    let odd = vec![json!(null), json!(1), json!("x"), json!(["x", 2]), json!({"x": "y"})];
    let value = prop_oneof![12 => select(usual).prop_map(Some), 1 => Just(None), 1 => select(odd).prop_map(Some)];
    value.prop_map(move |value| value.map(|value| (name.to_owned(), value)).into_iter().collect())
}

fn jwt() -> impl Strategy<Value = Token> {
    let issuers = [
        "https://issuer.example.com",
        "https://issuer.example.com",
        "http://UNREACHABLE",
        "https://other",
    ];
    let claims = (
        member("iss", issuers.map(Value::from).to_vec()),
        member("sub", vec![json!("me"), json!("é %,\n"), json!("")]),
        member(
            "aud",
            vec![json!("people"), json!("machines"), json!(["x", "batch"]), json!("them")],
        ),
        member("client_id", vec![json!("c1"), json!("c2"), json!("c3")]),
        member("use", vec![json!("access"), json!("access"), json!("id")]),
        member(
            "scope",
            vec![json!("read"), json!("read admin"), json!("*"), json!(["read", "a b"]), json!("")],
        ),
        member("team", vec![json!("search"), json!(["x", "search"]), json!("other")]),
        member("roles", vec![json!(["a", "b,c"]), json!("r"), json!([]), json!("r".repeat(9000))]),
    );
    let claims = claims.prop_map(|(a, b, c, d, e, f, g, h)| {
        [a, b, c, d, e, f, g, h].into_iter().flatten().collect::<Map<_, _>>()
    });
    let bound = prop_oneof![20 => Just(Map::new()), 1 => member("cnf", vec![json!({"jkt": "x"})])];
    let header = prop_oneof![
        12 => Just(Map::new()),
        2 => member("typ", vec![json!("JWT"), json!("at+jwt"), json!("application/at+jwt"), json!("dpop+jwt")]),
        1 => member("kid", vec![json!("unknown")]),
        1 => member("alg", vec![json!("none"), json!("HS256"), json!("RS256"), json!("EdDSA")]),
        1 => member("crit", vec![json!(["b64"])]),
    ];
    let time = |usual: &[f64], odd: &[f64]| prop_oneof![10 => select(usual.to_vec()), 2 => select(odd.to_vec())];
    // Far from a boundary that a slow test could cross.
    let times = (
        option::weighted(0.95, time(&[3600.0, 600.0, 3600.5], &[9000.0, -600.0])),
        option::weighted(0.3, time(&[-10.0], &[600.0])),
        option::weighted(0.8, time(&[-10.0, -0.5], &[600.0, -8000.0])),
    );
    // The key of the issuer, its other key, and a stranger's.
    let by = prop_oneof![10 => Just(0_usize), 2 => Just(1_usize), 1 => Just(2_usize)];
    (claims, bound, header, times, by).prop_map(|(mut claims, bound, header, times, by)| {
        claims.extend(bound);
        Token::Jwt { claims, header, times: times.into(), by }
    })
}

fn token() -> impl Strategy<Value = Token> {
    let known = ["good-key", "root-key", "expired-key", "early-key", "revoked-key", "another-key"];
    prop_oneof![
        6 => jwt(),
        3 => select(known.to_vec()).prop_map(|text| Token::Text(text.into())),
        1 => "[ -~]{0,30}".prop_map(Token::Text),
        1 => "[a-zA-Z0-9_-]{0,12}\\.[a-zA-Z0-9_-]{0,12}\\.[a-zA-Z0-9_-]{0,12}".prop_map(Token::Text),
        1 => Just(Token::Text("x".repeat(2001))),
    ]
}

/// The place of a token.
#[derive(Clone, Copy, Debug)]
enum Spot {
    Bearer,
    Basic,
    Key,
    Query,
    Cookie,
    WebSocket,
}

fn spot() -> impl Strategy<Value = Spot> {
    use Spot::{Basic, Bearer, Cookie, Key, Query, WebSocket};
    select(vec![Bearer, Bearer, Bearer, Bearer, Key, Key, Query, Cookie, WebSocket, Basic])
}

/// Everything about a request but its tokens' text.
#[derive(Clone, Debug)]
struct Shape {
    method: String,
    path: String,
    host: String,
    route: Option<String>,
    headers: Vec<(String, String)>,
    raw: bool,
    tokens: Vec<(Spot, Token)>,
}

fn shape() -> impl Strategy<Value = Shape> {
    let methods = ["GET", "GET", "POST", "OPTIONS", "get", ""];
    let paths = [
        "/",
        "/",
        "/v1/models",
        "/health",
        "/health?x",
        "/health/",
        "/admin",
        "/admin/x",
        "/Admin",
        "/%61dmin",
        "/x/..%2fadmin",
        "/admin;a=b",
        "/team/1",
        "/batch",
        "/batch/x",
        "/hosts",
        "/status",
        "/status?x=y",
        "//admin",
        "/a%00",
        "/a#b",
        "a",
        "*",
        "",
    ];
    let path = prop_oneof![
        12 => select(paths.to_vec()).prop_map(String::from),
        1 => "/[a-z/.%25;\\\\]{0,12}",
        1 => "\\PC{0,12}",
    ];
    let host =
        select(vec!["localhost", "api.example.com", "API.EXAMPLE.COM:8443", "example.com", ""]);
    let route = option::weighted(0.15, select(vec!["admin", "named", "status", "nowhere", ""]));
    let extra = [
        ("x-auth-subject", "forged"),
        ("x_auth_subject", "forged"),
        ("x-auth-roles", ""),
        ("X-Auth-Scopes", "*"),
        ("origin", "https://app"),
        ("access-control-request-method", "GET"),
        ("cookie", "theme=dark"),
        ("authorization", "Bearer"),
        ("x-request-id", "1"),
        ("accept", "*/*"),
    ];
    let extra = collection::vec(select(extra.to_vec()), 0..4);
    let tokens = prop_oneof![
        1 => Just(0_usize), 8 => Just(1_usize), 2 => Just(2_usize),
    ];
    let tokens = tokens.prop_flat_map(|count| collection::vec((spot(), token()), count));
    (select(methods.to_vec()), path, host, route, extra, any::<bool>(), tokens, any::<bool>())
        .prop_map(|(method, path, host, route, extra, raw, mut tokens, same)| {
            if let ([(_, first), (_, second)], true) = (tokens.as_mut_slice(), same) {
                *second = first.clone();
            }
            Shape {
                method: method.into(),
                path,
                host: host.into(),
                route: route.map(Into::into),
                headers: extra
                    .into_iter()
                    .map(|(name, value)| (name.into(), value.into()))
                    .collect(),
                raw,
                tokens,
            }
        })
}

impl Shape {
    fn message(&self, keys: &[SigningKey], unreachable: &str) -> CheckRequest {
        let now = UnixTime::now().as_seconds().floor();
        let (mut path, mut headers) = (self.path.clone(), self.headers.clone());
        for (spot, token) in &self.tokens {
            let mut token = token.clone();
            if let Token::Jwt { claims, .. } = &mut token
                && claims.get("iss").is_some_and(|issuer| issuer == "http://UNREACHABLE")
            {
                claims.insert("iss".into(), unreachable.into());
            }
            let token = token.text(keys, now);
            match spot {
                Spot::Bearer => headers.push(("authorization".into(), format!("bearer  {token}"))),
                Spot::Basic => headers.push(("authorization".into(), format!("Basic {token}"))),
                Spot::Key => headers.push(("x-api-key".into(), token)),
                Spot::Cookie => headers.push(("cookie".into(), format!("a=b; session={token}"))),
                Spot::WebSocket => headers
                    .push(("sec-websocket-protocol".into(), format!("realtime, key.{token}, b"))),
                Spot::Query => {
                    path.push(if path.contains('?') { '&' } else { '?' });
                    let escaped: String =
                        url::form_urlencoded::byte_serialize(token.as_bytes()).collect();
                    path.push_str(&format!("access%5Ftoken={escaped}"));
                }
            }
        }
        let mut http = http(&self.method, &path, &[]);
        http.host.clone_from(&self.host);
        if self.raw {
            let header = |(key, value): (String, String)| HeaderValue {
                key,
                raw_value: value.into_bytes(),
                ..HeaderValue::default()
            };
            let headers = headers.into_iter().map(header).collect();
            http.header_map = Some(HeaderMap { headers });
        } else {
            for (name, value) in headers {
                // As Envoy joins them.
                let joined = http.headers.entry(name.clone()).or_default();
                let separator = if name == "cookie" { "; " } else { "," };
                if !joined.is_empty() {
                    joined.push_str(separator);
                }
                joined.push_str(&value);
            }
        }
        match &self.route {
            Some(route) => on_route(check(http), route),
            None => check(http),
        }
    }
}

#[test]
fn explain_and_the_service_agree() {
    agree("refuse");
}

#[test]
fn explain_and_the_service_agree_on_the_first_of_several_tokens() {
    agree("first");
}

fn agree(several_tokens: &str) {
    let keys = [Algorithm::Es256; 3].map(|algorithm| SigningKey::generate(algorithm).unwrap());
    let both = Both::start(several_tokens, &keys[0], &keys[1]);
    let unreachable = both.offline.engine.providers().filter_map(|it| it.issuer()).last();
    let unreachable = unreachable.expect("an issuer that can't be reached").to_owned();
    let seen = std::cell::RefCell::new(BTreeMap::<String, u32>::new());
    let round = || {
        // A runner runs its cases once.
        let config = Config { cases: 600, failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new(config);
        let outcome = runner.run(&shape(), |shape| {
            let request = shape.message(&keys, &unreachable);
            let served = both.serve(&request);
            let again = both.serve(&request);
            let (explained, told) = both.explain(&request);
            *seen.borrow_mut().entry(served.reason.clone()).or_default() += 1;
            prop_assert_eq!(&again, &served, "the second time");
            prop_assert_eq!(&explained, &served, "{}", told);
            Ok(())
        });
        outcome.unwrap_or_else(|error| panic!("{error}"));
    };
    // Every reason must occur to be compared; a rare one may need more rounds.
    let rare = ["ok", "public", "missing_token", "insufficient_scope", "provider_unavailable"];
    for _ in 0..10 {
        round();
        let seen = seen.borrow();
        if seen.len() >= 15 && rare.iter().all(|reason| seen.contains_key(*reason)) {
            return;
        }
    }
    panic!("not every reason came up: {seen:?}");
}
