//! `claimgate explain` as an on-call engineer runs it.

use std::{io::Write, net::TcpListener, path::Path, process::Stdio};

use claimgate::{
    envoy::capture::Capture, issuer::signing::SigningKey, provider::oauth2::Algorithm,
    time::UnixTime,
};
use serde_json::json;

use crate::support::{
    folder::Folder,
    process::{Ended, claimgate},
};

const CONFIG: &str = r#"
auth:
  providers:
    - name: keys
      type: api_key
      keys: [{name: client, key: good-key, scopes: [read]}]
    - name: issuer
      type: oauth2
      issuer: https://issuer.example.com
      jwks_file: JWKS
      audience: us
  token_sources:
    - {header: authorization, scheme: Bearer}
    - {header: x-api-key, providers: [keys]}
    - {cookie: session}
  forward_token: false
  routes:
    - {name: admin, match: {path_prefix: /admin}, required_scopes: [admin]}
"#;

fn folder(key: &SigningKey) -> Folder {
    Folder::with_keys(CONFIG, &[key])
}

/// Runs `explain` with `token` on stdin.
fn explain(folder: &Path, arguments: &[&str], token: Option<&str>) -> (i32, String, String) {
    let mut command = claimgate(folder, &["explain"]);
    command.args(arguments);
    if token.is_some() {
        command.args(["--token-file", "-"]);
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A command that fails early does not read it.
    let _ = writeln!(stdin, "{}", token.unwrap_or_default());
    drop(stdin);
    let Ended { code, stdout, stderr } = child.wait_with_output().unwrap().into();
    let fits = |line: &str| line.chars().count() <= 100 || arguments.contains(&"json");
    assert!(stdout.lines().all(fits), "{stdout}");
    // Long lines are wrapped, and what follows is indented by four.
    (code, stdout.replace("\n    ", " "), stderr)
}

/// Arguments, token, exit code and expected text on stdout.
type Case<'a> = (&'a [&'a str], Option<&'a str>, i32, &'a [&'a str]);

#[test]
fn the_verdict_comes_first_and_the_cause_follows() {
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let folder = folder(&key);
    let now = UnixTime::now().as_seconds();
    let claims = |exp: f64| json!({"iss": "https://issuer.example.com", "aud": "us", "sub": "me", "exp": exp});
    let good = key.sign(claims(now + 60.0).to_string().as_bytes()).unwrap();
    let expired = key.sign(claims(now - 60.0).to_string().as_bytes()).unwrap();
    let cases: [Case<'_>; 10] = [
        (
            &["--path", "/"],
            Some(&good),
            0,
            &[
                "allow: ok",
                "provider keys: not_mine",
                "provider issuer: authenticated",
                "x-auth-subject: me",
            ],
        ),
        (
            &["--path", "/"],
            Some(&expired),
            3,
            &[
                "deny: expired",
                "provider issuer: refused, expired",
                "expired ",
                " ago, at 20",
                "HTTP 401",
                "invalid_token",
            ],
        ),
        (&["--path", "/"], None, 3, &["deny: missing_token", "www-authenticate: Bearer realm"]),
        (
            &["--path", "/admin/x"],
            Some("good-key"),
            3,
            &[
                "deny: insufficient_scope",
                "route: admin (the first that matches)",
                "token: found in header authorization (Bearer): an opaque token",
                "provider issuer: not asked",
                "scopes wanted: admin",
                "scopes granted: read",
                "scopes missing: admin",
            ],
        ),
        (
            &["--path", "/", "--header", "X-Api-Key: good-key"],
            None,
            0,
            &["provider keys: authenticated", "authorization: (removed)", "x-api-key: (removed)"],
        ),
        (&["--path", "/", "--route", "admin"], Some("good-key"), 3, &["route: admin"]),
        (
            &["--path", "/", "--route", "none"],
            None,
            3,
            &["deny: unknown_route", "names the route \"none\", the config has admin", "HTTP 500"],
        ),
        (
            &["--path", "/a%00"],
            None,
            3,
            &["deny: ambiguous_path", "holds a control character", "HTTP 400"],
        ),
        (
            &["--path", "/", "--header", "authorization: Basic x", "--header", "x-api-key: a,b"],
            None,
            3,
            &[
                "deny: malformed_request",
                "header authorization (Bearer): sent, but with another scheme",
                "header x-api-key: a comma",
                "cookie session: not sent",
            ],
        ),
        // Of what the shell passes on, nothing reaches the terminal as it is.
        (&["--path", "/\u{1b}[31m"], None, 3, &["request: GET /\\u{1b}[31m on localhost"]),
    ];
    for (arguments, token, code, wanted) in cases {
        let (got, out, error) = explain(folder.path(), arguments, token);
        assert_eq!(got, code, "{arguments:?}: {out}{error}");
        for text in wanted {
            assert!(out.contains(text), "{arguments:?}: no {text:?} in\n{out}");
        }
        for secret in token.into_iter().chain(["good-key"]) {
            assert!(!out.contains(secret) && !error.contains(secret), "{arguments:?}: a secret");
        }
    }
}

