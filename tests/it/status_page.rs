//! The status page over HTTP, on the real service: the page and the JSON show
//! the same events, and nothing secret.

use claimgate::{Reason, issuer::signing::SigningKey, provider::oauth2::Algorithm, time::UnixTime};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::HttpRequest;
use reqwest::Response;
use serde_json::{Value, json};

use crate::support::{
    envoy::{self, check, on_route},
    folder::Folder,
    mint::{changed, header},
    service,
    wait::eventually,
};

const AUTH: &str = r#"
  providers:
    - name: keys
      type: api_key
      keys:
        - {name: client, key: good-key-abcdefghijklmno, scopes: [read]}
        - {name: old, key: expired-key-abcdefghijklmno, expires_at: 2020-01-01T00:00:00Z}
        - {name: new, key: early-key-abcdefghijklmno, not_before: 2100-01-01T00:00:00Z}
        - {name: stolen, key: revoked-key-abcdefghijklmno, revoked: true}
    - name: issuer
      type: oauth2
      issuer: https://issuer.example.com
      jwks_file: JWKS
      audience: us
      algorithms: [ES256]
      required_claims: {use: access}
      client_ids: [c1]
      max_token_lifetime_seconds: 7200
    - name: down
      type: oauth2
      issuer: http://127.0.0.1:9
      audience: us
  max_token_bytes: 4000
  routes:
    - {name: admin, match: {path_prefix: /admin}, required_scopes: [admin-scope]}
    - {name: team, match: {path_prefix: /team}, required_claims: {team: search}}
"#;

/// The service inside this process, with its config file.
struct Service {
    folder: Folder,
    key: SigningKey,
    running: service::Service,
    checks: envoy::Client,
}

impl Service {
    async fn start() -> Self {
        Self::with("address: '127.0.0.1:0'").await
    }

    /// With these keys under `server.admin`.
    async fn with(admin: &str) -> Self {
        let key = SigningKey::generate(Algorithm::Es256).unwrap();
        let folder = Folder::with_keys("", &[&key]);
        write(&folder, admin, AUTH);
        let running = service::Service::start(&folder.config()).await;
        let checks = envoy::connect(&running.grpc).await;
        Self { folder, key, running, checks }
    }

    async fn reload(&self, admin: &str, auth: &str) {
        write(&self.folder, admin, auth);
        self.running.reload().await;
    }

    async fn get(&self, path: &str) -> Response {
        reqwest::get(format!("http://{}{path}", self.running.admin)).await.unwrap()
    }

    async fn status(&self, path: &str) -> u16 {
        self.get(path).await.status().as_u16()
    }

    async fn page(&self, path: &str) -> String {
        self.get(path).await.text().await.unwrap()
    }

    async fn json(&self) -> Value {
        self.get("/status.json").await.json().await.unwrap()
    }

    /// Sends a check with this token, and more about the request.
    async fn check(&mut self, request: HttpRequest, token: &str) {
        let mut request = request;
        if request.method.is_empty() {
            request.method = "GET".into();
        }
        if !token.is_empty() {
            request.headers.insert("authorization".into(), format!("Bearer {token}"));
        }
        let route = request.headers.remove("named-route");
        let mut request = check(request);
        if let Some(route) = route {
            request = on_route(request, &route);
        }
        self.checks.check(request).await.unwrap();
    }

    fn token(&self, header: Value, claims: Value) -> String {
        self.signed(&self.key, header, claims)
    }

    fn signed(&self, key: &SigningKey, header: Value, claims: Value) -> String {
        let now = UnixTime::now().as_seconds();
        let all = json!({
            "iss": "https://issuer.example.com", "sub": "me", "aud": "us", "use": "access",
            "client_id": "c1",
            "iat": now, "exp": now + 3600.0,
        });
        let (all, head) = (changed(all, claims), changed(self::header(&self.key, "ES256"), header));
        key.sign_with(&head, all.to_string().as_bytes()).unwrap()
    }

