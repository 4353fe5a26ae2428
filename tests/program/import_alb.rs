//! `claimgate import-alb` on documents as AWS and Terraform print them: its
//! output loads, and decides as ALB did or says where it does not.

use std::{
    fs,
    path::{Path, PathBuf},
};

use claimgate::{
    Engine, Request, app::offline::Offline, decision::Verdict, issuer::signing::SigningKey,
    provider::oauth2::Algorithm, time::UnixTime,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use self::cases::{CASES, Case, Token};
use crate::support::{
    mint,
    process::{self, Ended},
};

mod cases;

const COGNITO: &str = "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_EXAMPLE";
const OTHER: &str = "https://login.example.org";

fn document(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/program/import_alb")
        .join(format!("{name}.json"))
}

fn claimgate(arguments: &[&str], folder: &Path) -> Ended {
    Ended::of(process::claimgate(folder, arguments))
}

#[track_caller]
fn imported(arguments: &[&str]) -> String {
    let arguments: Vec<_> = ["import-alb"].iter().chain(arguments).copied().collect();
    let output = claimgate(&arguments, Path::new("/"));
    assert_eq!(output.code, 0, "{}", output.stderr);
    output.stdout
}

/// The file with the keys of these tests instead of the issuers'.
fn with_keys(config: &str, folder: &TempDir, key: &SigningKey) -> PathBuf {
    let jwks = folder.path().join("jwks.json");
    fs::write(&jwks, mint::jwks(&[key])).unwrap();
    let line = |line: &str| match line.split_once("jwks_uri: ") {
        Some((indent, _)) if !line.contains('#') => {
            format!("{indent}jwks_file: {}", jwks.display())
        }
        _ => line.to_owned(),
    };
    let config: Vec<_> = config.lines().map(line).collect();
    let path = folder.path().join("gateway.yaml");
    fs::write(&path, config.join("\n")).unwrap();
    path
}

fn mint(key: &SigningKey, token: Token<'_>) -> Option<String> {
    let (issuer, change) = match token {
        Token::None => return None,
        Token::Cognito(change) => (COGNITO, change),
        Token::Other(change) => (OTHER, change),
    };
    let now = UnixTime::now().as_seconds();
    let mut claims = json!({
        "iss": issuer, "sub": "client-1", "client_id": "client-1", "token_use": "access",
        "iat": now - 60.0, "exp": now + 3540.0,
    });
    let change: Value = serde_json::from_str(change).expect("claims are JSON");
    for (name, value) in change.as_object().expect("claims are an object") {
        match (name.as_str(), value) {
            ("exp" | "nbf" | "iat", Value::Number(from_now)) => {
                claims[name] = json!(now + from_now.as_f64().unwrap());
            }
            (_, Value::Null) => drop(claims.as_object_mut().unwrap().remove(name)),
            _ => claims[name] = value.clone(),
        }
    }
    Some(key.sign(claims.to_string().as_bytes()).unwrap())
}

fn allows(engine: &Engine, key: &SigningKey, case: &Case<'_>) -> bool {
    let (method, url) = case.request.split_once(' ').expect("METHOD host/path");
    let (host, path) = url.split_at(url.find(['/', '*']).expect("a path"));
    let authorization = mint(key, case.token).map(|token| format!("Bearer {token}"));
    let request = Request {
        method,
        host,
        path,
        route: case.route,
        headers: authorization.iter().map(|it| ("authorization", it.as_bytes())).collect(),
    };
    let decision = engine.check_now(&request, UnixTime::now()).expect("the keys are known");
    decision.verdict == Verdict::Allow
}

/// The comments of a file as one text, without line breaks.
fn comments(config: &str) -> String {
    let words = |line: &str| line.trim().strip_prefix('#').map(|line| line.trim().to_owned());
    config.lines().filter_map(words).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_imported_file_decides_as_alb_did_or_says_so() {
    let key = SigningKey::generate(Algorithm::Rs256).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (name, cases) in CASES {
        let config = imported(&[document(name).to_str().unwrap()]);
        let comments = comments(&config);
        let folder = tempfile::tempdir().unwrap();
        let path = with_keys(&config, &folder, &key);
        let offline = runtime.block_on(Offline::open(&path, &[])).unwrap_or_else(|error| {
            panic!("{name}: {error}\n{config}");
        });
        for case in *cases {
            let allowed = allows(&offline.engine, &key, case);
            let place = format!("{name}: {} {:?}", case.request, case.token);
            let expected = case.alb == (case.difference.is_empty());
            assert_eq!(allowed, expected, "{place}\n{config}");
            assert!(
                !allowed || case.alb || !case.difference.is_empty(),
                "{place}: less is asked than ALB asked"
            );
            assert!(comments.contains(case.difference), "{place}: nowhere is said: {comments}");
        }
    }
}

#[test]
fn every_document_has_cases_and_loads_as_it_is() {
    let mut names: Vec<_> = fs::read_dir(document("x").parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    let mut tested: Vec<_> = CASES.iter().map(|(name, _)| (*name).to_owned()).collect();
    tested.sort();
    assert_eq!(names, tested);
    assert!(names.len() >= 10);
    for name in names {
        let config = imported(&[document(&name).to_str().unwrap()]);
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("gateway.yaml"), &config).unwrap();
        let validated = claimgate(&["validate"], folder.path());
        // ALB looks at no audience either.
        let is_open = |line: &&str| line.contains("accepts any token of its issuer");
        let others: Vec<_> = validated.stderr.lines().filter(|line| !is_open(line)).collect();
        assert!(others.is_empty(), "{name}: {others:?}\n{config}");
        assert_eq!(validated.code, 0, "{name}");
        // Checks for every import.
        let comments = comments(&config);
        for subject in ["`typ`", "`cnf`", "`nbf` and `iat`", "x-auth-subject", "All that ALB knew"]
        {
            assert!(comments.contains(subject), "{name}: {subject}");
        }
        assert!(
            comments.contains("did not look at `aud`") != config.contains("  audience: ")
                || name == "claims"
                || name == "hosts-and-issuers",
            "{name}"
        );
        // Values of header and query conditions may be secrets.
        assert!(!config.contains("a-shared-secret"), "{name}");
    }
}

#[test]
fn a_malformed_document_is_told_what_it_lacks() {
    let action = json!({"Type": "jwt-validation", "JwtValidationConfig": {
        "Issuer": COGNITO, "JwksEndpoint": format!("{COGNITO}/.well-known/jwks.json")}});
    let rule = |priority: Value, more: Value| {
        let mut rule = json!({"Priority": priority, "Conditions": [], "Actions": [action]});
        rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        rule
    };
    let claim = |claim: Value| json!({"Issuer": "https://i.example", "JwksEndpoint": "https://i.example/k", "AdditionalClaims": [claim]});
    let terraform = |resources: Value| json!({"terraform_version": "1", "values": {"root_module": {"resources": resources}}});
    let condition =
        |condition: Value| json!([rule(json!("1"), json!({"Conditions": [condition]}))]);
    let cases = [
        (Value::Null, "is not a document that this command reads"),
        (json!("x"), "is not a document that this command reads"),
        (json!([]), "is an empty list"),
        (json!({}), "is not a document that this command reads"),
        (json!([1]), "is not a document that this command reads"),
        (json!({"TargetGroups": []}), "is not a document that this command reads"),
        (json!({"Rules": []}), "lists no rule"),
        (json!({"Rules": {}}), "Rules: must be a list"),
        (json!({"Rules": [7]}), "Rules[0]: has no Priority"),
        (json!({"Rules": [{"Priority": "1"}]}), "Rules[0]: has no Actions"),
        (json!({"Rules": [{"Priority": "1", "Actions": []}]}), "Rules[0].Actions: lists no action"),
        (json!({"Listeners": []}), "lists no rule and no listener"),
        (json!({"Listeners": [{"Port": 1}]}), "Listeners[0]: has no DefaultActions"),
        (
            json!({"Listeners": [{"Protocol": "TCP", "DefaultActions": [{"Type": "forward"}]}]}),
            "has no HTTP or HTTPS listener",
        ),
        (json!([rule(json!("first"), json!({}))]), "[0].Priority: must be a number"),
        (json!([rule(json!(-1), json!({}))]), "[0].Priority: must be a number"),
        (json!([rule(json!("1"), json!({})), rule(json!(1), json!({}))]), "[1]: is rule 1, which"),
        (
            json!([rule(json!("default"), json!({})), rule(json!("default"), json!({}))]),
            "[1]: is the default action, which",
        ),
        (
            json!([rule(json!("1"), json!({"IsDefault": true}))]),
            "[0]: is the default action and has a",
        ),
        (condition(json!({})), "[0].Conditions[0]: has no Field"),
        (condition(json!({"Field": "path-pattern"})), "has no values to compare with"),
        (condition(json!({"Field": "path-pattern", "Values": "/x"})), "Values: must be a list"),
        (condition(json!({"Field": "http-header"})), "has no HttpHeaderConfig"),
        (json!([{"Type": 1}]), "[0].Type: must be a string"),
        (json!([{"Type": "jwt-validation"}]), "[0]: has no JwtValidationConfig"),
        (json!({"Issuer": "https://i.example"}), "has no JwksEndpoint"),
        (json!({"Issuer": "", "JwksEndpoint": "x"}), "Issuer: is empty"),
        (json!({"Issuer": ["x"], "JwksEndpoint": "x"}), "Issuer: must be a string"),
        (json!({"Issuer": "https://i.example", "JwksEndpoint": "nowhere"}), "is not a valid URL"),
        (json!({"Issuer": "i i", "JwksEndpoint": "https://i.example"}), "issuer"),
        (claim(json!({"Name": "x"})), "AdditionalClaims[0]: has no Format"),
        (claim(json!({"Name": "x", "Format": "regex", "Values": ["y"]})), "must be single-string"),
        (claim(json!({"Name": "x", "Format": "single-string", "Values": []})), "lists no value"),
        (
            claim(json!({"Name": "x", "Format": "single-string", "Values": ["y", "z"]})),
            "lists several values",
        ),
        (
            claim(json!({"Name": "iss", "Format": "single-string", "Values": ["y"]})),
            "checked anyway",
        ),
        (
            claim(json!({"Name": "scope", "Format": "space-separated-values", "Values": ["a b"]})),
            "has a space in a value",
        ),
        (json!([{"Type": "forward", "TargetGroupArn": "x"}]), "no listener checks tokens"),
        (
            json!([action, {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "403"}}]),
            "nothing for Claimgate to take over",
        ),
        (json!({"terraform_version": "1"}), "has no resources"),
        (terraform(json!([])), "has no aws_lb_listener"),
        (terraform(json!([{"type": "aws_lb_listener"}])), "has no values"),
        (
            terraform(json!([{"type": "aws_lb_listener", "address": "a", "values": {}}])),
            "has no default_action",
        ),
        (
            terraform(json!([{"type": "aws_lb_listener", "address": "a", "values":
                {"default_action": [{"type": "jwt-validation"}]}}])),
            "default_action[0]: has no jwt_validation block",
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("alb.json");
    for (document, expected) in cases {
        fs::write(&path, document.to_string()).unwrap();
        let refused = claimgate(&["import-alb", "alb.json"], folder.path());
        let complaint = refused.stderr;
        assert_eq!(refused.code, 1, "{document}: {}", refused.stdout);
        assert!(complaint.contains(expected), "{document}: {complaint}");
        assert_eq!(complaint.lines().count(), 1, "{document}: {complaint}");
        assert_eq!(refused.stdout, "", "{document}");
    }
    for (content, expected) in
        [("", "is empty"), ("{", "is not valid JSON"), ("auth: {}", "is not valid JSON")]
    {
        fs::write(&path, content).unwrap();
        let refused = claimgate(&["import-alb", "alb.json"], folder.path());
        assert_eq!(refused.code, 1, "{content}");
        assert!(refused.stderr.contains(expected), "{content}: {}", refused.stderr);
    }
    let missing = claimgate(&["import-alb", "gone.json"], folder.path());
    assert_eq!(missing.code, 1);
    assert!(missing.stderr.contains("cannot read gone.json"));
}

#[test]
fn lint_says_what_is_unsafe() {
    let cases = [
        (
            "open-default",
            vec![
                "open-default",
                "http-listener",
                "no-validation",
                "old-tls",
                "path-spelling",
                "any-token",
                "no-audience",
                "no-token-type",
                "identity-headers",
                "token-lifetime",
            ],
        ),
        ("wildcards", vec!["no-token", "overlap"]),
        ("headers-queries-addresses", vec!["no-token", "forgeable"]),
        ("claims", vec!["many-values", "no-audience"]),
        ("listeners", vec!["rules-unknown"]),
        ("methods-and-order", vec!["shadowed", "overlap"]),
        ("actions-of-all-kinds", vec!["unknown-action", "rewritten"]),
    ];
    for (name, codes) in cases {
        let path = document(name);
        let output = claimgate(&["import-alb", "--lint", path.to_str().unwrap()], Path::new("/"));
        let report = output.stdout;
        assert_eq!(output.code, 3, "{name}: {}", output.stderr);
        for code in codes {
            let has_it = report.lines().any(|line| line.starts_with(&format!("{code}: ")));
            assert!(has_it, "{name}: {code} in\n{report}");
        }
        assert!(report.ends_with("findings\n"), "{report}");
    }
    let folder = tempfile::tempdir().unwrap();
    let write = |document: Value| fs::write(folder.path().join("alb.json"), document.to_string());
    let plain = |issuer: &str, jwks: &str| json!({"Issuer": issuer, "JwksEndpoint": jwks});
    let lint = || claimgate(&["import-alb", "--lint", "alb.json"], folder.path()).stdout;
    write(plain("https://i.example", "http://i.example/keys")).unwrap();
    assert!(lint().contains("http-jwks: "), "{}", lint());
    write(plain("http://i.example", "https://elsewhere.example/keys")).unwrap();
    assert!(lint().contains("http-issuer: ") && lint().contains("foreign-keys: "), "{}", lint());
    // A listener that only redirects is safe.
    let redirect = json!({"Listeners": [{"Port": 80, "Protocol": "HTTP", "DefaultActions": [
        {"Type": "redirect", "RedirectConfig": {"StatusCode": "HTTP_301"}}]}]});
    write(redirect).unwrap();
    let output = claimgate(&["import-alb", "--lint", "alb.json"], folder.path());
    assert_eq!(output.stdout, "nothing unsafe found\n");
    assert_eq!(output.code, 0);
}

#[test]
fn keys_are_never_fetched_over_plain_http() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        ("https://i.example", "http://i.example/keys", "jwks_uri: https://i.example/keys"),
        ("http://i.example", "http://i.example/keys", "jwks_uri: https://i.example/keys"),
        ("accounts.example", "https://i.example/keys", "jwks_uri: https://i.example/keys"),
    ];
    for (issuer, jwks, expected) in cases {
        let document = json!({"Issuer": issuer, "JwksEndpoint": jwks}).to_string();
        fs::write(folder.path().join("alb.json"), document).unwrap();
        let output = claimgate(&["import-alb", "alb.json"], folder.path());
        let config = output.stdout;
        assert!(config.contains(expected), "{config}{}", output.stderr);
    }
}

#[test]
fn one_of_several_listeners_is_chosen() {
    let listener = |port: u64, issuer: &str| {
        json!({"ListenerArn": format!("arn:x:listener/app/a/1/{port}"), "Port": port,
            "Protocol": "HTTPS", "DefaultActions": [{"Type": "jwt-validation",
            "JwtValidationConfig": {"Issuer": issuer, "JwksEndpoint": format!("{issuer}/keys")}}]})
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("alb.json");
    let import = |arguments: &[&str]| {
        let arguments: Vec<_> =
            ["import-alb", "alb.json"].iter().chain(arguments).copied().collect();
        let output = claimgate(&arguments, folder.path());
        (output.code, output.stdout + &output.stderr)
    };
    let two = json!({"Listeners": [listener(443, "https://a.example"), listener(8443, "https://b.example")]});
    fs::write(&path, two.to_string()).unwrap();
    let (code, said) = import(&[]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("choose one of HTTPS:443, HTTPS:8443 with --listener"), "{said}");
    for name in ["8443", "HTTPS:8443", "arn:x:listener/app/a/1/8443"] {
        let (code, said) = import(&["--listener", name]);
        assert_eq!(code, 0, "{said}");
        assert!(said.contains("issuer: https://b.example"), "{said}");
        assert!(said.contains("Not in this file: the listener HTTPS:443"), "{said}");
    }
    let (code, said) = import(&["--listener", "1"]);
    assert!(code == 1 && said.contains("no listener is called"), "{said}");

    // Which of two does not matter if they are the same.
    let same = json!({"Listeners": [listener(443, "https://a.example"), listener(8443, "https://a.example")]});
    fs::write(&path, same.to_string()).unwrap();
    assert_eq!(import(&[]).0, 0);
}

#[test]
fn text_of_the_document_stays_text() {
    let nasty = "x\"\nauth: {enabled: false}\n# ${HOME} \u{2028}*&!";
    let rule = json!({"Priority": "1", "Conditions": [
            {"Field": "path-pattern", "Values": [format!("/{nasty}/*")]},
            {"Field": "host-header", "Values": [nasty]},
            {"Field": nasty, "Values": [nasty]}],
        "Actions": [{"Type": nasty}, {"Type": "jwt-validation", "JwtValidationConfig": {
            "Issuer": "https://i.example", "JwksEndpoint": "https://i.example/k"}}]});
    let default = json!({"Priority": "default", "Actions": [{"Type": "jwt-validation",
        "JwtValidationConfig": {"Issuer": "https://i.example/$HOME$${HOME}", "JwksEndpoint":
        "https://i.example/k", "AdditionalClaims": [
            {"Name": nasty, "Format": "single-string", "Values": [nasty]},
            {"Name": "scope", "Format": "space-separated-values", "Values": ["a\"b", "${HOME}"]}]}}]});
    let folder = tempfile::tempdir().unwrap();
    let document = json!({"Rules": [rule, default]});
    fs::write(folder.path().join("alb.json"), document.to_string()).unwrap();
    let output = claimgate(&["import-alb", "alb.json"], folder.path());
    let config = output.stdout;
    assert_eq!(output.code, 0, "{}", output.stderr);
    let loaded = claimgate::config::load(&config, &|_| None).expect("it loads");
    let settings = format!("{:?}", loaded.settings);
    assert!(settings.contains("https://i.example/$HOME$${HOME}"), "{settings}");
    assert!(loaded.settings.auth.enabled);
    let lint = claimgate(&["import-alb", "--lint", "alb.json"], folder.path());
    assert!(lint.stdout.lines().all(|line| !line.starts_with("auth:")));
}

#[test]
fn the_example_of_the_page_decides_as_the_page_says() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/leaving-alb.md");
    let page = fs::read_to_string(page).unwrap();
    let config = page.split("\n```yaml\n").find(|text| text.starts_with("auth:")).unwrap();
    let config = config.split("```").next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let key = SigningKey::generate(Algorithm::Rs256).unwrap();
    let with_uri = config.replace("      algorithms:", "      jwks_uri: x\n      algorithms:");
    let path = with_keys(&with_uri, &folder, &key);
    let search = r#"{"client_id": "1example23456789", "scope": "https://gateway.internal/invoke"}"#;
    let platform = r#"{"client_id": "2example23456789",
        "scope": "https://gateway.internal/invoke https://gateway.internal/admin"}"#;
    let stranger = r#"{"scope": "https://gateway.internal/invoke"}"#;
    let cases = [
        ("/v1/chat/completions", Token::Cognito(search), 0, "allow: ok"),
        ("/v1/chat/completions", Token::Cognito(search), 0, "x-auth-client-id: 1example23456789"),
        ("/admin/models", Token::Cognito(search), 3, "deny: insufficient_scope"),
        ("/admin/models", Token::Cognito(platform), 0, "allow: ok"),
        ("/v1/chat/completions", Token::Cognito(stranger), 3, "deny: wrong_client"),
        ("/v1/chat/completions", Token::None, 3, "deny: missing_token"),
        ("/admin/models", Token::None, 3, "deny: missing_token"),
        ("/v1/health", Token::None, 0, "allow: public"),
    ];
    for (request, token, code, expected) in cases {
        let mut arguments = vec!["explain", "--config", path.to_str().unwrap(), "--path", request];
        if let Some(token) = mint(&key, token) {
            fs::write(folder.path().join("token"), token).unwrap();
            arguments.extend(["--token-file", "token"]);
        }
        let output = claimgate(&arguments, folder.path());
        let report = output.stdout;
        assert_eq!(output.code, code, "{report}{}", output.stderr);
        assert!(report.contains(expected), "{request}: {report}");
    }
}
