//! Files that must not load: the key path and the message of the error.

use super::{folder, load};

/// An oauth2 provider with these lines.
fn oauth2(lines: &str) -> String {
    format!("auth:\n  providers:\n    - {{name: p, type: oauth2, {lines}}}\n")
}

/// A valid oauth2 provider except for these keys.
fn issuer(lines: &str) -> String {
    oauth2(&format!("issuer: https://i.example, audience: a, {lines}"))
}

/// A provider with this one API key.
fn key(fields: &str) -> String {
    format!("auth: {{api_keys: [{{name: n, {fields}}}]}}")
}

/// A valid `auth` block with these lines in it.
fn auth(lines: &str) -> String {
    format!("auth:\n  api_keys: [{{name: n, key: k1}}]\n  {lines}\n")
}

/// A valid file with this `server` block.
fn server(block: &str) -> String {
    format!("{}server: {block}\n", auth(""))
}

/// A valid file with one route.
fn route(fields: &str) -> String {
    auth(&format!("routes: [{{name: r, {fields}}}]"))
}

fn matching(fields: &str) -> String {
    route(&format!("match: {{{fields}}}"))
}

/// Each file must have exactly this one error.
#[track_caller]
fn refused(cases: &[(String, &str, &str)]) {
    for (text, place, fragment) in cases {
        let errors = match load(text) {
            Ok(_) => panic!("accepted:\n{text}"),
            Err(errors) => errors,
        };
        assert_eq!(errors.iter().len(), 1, "\n{errors}\nin\n{text}");
        let error = errors.iter().next().unwrap();
        let found = if error.place.is_empty() { &error.file } else { &error.place };
        assert_eq!(found, place, "{error}\nin\n{text}");
        let position = error.position.expect("a position");
        let line = text.lines().nth(position.line as usize - 1).unwrap_or_default();
        assert!(position.column as usize <= line.chars().count() + 1, "{error}\nin\n{text}");
        assert!(error.message.contains(fragment), "{error}\nlacks {fragment:?} in\n{text}");
        assert_eq!(error.to_string().lines().count(), 1, "{error}");
    }
}

#[test]
fn the_structure_of_the_file() {
    refused(&[
        (String::new(), "auth", "is missing"),
        ("server: {}".into(), "auth", "`providers`, or `api_keys`"),
        ("auth: null".into(), "auth", "is missing"),
        ("auth: [1]".into(), "auth", "must be a mapping, not a list"),
        ("[1, 2]".into(), "config file", "mapping at the top level"),
        ("just words".into(), "config file", "mapping at the top level"),
        ("auth: {enabled: true, enabled: false}".into(), "config file", "duplicate"),
        ("auth:\n  realm: a\n  realm: b\n".into(), "config file", "line 3"),
        ("auth:\n\t- x".into(), "config file", "line 2"),
        ("auth: {".into(), "config file", "not valid YAML"),
        ("auth: *gone".into(), "config file", "line 1"),
        ("auth: {}\n---\nauth: {}".into(), "config file", "a second YAML document here"),
        (bomb(), "config file", "not valid YAML"),
        (format!("auth: {}", "[".repeat(10_000)), "config file", "not valid YAML"),
        (auth("realm: .nan"), "config file", "line 3"),
    ]);
}

/// Nine lists of nine aliases each.
fn bomb() -> String {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        text += &format!("a{level}: &a{level} [{aliases}]\n");
    }
    text + "auth: *a9\n"
}

#[test]
fn unknown_keys_and_wrong_types() {
    refused(&[
        (auth("relm: x"), "auth.relm", "did you mean `realm`?"),
        (auth("publicPaths: []"), "auth.publicPaths", "did you mean `public_paths`?"),
        (auth("\"a b\": 1"), "auth[\"a b\"]", "unknown key"),
        (issuer("isuer: x"), "auth.providers[0].isuer", "did you mean `issuer`?"),
        (issuer("tpe: x"), "auth.providers[0].tpe", "did you mean `type`?"),
        (issuer("jwks_url: x"), "auth.providers[0].jwks_url", "did you mean `jwks_uri`?"),
        (key("key: k, nme: x"), "auth.api_keys[0].nme", "did you mean `name`?"),
        (server("{grcp: {}}"), "server.grcp", "did you mean `grpc`?"),
        (server("{grpc: {adress: x}}"), "server.grpc.adress", "did you mean `address`?"),
        (
            server("{grpc: {tls: {cert_file: a, key_file: b, ca: c}}}"),
            "server.grpc.tls.ca",
            "unknown",
        ),
        (
            auth("oauth2: {issuer: 'https://i', audience: a, name: x}"),
            "auth.oauth2.name",
            "unknown",
        ),
        (matching("prefix: /x"), "auth.routes[0].match.prefix", "did you mean `path_prefix`?"),
        (
            auth("enabled: \"true\""),
            "auth.enabled",
            "must be `true` or `false`, not the text `true`; write `true` without quotes",
        ),
        (
            auth("enabled: yes"),
            "auth.enabled",
            "must be `true` or `false`, not the text `yes`; write `true`",
        ),
        (auth("max_token_bytes: -5"), "auth.max_token_bytes", "from 0 up, not `-5`"),
        (auth("max_token_bytes: 1.5"), "auth.max_token_bytes", "whole number"),
        (auth("max_token_bytes: 99999999999999999999999"), "auth.max_token_bytes", "whole number"),
        (auth("public_paths: /v1/health"), "auth.public_paths", "must be a list, not `/v1/health`"),
        (auth("public_paths: [null]"), "auth.public_paths[0]", "is missing"),
        (auth("realm: 5"), "auth.realm", "must be a string, not `5`; put it in quotes"),
        (auth("mode: oauth"), "auth.mode", "did you mean `oauth2`?"),
        (auth("mode: jwt"), "auth.mode", "`api_key`, `oauth2`, `composite`, `none`"),
        (key("key: 12345678"), "auth.api_keys[0].key", "the value (not shown); put it in quotes"),
        (issuer("client_ids: abc"), "auth.providers[0].client_ids", "must be a list"),
        (
            issuer("audience: {a: b}").replace("audience: a, ", ""),
            "auth.providers[0].audience",
            "a string or a list",
        ),
        (auth("headers: {subject: [x]}"), "auth.headers.subject", "must be a string, not a list"),
        (auth("headers: {claims: x}"), "auth.headers.claims", "a mapping or a list"),
        ("auth: {providers: [x]}".into(), "auth.providers[0]", "must be a mapping"),
        ("auth: {providers: x}".into(), "auth.providers", "must be a list"),
    ]);
}