    async fn stop(self) {
        self.running.stop().await;
    }
}

fn write(folder: &Folder, admin: &str, auth: &str) {
    let auth = auth.replace("JWKS", folder.at("jwks.json").to_str().unwrap());
    let grpc = "grpc: {address: '127.0.0.1:0'}";
    folder.write("gateway.yaml", format!("server:\n  {grpc}\n  admin: {{{admin}}}\nauth:\n{auth}"));
}

fn to(path: &str, id: &str) -> HttpRequest {
    envoy::http("", path, &[("x-request-id", id)])
}

fn array<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value[key].as_array().unwrap_or_else(|| panic!("no {key} in {value}"))
}

#[tokio::test]
async fn it_is_there_on_loopback_or_if_asked_for() {
    for (admin, expected) in [
        ("address: '127.0.0.1:0'", 200),
        ("address: '127.0.0.1:0', status_page: false", 404),
        ("address: '0.0.0.0:0'", 404),
        ("address: '0.0.0.0:0', status_page: true", 200),
    ] {
        let service = Service::with(admin).await;
        for path in ["/", "/status.json"] {
            assert_eq!(service.status(path).await, expected, "{admin}: {path}");
        }
        service.stop().await;
    }
}

#[tokio::test]
async fn a_reload_turns_it_on_and_off() {
    let mut service = Service::with("address: '127.0.0.1:0', status_page: false").await;
    service.check(to("/before", ""), "").await;
    service.reload("address: '127.0.0.1:0', status_page: true", AUTH).await;
    eventually("it is on", async || service.status("/status.json").await == 200).await;
    assert_eq!(service.json().await["denials"], json!([]));
    assert_eq!(service.json().await["checks"]["reasons"], json!([]));
    service.check(to("/on", ""), "").await;
    assert_eq!(service.json().await["denials"][0]["path"], "/on");
    service.reload("address: '127.0.0.1:0', status_page: false", AUTH).await;
    eventually("it is off", async || service.status("/status.json").await == 404).await;
    service.stop().await;
}

#[tokio::test]
async fn a_name_must_be_allowed() {
    let ask = async |service: &Service, host: &str| {
        let client = reqwest::Client::new();
        let url = format!("http://{}/status.json", service.running.admin);
        client.get(url).header("host", host).send().await.unwrap().status().as_u16()
    };
    let service = Service::start().await;
    for host in ["localhost:9003", "LOCALHOST", "127.0.0.1", "[::1]:9003", "10.1.2.3:80"] {
        assert_eq!(ask(&service, host).await, 200, "{host}");
    }
    for host in ["rebound.example.com", "rebound.example.com:9003", "localhost.example.com"] {
        assert_eq!(ask(&service, host).await, 421, "{host}");
    }
    service.stop().await;
    let service = Service::with("address: '127.0.0.1:0', status_page: true").await;
    assert_eq!(ask(&service, "status.example.com").await, 200);
    service.stop().await;
}