#[test]
fn what_can_not_be_explained_is_an_error() {
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let folder = folder(&key);
    let cases: [(&[&str], i32, &str); 11] = [
        (&["--config", "gone.yaml", "--path", "/"], 1, "gone.yaml"),
        (&["--path", "/", "--token-file", "gone"], 1, "cannot read the token from gone"),
        (&["--path", "/", "--header", "nonsense"], 1, "name: value"),
        (&[], 1, "--path"),
        (&["--path", "/", "--at", "yesterday"], 1, "seconds since 1970"),
        (&["--path", "/", "--at", "request"], 1, "no captured request"),
        (&["--path", "/", "--jwks-file", "keys=x"], 1, "are: issuer"),
        (&["--path", "/", "--jwks-file", "issuer=gone"], 1, "gone"),
        (&["--check-request", "gone"], 1, "cannot read the captured request from gone"),
        (&["--check-request", "gateway.yaml"], 1, "neither a CheckRequest in JSON nor"),
        (&["--check-request", "x", "--path", "/"], 1, "cannot be used with"),
    ];
    for (arguments, code, wanted) in cases {
        let (got, out, error) = explain(folder.path(), arguments, None);
        assert_eq!(got, code, "{arguments:?}: {out}{error}");
        assert!(out.is_empty() && error.contains(wanted), "{arguments:?}: {error}");
    }
    let (code, _, error) = explain(folder.path(), &["--path", "/"], Some(""));
    assert!(code == 1 && error.contains("must hold the token"), "{error}");
}

#[test]
fn another_moment_can_be_asked_about() {
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let folder = folder(&key);
    let claims = json!({
        "iss": "https://issuer.example.com", "aud": "us", "nbf": 1_800_000_000,
        "exp": 1_800_000_060,
    });
    let token = key.sign(claims.to_string().as_bytes()).unwrap();
    let cases = [
        ("1800000030", "allow: ok"),
        ("2027-01-15T08:00:30Z", "allow: ok"),
        ("2027-01-15T09:00:30+01:00", "allow: ok"),
        ("2027-01-15T07:59:29Z", "deny: not_yet_valid"),
        ("2027-01-15T08:01:29Z", "allow: ok"),
        ("2027-01-15T08:01:30Z", "deny: expired"),
    ];
    for (at, expected) in cases {
        let (_, out, _) = explain(folder.path(), &["--path", "/", "--at", at], Some(&token));
        assert!(out.starts_with(expected), "{at}: {out}");
    }
}

#[test]
fn keys_can_come_from_a_file_instead() {
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let folder = folder(&key);
    // The config's own files are not needed then, nor are the listener's.
    let config = CONFIG.replace("jwks_file: JWKS", "ca_file: gone.pem")
        + "server: {grpc: {tls: {cert_file: gone.pem, key_file: gone.pem}}}\n";
    folder.write("gateway.yaml", config);
    let exp = UnixTime::now().as_seconds() + 60.0;
    let claims = json!({"iss": "https://issuer.example.com", "aud": "us", "exp": exp});
    let token = key.sign(claims.to_string().as_bytes()).unwrap();
    for keys in ["jwks.json", "issuer=jwks.json"] {
        let arguments = ["--path", "/", "--jwks-file", keys];
        let (code, out, error) = explain(folder.path(), &arguments, Some(&token));
        assert_eq!(code, 0, "{keys}: {out}{error}");
    }
}