#[test]
fn environment() {
    refused(&[
        (auth("realm: ${GONE}"), "auth.realm", "`GONE`, which is not set"),
        (auth("public_paths: [/a, '${GONE}']"), "auth.public_paths[1]", "`GONE`"),
        (auth("realm: ${NAME"), "auth.realm", "without a `}`"),
        (auth("realm: ${A b}"), "auth.realm", "malformed"),
        (key("key: $FRONTEND_API_KEY"), "auth.api_keys[0].key", "write `${FRONTEND_API_KEY}`"),
        (key("key: $secret"), "auth.api_keys[0].key", "without braces"),
        (key("key_hash: $HASH"), "auth.api_keys[0].key_hash", "without braces"),
        (oauth2("issuer: $ISSUER, audience: a"), "auth.providers[0].issuer", "write `${ISSUER}`"),
        (
            oauth2("issuer: 'https://$HOST/x', audience: a"),
            "auth.providers[0].issuer",
            "write `${HOST}`",
        ),
        (issuer("jwks_uri: $JWKS"), "auth.providers[0].jwks_uri", "without braces"),
        (server("{grpc: {address: $ADDRESS}}"), "server.grpc.address", "without braces"),
        (server("{grpc: {address: '0.0.0.0:$PORT'}}"), "server.grpc.address", "`${PORT}`"),
        (server("{admin: {address: $ADDRESS}}"), "server.admin.address", "without braces"),
        (
            "auth: {providers: [{name: g, type: grpc, address: $ADDRESS}]}".into(),
            "auth.providers[0].address",
            "without braces",
        ),
        (server("{grpc: {address: '${GONE}'}}"), "server.grpc.address", "`GONE`"),
        (key("key: '${GONE}'"), "auth.api_keys[0].key", "`GONE`"),
        (key("key: '${EMPTY}'"), "auth.api_keys[0].key", "is empty"),
        (auth("enabled: ${NUMBER}"), "auth.enabled", "the value of `${NUMBER}` (not shown)"),
        (auth("max_token_bytes: ${NO}"), "auth.max_token_bytes", "whole number"),
        (
            oauth2("issuer: \"${ISSUER}\", audience: a"),
            "auth.providers[0].issuer",
            "the value of `${ISSUER}` (not shown) is not https",
        ),
    ]);
}

#[test]
fn the_two_forms() {
    let both = |key: &str| format!("{}  {key}\n", issuer("client_ids: [c]"));
    refused(&[
        (both("mode: oauth2"), "auth.providers", "together with `auth.mode`"),
        (both("api_keys: []"), "auth.providers", "together with `auth.api_keys`"),
        (both("oauth2: {issuer: 'https://i'}"), "auth.providers", "together with `auth.oauth2`"),
        ("auth: {}".into(), "auth.api_keys", "is missing"),
        ("auth: {mode: api_key}".into(), "auth.api_keys", "that this `mode` needs"),
        ("auth: {mode: oauth2}".into(), "auth.oauth2", "is missing"),
        ("auth: {mode: composite, api_keys: []}".into(), "auth.oauth2", "is missing"),
        (
            "auth: {oauth2: {issuer: 'https://i', audience: a}}".into(),
            "auth.api_keys",
            "or `mode: oauth2`",
        ),
        ("auth: {providers: []}".into(), "auth.providers", "lists no provider"),
        ("auth: {providers: [{type: api_key, keys: []}]}".into(), "auth.providers[0].name", "missing"),
        ("auth: {providers: [{name: p}]}".into(), "auth.providers[0].type", "is missing"),
        (issuer("").replace("oauth2", "jwt"), "auth.providers[0].type", "did you mean `oauth2`?"),
        ("auth: {providers: [{name: p, type: api_key}]}".into(), "auth.providers[0].keys", "missing"),
        (
            "auth: {providers: [{name: p, type: api_key, keys: []}, {name: p, type: api_key, keys: []}]}".into(),
            "auth.providers[1].name",
            "the name of `auth.providers[0]` too",
        ),
        ("auth: {enabled: false, oauth2: {issuer: 'http://i.example', audience: a}}".into(), "auth.oauth2.issuer", "not https"),
        ("auth: {mode: none, api_keys: [{name: n, key: ''}]}".into(), "auth.api_keys[0].key", "is empty"),
    ]);
}

#[test]
fn api_keys() {
    let hash = format!("sha256:{}", "0".repeat(64));
    let two = |first: &str, second: &str| {
        format!("auth: {{api_keys: [{{name: a, {first}}}, {{name: b, {second}}}]}}")
    };
    // `printf abc | sha256sum`
    let abc = "sha256:BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD";
    refused(&[
        (key("key: ''"), "auth.api_keys[0].key", "is empty"),
        (key("key: 'a,b'"), "auth.api_keys[0].key", "holds a comma"),
        (key("key: 'a b'"), "auth.api_keys[0].key", "holds a space"),
        (key("key: \"a\\tb\""), "auth.api_keys[0].key", "holds a control character"),
        (key("key: \"ab\\n\""), "auth.api_keys[0].key", "holds a line break"),
        (key("key: \"a\\x7fb\""), "auth.api_keys[0].key", "holds a control character"),
        (key("key: kéy"), "auth.api_keys[0].key", "outside ASCII"),
        (key(&format!("key: {}", "k".repeat(4097))), "auth.api_keys[0].key", "4096 bytes"),
        (key(&format!("key: {}", "k".repeat(16_385))), "auth.api_keys[0].key", "max_token_bytes"),
        (key("scopes: [a]"), "auth.api_keys[0].key", "is missing"),
        (key("key: null"), "auth.api_keys[0].key", "is missing"),
        (key(&format!("key: k, key_hash: '{hash}'")), "auth.api_keys[0]", "both `key` and `key_hash`"),
        (key("key_hash: 'sha256:12'"), "auth.api_keys[0].key_hash", "64 hex digits"),
        (key(&format!("key_hash: '{}'", "0".repeat(64))), "auth.api_keys[0].key_hash", "sha256:"),
        (key("key_hash: ''"), "auth.api_keys[0].key_hash", "sha256:"),
        (two("key: abc", "key: abc"), "auth.api_keys[1].key", "same key as `auth.api_keys[0].key`"),
        (two("key: abc", &format!("key_hash: '{abc}'")), "auth.api_keys[1].key_hash", "same key"),
        (
            "auth: {providers: [{name: a, type: api_key, keys: [{name: n, key: k}]}, {name: b, type: api_key, keys: [{name: n, key: k}]}]}".into(),
            "auth.providers[1].keys[0].key",
            "`auth.providers[0].keys[0].key`",
        ),
        ("auth: {api_keys: [{key: k}]}".into(), "auth.api_keys[0].name", "is missing"),
        ("auth: {api_keys: [{name: '', key: k}]}".into(), "auth.api_keys[0].name", "empty"),
        ("auth: {api_keys: [secret-word]}".into(), "auth.api_keys[0]", "not the value (not shown)"),
        (key("key: k, scopes: ['']"), "auth.api_keys[0].scopes[0]", "empty"),
        (key("key: k, scopes: a"), "auth.api_keys[0].scopes", "must be a list"),
        (key("key: k, expires_at: 2027-01-31"), "auth.api_keys[0].expires_at", "`2027-01-31` is not an RFC 3339"),
        (key("key: k, expires_at: 2027-01-31T00:00:00"), "auth.api_keys[0].expires_at", "RFC 3339"),
        (key("key: k, not_before: 2027-02-30T00:00:00Z"), "auth.api_keys[0].not_before", "RFC 3339"),
        (
            key("key: k, not_before: 2027-01-01T01:00:00+01:00, expires_at: 2027-01-01T00:00:00Z"),
            "auth.api_keys[0].expires_at",
            "not after `not_before`",
        ),
        (key("key: k, claims: [a]"), "auth.api_keys[0].claims", "must be a mapping"),
        (key("key: k, revoked: 1"), "auth.api_keys[0].revoked", "`true` or `false`"),
    ]);
}

