//! `claimgate test` as a team runs it in CI.

use std::{fs, path::Path};

use serde_json::Value;

use crate::support::{
    folder::Folder,
    process::{Ended, claimgate},
};

/// Runs the command in `folder`; exit code, stdout, stderr.
fn run(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = claimgate(folder, &["test"]);
    command.args(arguments);
    let Ended { code, stdout, stderr } = Ended::of(command);
    (code, stdout, stderr)
}

fn files(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let names = names.filter(|entry| entry.path().is_file());
    let mut names: Vec<_> = names.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn every_example_has_tests_and_passes_them() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let folder = examples.join("tests");
    let tests = files(&folder);
    for example in files(&examples).iter().filter_map(|name| name.strip_suffix(".yaml")) {
        let wanted = format!("{example}.test.yaml");
        assert!(tests.contains(&wanted), "write examples/tests/{wanted} for {example}.yaml");
    }
    let arguments: Vec<_> = tests.iter().map(String::as_str).collect();
    let (code, out, error) = run(&folder, &arguments);
    assert!(code == 0 && out.ends_with(" passed, 0 failed\n"), "{out}{error}");
    let cases = out.lines().filter(|line| line.starts_with("  ok    ")).count();
    assert!(cases >= 50, "{cases}\n{out}");
}

const CONFIG: &str = r#"
auth:
  providers:
    - name: keys
      type: api_key
      keys:
        - {name: client, key: "${CLIENT_KEY}", scopes: [read]}
        - {name: twice, key: first, revoked: true}
        - {name: twice, key: second, scopes: [read]}
    - {name: idp, type: oauth2, issuer: "https://idp.example", audience: us, algorithms: [ES256, RS256]}
    - {name: other, type: oauth2, issuer: "https://other.example", audience: us, algorithms: [EdDSA]}
    - {name: sessions, type: grpc, address: "http://127.0.0.1:9"}
  required_scopes: [read]
  routes:
    - {name: admin, match: {path_prefix: /admin}, required_scopes: [admin]}
    - {name: inner, required_scopes: []}
  token_sources:
    - {header: authorization, scheme: Bearer}
    - {cookie: session}
  forward_token: false
"#;

fn folder(cases: &str) -> Folder {
    let folder = Folder::new(CONFIG);
    let head = "config: gateway.yaml\nenv: {CLIENT_KEY: sesame}\ncases:\n";
    folder.write("t.yaml", format!("{head}{cases}"));
    folder
}

