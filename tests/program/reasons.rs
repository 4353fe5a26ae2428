//! Every reason, provoked on the real program over gRPC: the response's
//! metadata, the log line, the metric and `claimgate explain` have the same
//! word, and `explain` names the cause.
//!
//! `internal` needs a defect of the program, so `check_service.rs` provokes it
//! with a provider that panics.

use std::{
    collections::{BTreeSet, HashMap},
    process::Command,
    sync::mpsc,
    time::Duration,
};

use claimgate::{Reason, issuer::signing::SigningKey, provider::oauth2::Algorithm, time::UnixTime};
use envoy_types::pb::envoy::service::auth::v3::CheckRequest;
use prost::Message;
use serde_json::{Value, json};

use crate::support::{
    envoy::{Client, check, connect, http, http_of, on_route, reason, status},
    folder::Folder,
    http::fetch,
    mint::{changed, header},
    process::{CLAIMGATE, Process},
};

const LIMIT: Duration = Duration::from_secs(20);

const CONFIG: &str = r#"
server:
  grpc: {address: "127.0.0.1:0"}
  admin: {address: "127.0.0.1:0"}
auth:
  providers:
    - name: keys
      type: api_key
      keys:
        - {name: client, key: good-key, scopes: [read]}
        - {name: old, key: expired-key, expires_at: 2020-01-01T00:00:00Z}
        - {name: new, key: early-key, not_before: 2100-01-01T00:00:00Z}
        - {name: stolen, key: revoked-key, revoked: true}
    - name: issuer
      type: oauth2
      issuer: https://issuer.example.com
      jwks_file: JWKS
      audience: us
      client_ids: [c1]
      required_claims: {use: access}
      max_token_lifetime_seconds: 7200
    - name: down
      type: oauth2
      issuer: http://127.0.0.1:9
      audience: us
  max_token_bytes: 4000
  public_paths: [/health]
  routes:
    - {name: admin, match: {path_prefix: /admin}, required_scopes: [admin]}
    - {name: team, match: {path_prefix: /team}, required_claims: {team: search}}
"#;

/// The real program, its log and its ports.
struct Program {
    process: Process,
    log: mpsc::Receiver<Value>,
    folder: Folder,
}

impl Program {
    fn start(config: &str, key: &SigningKey) -> Self {
        let folder = Folder::with_keys(config, &[key]);
        let mut process = Process::start(&folder.config(), "claimgate=debug");
        let lines = process.log();
        let (tell, log) = mpsc::channel();
        std::thread::spawn(move || {
            for line in lines {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        Self { process, log, folder }
    }

    async fn client(&self) -> Client {
        connect(&self.process.grpc).await
    }

    /// The output of `claimgate explain` for a captured request, with only the
    /// config; its long lines, which are wrapped, in one.
    fn explain(&self, captured: &[u8]) -> String {
        self.folder.write("request", captured);
        self.explain_as("text")
    }

    /// The `detail` of the request that was explained last.
    fn explained_detail(&self) -> Option<String> {
        let told: Value = serde_json::from_str(&self.explain_as("json")).unwrap();
        told["detail"].as_str().map(Into::into)
    }

    fn explain_as(&self, format: &str) -> String {
        let told = Command::new(CLAIMGATE)
            .args(["explain", "--output", format, "--config"])
            .arg(self.folder.config())
            .arg("--check-request")
            .arg(self.folder.at("request"))
            .output()
            .unwrap();
        let told = String::from_utf8(told.stdout).unwrap();
        told.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// The counts of `claimgate_checks_total`, by reason.
    async fn counts(&self) -> HashMap<String, u64> {
        let (_, metrics) = fetch(&self.process.admin, "/metrics").await;
        let mut counts = HashMap::new();
        for line in metrics.lines().filter(|line| line.starts_with("claimgate_checks_total{")) {
            let (_, reason) = line.split_once("reason=\"").unwrap();
            let (reason, rest) = reason.split_once('"').unwrap();
            let count: u64 = rest.rsplit_once(' ').unwrap().1.parse().unwrap();
            *counts.entry(reason.to_owned()).or_default() += count;
        }
        counts
    }
}

fn wait_for(log: &mpsc::Receiver<Value>, wanted: impl Fn(&Value) -> bool) -> Value {
    loop {
        let entry = log.recv_timeout(LIMIT).expect("a log line");
        if wanted(&entry) {
            return entry;
        }
    }
}

fn request(method: &str, path: &str, id: &str, token: &str) -> CheckRequest {
    let headers = [("authorization", token), ("x-request-id", id)];
    let sent: Vec<_> = headers.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    check(http(method, path, &sent))
}

/// Mints tokens with one defect.
struct Mint<'k> {
    key: &'k SigningKey,
    now: f64,
}

impl Mint<'_> {
    fn token(&self, change: Value) -> String {
        self.with_header(header(self.key, "ES256"), change)
    }

    fn with_header(&self, header: Value, change: Value) -> String {
        let claims = json!({
            "iss": "https://issuer.example.com", "sub": "me", "aud": "us", "client_id": "c1",
            "use": "access", "iat": self.now, "exp": self.now + 3600.0,
        });
        let claims = changed(claims, change).to_string();
        let token = self.key.sign_with(&header, claims.as_bytes()).unwrap();
        format!("Bearer {token}")
    }
}

/// Reason, status, request, what `explain` shows, `detail`, and who it is.
type Case<'c> = (Reason, i32, CheckRequest, &'c str, &'c str, [Option<&'c str>; 3]);