#[test]
fn scripts_get_the_same_in_json() {
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let folder = folder(&key);
    let arguments = ["--path", "/admin?q=secret", "--output", "json", "--at", "1800000000"];
    let (code, out, _) = explain(folder.path(), &arguments, Some("good-key"));
    assert_eq!(code, 3);
    assert!(!out.contains("good-key") && !out.contains("secret"), "{out}");
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    let client = &told["client"];
    assert_eq!(client["headers"]["content-type"], "application/json");
    let expected = json!({
        "decision": "deny",
        "reason": "insufficient_scope",
        "description": "the token does not grant the required scope",
        "next": {
            "step": "let the issuer grant the client the missing scopes, or correct required_scopes",
            "see": concat!(
                env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/reasons.md#insufficient_scope"
            ),
        },
        "status": 403,
        "detail": "missing scope admin, granted: read",
        "at": "2027-01-15T08:00:00Z",
        "provider": "keys",
        "request": {"method": "GET", "host": "localhost", "path": "/admin"},
        "decided_early": null,
        "route": {"name": "admin", "how": "the first that matches", "public": false},
        "token": {
            "found_in": ["header authorization (Bearer)"],
            "sources": [
                {"source": "header authorization (Bearer)", "seen": "a token of 8 bytes"},
                {"source": "header x-api-key", "seen": "not sent"},
                {"source": "cookie session", "seen": "not sent"},
            ],
            "summary": "an opaque token, not a JWT",
            "issuer": null, "kid": null, "algorithm": null,
        },
        "providers": [
            {
                "name": "keys", "method": "api_key", "answer": "authenticated", "reason": null,
                "notes": ["it is the API key \"client\""],
            },
            {
                "name": "issuer", "method": "oauth2", "answer": "not_asked", "reason": null,
                "notes": ["one before it has authenticated the token"],
            },
        ],
        "caller": {"subject": "client", "client_id": null, "expires_at": null},
        "scopes": {"wanted": ["admin"], "granted": ["read"], "missing": ["admin"]},
        "policy": ["missing scope admin, granted: read"],
        "without_time_limit": null,
        "upstream": null,
        "client": client,
        "dynamic_metadata": {"provider": "keys", "reason": "insufficient_scope"},
    });
    assert_eq!(told, expected, "{out}");
}

