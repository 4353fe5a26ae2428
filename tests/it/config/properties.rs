//! What holds of any configuration.

use std::cell::Cell;

use claimgate::{Request, config, policy::routes::Routes};
use proptest::{prelude::*, sample::select, test_runner::Config};
use serde_json::{Value, json};

use super::{folder, load};

/// What stands in no file and may stand in no message.
const CANARY: &str = "zqcanaryqz";

/// Values that make every kind of error with what is around them.
fn canaries() -> impl Strategy<Value = String> {
    let forms = [
        "@",
        "/@",
        "@/",
        "/./@",
        "//@",
        "/@?x",
        "/@#x",
        "/@/*",
        "/{@}/x",
        "/:@",
        "https://@",
        "http://@.example",
        "https://u:@@h.example",
        "https://h.example/../@",
        "ftp://@",
        "@:9001",
        "unix:@",
        "unix:/@",
        "@ @",
        "@,@",
        "\"@\"",
        "@\n",
        "\\@",
        "*@",
        "$@",
        "x-@",
        "é@",
        "sha256:@",
        "2027-@",
        "@s",
        "17@",
        "RS256@",
        "none@",
        "HS@",
        "@.example",
        "*.@.example",
        "https://@/.well-known/openid-configuration",
        "",
        "5",
        "true",
        "@é\u{0}",
    ];
    select(forms.to_vec()).prop_map(|form| form.replace('@', CANARY))
}

/// Every scalar below these blocks, some replaced by variables.
fn with_variables(
    value: &mut Value,
    chosen: &mut impl FnMut() -> Option<String>,
    values: &mut Vec<String>,
) {
    match value {
        Value::Object(members) => {
            members.values_mut().for_each(|value| with_variables(value, chosen, values));
        }
        Value::Array(elements) => {
            elements.iter_mut().for_each(|value| with_variables(value, chosen, values));
        }
        scalar => {
            if let Some(canary) = chosen() {
                *scalar = json!(format!("${{V{}}}", values.len()));
                values.push(canary);
            }
        }
    }
}

/// A file with every key that there is.
fn everything() -> Value {
    json!({
        "server": {
            "grpc": {
                "address": "0.0.0.0:9001",
                "tls": {
                    "cert_file": "c", "key_file": "k", "client_ca_file": "a",
                    "allowed_client_sans": ["x"],
                },
                "max_connections": 5,
            },
            "admin": {"address": "0.0.0.0:9003", "status_page": true},
            "workers": "auto", "check_timeout_ms": 150, "shutdown_grace_seconds": 20,
            "tracing": {
                "otlp_endpoint": "https://o.example:4317", "protocol": "grpc",
                "sample_ratio": 0.5, "ca_file": "a",
            },
        },
        "auth": {
            "enabled": true,
            "providers": [
                {"name": "k", "type": "api_key", "keys": [{
                    "name": "n", "key": "a-key-of-twenty-bytes", "scopes": ["s"],
                    "expires_at": "2027-01-31T00:00:00Z", "not_before": "2026-01-31T00:00:00Z",
                    "revoked": false, "claims": {"a": "b"},
                }]},
                {
                    "name": "i", "type": "oauth2", "issuer": "https://i.example", "audience": ["a"],
                    "client_ids": ["c"], "required_claims": {"a": ["b"]},
                    "jwks_uri": "https://i.example/jwks", "ca_file": "a", "fetch_token_file": "t",
                    "algorithms": ["RS256"], "scope_claim": "scope", "subject_claim": "sub",
                    "accepted_types": ["JWT"], "clock_skew_seconds": 3,
                },
                {"name": "g", "type": "grpc", "address": "https://g.example:1", "ca_file": "a"},
            ],
            "required_scopes": ["s"],
            "public_paths": ["/p"],
            "routes": [{
                "name": "r", "match": {
                    "path_prefix": "/r", "methods": ["GET"], "hosts": ["*.r.example"],
                },
                "providers": ["i"], "required_scopes": ["t"],
                "required_claims": [{"claim": ["a", "b"], "is": "c"}],
                "error_format": "problem", "denial_headers": {"x-a": "b"},
            }, {"name": "r2", "match": {"path_template": "/{x}/y"}}, {
                "name": "r3", "match": {"path": "/z"},
                "protected_resource": {"resource": "https://r.example/z", "resource_name": "z"},
            }],
            "token_sources": [{"header": "authorization", "scheme": "Bearer", "providers": ["i"]},
                {"query": "q"}, {"cookie": "c"}],
            "headers": {"subject": "x-s", "claims": {"a": "x-a"}},
            "metadata": ["reason"], "realm": "r", "error_format": "oauth2",
            "denial_headers": {"x-b": "c"},
        },
    })
}

