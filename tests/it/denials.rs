//! The responses that denied clients get, over real gRPC: every format, on the
//! routes that set it.

use std::{collections::BTreeMap, time::Duration};

use claimgate::{
    Reason,
    app::offline::Offline,
    check::{ConfigHandle, Snapshot},
    envoy::service::AuthorizationServer,
    metrics::{CheckMeters, Metrics},
};
use envoy_types::pb::envoy::service::auth::v3::{CheckResponse, check_response::HttpResponse};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

use crate::support::{
    envoy::{Client, check, code, connect, http, reason},
    folder::Folder,
};

/// A gateway whose issuer can't be reached.
const CONFIG: &str = r#"
auth:
  providers:
    - name: keys
      type: api_key
      keys:
        - {name: client, key: good-key, scopes: [read]}
        - {name: old, key: expired-key, expires_at: 2020-01-01T00:00:00Z}
    - name: down
      type: oauth2
      issuer: http://127.0.0.1:9
      audience: us
  required_scopes: [read]
  denial_headers: {X-Docs: https://example.com/help}
  routes:
    - {name: problem, match: {path_prefix: /problem}, error_format: problem}
    - {name: openai, match: {path_prefix: /openai}, error_format: openai, required_scopes: [admin]}
    - {name: anthropic, match: {path_prefix: /anthropic}, error_format: anthropic, denial_headers: {}}
"#;

/// Claimgate with this configuration, and a client of it.
struct Gateway {
    client: Client,
    metrics: Metrics,
}

/// A response as its client sees it.
struct Told {
    grpc_code: i32,
    status: i32,
    headers: BTreeMap<String, String>,
    body: String,
    reason: String,
}

impl Gateway {
    async fn start(config: &str) -> Self {
        let folder = Folder::new(config);
        let engine = Offline::open(&folder.config(), &[]).await.unwrap().engine;
        let metrics = Metrics::new("0", "0").unwrap();
        let meters = CheckMeters::new(&metrics, &engine);
        let check_timeout = Duration::from_millis(50);
        let live = Snapshot { engine, meters, check_timeout, denials: None, tracer: None };
        let server = AuthorizationServer::new(ConfigHandle::new(live));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let serving = Server::builder().add_service(server);
        tokio::spawn(serving.serve_with_incoming(TcpListenerStream::new(listener)));
        let client = connect(&address).await;
        Self { client, metrics }
    }

    async fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)]) -> CheckResponse {
        let request = check(http(method, path, headers));
        self.client.check(request).await.expect("the call succeeds").into_inner()
    }

    /// The response that Envoy should send.
    async fn told(&mut self, path: &str, token: Option<&str>) -> Told {
        let value = token.map(|token| format!("Bearer {token}"));
        let headers: Vec<_> = value.iter().map(|value| ("authorization", value.as_str())).collect();
        Told::of(self.send("POST", path, &headers).await)
    }
}