#[tokio::test]
async fn denials_are_told_with_what_would_have_been_needed() {
    let mut service = Service::start().await;
    let kid = service.key.kid().to_owned();
    let token = |change| service.token(json!({}), change);
    let later = |seconds: f64| UnixTime::now().as_seconds() + seconds;
    let stranger = SigningKey::generate(Algorithm::Es256).unwrap();
    let forged = service.signed(&stranger, json!({}), json!({}));
    let long = "x".repeat(4001);
    let cases = [
        (Reason::MissingToken, "/", String::new(), "authorization: Bearer …"),
        (Reason::MalformedRequest, "/", "a,b".into(), "authorization: Bearer …"),
        (Reason::TokenTooLarge, "/", long, "max_token_bytes is 4000"),
        (Reason::UnknownKey, "/", "nobody".into(), "keys"),
        (Reason::UnknownIssuer, "/", token(json!({"iss": "x"})), "https://issuer.example.com"),
        (Reason::UnknownKid, "/", service.token(json!({"kid": "k"}), json!({})), &kid),
        (
            Reason::AlgorithmNotAllowed,
            "/",
            service.token(json!({"alg": "RS256"}), json!({})),
            "ES256",
        ),
        (Reason::WrongTokenType, "/", service.token(json!({"typ": "no"}), json!({})), "at+jwt"),
        (Reason::Expired, "/", token(json!({"exp": 1})), "30 s"),
        (Reason::WrongAudience, "/", token(json!({"aud": "them"})), "aud must hold us"),
        (Reason::WrongClaim, "/", token(json!({"use": "id"})), "use is \"access\""),
        (Reason::MalformedToken, "/", token(json!({"exp": "1"})), "times that are numbers"),
        (Reason::BadSignature, "/", forged, &kid),
        (Reason::NotYetValid, "/", token(json!({"nbf": later(600.0)})), "30 s"),
        (Reason::IssuedInFuture, "/", token(json!({"iat": later(600.0)})), "30 s"),
        (Reason::LifetimeTooLong, "/", token(json!({"exp": later(9000.0)})), "at most 7200 s"),
        (Reason::WrongClient, "/", token(json!({"client_id": "c2"})), "client_ids: c1"),
        (Reason::MissingClaim, "/team", token(json!({})), "needed: team is \"search\" (route)"),
        (
            Reason::AmbiguousPath,
            "/%2561dmin",
            "good-key-abcdefghijklmno".into(),
            "read as it stands, the path is /%2561dmin and leads to no route; read decoded until \
             nothing changes (several servers in a row), the path is /admin and leads to route \
             admin",
        ),
        (Reason::KeyNotYetValid, "/", "early-key-abcdefghijklmno".into(), "new"),
        (Reason::KeyExpired, "/", "expired-key-abcdefghijklmno".into(), "old"),
        (Reason::KeyRevoked, "/", "revoked-key-abcdefghijklmno".into(), "stolen"),
        (Reason::InsufficientScope, "/admin", "good-key-abcdefghijklmno".into(), "admin-scope"),
        (
            Reason::ProviderUnavailable,
            "/",
            token(json!({"iss": "http://127.0.0.1:9"})),
            "127.0.0.1:9",
        ),
    ];
    for (number, (reason, path, token, _)) in cases.iter().enumerate() {
        let path = format!("{path}?access_token=query-secret");
        service.check(to(&path, &format!("id-{number}")), token).await;
        let json = service.json().await;
        assert_eq!(json["denials"][0]["reason"], reason.as_str());
    }
    let json = service.json().await;
    assert_eq!(array(&json, "denials").len(), cases.len());
    for (number, (reason, path, _, wanted)) in cases.iter().enumerate() {
        let denial = &json["denials"][cases.len() - 1 - number];
        let told = denial["wanted"].as_str().unwrap_or_default();
        assert!(told.contains(wanted), "{reason}: {told}");
        assert_eq!(denial["request_id"], format!("id-{number}"));
        assert_eq!((&denial["path"], &denial["host"]), (&json!(path), &json!("api.example.com")));
    }
    let reasons = array(&json["checks"], "reasons");
    for (reason, ..) in &cases {
        let counted = reasons.iter().find(|counted| counted["reason"] == reason.as_str());
        assert_eq!(counted.unwrap_or_else(|| panic!("{reason}"))["count"], 1, "{reason}");
    }
    let page = service.page("/").await;
    for (number, (reason, ..)) in cases.iter().enumerate() {
        let link = format!("/docs/reasons.md#{reason}\"");
        assert_eq!(page.matches(&link).count(), 2, "{reason}: in the counts and in the list");
        assert!(page.contains(&format!(">id-{number}<")), "{reason}");
        let meaning = reason.description().replace('\'', "&#39;");
        assert!(page.contains(&meaning), "{reason}");
    }
    let text = json.to_string() + &page;
    let secrets = cases.iter().map(|(.., token, _)| token.as_str()).filter(|token| token.len() > 3);
    for secret in secrets.chain(["query-secret", "good-key"]) {
        assert!(!text.contains(secret) || secret == "nobody", "{secret} is told");
    }
    provoke_what_has_no_token(&mut service).await;
    let known: Vec<_> = cases.iter().map(|(reason, ..)| reason.as_str()).collect();
    // `limits.rs` provokes `rate_limited`.
    let elsewhere = ["ok", "public", "disabled", "unknown_route", "internal", "rate_limited"];
    for reason in Reason::ALL.iter().map(|reason| reason.as_str()) {
        assert!(known.contains(&reason) != elsewhere.contains(&reason), "{reason}");
    }
    let mut named = to("/", "named");
    named.headers.insert("named-route".into(), "nowhere".into());
    service.check(named, "").await;
    let json = service.json().await;
    let denial = &json["denials"][0];
    assert_eq!((&denial["reason"], &denial["route"]), (&json!("unknown_route"), &json!("nowhere")));
    assert_eq!(denial["wanted"], "known routes: admin, team");
    let found: Value = service.get("/status.json?request_id=id-3").await.json().await.unwrap();
    assert_eq!(array(&found, "denials").len(), 1);
    assert_eq!(found["denials"][0]["reason"], "unknown_key");
    let found = service.page("/?request_id=id-3").await;
    assert_eq!(found.matches(">id-3<").count(), 2, "on its own and in the list");
    assert!(found.contains("id=\"found\""));
    let not_found = service.page("/?request_id=%3Cb%3Eid-33").await;
    assert!(not_found.contains("Request &#60;b&#62;id-33"), "{not_found}");
    assert!(not_found.contains(&format!("not among the last {} denials", cases.len() + 5)));
    service.stop().await;
}

