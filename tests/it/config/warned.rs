//! What loads with a warning, and what is near to that and loads without.

use super::good;

/// A file with this API key, whose other blocks are good.
fn file(auth: &str) -> String {
    format!("auth:\n  api_keys: [{{name: n, key: a-key-of-twenty-bytes}}]\n  {auth}\n")
}

fn oauth2(fields: &str) -> String {
    format!("auth: {{mode: oauth2, oauth2: {{issuer: 'https://i.example', {fields}}}}}\n")
}

/// Each file has exactly this one warning; none where there is no place.
#[track_caller]
fn warned(cases: &[(String, &str, &str)]) {
    for (text, place, fragment) in cases {
        let warnings = good(text).warnings;
        let found: Vec<_> = warnings.iter().map(|warning| warning.place.as_str()).collect();
        let expected: &[&str] = if place.is_empty() { &[] } else { &[place] };
        assert_eq!(found, expected, "{warnings:?}\nin\n{text}");
        for warning in warnings {
            assert!(warning.message.contains(fragment), "{warning}\nin\n{text}");
            let position = warning.position.expect("a position");
            assert!(position.line as usize <= text.lines().count(), "{warning}");
        }
    }
}

#[test]
fn keys_scopes_and_times() {
    let key = |key: &str| format!("auth: {{api_keys: [{{name: n, key: {key}}}]}}");
    let scopes = |scopes: &str| file(&format!("required_scopes: {scopes}"));
    let timeout = |ms: u32| format!("{}server: {{check_timeout_ms: {ms}}}\n", file(""));
    warned(&[
        (key("nineteen-characters"), "auth.api_keys[0].key", "fewer than 20"),
        (key("a-key-of-twenty-byte"), "", ""),
        (key("k"), "auth.api_keys[0].key", "new-key"),
        (key("'${SHORT_API_KEY}'"), "", ""),
        (key("'${NUMBER}'"), "auth.api_keys[0].key", "fewer than 20"),
        (scopes("[read]"), "", ""),
        (scopes("[read write]"), "auth.required_scopes[0]", "`read write` holds a space"),
        (scopes("[a, ' b']"), "auth.required_scopes[1]", "holds a space"),
        (
            file("routes: [{name: r, match: {path: /a}, required_scopes: [a b]}]"),
            "auth.routes[0].required_scopes[0]",
            "list element of its own",
        ),
        (timeout(199), "", ""),
        (timeout(200), "server.check_timeout_ms", "failure mode"),
        (timeout(5000), "server.check_timeout_ms", "less than 200"),
        (file("realm: $REALM"), "auth.realm", "write `${REALM}`"),
        (file("realm: $$REALM"), "", ""),
        (file("realm: a$b"), "", ""),
    ]);
}

#[test]
fn issuers_and_providers() {
    let open = |more: &str| format!("{}  {more}", oauth2("require_audience: false"));
    let general = |more: &str| {
        format!(
            "auth:\n  providers:\n    - {{name: i, type: oauth2, issuer: 'https://i.example', \
             require_audience: false}}\n{more}"
        )
    };
    let place = "auth.oauth2";
    warned(&[
        (oauth2("audience: a"), "", ""),
        (oauth2("audience: [], require_audience: false"), place, "accepts any token"),
        (oauth2("require_audience: false, client_ids: [c]"), "", ""),
        (oauth2("require_audience: false, required_claims: {a: b}"), "", ""),
        (open(""), place, "`client_ids` or `required_claims`"),
        (general(""), "auth.providers[0]", "accepts any token"),
        (general("  required_scopes: [use]\n"), "", ""),
        (
            general("  routes: [{name: r, match: {path: /a}, required_scopes: [s]}]\n"),
            "auth.providers[0]",
            "any token",
        ),
        (general("  routes: [{name: r, match: {path_prefix: /}, required_scopes: [s]}]\n"), "", ""),
        (general("  routes: [{name: r, match: {path_prefix: /}, public: true}]\n"), "", ""),
        (general("  enabled: false\n"), "", ""),
        (
            oauth2("audience: a")
                .replace("https://i.example", "https://i.example/.well-known/openid-configuration"),
            "auth.oauth2.issuer",
            "write `https://i.example`",
        ),
        (
            oauth2("audience: a").replace(
                "https://i.example",
                "https://i.example/realms/r/.well-known/oauth-authorization-server",
            ),
            "auth.oauth2.issuer",
            "write `https://i.example/realms/r`",
        ),
        (oauth2("audience: a").replace("i.example", "i.example/well-known"), "", ""),
    ]);
}

#[test]
fn routes_that_no_request_leads_to() {
    let routes = |routes: &[&str]| {
        let routes: Vec<_> = routes
            .iter()
            .enumerate()
            .map(|(at, keys)| format!("{{name: r{at}, required_scopes: [s{at}], {keys}}}"))
            .collect();
        file(&format!("public_paths: [/p]\n  routes: [{}]", routes.join(", ")))
    };
    let second = "auth.routes[1].match";
    let taken = "the earlier route `r0` matches all of them";
    warned(&[
        (routes(&["match: {path_prefix: /a}", "match: {path: /a/b}"]), second, taken),
        (routes(&["match: {path_prefix: /}", "match: {methods: [GET]}"]), second, taken),
        (routes(&["match: {path: /a/b}", "match: {path_prefix: /a}"]), "", ""),
        (routes(&["match: {path_template: '/{x}/b'}", "match: {path: /a/b}"]), second, taken),
        (routes(&["match: {path: /a/b}", "match: {path_template: '/{x}/b'}"]), "", ""),
        (
            routes(&[
                "match: {path: /a, methods: [GET]}",
                "match: {path: /a, methods: [PUT]}",
                "match: {path: /a, methods: [PUT, HEAD]}",
            ]),
            "auth.routes[2].match",
            "the earlier routes `r1`, `r0` match all of them",
        ),
        (routes(&["match: {path: /p}"]), "auth.routes[0].match", "`auth.public_paths`"),
        (routes(&["match: {path_prefix: /p}"]), "", ""),
        (
            routes(&["match: {path: '/a\\b', literal: true}"]),
            "auth.routes[0].match",
            "as some servers do",
        ),
        (routes(&["match: {path: '/a*', literal: true}"]), "", ""),
        (
            routes(&["match: {path_prefix: '/v1/:id'}"]),
            "auth.routes[0].match.path_prefix",
            "`path_template`",
        ),
        (routes(&["match: {path_prefix: '/v1/:id', literal: true}"]), "", ""),
        (routes(&["match: {path: '/v1/<id>'}"]), "auth.routes[0].match.path", "`<` and `>`"),
        (routes(&["match: {path: '/v1/models/a:b'}"]), "", ""),
    ]);
}

#[test]
fn keys_beside_a_block_that_is_not_empty() {
    let routes = good(&format!("{}routes: []\n", file(""))).warnings;
    assert!(
        routes[0].message.contains("`routes` is also a key of `auth`: indent it"),
        "{routes:?}"
    );
    let servers = good(&format!("{}servers: {{}}\n", file(""))).warnings;
    assert!(servers[0].message.contains("did you mean `server`"), "{servers:?}");
}