/// JSON as protobuf maps it, and the binary message, from a file and from
/// stdin; a token that was removed is put back.
#[test]
fn a_captured_request_is_explained() {
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let folder = folder(&key);
    let captured = |token: &str| {
        json!({"attributes": {
            "source": {"principal": "spiffe://mesh/gateway"},
            "request": {"time": "2027-01-15T08:00:00Z", "http": {
                "id": "7", "method": "POST", "path": "/x?session=1", "host": "api.example.com",
                "headers": {":path": "/x?session=1", "authorization": token},
            }},
            "contextExtensions": {"claimgate_route": "admin"},
        }})
        .to_string()
    };
    let write = |name: &str, content: &[u8]| folder.write(name, content);
    write("good.json", captured("Bearer good-key").as_bytes());
    write("blotted.json", captured("Bearer ***").as_bytes());
    let binary = Capture::read(captured("Bearer good-key").as_bytes()).unwrap();
    write("good.bin", binary.message());
    let known = "deny: insufficient_scope";
    type Case<'a> = (&'a [&'a str], Option<&'a str>, &'a str);
    let cases: [Case<'_>; 5] = [
        (&["--check-request", "good.json"], None, known),
        (&["--check-request", "good.bin"], None, known),
        (&["--check-request", "blotted.json"], None, "deny: unknown_key"),
        (&["--check-request", "blotted.json"], Some("good-key"), known),
        (&["--check-request", "good.json", "--at", "request"], None, known),
    ];
    for (arguments, token, expected) in cases {
        let (code, out, error) = explain(folder.path(), arguments, token);
        assert!(code == 3 && out.starts_with(expected), "{arguments:?}: {out}{error}");
        assert!(out.contains("request: POST /x on api.example.com"), "{arguments:?}: {out}");
        assert!(out.contains("route: admin (named by Envoy's own route)"), "{arguments:?}: {out}");
        let at_its_time = out.contains("at 2027-01-15T08:00:00Z");
        assert_eq!(at_its_time, arguments.contains(&"request"), "{arguments:?}: {out}");
    }
    write("empty.json", b"{}");
    let (code, out, _) = explain(folder.path(), &["--check-request", "empty.json"], None);
    assert!(code == 3 && out.starts_with("deny: malformed_request"), "{out}");
}

#[test]
fn a_file_that_holds_something_else_is_an_error() {
    let folder = folder(&SigningKey::generate(Algorithm::Es256).unwrap());
    folder.write("none", b"");
    let nothing: &[&str] = &["--check-request", "none"];
    for (arguments, token, expected) in [
        (nothing, None, "none is empty: it must hold a CheckRequest"),
        (&["--path", "/"], Some("Bearer secret-token"), "must hold the token alone"),
        (&["--path", "/"], Some("secret\ntoken"), "must hold the token alone"),
    ] {
        let (code, out, error) = explain(folder.path(), arguments, token);
        assert!(code == 1 && error.contains(expected), "{arguments:?}: {out}{error}");
        assert!(!(out + &error).contains("secret"), "{arguments:?}");
    }
}

#[test]
fn nothing_hides_in_what_is_printed() {
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let folder = folder(&key);
    let claims = json!({"iss": "https://issuer.example.com", "aud": "\u{202e}", "exp": 4e9});
    let header = json!({"alg": "ES256", "kid": key.kid()});
    let token = key.sign_with(&header, claims.to_string().as_bytes()).unwrap();
    let (_, out, _) = explain(folder.path(), &["--path", "/"], Some(&token));
    assert!(out.contains(r#"aud is "\u{202e}", wanted"#), "{out}");
    let request = ["--path", "/a\u{202e}\u{1b}[31m#secret", "--host", "\u{200b}h"];
    let (_, out, _) = explain(folder.path(), &request, None);
    assert!(out.contains(r"GET /a\u{202e}\u{1b}[31m on \u{200b}h, at"), "{out}");
    assert!(!out.contains("secret"), "{out}");
    let as_json = ["--path", "/a\u{202e}\u{9b}31m", "--output", "json"];
    let (_, out, _) = explain(folder.path(), &as_json, None);
    assert!(out.contains(r#""path": "/a\u202e\u009b31m""#), "{out}");
}

/// A provider that times out is unavailable to the service, and so it is here;
/// its late answer is shown as well.
#[test]
fn the_time_limit_of_the_service_holds() {
    let slow = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = slow.local_addr().unwrap();
    let folder = Folder::new(&format!(
        "server: {{check_timeout_ms: 20}}
auth:
  providers:
    - {{name: sessions, type: grpc, address: 'http://{address}', timeout_ms: 400}}"
    ));
    let (code, out, error) = explain(folder.path(), &["--path", "/"], Some("token"));
    assert_eq!(code, 3, "{out}{error}");
    for text in [
        "deny: provider_unavailable",
        "the time was up after 20 ms (server.check_timeout_ms); with more of it: deny, \
         provider_unavailable",
        "it did not answer in time",
        "HTTP 503",
    ] {
        assert!(out.contains(text), "no {text:?} in\n{out}");
    }
}

/// A good API key that no provider of API keys is asked about, and a client
/// with two credentials: the reason alone misleads there.
#[test]
fn the_next_step_names_what_to_change() {
    const KEYS: &str = "{name: keys, type: api_key, keys: [{name: client, key: good-key}]}";
    const JWTS: &str = "{name: jwts, type: oauth2, issuer: 'https://issuer.example.com', \
                        jwks_file: JWKS, audience: us}";
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let route = "routes: [{name: people, match: {path_prefix: /people}, providers: [jwts]}]";
    let source = "token_sources: [{header: authorization, scheme: Bearer, providers: [jwts]}]";
    let two = "token_sources: [{header: authorization, scheme: Bearer}, {header: x-api-key}]";
    let first = format!("{two}, several_tokens: first");
    let both = [KEYS, JWTS].join(", ");
    let own: &[&str] = &["--header", "x-api-key: own"];
    for (providers, more, path, headers, expected) in [
        (
            &*both,
            route,
            "/people/1",
            &[][..],
            "route people asks no provider of API keys; add keys",
        ),
        (&both, source, "/", &[], "the source that it was found in asks no provider of API keys"),
        (JWTS, "realm: r", "/", &[], "the config has no provider of API keys"),
        (&both, two, "/", own, "`several_tokens: first` lets the earliest source's count"),
        (&both, two, "/", &["--header", "x-api-key: a,b"], "next: send one token, once\nsee:"),
        (&both, &first, "/", own, "allow: ok"),
    ] {
        let config = format!("auth: {{providers: [{providers}], {more}}}");
        let folder = Folder::with_keys(&config, &[&key]);
        let arguments = [&["--path", path], headers].concat();
        let (_, out, error) = explain(folder.path(), &arguments, Some("good-key"));
        // Its long line is wrapped with two columns more than it begins with.
        let text = out.replace("\n  ", " ");
        assert!(text.contains(expected), "no {expected:?} in\n{out}{error}");
    }
}