/// Denials that tell of the request itself.
async fn provoke_what_has_no_token(service: &mut Service) {
    let endless = format!("/{}#", "x".repeat(300));
    for (path, reason, wanted) in [
        ("/a#access_token=query-secret", "ambiguous_path", "the path holds a `#`"),
        ("/a%2500", "ambiguous_path", "the path holds a control character once it is decoded"),
        (&endless, "ambiguous_path", "what makes the path ambiguous is beyond what is kept of it"),
        ("", "malformed_request", "a method and a path"),
    ] {
        service.check(to(path, ""), "").await;
        let denial = &service.json().await["denials"][0];
        assert_eq!((&denial["reason"], &denial["wanted"]), (&json!(reason), &json!(wanted)));
        assert!(!denial.to_string().contains("secret"), "{denial}");
    }
}

#[tokio::test]
async fn key_ids_of_any_length_and_kind_leave_the_page_small() {
    let mut service = Service::start().await;
    let long = format!("<b>\u{202e}{}", "k".repeat(50_000));
    let jwk = |number| {
        let mut jwk = service.key.jwk().clone();
        jwk["kid"] = format!("{number}{long}").into();
        jwk
    };
    let jwks = json!({"keys": (0..8).map(jwk).collect::<Vec<_>>()}).to_string();
    service.folder.write("jwks.json", jwks);
    service.running.reload().await;
    eventually("the keys are there", async || {
        array(&service.json().await["providers"][1]["keys"], "usable").len() == 8
    })
    .await;
    let token = service.token(json!({"kid": long}), json!({}));
    for _ in 0..200 {
        service.check(to("/", ""), &service.token(json!({"kid": "no"}), json!({}))).await;
    }
    service.check(to("/", &long), &token).await;
    let page = service.page("/").await;
    assert!(page.len() < 1_000_000, "{}", page.len());
    assert!(!page.contains("<b>\\u") && !page.contains('\u{202e}'), "a kid is markup");
    let json = service.json().await;
    assert!(json["denials"].to_string().len() < 1_000_000);
    service.stop().await;
}

