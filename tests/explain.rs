//! `claimgate explain` as an on-call engineer runs it.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "the helpers of tests fail like tests")]

use std::{
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use claimgate::{issuer::signing::SigningKey, provider::oauth2::Algorithm, time::UnixTime};
use serde_json::json;
use tempfile::TempDir;

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

fn folder(key: &SigningKey) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let jwks = folder.path().join("jwks.json");
    std::fs::write(&jwks, json!({"keys": [key.jwk()]}).to_string()).unwrap();
    let config = CONFIG.replace("JWKS", jwks.to_str().unwrap());
    std::fs::write(folder.path().join("gateway.yaml"), config).unwrap();
    folder
}

/// Runs `explain` with `token` on stdin.
fn explain(folder: &Path, arguments: &[&str], token: Option<&str>) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_claimgate"));
    command.current_dir(folder).arg("explain").args(arguments);
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
    // Who fails early does not read it.
    let _ = writeln!(stdin, "{}", token.unwrap_or_default());
    drop(stdin);
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// Arguments, token, exit code and what stdout must hold.
type Case<'a> = (&'a [&'a str], Option<&'a str>, i32, &'a [&'a str]);

#[test]
fn the_verdict_comes_first_and_the_cause_follows() {
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let folder = folder(&key);
    let now = UnixTime::now().as_seconds();
    let claims = |exp: f64| json!({"iss": "https://issuer.example.com", "aud": "us", "sub": "me", "exp": exp});
    let good = key.sign(claims(now + 60.0).to_string().as_bytes()).unwrap();
    let expired = key.sign(claims(now - 60.0).to_string().as_bytes()).unwrap();
    let cases: [Case<'_>; 8] = [
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
                "provider issuer: refused",
                "it expired at",
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
                "route: admin",
                "scopes wanted: admin",
                "scopes granted: read",
            ],
        ),
        (
            &["--path", "/", "--header", "X-Api-Key: good-key"],
            None,
            0,
            &["provider keys: authenticated", "authorization: (removed)", "x-api-key: (removed)"],
        ),
        (&["--path", "/", "--route", "admin"], Some("good-key"), 3, &["route: admin"]),
        (&["--path", "/", "--route", "none"], None, 3, &["deny: unknown_route", "HTTP 500"]),
        (&["--path", "/a%00"], None, 3, &["deny: ambiguous_path", "HTTP 400"]),
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
    let cases: [(&[&str], i32, &str); 4] = [
        (&["--config", "gone.yaml", "--path", "/"], 1, "gone.yaml"),
        (&["--path", "/", "--token-file", "gone"], 1, "cannot read the token from gone"),
        (&["--path", "/", "--header", "nonsense"], 1, "name: value"),
        (&[], 1, "--path"),
    ];
    for (arguments, code, wanted) in cases {
        let (got, out, error) = explain(folder.path(), arguments, None);
        assert_eq!(got, code, "{arguments:?}: {out}{error}");
        assert!(out.is_empty() && error.contains(wanted), "{arguments:?}: {error}");
    }
    let (code, _, error) = explain(folder.path(), &["--path", "/"], Some(""));
    assert!(code == 1 && error.contains("must hold the token"), "{error}");
}