#[test]
fn what_a_case_can_say() {
    let cases = r#"
- {name: "1", request: GET /, api_key: client, expect: {decision: allow, subject: client}}
- {name: "2", request: /, token: sesame, expect: {decision: allow, provider: keys}}
- {name: "3", request: /, token: "${CLIENT_KEY}", expect: allow}
- {name: "4", request: /, api_key: {name: twice}, expect: {reason: key_revoked}}
- {name: "5", request: /, api_key: {name: twice, provider: keys, nth: 2}, expect: allow}
- {name: "6", request: /, expect: {reason: missing_token, provider: null, subject: null}}
- {name: "7", request: /, jwt: {provider: idp, scopes: [read]}, expect: {scopes: [read], route: null}}
- {name: "8", request: /, jwt: {provider: idp, claims: {scope: [read, "a b"]}}, expect: {scopes: ["a b", read]}}
- {name: "9", request: /, jwt: {provider: idp, algorithm: RS256}, expect: {status: 403}}
- {name: "10", request: /, jwt: {provider: idp, algorithm: PS256}, expect: {reason: algorithm_not_allowed}}
- {name: "11", request: /, jwt: {provider: idp, header: {alg: none}}, expect: {reason: algorithm_not_allowed}}
- {name: "12", request: /, jwt: {provider: idp, header: {kid: x}}, expect: {reason: unknown_kid}}
- {name: "13", request: /, jwt: {provider: idp, header: {kid: null}, scopes: [read]}, expect: allow}
- {name: "14", request: /, jwt: {provider: idp, header: {typ: dpop+jwt}}, expect: {reason: wrong_token_type}}
- {name: "15", request: /, jwt: {provider: idp, signed_by: stranger}, expect: {reason: bad_signature}}
- {name: "16", request: /, jwt: {provider: idp, claims: {iss: "https://other.example"}}, expect: {provider: other, reason: algorithm_not_allowed}}
- {name: "17", request: /, jwt: {provider: other, claims: {iss: "https://idp.example"}, algorithm: ES256}, expect: {reason: unknown_kid}}
- {name: "18", request: /, jwt: {provider: idp, claims: {aud: null}}, expect: {reason: missing_claim}}
- {name: "19", request: /, jwt: {provider: idp, expires_in: -31}, expect: {reason: expired}}
- {name: "20", request: /, jwt: {provider: idp, claims: {nbf: 4102444800}}, expect: {reason: not_yet_valid}}
- {name: "21", request: /, at: 2100-01-01T00:00:00Z, jwt: {provider: idp, scopes: [read], claims: {nbf: 4102444800}}, expect: allow}
- {name: "22", request: /, at: 1000000000, jwt: {provider: idp, claims: {exp: 1000000001, iat: null}, scopes: [read]}, expect: allow}
- {name: "23", request: /, jwt: {provider: idp}, unavailable: [idp], expect: {status: 503, provider: idp}}
- {name: "24", request: /, jwt: {provider: other, scopes: [read]}, unavailable: [idp], expect: allow}
- {name: "25", request: /, token: s, unavailable: [sessions], expect: {reason: provider_unavailable}}
- {name: "26", request: /, token: s, answers: {sessions: {refused: key_expired}}, expect: {reason: key_expired}}
- {name: "27", request: /, token: s, answers: {sessions: {subject: ada, scopes: [read], claims: {client_id: c}}}, expect: {subject: ada}}
- {name: "28", request: /, token: s, answers: {sessions: not_mine}, expect: {reason: unknown_key}}
- {name: "29", request: {path: /x, route: inner}, jwt: {provider: idp}, expect: {decision: allow, route: inner}}
- {name: "30", request: {method: POST, path: /admin, host: a.example}, jwt: {provider: idp, scopes: [read]}, expect: {status: 403, route: admin}}
- {name: "31", request: {path: /, headers: {authorization: [Bearer a, Bearer b]}}, expect: {status: 400}}
- name: "32"
  request: {path: /, headers: {cookie: "a=b; session={token}", X-Auth-Subject: forged, x_auth_subject: forged, accept: "*/*"}}
  jwt: {provider: idp, scopes: [read], claims: {sub: me}}
  expect:
    headers: {x-auth-subject: me, x_auth_subject: null, cookie: a=b, accept: "*/*", X-Auth-Method: oauth2, authorization: null}
- name: "33"
  check_request: captured.json
  api_key: client
  expect: {reason: insufficient_scope, headers: {www-authenticate: 'Bearer realm="claimgate", error="insufficient_scope", error_description="the token does not grant the required scope", scope="admin"', content-type: application/json}}
- {name: "34", request: /, token_file: token, expect: {decision: allow, subject: client}}
"#;
    let folder = folder(cases);
    let captured = r#"{"request": {"http": {"method": "GET", "path": "/admin", "headers": {"authorization": "***"}}}}"#;
    fs::write(folder.path().join("captured.json"), captured).unwrap();
    fs::write(folder.path().join("token"), "sesame\n").unwrap();
    let (code, out, error) = run(folder.path(), &["t.yaml"]);
    assert!(code == 0 && out.ends_with("\n34 passed, 0 failed\n"), "{out}{error}");
}