#[tokio::test]
async fn no_value_becomes_markup() {
    const MARKUP: &str = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>&lt;";
    let mut service = Service::start().await;
    let before = service.page("/").await;
    let host = HttpRequest { host: MARKUP.into(), ..to("/", MARKUP) };
    let method = HttpRequest { method: MARKUP.into(), ..to("/", "") };
    let unseen = to("/\u{202e}txt.exe\u{200b}\n\u{0}", "");
    for request in [to(&format!("/{MARKUP}"), ""), host, method, unseen] {
        service.check(request, "").await;
    }
    // The subject of a caller who lacks a scope, and its kid.
    let token = service.token(json!({}), json!({"sub": MARKUP, "use": "access"}));
    service.check(to("/admin", ""), &token).await;
    let token = service.token(json!({"kid": MARKUP}), json!({}));
    service.check(to("/", ""), &token).await;

    let query: String = MARKUP.bytes().map(|byte| format!("%{byte:02x}")).collect();
    for path in ["/".to_owned(), format!("/?request_id={query}")] {
        let page = service.page(&path).await;
        for tag in ["<script", "<img", "<style", "<iframe"] {
            assert_eq!(page.matches(tag).count(), before.matches(tag).count(), "{tag}");
        }
        assert!(page.contains("&#34;&#39;&#62;&#60;script&#62;alert(1)"), "{page}");
        assert!(page.contains(r"/\u{202e}txt.exe\u{200b}\n\u{0}"), "{page}");
        assert!(!page.contains(['\u{202e}', '\u{0}', '\u{200b}']));
    }
    let json = service.page("/status.json").await;
    assert!(!json.contains(['\u{202e}', '\u{0}', '\u{200b}']), "{json}");
    let json = service.json().await;
    assert_eq!(json["denials"][2]["path"], r"/\u{202e}txt.exe\u{200b}\n\u{0}");
    assert_eq!(json["denials"][1]["subject"], MARKUP);
    assert_eq!(json["denials"][4]["host"], MARKUP);
    service.stop().await;
}

/// `good-key` and subjects are on the default plan.
const PLANS: &str = "  plans: {free: {requests: {per_hour: 2}}, gold: {requests: {per_hour: 9}}}
  default_plan: free
";