/// The trees that are damaged: the examples, and one with every key.
fn trees() -> Vec<Value> {
    let examples = folder("examples").into_iter().filter_map(|path| {
        let text = std::fs::read_to_string(path).unwrap();
        let tree: Value = serde_saphyr::from_str(&text).ok()?;
        Some(json!({"auth": tree.get("auth")?, "server": tree.get("server")}))
    });
    let mut trees: Vec<_> = examples.collect();
    trees.extend(vec![everything(); 10]);
    trees
}

#[test]
fn no_message_shows_a_value_of_the_environment() {
    let refused = Cell::new(0);
    let config = Config { max_shrink_iters: 200, ..Config::with_cases(1500) };
    let damage = proptest::collection::vec((0..40_u8, canaries()), 200);
    let shares = select(vec![1_u8, 2, 5, 39]);
    proptest!(config, |(tree in select(trees()), damage in damage, share in shares)| {
        let mut damage = damage.into_iter();
        let mut tree = tree;
        let mut values = Vec::new();
        let mut chosen = || damage.next().filter(|(dice, _)| *dice <= share).map(|(_, form)| form);
        with_variables(&mut tree, &mut chosen, &mut values);
        let env = |name: &str| {
            let number: usize = name.strip_prefix('V')?.parse().ok()?;
            values.get(number).cloned().or(Some("value".into()))
        };
        let text = tree.to_string();
        let told = match config::load(&text, &env) {
            Ok(loaded) => loaded.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
            Err(errors) => {
                refused.set(refused.get() + 1);
                errors.iter().map(ToString::to_string).collect()
            }
        };
        for message in told {
            prop_assert!(!message.contains(CANARY), "{}\nin\n{}\nwith {:?}", message, text, values);
        }
    });
    assert!(refused.get() > 500, "{} refused", refused.get());
}

/// A route that matches in one of many ways.
fn routes() -> impl Strategy<Value = Vec<(String, u8, bool)>> {
    let matches = [
        "path: /a",
        "path: /a/",
        "path: /A",
        "path: /a/b",
        "path: /b/x",
        "path_prefix: /",
        "path_prefix: /a",
        "path_prefix: /A",
        "path_prefix: /a/b",
        "path_prefix: /b",
        "path_template: '/{x}'",
        "path_template: '/{x}/b'",
        "path_template: '/a/{x}'",
        "path_template: '/{x}/{y}'",
        "path_template: '/A/{x}/'",
        "path_template: '/{x}/b/{y}'",
        "path: '/a*', literal: true",
        "path: '/a\\b', literal: true",
        "path_prefix: '/:x'",
        "path: /p",
    ];
    let methods = ["", "methods: [GET]", "methods: [HEAD]", "methods: [POST, GET]"];
    let hosts = ["", "", "hosts: [h.example]", "hosts: ['*.example']", "hosts: ['*.h.example', i]"];
    let matched = (select(matches.to_vec()), select(methods.to_vec()), select(hosts.to_vec()));
    let text = matched.prop_map(|(path, methods, hosts)| {
        let keys: Vec<_> =
            [path, methods, hosts].into_iter().filter(|key| !key.is_empty()).collect();
        keys.join(", ")
    });
    proptest::collection::vec((text, 0..3_u8, any::<bool>()), 1..6)
}