#[test]
fn issuers_and_their_keys() {
    let p = |key: &str| format!("auth.providers[0].{key}");
    let (iss, uri, all) = (p("issuer"), p("jwks_uri"), "auth.providers[0]");
    let i = |url: &str| oauth2(&format!("issuer: '{url}', audience: a"));
    let u = |url: &str| issuer(&format!("jwks_uri: '{url}'"));
    refused(&[
        (oauth2("audience: a"), &iss, "is missing"),
        (i(""), &iss, "must not be empty"),
        (i("http://i.example"), &iss, "is not https"),
        (i("http://localhost.i.example"), &iss, "is not https"),
        (i("http://127.0.0.1.i.example"), &iss, "is not https"),
        (i("http://0.0.0.0"), &iss, "is not https"),
        (i("ftp://localhost"), &iss, "is not https"),
        (i("i.example"), &iss, "has no scheme; write `https://i.example`"),
        (i("https://"), &iss, "not a valid URL"),
        (i(" https://i.example"), &iss, "not a valid URL"),
        (i("https://i.example/#x"), &iss, "fragment"),
        (i("https://u:hidden@i.example"), &iss, "user name or password"),
        (i("https://i.example/?x=1"), &iss, "jwks_uri"),
        (u("http://i.example/jwks"), &uri, "is not https"),
        (u("http://[::2]/jwks"), &uri, "is not https"),
        (u("https://user@i.example/jwks"), &uri, "user name or password"),
        (u("https://i.example/jwks#k"), &uri, "fragment"),
        (u("/jwks.json"), &uri, "not a valid URL"),
        (u("file:///jwks.json"), &uri, "is not https"),
        (u(""), &uri, "must not be empty"),
        (issuer("allow_http: true, jwks_uri: 'file:///jwks.json'"), &uri, "can't be fetched"),
        (u("https://i/a/../k"), &uri, "its path would be sent as \"/k\""),
        (u("https://i/a\\b"), &uri, "its path would be sent as \"/a/b\""),
        (i("https://i.example/./tenant"), &iss, "can't be fetched exactly as written"),
        (oauth2("issuer: i.example, audience: a, allow_http: true"), &iss, "has no scheme"),
        (issuer("jwks_uri: 'https://i/k', jwks_file: k"), all, "both `jwks_uri` and `jwks_file`"),
        (
            issuer("jwks_uri: 'https://i/k', discovery: true"),
            all,
            "both `jwks_uri` and `discovery: true`",
        ),
        (issuer("jwks_file: k, discovery: true"), all, "both `jwks_file` and `discovery: true`"),
        (issuer("jwks_file: k, discovery: 'https://i/d'"), all, "both `jwks_file` and `discovery`"),
        (issuer("discovery: 'http://i/d'"), &p("discovery"), "is not https"),
        (issuer("discovery: 'yes'"), &p("discovery"), "write an https URL"),
        (issuer("discovery: 'https://i/a/../d'"), &p("discovery"), "would be sent as \"/d\""),
        (issuer("discovery: 7"), &p("discovery"), "must be"),
        (issuer("jwks_file: ''"), &p("jwks_file"), "must not be empty"),
        (oauth2("issuer: https://i.example"), &p("audience"), "`require_audience: false`"),
        (oauth2("issuer: https://i.example, audience: []"), &p("audience"), "lists no audience"),
        (oauth2("issuer: https://i.example, audience: ''"), &p("audience"), "must not be empty"),
        (
            oauth2("issuer: https://i.example, audience: [a, '']"),
            &p("audience[1]"),
            "must not be empty",
        ),
        (oauth2("issuer: https://i.example, require_audience: true"), &p("audience"), "is missing"),
        (
            "auth: {mode: oauth2, oauth2: {issuer: 'https://i.example'}}".into(),
            "auth.oauth2.audience",
            "missing",
        ),
    ]);
}