#[test]
fn a_case_that_fails_is_told_with_its_cause_everywhere() {
    let folder = folder(
        "- {name: good, request: /, api_key: client, expect: allow}\n\
         - name: bad <&>\n  request: /\n  jwt: {provider: idp, scopes: [write]}\n  expect: \
         {decision: allow, status: 200, reason: ok, provider: null, route: admin, subject: null, \
         scopes: [read], headers: {x-auth-subject: null, content-type: text/plain}}\n",
    );
    let (code, out, _) = run(folder.path(), &["t.yaml", "--junit", "junit.xml"]);
    assert_eq!(code, 1, "{out}");
    for line in [
        "t.yaml",
        "  ok    good",
        "  FAIL  bad <&>",
        "        decision: expected allow, got deny",
        "        status: expected 200, got 403",
        "        reason: expected ok, got insufficient_scope",
        "        provider: expected none, got \"idp\"",
        "        route: expected \"admin\", got none",
        "        subject: expected none, got \"test-subject\"",
        "        scopes: expected read, got write",
        "        headers.content-type: expected \"text/plain\", got \"application/json\"",
        "        | deny: insufficient_scope (the token does not grant the required scope)",
        "        | scopes missing: read",
        "1 passed, 1 failed",
    ] {
        assert!(out.lines().any(|told| told == line), "no {line:?} in\n{out}");
    }
    let junit = fs::read_to_string(folder.path().join("junit.xml")).unwrap();
    for text in [
        r#"<testsuite name="t.yaml" tests="2" skipped="0" errors="0" failures="1">"#,
        r#"<testcase name="good" classname="t.yaml""#,
        r#"<testcase name="bad &lt;&amp;&gt;""#,
        "<failure message=\"decision: expected allow, got deny; status: expected 200",
        "scopes missing: read",
    ] {
        assert!(junit.contains(text), "no {text:?} in\n{junit}");
    }
    let (code, out, _) = run(folder.path(), &["t.yaml", "--output", "json"]);
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &told["passed"], &told["failed"]), (1, &1.into(), &1.into()));
    let case = &told["files"][0]["cases"][1];
    assert_eq!(case["passed"], false);
    let first = serde_json::json!({"what": "decision", "expected": "allow", "got": "deny"});
    assert_eq!(case["mismatches"][0], first);
    assert_eq!(case["explanation"]["reason"], "insufficient_scope");
}