/// Requests of every kind that those routes tell apart.
fn requests() -> Vec<(String, &'static str, &'static str)> {
    let names = ["a", "A", "b", "x", "a*"];
    let mut paths: Vec<_> = ["/", "/a\\b", "/p", "/:x", "/:x/x"].map(String::from).into();
    let mut last = vec![String::new()];
    for _ in 0..3 {
        last = last.iter().flat_map(|path| names.map(|name| format!("{path}/{name}"))).collect();
        paths.extend(last.iter().flat_map(|path| [path.clone(), format!("{path}/")]));
    }
    // Deeper than any template, below each prefix.
    let prefixes = ["", "/a", "/A", "/a/b", "/b", "/:x"];
    paths.extend(prefixes.map(|prefix| format!("{prefix}/x/x/x/x")));
    let mut requests = Vec::new();
    for path in paths {
        for method in ["GET", "HEAD", "POST", "PUT"] {
            for host in ["h.example", "g.h.example", "o.example", "i", "other"] {
                requests.push((path.clone(), method, host));
            }
        }
    }
    requests
}

#[test]
fn a_route_that_no_request_leads_to_is_warned_of_and_no_other() {
    let requests = requests();
    let (warned, silent) = (Cell::new(0), Cell::new(0));
    let mut runner = proptest::test_runner::TestRunner::new(Config::with_cases(400));
    let keys = (routes(), any::<bool>(), any::<bool>());
    runner
        .run(&keys, |(routes, has_case, public)| {
            let routes: Vec<_> = routes
                .iter()
                .enumerate()
                .map(|(at, (keys, scope, _))| {
                    format!(
                        "\n    - {{name: r{at}, required_scopes: [s{scope}], match: {{{keys}}}}}"
                    )
                })
                .collect();
            let public = if public { "[/p]" } else { "[]" };
            let text = format!(
                "auth:\n  api_keys: [{{name: n, key: a-key-of-twenty-bytes}}]\n  \
                 case_sensitive_paths: {has_case}\n  public_paths: {public}\n  routes:{}\n",
                routes.concat()
            );
            let loaded = load(&text).map_err(|errors| TestCaseError::fail(errors.to_string()))?;
            let auth = &loaded.settings.auth;
            let found = Routes::new(auth);
            for (at, route) in auth.routes.iter().enumerate() {
                let place = format!("auth.routes[{at}].match");
                let is_warned = loaded.warnings.iter().any(|warning| {
                    warning.place == place && warning.message.starts_with("no request leads here")
                });
                let leads_here = requests.iter().any(|(path, method, host)| {
                    let request = Request { method, host, path, ..Request::default() };
                    !auth.public_paths.contains(path)
                        && found
                            .find(&request)
                            .is_ok_and(|it| it.is_some_and(|it| it.name == route.name))
                });
                if leads_here && is_warned {
                    return Err(TestCaseError::fail(format!(
                        "r{at} is reached in\n{text}{:?}",
                        loaded.warnings
                    )));
                }
                // With the same rules, an earlier route may be named instead.
                let has_twin =
                    auth.routes[..at].iter().any(|it| it.required_scopes == route.required_scopes);
                if !leads_here && !is_warned && !has_twin {
                    return Err(TestCaseError::fail(format!("r{at} is not reached in\n{text}")));
                }
                let count = if is_warned { &warned } else { &silent };
                count.set(count.get() + 1);
            }
            Ok(())
        })
        .unwrap();
    let (warned, silent) = (warned.get(), silent.get());
    assert!(warned > 50 && silent > 50, "{warned} warned of, {silent} not");
}