#[test]
fn what_tokens_must_be_like() {
    let p = |key: &str| format!("auth.providers[0].{key}");
    refused(&[
        (issuer("algorithms: [none]"), &p("algorithms[0]"), "unsigned"),
        (issuer("algorithms: [RS256, NONE]"), &p("algorithms[1]"), "unsigned"),
        (issuer("algorithms: [HS256]"), &p("algorithms[0]"), "shared with the issuer"),
        (issuer("algorithms: [hs512]"), &p("algorithms[0]"), "shared with the issuer"),
        (issuer("algorithms: [rs256]"), &p("algorithms[0]"), "did you mean `RS256`?"),
        (issuer("algorithms: [ES256K]"), &p("algorithms[0]"), "not known"),
        (issuer("algorithms: ['']"), &p("algorithms[0]"), "not known"),
        (issuer("algorithms: []"), &p("algorithms"), "lists no algorithm"),
        (issuer("algorithms: RS256"), &p("algorithms"), "must be a list"),
        (issuer("algorithms: [RS256, RS256]"), &p("algorithms[1]"), "listed twice"),
        (issuer("scope_claim: ''"), &p("scope_claim"), "must not be empty"),
        (issuer("subject_claim: ''"), &p("subject_claim"), "must not be empty"),
        (issuer("client_ids: []"), &p("client_ids"), "leave it out to allow every client"),
        (issuer("client_ids: ['']"), &p("client_ids[0]"), "must not be empty"),
        (issuer("accepted_types: []"), &p("accepted_types"), "[\"*\"]"),
        (issuer("accepted_types: ['application/']"), &p("accepted_types[0]"), "not a type"),
        (issuer("accepted_types: [JWT, '*']"), &p("accepted_types"), "alone"),
        (issuer("required_claims: {a: null}"), &p("required_claims.a"), "is missing"),
        (
            issuer("required_claims: {a: 18446744073709551616}"),
            &p("required_claims.a"),
            "can't be compared exactly",
        ),
        (
            issuer("required_claims: {a: [1, 1e300]}"),
            &p("required_claims.a[1]"),
            "can't be compared exactly",
        ),
        (issuer("required_claims: {a: []}"), &p("required_claims.a"), "lists no value"),
        (issuer("required_claims: {a: {b: c}}"), &p("required_claims.a"), "not a mapping"),
        (issuer("required_claims: {a: [[b]]}"), &p("required_claims.a[0]"), "not a list"),
        (issuer("required_claims: {'': b}"), &p("required_claims[\"\"]"), "must not be empty"),
        (issuer("required_claims: [{claim: a}]"), &p("required_claims[0].is"), "is missing"),
        (issuer("required_claims: [{is: a}]"), &p("required_claims[0].claim"), "is missing"),
        (
            issuer("required_claims: [{claim: [], is: a}]"),
            &p("required_claims[0].claim"),
            "no segment",
        ),
        (
            issuer("required_claims: [{claim: [a, ''], is: a}]"),
            &p("required_claims[0].claim[1]"),
            "empty",
        ),
        (issuer("required_claims: [{claim: a, is: []}]"), &p("required_claims[0].is"), "no value"),
        (
            issuer("required_claims: [{claim: a, is: b, or: c}]"),
            &p("required_claims[0].or"),
            "unknown",
        ),
        (issuer("required_claims: a"), &p("required_claims"), "a mapping or a list"),
    ]);
}

#[test]
fn durations_and_counts() {
    let p = |key: &str| format!("auth.providers[0].{key}");
    let grpc = |fields: &str| {
        format!("auth: {{providers: [{{name: g, type: grpc, address: 'http://h:1', {fields}}}]}}")
    };
    refused(&[
        (issuer("jwks_cache_seconds: 0"), &p("jwks_cache_seconds"), "makes no sense"),
        (
            issuer("jwks_refresh_cooldown_seconds: 0"),
            &p("jwks_refresh_cooldown_seconds"),
            "no sense",
        ),
        (issuer("jwks_timeout_seconds: 0"), &p("jwks_timeout_seconds"), "makes no sense"),
        (issuer("max_token_lifetime_seconds: 0"), &p("max_token_lifetime_seconds"), "no sense"),
        (issuer("clock_skew_seconds: 18446744073709551615"), &p("clock_skew_seconds"), "too long"),
        (
            issuer("jwks_max_stale_seconds: 9223372036854775807"),
            &p("jwks_max_stale_seconds"),
            "too long",
        ),
        (issuer("clock_skew_seconds: 1m"), &p("clock_skew_seconds"), "whole number"),
        (
            server("{grpc: {max_connection_age_seconds: 0}}"),
            "server.grpc.max_connection_age_seconds",
            "makes no sense",
        ),
        (server("{check_timeout_ms: 0}"), "server.check_timeout_ms", "makes no sense"),
        (
            server("{shutdown_grace_seconds: 99999999999}"),
            "server.shutdown_grace_seconds",
            "too long",
        ),
        (server("{tracing: {protocol: http}}"), "server.tracing.otlp_endpoint", "is missing"),
        (
            server("{tracing: {otlp_endpoint: 'http://u:p@c:4317'}}"),
            "server.tracing.otlp_endpoint",
            "is not the URL of a collector",
        ),
        (
            server("{tracing: {otlp_endpoint: 'collector:4317'}}"),
            "server.tracing.otlp_endpoint",
            "write `http://host:port`",
        ),
        (
            server("{tracing: {otlp_endpoint: 'http://c:4317/v1/traces'}}"),
            "server.tracing.otlp_endpoint",
            "has a path",
        ),
        (
            server("{tracing: {otlp_endpoint: 'http://c:4317', ca_file: ca.crt}}"),
            "server.tracing.ca_file",
            "is for https",
        ),
        (
            server("{tracing: {otlp_endpoint: 'http://c', sample_ratio: 1.5}}"),
            "server.tracing.sample_ratio",
            "must be from 0 to 1",
        ),
        (
            server("{tracing: {otlp_endpoint: 'http://c', protocol: grcp}}"),
            "server.tracing.protocol",
            "did you mean `grpc`?",
        ),
        (server("{workers: 0}"), "server.workers", "`auto` or a number from 1"),
        (server("{workers: many}"), "server.workers", "`auto` or a number from 1"),
        (server("{workers: \"4\"}"), "server.workers", "whole number"),
        (server("{workers: 100000}"), "server.workers", "`auto` or a number from 1"),
        (auth("max_token_bytes: 0"), "auth.max_token_bytes", "from 1"),
        (auth("token_cache_entries: 0"), "auth.token_cache_entries", "from 1"),
        (auth("token_cache_entries: 18446744073709551615"), "auth.token_cache_entries", "from 1"),
        (auth("token_cache_bytes: 0"), "auth.token_cache_bytes", "from 65536 to"),
        (auth("token_cache_bytes: 1099511627777"), "auth.token_cache_bytes", "from 65536 to"),
        (grpc("cache_bytes: 1000"), &p("cache_bytes"), "from 65536 to"),
        (grpc("timeout_ms: 0"), &p("timeout_ms"), "makes no sense"),
        (grpc("cache_entries: 18446744073709551615"), &p("cache_entries"), "from 0 to"),
        (grpc("ca_file: x"), &p("ca_file"), "for https"),
        (grpc("").replace("http://h:1", "http://h:1/path"), &p("address"), "not the address"),
        (grpc("").replace("http://h:1", "ftp://h:1"), &p("address"), "not the address"),
        (grpc("").replace("http://h:1", "h"), &p("address"), "has no port"),
        (grpc("").replace("http://h:1", "http://u:p@h:1"), &p("address"), "not the address"),
        ("auth: {providers: [{name: g, type: grpc}]}".into(), &p("address"), "is missing"),
    ]);
}