#[test]
fn what_is_wrong_with_a_file_is_told_with_its_place() {
    let cases = [
        ("- {nme: x}", "cases[0].nme: unknown key; did you mean `name`?"),
        ("- {request: /}", "cases[0].name: is missing"),
        ("- {name: x}", "cases[0].request: is missing"),
        ("- {name: x, request: /}", "cases[0].expect: is missing"),
        ("- {name: x, request: /, expect: {}}", "cases[0].expect: expects nothing"),
        (
            "- {name: x, request: GET / HTTP/1.1, expect: deny}",
            "cases[0].request: `GET / HTTP/1.1` is not a request",
        ),
        (
            "- {name: x, request: GET, expect: deny}",
            "cases[0].request: `GET` is a method without a path; write `GET /path`",
        ),
        ("- {name: x, request: 'DELETE ', expect: deny}", "is a method without a path"),
        ("- {name: x, request: get, expect: deny}", "has no path that begins with `/`"),
        ("- {name: x, request: GET admin, expect: deny}", "has no path that begins with `/`"),
        ("- {name: x, request: admin, expect: deny}", "has no path that begins with `/`"),
        ("- {name: x, request: /admin GET, expect: deny}", "has no path that begins with `/`"),
        ("- {name: x, request: '/a /b', expect: deny}", "has no path that begins with `/`"),
        ("- {name: x, request: GET https://a/b, expect: deny}", "has a URL instead of a path"),
        ("- {name: x, request: '', expect: deny}", "is not a request"),
        ("- {name: x, request: GET *, expect: deny}", "has no path that begins with `/`"),
        ("- {name: x, request: {method: GET}, expect: deny}", "cases[0].request.path: is missing"),
        (
            "- {name: x, request: {path: /, headers: {'a b': c}}, expect: deny}",
            "is not a header name",
        ),
        (
            "- {name: x, request: {path: /, query: a}, expect: deny}",
            "cases[0].request.query: unknown key",
        ),
        ("- {name: x, request: /, check_request: y, expect: deny}", "has both `request` and"),
        ("- {name: x, check_request: gone, expect: deny}", "gone` can't be read"),
        (
            "- {name: x, request: /, expect: alow}",
            "cases[0].expect: `alow` is not a decision; write one of `allow`, `deny`; did you mean `allow`?",
        ),
        (
            "- {name: x, request: /, expect: {reason: outdated}}",
            "cases[0].expect.reason: `outdated` is not a reason; write one of `ok`",
        ),
        (
            "- {name: x, request: /, expect: {status: 99}}",
            "cases[0].expect.status: must be an HTTP status",
        ),
        (
            "- {name: x, request: /, expect: {provider: ipd}}",
            "cases[0].expect.provider: `ipd` is not a provider; write one of `keys`, `idp`, `other`, `sessions`; did you mean `idp`?",
        ),
        ("- {name: x, request: /, expect: {route: amin}}", "did you mean `admin`?"),
        (
            "- {name: x, request: /, jwt: {scopes: [a]}, expect: deny}",
            "cases[0].jwt.provider: is missing; write the name of the provider",
        ),
        ("- {name: x, request: /, jwt: {provider: keys}, expect: deny}", "`keys` verifies no JWTs"),
        (
            "- {name: x, request: /, jwt: {provider: idp, algorithm: HS256}, expect: deny}",
            "`HS256` is not known; write one of `RS256`",
        ),
        (
            "- {name: x, request: /, jwt: {provider: idp, signed_by: me}, expect: deny}",
            "write one of `issuer`, `stranger`",
        ),
        (
            "- {name: x, request: /, jwt: {provider: idp, expires_in: soon}, expect: deny}",
            "must be a number of seconds",
        ),
        (
            "- {name: x, request: /, jwt: {provider: idp}, token: t, expect: deny}",
            "has more than one of `token`",
        ),
        (
            "- {name: x, request: /, api_key: clent, expect: deny}",
            "cases[0].api_key: `clent` is not an API key; write one of `client`, `twice`; did you mean `client`?",
        ),
        (
            "- {name: x, request: /, api_key: {name: twice, nth: 3}, expect: deny}",
            "there are 2 keys of this name",
        ),
        (
            "- {name: x, request: /, api_key: {name: twice, nth: 0}, expect: deny}",
            "there are 2 keys of this name",
        ),
        ("- {name: x, request: /, unavailable: [keys], expect: deny}", "is never unavailable"),
        (
            "- {name: x, request: /, answers: {idp: not_mine}, expect: deny}",
            "is not a custom provider",
        ),
        (
            "- {name: x, request: /, answers: {sessions: maybe}, expect: deny}",
            "`maybe` is not an answer",
        ),
        (
            "- {name: x, request: /, answers: {sessions: {refused: public}}, expect: deny}",
            "is not a reason that a provider may give",
        ),
        ("- {name: x, request: /, at: noon, expect: deny}", "cases[0].at: `noon` is not a time"),
        (
            "- {name: x, request: /, expect: deny}\n- {name: x, request: /, expect: deny}",
            "cases[1].name: `x` is the name of an earlier case",
        ),
        ("- {name: x, request: '${GONE}', expect: deny}", "needs the environment variable `GONE`"),
        ("- [", "test file: is not valid YAML"),
        ("", "cases: is missing"),
    ];
    for (cases, expected) in cases {
        let folder = folder(cases);
        let (code, out, error) = run(folder.path(), &["t.yaml"]);
        assert_eq!(code, 1, "{cases}: {out}{error}");
        assert!(out.contains(expected), "{cases}: no {expected:?} in\n{out}{error}");
        assert!(out.ends_with("0 passed, 1 failed\n"), "{cases}: {out}");
    }
}