impl Told {
    fn of(response: CheckResponse) -> Self {
        let (grpc_code, reason) = (code(&response), reason(&response).to_owned());
        let Some(HttpResponse::DeniedResponse(denied)) = response.http_response else {
            panic!("let through");
        };
        let headers: Vec<_> = denied.headers.into_iter().map(|o| o.header.unwrap()).collect();
        let count = headers.len();
        let headers: BTreeMap<_, _> = headers.into_iter().map(|h| (h.key, h.value)).collect();
        assert_eq!(headers.len(), count, "no header comes twice");
        let status = denied.status.unwrap().code;
        Self { grpc_code, status, headers, body: denied.body, reason }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{}", self.body))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// A JWT of the issuer that can't be reached.
fn jwt() -> String {
    use claimgate::{issuer::signing::SigningKey, provider::oauth2::Algorithm, time::UnixTime};
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let now = UnixTime::now().as_seconds();
    let claims = json!({"iss": "http://127.0.0.1:9", "aud": "us", "exp": now + 600.0});
    key.sign(claims.to_string().as_bytes()).unwrap()
}

#[tokio::test]
async fn each_route_tells_its_denials_in_its_format() {
    let mut gateway = Gateway::start(CONFIG).await;
    let jwt = jwt();
    let cases: [(Option<&str>, i32, i32, &str, Reason); 3] = [
        (None, 401, 16, "unauthorized", Reason::MissingToken),
        (Some("expired-key"), 401, 16, "invalid_token", Reason::KeyExpired),
        (Some(&jwt), 503, 14, "temporarily_unavailable", Reason::ProviderUnavailable),
    ];
    for (token, status, grpc_code, error, reason) in cases {
        let sentence = reason.description();
        let title = if status == 401 { "Unauthorized" } else { "Service Unavailable" };
        let openai = match status {
            401 => ("invalid_request_error", "invalid_api_key"),
            _ => ("server_error", "service_unavailable"),
        };
        let anthropic = if status == 401 { "authentication_error" } else { "api_error" };
        for (path, content_type, body) in [
            ("/x", "application/json", json!({"error": error, "error_description": sentence})),
            (
                "/problem/x",
                "application/problem+json",
                json!({"type": "about:blank", "title": title, "status": status, "error": error,
                    "detail": sentence}),
            ),
            (
                "/openai/x",
                "application/json",
                json!({"error": {"message": sentence, "type": openai.0, "param": null,
                    "code": openai.1}}),
            ),
            (
                "/anthropic/x",
                "application/json",
                json!({"type": "error", "error": {"type": anthropic, "message": sentence}}),
            ),
        ] {
            let told = gateway.told(path, token).await;
            let name = format!("{path} {reason}");
            assert_eq!((told.status, told.grpc_code), (status, grpc_code), "{name}");
            assert_eq!(told.reason, reason.as_str(), "{name}");
            assert_eq!(told.json(), body, "{name}");
            assert_eq!(told.header("content-type"), Some(content_type), "{name}");
            assert_eq!(told.header("cache-control"), Some("no-store"), "{name}");
            assert_eq!(told.header("retry-after").is_some(), status == 503, "{name}");
            assert_eq!(told.header("www-authenticate").is_some(), status != 503, "{name}");
            let docs = (path != "/anthropic/x").then_some("https://example.com/help");
            assert_eq!(told.header("x-docs"), docs, "{name}");
        }
    }
}

#[tokio::test]
async fn the_challenge_is_the_same_in_every_format() {
    let mut gateway = Gateway::start(CONFIG).await;
    for (path, scope) in
        [("/x", "read"), ("/problem", "read"), ("/openai", "admin"), ("/anthropic", "read")]
    {
        let told = gateway.told(path, Some("expired-key")).await;
        let expected = format!(
            "Bearer realm=\"claimgate\", error=\"invalid_token\", \
             error_description=\"the API key has expired\", scope=\"{scope}\""
        );
        assert_eq!(told.header("www-authenticate"), Some(&*expected), "{path}");
    }
}

#[tokio::test]
async fn what_is_denied_without_a_route_has_the_default_format() {
    let config = CONFIG.replace("  routes:", "  error_format: anthropic\n  routes:");
    let mut gateway = Gateway::start(&config).await;
    let told = gateway.told("/x%2f..%2fopenai", Some("good-key")).await;
    assert_eq!((told.status, told.reason.as_str()), (400, "ambiguous_path"));
    assert_eq!(told.json()["error"]["type"], "invalid_request_error");
    assert_eq!(told.header("x-docs"), Some("https://example.com/help"));
}

#[tokio::test]
async fn a_missing_permission_is_told_in_the_format_of_the_route() {
    let mut gateway = Gateway::start(CONFIG).await;
    let told = gateway.told("/openai/x", Some("good-key")).await;
    assert_eq!((told.status, told.grpc_code), (403, 7));
    let error = json!({"message": "the token does not grant the required scope",
        "type": "invalid_request_error", "param": null, "code": "insufficient_permissions"});
    assert_eq!(told.json(), json!({"error": error}));
    let challenge = told.header("www-authenticate").unwrap();
    assert!(challenge.contains("error=\"insufficient_scope\""), "{challenge}");
}

/// Envoy puts the body into `grpc-message`.
#[tokio::test]
async fn grpc_callers_are_told_the_short_way() {
    let mut gateway = Gateway::start(CONFIG).await;
    for path in ["/x", "/problem", "/openai", "/anthropic"] {
        let headers = [("content-type", "application/grpc")];
        let told = Told::of(gateway.send("POST", path, &headers).await);
        let expected = json!({"error": "unauthorized",
            "error_description": "no bearer token was sent"});
        assert_eq!(told.json(), expected, "{path}");
        assert_eq!(told.header("content-type"), Some("application/json"), "{path}");
    }
}

/// A denial never repeats the token, the client's headers or its path.
#[tokio::test]
async fn no_format_repeats_what_was_sent() {
    let mut gateway = Gateway::start(CONFIG).await;
    for path in ["/x", "/problem", "/openai", "/anthropic"] {
        let path = format!("{path}/secret-path?q=secret-query");
        let told = gateway.told(&path, Some("secret-token")).await;
        let headers: String = told.headers.values().map(String::as_str).collect();
        for text in [&told.body, &headers] {
            assert!(!text.contains("secret"), "{path}: {text}");
        }
    }
    assert!(gateway.metrics.encode().unwrap().contains("reason=\"unknown_key\"} 4"));
}

/// Two servers of one host, and the same path on another host.
const RESOURCES: &str = r#"
auth:
  providers:
    - name: issuer
      type: oauth2
      issuer: http://127.0.0.1:9
      audience: us
  public_paths: [/.well-known/oauth-protected-resource/public]
  routes:
    - name: tools
      match: {path_prefix: /tools}
      error_format: problem
      required_scopes: [use]
      protected_resource: {resource: "https://api.example.com/tools", resource_name: Tools}
    - name: other
      match: {path_prefix: /other}
      protected_resource: {resource: "https://other.example.com/tools"}
    - name: public
      match: {path_prefix: /public}
      protected_resource: {resource: "https://api.example.com/public"}
"#;

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

#[tokio::test]
async fn the_challenge_names_the_metadata_and_the_metadata_is_answered() {
    let mut gateway = Gateway::start(RESOURCES).await;
    let told = gateway.told("/tools/x", None).await;
    let url = format!("https://api.example.com{WELL_KNOWN}/tools");
    let challenge =
        format!("Bearer realm=\"claimgate\", scope=\"use\", resource_metadata=\"{url}\"");
    assert_eq!(told.header("www-authenticate"), Some(&*challenge));
    let told = gateway.told("/tools/x", Some("no-jwt")).await;
    let challenge = told.header("www-authenticate").unwrap();
    assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
    assert!(challenge.ends_with(&format!(", resource_metadata=\"{url}\"")), "{challenge}");
    let told = gateway.told("/x", None).await;
    assert_eq!(told.header("www-authenticate"), Some("Bearer realm=\"claimgate\""));

    for method in ["GET", "HEAD"] {
        let path = format!("{WELL_KNOWN}/tools?x=y");
        let told = Told::of(gateway.send(method, &path, &[]).await);
        assert_eq!((told.status, told.reason.as_str()), (200, "public"));
        assert_ne!(told.grpc_code, 0, "only the status keeps it from the upstream");
        let document = json!({"resource": "https://api.example.com/tools",
            "authorization_servers": ["http://127.0.0.1:9"], "scopes_supported": ["use"],
            "bearer_methods_supported": ["header"], "resource_name": "Tools"});
        assert_eq!(told.json(), document);
        let headers = [
            ("access-control-allow-origin", "*"),
            ("cache-control", "public, max-age=300"),
            ("content-type", "application/json"),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(told.headers, headers.into());
    }
    let metrics = gateway.metrics.encode().unwrap();
    for line in [
        r#"claimgate_checks_total{decision="allow",provider="",reason="public"} 2"#,
        r#"claimgate_check_duration_seconds_count{decision="allow"} 2"#,
        r#"claimgate_check_duration_seconds_count{decision="deny"} 3"#,
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
}

#[tokio::test]
async fn a_preflight_is_answered_too() {
    let mut gateway = Gateway::start(RESOURCES).await;
    let headers = [("origin", "https://a.example"), ("access-control-request-method", "GET")];
    let path = format!("{WELL_KNOWN}/tools");
    let told = Told::of(gateway.send("OPTIONS", &path, &headers).await);
    assert_eq!((told.status, told.body.as_str()), (204, ""));
    assert_eq!(told.header("access-control-allow-origin"), Some("*"));
    assert_eq!(told.header("access-control-allow-headers"), Some("*"));
}

#[tokio::test]
async fn other_requests_for_well_known_paths_are_ordinary() {
    let mut gateway = Gateway::start(RESOURCES).await;
    for (method, path) in [
        ("POST", "/tools"),
        ("DELETE", "/tools"),
        ("GET", ""),
        ("GET", "/tools/"),
        ("GET", "/tools/x"),
        ("GET", "//tools"),
        ("GET", "/%74ools"),
    ] {
        let path = format!("{WELL_KNOWN}{path}");
        let told = Told::of(gateway.send(method, &path, &[]).await);
        assert_eq!((told.status, told.reason.as_str()), (401, "missing_token"), "{method} {path}");
    }
    let public = gateway.send("GET", &format!("{WELL_KNOWN}/public"), &[]).await;
    assert_eq!(public.status.unwrap().code, 0, "a public path is the upstream's to answer");
}