#[test]
fn listeners() {
    let grpc = |address: &str| server(&format!("{{grpc: {{address: '{address}'}}}}"));
    let tls = |fields: &str| server(&format!("{{grpc: {{tls: {{{fields}}}}}}}"));
    let a = "server.grpc.address";
    refused(&[
        (grpc(""), a, "must not be empty"),
        (grpc("9001"), a, "a port without a host; write `0.0.0.0:9001`"),
        (grpc("localhost"), a, "has no port"),
        (grpc(":9001"), a, "a port without a host; write `0.0.0.0:9001`"),
        (grpc(":x"), a, "0 to 65535"),
        (grpc("*:9001"), a, "every interface is `0.0.0.0`"),
        (grpc("::1:9001"), a, "without brackets"),
        (grpc("[::1]"), a, "has no port"),
        (grpc("[x]:9001"), a, "no IPv6 address"),
        (grpc("0.0.0.0:65536"), a, "0 to 65535"),
        (grpc("0.0.0.0:"), a, "0 to 65535"),
        (grpc("0.0.0.0:+1"), a, "0 to 65535"),
        (grpc("0.0.0:9001"), a, "invalid IPv4"),
        (grpc("300.0.0.1:9001"), a, "invalid IPv4"),
        (grpc("a b:9001"), a, "invalid host"),
        (grpc("http://0.0.0.0:9001"), a, "must not have a scheme"),
        (grpc("unix:"), a, "names no socket"),
        (grpc(&format!("unix:/{}", "s".repeat(107))), a, "too long for a socket"),
        (server("{admin: {address: 'unix:/run/x'}}"), "server.admin.address", "0 to 65535"),
        (
            server("{admin: {address: '0.0.0.0:9001'}}"),
            "server.admin.address",
            "of `server.grpc` too",
        ),
        (tls("cert_file: c"), "server.grpc.tls.key_file", "is missing"),
        (tls("key_file: k"), "server.grpc.tls.cert_file", "is missing"),
        (tls("cert_file: '', key_file: k"), "server.grpc.tls.cert_file", "must not be empty"),
        (
            tls("cert_file: c, key_file: k, allowed_client_sans: [a]"),
            "server.grpc.tls.client_ca_file",
            "`server.grpc.tls.allowed_client_sans`",
        ),
        (
            tls("cert_file: c, key_file: k, client_ca_file: a, allowed_client_sans: ['']"),
            "server.grpc.tls.allowed_client_sans[0]",
            "must not be empty",
        ),
    ]);
}

#[test]
fn routes() {
    let m = |key: &str| format!("auth.routes[0].match.{key}");
    let exact = |path: &str| matching(&format!("path: '{path}'"));
    let prefix = |path: &str| matching(&format!("path_prefix: '{path}'"));
    let host = |host: &str| matching(&format!("hosts: ['{host}']"));
    let template = |path: &str| matching(&format!("path_template: '{path}'"));
    let (path, path_prefix, first_host) = (m("path"), m("path_prefix"), m("hosts[0]"));
    let path_template = m("path_template");
    refused(&[
        (exact(""), &path, "is empty"),
        (exact("admin"), &path, "write `/admin`"),
        (exact("/a?b"), &path, "has a query"),
        (exact("/a#b"), &path, "has a fragment"),
        (exact("/a%2Fb"), &path, "`%`"),
        (exact("/a\\b"), &path, "`\\`"),
        (exact("/a;b=c/d"), &path, "`;`"),
        (exact("/a//b"), &path, "write `/a/b`"),
        (exact("//"), &path, "write `/`"),
        (exact("/a/./b"), &path, "write `/a/b`"),
        (exact("/a/../b"), &path, "write `/b`"),
        (exact("/.."), &path, "write `/`"),
        (exact(&format!("/{}", "x".repeat(8192))), &path, "more than 8192 bytes"),
        (exact("/a b"), &path, "percent-encode"),
        (exact("/café"), &path, "percent-encode"),
        (matching("path: \"/a\\nb\""), &path, "percent-encode"),
        (prefix("admin"), &path_prefix, "write `/admin`"),
        (prefix("/admin//"), &path_prefix, "write `/admin/`"),
        (prefix("/%61dmin"), &path_prefix, "`%`"),
        (
            matching("path: /a, path_prefix: /b"),
            "auth.routes[0].match",
            "both `path` and `path_prefix`",
        ),
        (matching(""), "auth.routes[0].match", "says nothing"),
        (
            matching("path: /a, path_template: '/{x}'"),
            "auth.routes[0].match",
            "both `path` and `path_template`",
        ),
        (matching("literal: true"), &m("literal"), "belongs to `path` or `path_prefix`"),
        (
            matching("literal: true, methods: [GET]"),
            &m("literal"),
            "belongs to `path` or `path_prefix`",
        ),
        (matching("path_template: '/{x}', literal: true"), &m("literal"), "belongs to"),
        (template("/a"), &path_template, "has no `{name}`; write `path`"),
        (template("a/{x}"), &path_template, "write `/a/{x}`"),
        (template("/a/{x}.json"), &path_template, "in a part of a segment"),
        (template("/a/{}"), &path_template, "hold more than a name"),
        (template("/a/{*x}"), &path_template, "hold more than a name"),
        (template("/a/{x:[0-9]+}"), &path_template, "hold more than a name"),
        (template("/a/{x}/*"), &path_template, "has `*`"),
        (template("/a//{x}"), &path_template, "write `/a/{x}`"),
        (template("/a/{x}?y"), &path_template, "has a query"),
        (template(""), &path_template, "is empty"),
        (exact("/a/*"), &path, "write `path_prefix: /a`"),
        (exact("/v1/{id}/keys"), &path, "write `path_template: \"/v1/{id}/keys\"`"),
        (prefix("/v1/{id}/keys"), &path_prefix, "write `path_template: \"/v1/{id}/keys\"`"),
        (prefix("/v1/*/keys"), &path_prefix, "write `path_template: \"/v1/{name}/keys\"`"),
        (prefix("/admin/*"), &path_prefix, "write `path_prefix: /admin`"),
        (prefix("/admin/.*"), &path_prefix, "write `path_prefix: /admin`"),
        (prefix("/admin*"), &path_prefix, "write `path_prefix: /admin`"),
        (prefix("^/admin/.*$"), &path_prefix, "write `path_prefix: /admin`"),
        (exact("/a$"), &path, "write `path: /a`"),
        (exact("/(a|b)"), &path, "write `path_prefix: /`"),
        (exact("/v[12]"), &path, "or a route for each path"),
        (exact("*"), &path, "write `path_prefix: /`"),
        (matching("methods: ['*']"), &m("methods[0]"), "leave `methods` out"),
        (matching("methods: [GET, '*']"), &m("methods[1]"), "leave `methods` out"),
        (matching("methods: ['G T']"), &m("methods[0]"), "not one word"),
        (matching("methods: ['']"), &m("methods[0]"), "must not be empty"),
        (matching("methods: []"), &m("methods"), "empty list"),
        (matching("hosts: []"), &m("hosts"), "empty list"),
        (host(""), &first_host, "must not be empty"),
        (host("*"), &first_host, "leave `hosts` out"),
        (host("a.*.example"), &first_host, "at the front"),
        (host("*example.com"), &first_host, "at the front"),
        (host("*.*.example"), &first_host, "at the front"),
        (host("https://example.com"), &first_host, "write its host alone"),
        (host("a..example"), &first_host, "is not a host"),
        (host("bücher.example"), &first_host, "punycode"),
        (host("::1"), &first_host, "brackets"),
        (
            route("match: {path: /a}, public: true, required_scopes: [a]"),
            "auth.routes[0].required_scopes",
            "public",
        ),
        (
            route("match: {path: /a}, public: true, providers: [api_key]"),
            "auth.routes[0].providers",
            "public",
        ),
        (
            route("match: {path: /a}, public: true, required_claims: {a: b}"),
            "auth.routes[0].required_claims",
            "public",
        ),
        (
            route("match: {path: /a}, providers: []"),
            "auth.routes[0].providers",
            "names no provider",
        ),
        (
            route("match: {path: /a}, providers: [api_kee]"),
            "auth.routes[0].providers[0]",
            "did you mean `api_key`?",
        ),
        (
            route("match: {path: /a}, required_scopes: ['']"),
            "auth.routes[0].required_scopes[0]",
            "empty",
        ),
        (
            route("match: {path: /a}, required_claims: {a: []}"),
            "auth.routes[0].required_claims.a",
            "no value",
        ),
        (auth("routes: [{match: {path: /a}}]"), "auth.routes[0].name", "is missing"),
        (
            auth("routes: [{name: r, match: {path: /a}}, {name: r, match: {path: /b}}]"),
            "auth.routes[1].name",
            "the name of `auth.routes[0]` too",
        ),
        (auth("required_scopes: ['']"), "auth.required_scopes[0]", "must not be empty"),
        (auth("required_scopes: ['a\"b']"), "auth.required_scopes[0]", "is not a scope"),
        (auth("public_paths: [v1]"), "auth.public_paths[0]", "must start with `/`"),
        (auth("public_paths: ['/a?b=c']"), "auth.public_paths[0]", "has a query"),
        (auth("public_paths: ['']"), "auth.public_paths[0]", "must start with `/`"),
        (auth("realm: 'a\"b'"), "auth.realm", "printable ASCII"),
        (auth("realm: 'a\\b'"), "auth.realm", "printable ASCII"),
        (auth("realm: é"), "auth.realm", "printable ASCII"),
        (auth("realm: \"a\\nb\""), "auth.realm", "printable ASCII"),
    ]);
}