#[tokio::test]
async fn every_reason_is_one_word_everywhere() {
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let stranger = SigningKey::generate(Algorithm::Es256).unwrap();
    let program = Program::start(CONFIG, &key);
    let now = UnixTime::now().as_seconds();
    let mint = Mint { key: &key, now };
    let forged = Mint { key: &stranger, now }.with_header(header(&key, "ES256"), json!({}));
    let kid = |kid: &str| json!({"alg": "ES256", "kid": kid});
    let long = format!("Bearer {}", "x".repeat(4001));

    let get = |path: &str, token: &str| request("GET", path, "", token);
    let (me, nobody) = ([Some("me"), Some("c1"), None], [None; 3]);
    let keyed = |name| [Some(name), None, Some(name)];
    let cases: Vec<Case<'_>> = vec![
        (
            Reason::Ok,
            200,
            get("/", &mint.token(json!({}))),
            "provider issuer: authenticated",
            "",
            me,
        ),
        (Reason::Public, 200, get("/health", ""), "the path is one of public_paths", "", nobody),
        (
            Reason::MissingToken,
            401,
            get("/", ""),
            "header authorization (Bearer): not sent",
            "header authorization (Bearer): not sent",
            nobody,
        ),
        (
            Reason::MalformedRequest,
            400,
            get("/", "Bearer a,b"),
            "a comma, so two credentials in one header",
            "header authorization (Bearer): a comma, so two credentials in one header",
            nobody,
        ),
        (
            Reason::MalformedToken,
            401,
            get("/", "Bearer a.b.c"),
            "not a readable JWT: its header is not base64url",
            "its header is not base64url",
            nobody,
        ),
        (
            Reason::TokenTooLarge,
            401,
            get("/", &long),
            "longer than max_token_bytes (4000)",
            "a token of 4001 bytes; max_token_bytes: 4000",
            nobody,
        ),
        (
            Reason::UnknownKey,
            401,
            get("/", "Bearer unknown"),
            "no API key has this hash",
            "not known to keys",
            nobody,
        ),
        (
            Reason::UnknownIssuer,
            401,
            get("/", &mint.token(json!({"iss": "https://other"}))),
            r#"its iss is "https://other""#,
            "iss https://other, trusted: https://issuer.example.com, http://127.0.0.1:9",
            nobody,
        ),
        (
            Reason::UnknownKid,
            401,
            get("/", &mint.with_header(kid("other"), json!({}))),
            "kid other, the issuer has ",
            "kid other, the issuer has ",
            nobody,
        ),
        (
            Reason::WrongTokenType,
            401,
            get("/", &mint.with_header(json!({"alg": "ES256", "typ": "dpop+jwt"}), json!({}))),
            "typ dpop+jwt, accepted: jwt, at+jwt",
            "typ dpop+jwt, accepted: jwt, at+jwt",
            nobody,
        ),
        (
            Reason::AlgorithmNotAllowed,
            401,
            get("/", &mint.with_header(json!({"alg": "none"}), json!({}))),
            "signed with none, allowed: RS256, ES256",
            "signed with none, allowed: RS256, ES256",
            nobody,
        ),
        (
            Reason::BadSignature,
            401,
            get("/", &forged),
            "the signature does not verify with the issuer's key ",
            "the signature does not verify with the issuer's key ",
            nobody,
        ),
        (
            Reason::Expired,
            401,
            get("/", &mint.token(json!({"exp": now - 60.0}))),
            " s ago, at 20",
            "expired 6",
            me,
        ),
        (
            Reason::NotYetValid,
            401,
            get("/", &mint.token(json!({"nbf": now + 600.0}))),
            " s, from 20",
            "valid in ",
            me,
        ),
        (
            Reason::IssuedInFuture,
            401,
            get("/", &mint.token(json!({"iat": now + 600.0}))),
            " s ahead of this clock, at 20",
            "issued ",
            me,
        ),
        (
            Reason::LifetimeTooLong,
            401,
            get("/", &mint.token(json!({"exp": now + 9000.0}))),
            "valid for 9000 s in all, allowed: 7200 s",
            "valid for 9000 s in all, allowed: 7200 s",
            me,
        ),
        (
            Reason::MissingClaim,
            403,
            get("/team", &mint.token(json!({}))),
            r#"policy: missing claim team, wanted: "search""#,
            r#"missing claim team, wanted: "search""#,
            me,
        ),
        (
            Reason::WrongAudience,
            401,
            get("/", &mint.token(json!({"aud": "them"}))),
            r#"aud is "them", wanted: us"#,
            r#"aud is "them", wanted: us"#,
            me,
        ),
        (
            Reason::WrongClient,
            401,
            get("/", &mint.token(json!({"client_id": "c2"}))),
            "client c2, allowed: c1",
            "client c2, allowed: c1",
            [Some("me"), Some("c2"), None],
        ),
        (
            Reason::WrongClaim,
            401,
            get("/", &mint.token(json!({"use": "id"}))),
            r#"claim use is "id", wanted: "access""#,
            r#"claim use is "id", wanted: "access""#,
            me,
        ),
        (
            Reason::KeyExpired,
            401,
            get("/", "Bearer expired-key"),
            "API key old expired ",
            " days ago, at 2020-01-01T00:00:00Z",
            keyed("old"),
        ),
        (
            Reason::KeyNotYetValid,
            401,
            get("/", "Bearer early-key"),
            "API key new is valid in ",
            " days, from 2100-01-01T00:00:00Z",
            keyed("new"),
        ),
        (
            Reason::KeyRevoked,
            401,
            get("/", "Bearer revoked-key"),
            "API key stolen is revoked",
            "API key stolen is revoked",
            keyed("stolen"),
        ),
        (
            Reason::InsufficientScope,
            403,
            get("/admin", "Bearer good-key"),
            "scopes missing: admin",
            "missing scope admin, granted: read",
            keyed("client"),
        ),
        (
            Reason::AmbiguousPath,
            400,
            get("/%2561dmin", "Bearer good-key"),
            "read decoded until nothing changes (several servers in a row), the path is /admin \
             and leads to route admin",
            "the path is /admin and leads to route admin",
            nobody,
        ),
        (
            Reason::UnknownRoute,
            500,
            on_route(get("/", "Bearer good-key"), "nowhere"),
            r#"Envoy names the route "nowhere", the config has admin, team"#,
            "Envoy names the route nowhere, known: admin, team",
            nobody,
        ),
        (
            Reason::ProviderUnavailable,
            503,
            get("/", &mint.token(json!({"iss": "http://127.0.0.1:9"}))),
            "its keys can't be fetched: http://127.0.0.1:9/",
            "its keys can't be fetched: http://127.0.0.1:9/",
            nobody,
        ),
    ];
    let mut client = program.client().await;
    let mut provoked = BTreeSet::new();
    for (number, case) in cases.into_iter().enumerate() {
        let (reason, expected, mut request, cause, detail, who) = case;
        let id = format!("request-{number}");
        http_of(&mut request).headers.insert("x-request-id".into(), id.clone());
        let before = program.counts().await;
        let captured = request.encode_to_vec();
        let response = client.check(request).await.expect("no RPC error").into_inner();
        assert_eq!(self::reason(&response), reason.as_str());
        assert_eq!(status(&response), expected, "{reason}");
        let line = wait_for(&program.log, |entry| entry["request_id"] == id.as_str());
        assert_eq!(line["reason"], reason.as_str());
        assert_eq!(["subject", "client_id", "key"].map(|name| line[name].as_str()), who, "{line}");
        let after = program.counts().await;
        let count =
            |counts: &HashMap<String, u64>| counts.get(reason.as_str()).copied().unwrap_or(0);
        assert_eq!(count(&after), count(&before) + 1, "{reason}");
        let told = program.explain(&captured);
        assert!(
            told.contains(&format!(": {reason} ({})", reason.description())),
            "{reason}: {told}"
        );
        assert!(told.contains(cause), "{reason}: no {cause:?} in\n{told}");
        // One sentence, made by one function.
        let explained = program.explained_detail();
        assert_eq!(explained.is_some(), expected != 200, "{reason}");
        for told in [line["detail"].as_str(), explained.as_deref()] {
            let told = told.unwrap_or_default();
            assert!(told.contains(detail), "{reason}: no {detail:?} in {told:?}");
            assert_eq!(told.is_empty(), expected == 200, "{reason}");
        }
        provoked.insert(reason.as_str());
    }
    // `rate_limited` needs requests before it, which `explain` has none of:
    // tests/it/limits.rs.
    let elsewhere = BTreeSet::from(["disabled", "internal", "rate_limited"]);
    let all: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(all.difference(&provoked).copied().collect::<BTreeSet<_>>(), elsewhere);
}

#[tokio::test]
async fn switched_off_is_a_reason_too() {
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let servers = CONFIG.split("auth:").next().unwrap();
    let program = Program::start(&format!("{servers}auth: {{enabled: false}}"), &key);
    let mut client = program.client().await;
    let told = program.explain(&request("GET", "/", "off", "").encode_to_vec());
    assert!(told.starts_with("allow: disabled"), "{told}");
    assert!(told.contains("authentication is switched off (enabled: false"), "{told}");
    let response = client.check(request("GET", "/", "off", "")).await.unwrap().into_inner();
    assert_eq!((self::reason(&response), status(&response)), ("disabled", 200));
    let line = wait_for(&program.log, |entry| entry["request_id"] == "off");
    assert_eq!(line["reason"], "disabled");
    assert_eq!(program.counts().await["disabled"], 1);
}