#[tokio::test]
async fn who_is_limited_and_who_would_be_are_told_apart() {
    const MARKUP: &str = "<script>alert(1)</script>";
    let in_force = async |service: &Service, mode: &str| {
        let auth = format!("{AUTH}{PLANS}  limits: {mode}\n");
        service.reload("address: '127.0.0.1:0'", &auth).await;
        eventually("it is in force", async || service.json().await["limits"]["mode"] == mode).await;
    };
    let mut service = Service::start().await;
    assert_eq!(service.json().await["limits"], Value::Null);
    let before = service.page("/").await;
    assert!(!before.contains("id=\"limits\""));

    in_force(&service, "local").await;
    assert_eq!(service.json().await["limits"]["limited"], json!([]));
    for number in 0..5 {
        service.check(to("/", &format!("local-{number}")), "good-key-abcdefghijklmno").await;
    }
    in_force(&service, "shadow").await;
    for number in 0..4 {
        service.check(to("/", &format!("shadow-{number}")), "good-key-abcdefghijklmno").await;
    }
    let token = service.token(json!({}), json!({"sub": MARKUP}));
    for _ in 0..3 {
        service.check(to("/", "markup"), &token).await;
    }

    let json = service.json().await;
    let limits = &json["limits"];
    assert_eq!((&limits["callers"], &limits["max_callers"]), (&json!(2), &json!(100_000)));
    let free = json!({"name": "free", "is_default": true, "requests": "2 an hour", "tokens": null,
        "within": 4, "over": 3, "would_be_over": 5});
    let gold = json!({"name": "gold", "is_default": false, "requests": "9 an hour", "tokens": null,
        "within": 0, "over": 0, "would_be_over": 0});
    assert_eq!(limits["plans"], json!([free, gold]));
    let [client, markup] = array(limits, "limited") else { panic!("two: {limits}") };
    for (caller, key, over, would_be_over) in
        [(client, "keys/client".to_owned(), 3, 4), (markup, format!("issuer/{MARKUP}"), 0, 1)]
    {
        assert_eq!((&caller["plan"], &caller["limit_key"]), (&json!("free"), &json!(key)));
        assert_eq!(caller["over"], over, "{key}");
        assert_eq!(caller["would_be_over"], would_be_over, "{key}");
    }
    let detail = client["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("plan free for keys/client: 2 an hour, 0 left, 1 wanted"),
        "{detail}"
    );

    // Denials are what was denied.
    let denials = array(&json, "denials");
    assert_eq!(denials.len(), 3);
    assert_eq!(
        (&denials[0]["request_id"], &denials[0]["would_be"]),
        (&json!("local-4"), &json!(false))
    );
    assert_eq!(denials[0]["limit_key"], "keys/client");
    let causes = array(&json, "causes");
    assert_eq!(causes.len(), 1, "{causes:?}");
    assert_eq!((&causes[0]["count"], &causes[0]["plan"]), (&json!(3), &json!("free")));
    let reasons = array(&json["checks"], "reasons");
    let counted = reasons.iter().find(|counted| counted["reason"] == "rate_limited").unwrap();
    assert_eq!(counted["count"], 3);
    let would_be = array(limits, "would_be_denials");
    assert_eq!(would_be.len(), 5);
    assert!(would_be.iter().all(|it| it["reason"] == "rate_limited" && it["would_be"] == true));
    assert_eq!(
        (&would_be[1]["request_id"], &would_be[1]["key"]),
        (&json!("shadow-3"), &json!("client"))
    );

    let one =
        service.get("/status.json?limit_key=keys%2Fclient").await.json::<Value>().await.unwrap();
    assert_eq!(array(&one, "denials").len(), 3);
    assert_eq!(array(&one["limits"], "would_be_denials").len(), 4);
    let allowed = "allowed: limits are only tried out";
    for (path, expected) in
        [("/", 5), ("/?limit_key=keys%2Fclient", 4), ("/?request_id=shadow-0&limit_key=-", 1)]
    {
        let page = service.page(path).await;
        assert_eq!(page.matches(allowed).count(), expected, "{path}");
        assert!(page.contains("Limits are only tried out, nothing is denied."), "{path}");
        assert!(page.contains("keys/client") && page.contains("2 an hour"), "{path}");
        assert_eq!(page.matches("<script").count(), before.matches("<script").count());
        assert!(!page.contains("good-key"));
    }

    in_force(&service, "metadata").await;
    assert!(service.page("/").await.contains("Envoy is told the limits"));
    service.stop().await;
}

#[tokio::test]
async fn a_browser_is_told_to_run_nothing_else() {
    let service = Service::start().await;
    let answer = service.get("/").await;
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "text/html; charset=utf-8");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert_eq!(header("cache-control"), "no-store");
    assert_eq!(header("referrer-policy"), "no-referrer");
    assert_eq!(header("x-frame-options"), "DENY");
    let policy = header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    let page = answer.text().await.unwrap();
    for (tag, directive) in [("style", "style-src"), ("script", "script-src")] {
        let start = page.find(&format!("<{tag}>")).unwrap() + tag.len() + 2;
        let end = page.find(&format!("</{tag}>")).unwrap();
        let digest =
            aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &page.as_bytes()[start..end]);
        let hash = base64_simd::STANDARD.encode_to_string(digest.as_ref());
        assert!(policy.contains(&format!("{directive} 'sha256-{hash}'")), "{policy}");
    }
    let elsewhere = page.matches("https://").count();
    let links = page.matches("href=\"https://").count() + page.matches(">https://").count();
    assert_eq!(elsewhere, links, "addresses are linked to or told, never loaded");
    let answer = service.get("/status.json").await;
    assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    service.stop().await;
}