#[test]
fn token_sources() {
    let s = |key: &str| format!("auth.token_sources[0]{key}");
    let source = |fields: &str| auth(&format!("token_sources: [{{{fields}}}]"));
    refused(&[
        (auth("token_sources: []"), "auth.token_sources", "no token would ever be found"),
        (source(""), &s(""), "names no place"),
        (source("header: a, query: b"), &s(""), "more than one place"),
        (source("query: b, cookie: c"), &s(""), "more than one place"),
        (source("query: b, scheme: Bearer"), &s(".scheme"), "belongs to `header`"),
        (source("cookie: c, scheme: Bearer"), &s(".scheme"), "belongs to `header`"),
        (source("header: a, scheme: 'Be arer'"), &s(".scheme"), "not one word"),
        (source("header: a, scheme: ''"), &s(".scheme"), "must not be empty"),
        (source("header: ''"), &s(".header"), "is empty"),
        (source("header: 'a b'"), &s(".header"), "not a valid header name"),
        (source("header: ':path'"), &s(".header"), "pseudo-header"),
        (source("header: Host"), &s(".header"), "request itself"),
        (source("header: TE"), &s(".header"), "hop-by-hop"),
        (source("header: X-Envoy-Original-Path"), &s(".header"), "belongs to Envoy"),
        (source("query: ''"), &s(".query"), "must not be empty"),
        (source("cookie: ''"), &s(".cookie"), "must not be empty"),
        (source("cookie: 'a=b'"), &s(".cookie"), "not one word"),
        (source("header: a, providers: []"), &s(".providers"), "names no provider"),
        (source("header: a, providers: [gone]"), &s(".providers[0]"), "`gone` names no provider"),
        (source("header: 5"), &s(".header"), "must be a string"),
        (auth("token_sources: [{header: a}, {header: A}]"), "auth.token_sources[1]", "same place"),
        (source("cookie: c, websocket_protocol: p"), &s(""), "more than one place"),
        (source("websocket_protocol: ''"), &s(".websocket_protocol"), "must not be empty"),
        (source("websocket_protocol: 'a b.'"), &s(".websocket_protocol"), "not one word"),
        (source("websocket_protocol: 'a,b.'"), &s(".websocket_protocol"), "not one word"),
        (source("websocket_protocol: p, scheme: Bearer"), &s(".scheme"), "belongs to `header`"),
        (source("websocket_protocol: [p]"), &s(".websocket_protocol"), "must be a string"),
        (auth("several_tokens: last"), "auth.several_tokens", "write one of `refuse`"),
        (auth("several_tokens: true"), "auth.several_tokens", "must be"),
    ]);
    let two = |one: &str, other: &str| auth(&format!("token_sources: [{{{one}}}, {{{other}}}]"));
    let second = "auth.token_sources[1]";
    refused(&[
        (two("websocket_protocol: p", "websocket_protocol: p"), second, "same place"),
        (two("websocket_protocol: p.", "websocket_protocol: p.q."), second, "begins as the prefix"),
        (two("websocket_protocol: p.q.", "websocket_protocol: p."), second, "begins as the prefix"),
        (
            two("header: Sec-WebSocket-Protocol", "websocket_protocol: p"),
            second,
            "reads the same header",
        ),
        (two("cookie: c", "header: cookie"), second, "reads the same header"),
    ]);
}