#[test]
fn the_config_is_the_one_that_is_named() {
    let folder = folder("- {name: x, request: /, api_key: client, expect: allow}");
    let other = CONFIG.replace("scopes: [read]}", "scopes: [write]}");
    fs::write(folder.path().join("other.yaml"), other).unwrap();
    fs::write(folder.path().join("bad.yaml"), "auth: {provider: []}").unwrap();
    let test = fs::read_to_string(folder.path().join("t.yaml")).unwrap();
    fs::create_dir(folder.path().join("sub")).unwrap();
    fs::write(folder.path().join("sub/t.yaml"), &test).unwrap();
    fs::write(folder.path().join("none.yaml"), test.replace("config: gateway.yaml\n", "")).unwrap();
    let cases: [(&[&str], i32, &str); 7] = [
        (&["t.yaml"], 0, "1 passed"),
        (&["t.yaml", "--config", "other.yaml"], 1, "| deny: insufficient_scope"),
        (&["sub/t.yaml"], 1, "sub/gateway.yaml can't be read"),
        (&["sub/t.yaml", "none.yaml", "--config", "gateway.yaml"], 0, "2 passed"),
        (&["none.yaml"], 1, "config: is missing; write the config file's path"),
        (&["t.yaml", "--config", "bad.yaml"], 1, "did you mean `providers`?"),
        (&["gone.yaml", "t.yaml"], 1, "1 passed, 1 failed"),
    ];
    for (arguments, expected_code, expected) in cases {
        let (code, out, error) = run(folder.path(), arguments);
        assert_eq!(code, expected_code, "{arguments:?}: {out}{error}");
        assert!(out.contains(expected), "{arguments:?}: {out}");
    }
    let (code, out, error) = run(folder.path(), &[]);
    assert!(code == 1 && out.is_empty() && error.contains("<FILE>"), "{out}{error}");
}

#[test]
fn a_token_is_named_and_never_printed() {
    let cases = r#"
  - {name: same, request: /, token: sesame, expect: {headers: {cookie: null}}}
  - name: shown
    request: {path: /, headers: {x-copy: "Bearer {token}"}}
    token: another-token
    expect: {decision: deny}
  - name: compared
    request: {path: /, headers: {cookie: "session={token}", x-copy: "is {token}"}}
    token: sesame
    expect: {headers: {x-copy: "is {token}"}}
  - name: differs
    request: {path: /, headers: {cookie: "session=sesame", x-copy: "is sesame"}}
    expect: {headers: {x-copy: null}}
"#;
    let folder = folder(cases);
    let (code, out, _) = run(folder.path(), &["t.yaml", "--junit", "junit.xml"]);
    assert_eq!(code, 1);
    assert!(out.contains("3 passed, 1 failed"), "{out}");
    assert!(out.contains(r#"headers.x-copy: expected none, got "is {token}""#), "{out}");
    let junit = fs::read_to_string(folder.path().join("junit.xml")).unwrap();
    assert!(!(out + &junit).contains("sesame"));
}

#[test]
fn no_name_makes_the_junit_report_unreadable() {
    let cases = r#"
  - name: "]]> <x> & \"' \u0001\u001b[31m \ufffe\uffff é"
    request: "/\u0007"
    expect: {decision: allow, headers: {x-y: "]]>\uffff\u0000"}}
"#;
    let folder = folder(cases);
    let (code, _, error) = run(folder.path(), &["t.yaml", "--junit", "junit.xml"]);
    assert_eq!((code, error.as_str()), (1, ""));
    let junit = fs::read_to_string(folder.path().join("junit.xml")).unwrap();
    let is_char = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
    assert!(junit.chars().all(is_char), "{}", junit.escape_default());
    assert!(junit.contains("]]&gt; &lt;x&gt; &amp; "), "{junit}");
    assert!(!junit.contains("]]>") && junit.contains(" é\""), "{junit}");
}