#[tokio::test]
async fn the_configuration_and_its_failures_are_told() {
    let service = Service::start().await;
    let json = service.json().await;
    assert_eq!((&json["state"], &json["version"]), (&json!("not_ready"), &json!("0.1.0")));
    assert_eq!(json["config"]["enabled"], true);
    let digest = |json: &Value| json["config"]["digest"].as_str().unwrap().to_owned();
    assert_eq!(digest(&json).len(), "sha256:".len() + 64);
    let keys = &json["providers"][1]["keys"];
    assert_eq!(keys["usable"][0]["kid"], service.key.kid());
    assert_eq!(keys["usable"][0]["algorithms"], json!(["ES256"]));
    assert_eq!((&keys["source"], &keys["last_fetch"]), (&json!("jwks_file"), &Value::Null));
    let names = |json: &Value| -> Vec<(String, String)> {
        let text = |key: &Value, name: &str| key[name].as_str().unwrap().to_owned();
        array(json, "api_keys").iter().map(|key| (text(key, "name"), text(key, "state"))).collect()
    };
    let pair = |name: &str, state: &str| (name.to_owned(), state.to_owned());
    let expected = [
        pair("old", "expired"),
        pair("client", "valid"),
        pair("new", "not_yet_valid"),
        pair("stolen", "revoked"),
    ];
    assert_eq!(names(&json), expected);
    eventually("the failed fetch is told", async || {
        let json = service.json().await;
        let keys = &json["providers"][2]["keys"];
        keys["last_error"].is_string()
            && keys["last_fetch"].is_string()
            && keys["next_fetch"].is_string()
    })
    .await;

    let page = service.page("/").await;
    for told in [service.key.kid(), "ES256", "stolen", "revoked", &digest(&json)] {
        assert!(page.contains(told), "{told}");
    }

    let admin = "address: '127.0.0.1:0'";
    service.reload(admin, "  no_such_key: 1\n").await;
    eventually("the failure is told", async || {
        service.json().await["config"]["failed_reload"].is_object()
    })
    .await;
    let failed = service.json().await;
    assert_eq!(digest(&failed), digest(&json), "the old one is in force");
    let error = failed["config"]["failed_reload"]["error"].as_str().unwrap();
    assert!(error.contains("no_such_key"), "{error}");
    assert!(service.page("/").await.contains("no_such_key"));
    let problem = &failed["problems"][0];
    assert!(problem["text"].as_str().unwrap().contains("no_such_key"), "{problem}");

    service.reload(admin, "  enabled: false\n").await;
    eventually("the new one is in force", async || digest(&service.json().await) != digest(&json))
        .await;
    let json = service.json().await;
    assert_eq!(json["config"]["failed_reload"], Value::Null);
    assert_eq!(json["config"]["enabled"], false);
    assert!(json["problems"][0]["text"].as_str().unwrap().contains("switched off"));
    service.stop().await;
}

#[tokio::test]
async fn the_memory_is_bounded() {
    let mut service = Service::start().await;
    let long = "p".repeat(5000);
    for number in 0..220 {
        service.check(to(&format!("/{number}/{long}"), &long), "").await;
    }
    let json = service.json().await;
    let denials = array(&json, "denials");
    assert_eq!(denials.len(), 200);
    let lengths = denials.iter().map(|denial| denial["path"].as_str().unwrap().len());
    assert!(lengths.max().unwrap() <= 256);
    assert!(denials[0]["path"].as_str().unwrap().starts_with("/219/"));
    let found = service.get(&format!("/status.json?request_id={long}")).await;
    assert_eq!(array(&found.json().await.unwrap(), "denials").len(), 200);
    service.stop().await;
}