#[test]
fn identity_headers() {
    let h = |fields: &str| auth(&format!("headers: {{{fields}}}"));
    refused(&[
        (h("subject: 'x auth'"), "auth.headers.subject", "not a valid header name"),
        (h("subject: ''"), "auth.headers.subject", "is empty"),
        (h("subject: ':authority'"), "auth.headers.subject", "pseudo-header"),
        (h("subject: HOST"), "auth.headers.subject", "request itself"),
        (h("scopes: Content-Length"), "auth.headers.scopes", "request itself"),
        (h("method: Transfer-Encoding"), "auth.headers.method", "hop-by-hop"),
        (h("provider: connection"), "auth.headers.provider", "hop-by-hop"),
        (h("subject: x-envoy-peer-metadata"), "auth.headers.subject", "belongs to Envoy"),
        (h("subject: x_envoy_peer"), "auth.headers.subject", "belongs to Envoy"),
        (h("subject: Authorization"), "auth.headers.subject", "holds the token"),
        (
            h("subject: X-Auth-Scopes"),
            "auth.headers.scopes",
            "set by `auth.headers.subject` already",
        ),
        (
            h("claims: {sub: x-auth-subject}"),
            "auth.headers.claims.sub",
            "`auth.headers.subject` already",
        ),
        (
            h("claims: {sub: x_auth_subject}"),
            "auth.headers.claims.sub",
            "`auth.headers.subject` already",
        ),
        (
            h("claims: {sub: x.auth~subject}"),
            "auth.headers.claims.sub",
            "`auth.headers.subject` already",
        ),
        (h("claims: {a: x-a, b: X-A}"), "auth.headers.claims.b", "`auth.headers.claims.a` already"),
        (h("claims: {a.b: host}"), "auth.headers.claims[\"a.b\"]", "request itself"),
        (h("claims: [{claim: a}]"), "auth.headers.claims[0].header", "is missing"),
        (h("claims: [{header: x-a}]"), "auth.headers.claims[0].claim", "is missing"),
        (h("claims: [{claim: [], header: x-a}]"), "auth.headers.claims[0].claim", "no segment"),
        (h("claims: [{claim: a, header: upgrade}]"), "auth.headers.claims[0].header", "hop-by-hop"),
        (
            auth("headers: {subject: x-api-key}\n  token_sources: [{header: X-Api-Key}]"),
            "auth.headers.subject",
            "holds the token",
        ),
        (
            auth("headers: {subject: cookie}\n  token_sources: [{cookie: c}]"),
            "auth.headers.subject",
            "holds the token",
        ),
    ]);
}

#[test]
fn denials() {
    let h = |fields: &str| auth(&format!("denial_headers: {{{fields}}}"));
    refused(&[
        (auth("metadata: [reasons]"), "auth.metadata[0]", "did you mean `reason`?"),
        (
            auth("metadata: [reason, token]"),
            "auth.metadata[1]",
            "write one of `reason`, `provider`",
        ),
        (auth("metadata: reason"), "auth.metadata", "must be a list"),
        (auth("metadata: [null]"), "auth.metadata[0]", "is missing"),
        (auth("error_format: json"), "auth.error_format", "write one of `oauth2`, `problem`"),
        (auth("error_format: open_ai"), "auth.error_format", "did you mean `openai`?"),
        (auth("error_format: {}"), "auth.error_format", "must be a string"),
        (
            route("match: {path: /a}, error_format: ''"),
            "auth.routes[0].error_format",
            "write one of",
        ),
        (
            route("match: {path: /a}, public: true, error_format: problem"),
            "auth.routes[0].error_format",
            "public route",
        ),
        (
            route("match: {path: /a}, public: true, denial_headers: {x-a: b}"),
            "auth.routes[0].denial_headers",
            "public route",
        ),
        (auth("denial_headers: [x-a]"), "auth.denial_headers", "must be a mapping"),
        (h("x-a: [b]"), "auth.denial_headers.x-a", "must be a string"),
        (h("x-a: 1"), "auth.denial_headers.x-a", "put it in quotes"),
        (h("x-a: null"), "auth.denial_headers.x-a", "is missing"),
        (h("x-a: ''"), "auth.denial_headers.x-a", "is empty"),
        (h("x-a: ' b'"), "auth.denial_headers.x-a", "space at an end"),
        (h(r#"x-a: "b\r\nx-c: d""#), "auth.denial_headers.x-a", "on one line"),
        (h("x-a: é"), "auth.denial_headers.x-a", "printable ASCII"),
        (h(&format!("x-a: {}", "b".repeat(8193))), "auth.denial_headers.x-a", "at most 8192"),
        (h("x a: b"), "auth.denial_headers[\"x a\"]", "not a valid header name"),
        (h("host: b"), "auth.denial_headers.host", "belongs to the request"),
        (h("':status': '200'"), "auth.denial_headers[\":status\"]", "pseudo"),
        (h("transfer-encoding: b"), "auth.denial_headers.transfer-encoding", "hop-by-hop"),
        (h("x-envoy-a: b"), "auth.denial_headers.x-envoy-a", "belongs to Envoy"),
        (h("WWW-Authenticate: b"), "auth.denial_headers.WWW-Authenticate", "the challenge"),
        (h("content_type: b"), "auth.denial_headers.content_type", "Claimgate writes"),
        (h("Cache-Control: b"), "auth.denial_headers.Cache-Control", "Claimgate writes"),
        (h("retry-after: '5'"), "auth.denial_headers.retry-after", "Claimgate writes"),
        (h("RateLimit: b"), "auth.denial_headers.RateLimit", "Claimgate writes"),
        (h("ratelimit_policy: b"), "auth.denial_headers.ratelimit_policy", "Claimgate writes"),
        (h("grpc-status: '0'"), "auth.denial_headers.grpc-status", "gRPC callers"),
        (h("x-a: b, X_A: c"), "auth.denial_headers.X_A", "is set by `auth.denial_headers.x-a`"),
        (
            route("match: {path: /a}, denial_headers: {x-a: ''}"),
            "auth.routes[0].denial_headers.x-a",
            "is empty",
        ),
    ]);
}

#[test]
fn protected_resources() {
    let at = "auth.protected_resource";
    let issuer = "oauth2: {issuer: 'https://i.example', audience: a}";
    let r = |fields: &str| {
        format!("auth:\n  mode: oauth2\n  {issuer}\n  protected_resource: {{{fields}}}\n")
    };
    let named = |fields: &str| r(&format!("resource: 'https://a.example', {fields}"));
    refused(&[
        (r(""), &format!("{at}.resource"), "write the URL"),
        (r("resource: ''"), &format!("{at}.resource"), "must not be empty"),
        (r("resource: mcp"), &format!("{at}.resource"), "not a valid URL"),
        (r("resource: 'urn:a:b'"), &format!("{at}.resource"), "https URL"),
        (r("resource: 'http://a.example'"), &format!("{at}.resource"), "is not https"),
        (r("resource: 'https://a.example/#x'"), &format!("{at}.resource"), "has a fragment"),
        (r("resource: 'https://a.example/?x'"), &format!("{at}.resource"), "has a query"),
        (r("resource: 'https://u:p@a.example/'"), &format!("{at}.resource"), "user name"),
        (r("resource: 'https://a.example/b/../c'"), &format!("{at}.resource"), "can't be used"),
        (named("resorce: x"), &format!("{at}.resorce"), "did you mean `resource`?"),
        (
            named("authorization_servers: []"),
            &format!("{at}.authorization_servers"),
            "is an empty list",
        ),
        (
            named("authorization_servers: ['http://i.example']"),
            &format!("{at}.authorization_servers[0]"),
            "is not https",
        ),
        (named("scopes_supported: []"), &format!("{at}.scopes_supported"), "is an empty list"),
        (named("scopes_supported: ['a\\b']"), &format!("{at}.scopes_supported[0]"), "not a scope"),
        (named("resource_name: ''"), &format!("{at}.resource_name"), "must not be empty"),
        (named("resource_tos_uri: x"), &format!("{at}.resource_tos_uri"), "not a valid URL"),
        (
            auth("protected_resource: {resource: 'https://a.example'}"),
            &format!("{at}.authorization_servers"),
            "no provider of type `oauth2`",
        ),
        (
            route("match: {path: /a}, public: true, protected_resource: {resource: 'https://a'}"),
            "auth.routes[0].protected_resource",
            "public route",
        ),
        (
            named("resource_name: one")
                + "  routes: [{name: r, match: {path: /a}, protected_resource: \
                   {resource: 'https://a.example', resource_name: two}}]\n",
            "auth.routes[0].protected_resource",
            "describes the resource of `auth.protected_resource` in another way",
        ),
    ]);
}

#[test]
fn all_errors_of_a_file_are_told_at_once() {
    let text = "
server:
  grpc: {address: nowhere, adress: x}
  workers: none
  check_timeout_ms: zero
auth:
  enabled: maybe
  surprise: 1
  realm: ${GONE}
  required_scopes: x
  providers:
    - {name: p, type: oauth2, issuer: http://i.example, algorithms: [HS256], isuer: x}
    - {name: p, type: api_key, keys: [{name: a, key: ''}, {name: b, key: 7}, {key: 'k k'}]}
    - {name: q, type: ldap}
    - 5
  routes:
    - {match: {path_prefix: admin}, providers: [nobody]}
  headers: {subject: host}
  token_sources: [{}]
";
    let errors = load(text).unwrap_err();
    let places: Vec<_> = errors.iter().map(|error| error.place.as_str()).collect();
    for place in [
        "server.grpc.address",
        "server.grpc.adress",
        "server.workers",
        "server.check_timeout_ms",
        "auth.enabled",
        "auth.surprise",
        "auth.realm",
        "auth.required_scopes",
        "auth.providers[0].issuer",
        "auth.providers[0].algorithms[0]",
        "auth.providers[0].isuer",
        "auth.providers[0].audience",
        "auth.providers[1].name",
        "auth.providers[1].keys[0].key",
        "auth.providers[1].keys[1].key",
        "auth.providers[1].keys[2].name",
        "auth.providers[1].keys[2].key",
        "auth.providers[2].type",
        "auth.providers[3]",
        "auth.routes[0].name",
        "auth.routes[0].match.path_prefix",
        "auth.routes[0].providers[0]",
        "auth.headers.subject",
        "auth.token_sources[0]",
    ] {
        assert_eq!(places.iter().filter(|it| **it == place).count(), 1, "{place} in\n{errors}");
    }
    assert_eq!(places.len(), 24, "{errors}");
    assert_eq!(errors.to_string().lines().count(), 24);
}

#[test]
fn no_error_shows_a_secret() {
    let texts = [
        key("key: 'se cret'"),
        key("key: [secret]"),
        key("key_hash: secret"),
        key("key: 'secret${'"),
        key("key: '${KEY_WITH_COMMA}'"),
        key("key: '${LINE}'"),
        "auth: {api_keys: [secret]}".into(),
        "auth: {api_keys: secret}".into(),
        "auth: {api_keys: [{name: n, key: secret, key: secret}]}".into(),
        "auth:\n  api_keys:\n    - name: n\n      key: \"secret\n    x".into(),
        "auth:\n  api_keys:\n    - name: n\n     key: secret\n".into(),
        "auth: {api_keys: [{name: n, key: secret, kee: secret}, {name: m, key: secret}]}".into(),
        oauth2("issuer: '${ISSUER}', audience: a"),
        oauth2("issuer: 'https://i.example/./${LINE}', audience: a"),
        oauth2(
            "issuer: 'https://i.example', jwks_uri: 'https://i.example/../${KEY_WITH_COMMA}', audience: a",
        ),
        oauth2("issuer: 'https://u:secret@i.example', audience: a"),
        oauth2("issuer: 'https://u:secret@:x', audience: a"),
        auth("realm: 'a\\${ISSUER}'"),
        auth("enabled: ${ISSUER}"),
        auth("mode: ${ISSUER}"),
        auth("public_paths: ['${ISSUER}']"),
        auth("token_sources: [{header: a, providers: ['${ISSUER}']}]"),
        auth("routes: [{name: a, match: {path: 'x${ISSUER}'}}]"),
        auth("routes: [{name: a, match: {path: '/./${KEY_WITH_COMMA}'}}]"),
        "auth: {providers: [{name: '${ISSUER}', type: grpc, address: 'http://a:1'}], \
         token_sources: [{header: a, providers: [b]}]}"
            .into(),
        auth("headers: {subject: '${ISSUER}'}"),
        server("{grpc: {address: '${ISSUER}'}}"),
    ];
    for text in texts {
        let errors = load(&text).expect_err(&text).to_string();
        assert!(!errors.contains("secret"), "{errors}\nin\n{text}");
        assert!(!errors.contains("se cret"), "{errors}\nin\n{text}");
    }
}

/// Cutting lines out of valid files must give a clear result, never a panic.
#[test]
fn damaged_examples_never_panic() {
    for path in folder("examples") {
        let text = std::fs::read_to_string(path).unwrap();
        let lines: Vec<_> = text.lines().collect();
        for cut in 0..lines.len() {
            let rest = [&lines[..cut], &lines[cut + 1..]].concat().join("\n");
            let _ = load(&rest);
        }
    }
}
