//! Files that load, and what they mean.

use std::{path::PathBuf, time::Duration};

use claimgate::{
    claims::ClaimPath,
    provider::oauth2::Algorithm,
    settings::{
        ApiKeySettings, ErrorFormat, KeyLocation, ListenAddress, MetadataMember, MetadataMembers,
        OAuth2Settings, ProtectedResourceSettings, ProviderKind, Settings, SeveralTokens,
        TokenPlace,
    },
    time::UnixTime,
};
use serde_json::json;

use super::{debug, good};

/// The public key of RFC 8037, appendix A.2.
const ED25519_JWK: &str = r#"{"kty": "OKP", "crv": "Ed25519",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

/// The settings of one oauth2 provider with these keys.
fn oauth2(fields: &str) -> OAuth2Settings {
    let text = format!("auth: {{providers: [{{name: p, type: oauth2, {fields}}}]}}");
    match good(&text).settings.auth.providers.remove(0).kind {
        ProviderKind::OAuth2(settings) => *settings,
        other => panic!("{other:?}"),
    }
}

fn issuer(fields: &str) -> OAuth2Settings {
    oauth2(&format!("issuer: https://i.example, audience: a, {fields}"))
}

fn auth(lines: &str) -> Settings {
    good(&format!("auth:\n  api_keys: [{{name: n, key: k1}}]\n  {lines}\n")).settings
}

fn keys(settings: &Settings, provider: usize) -> &[ApiKeySettings] {
    match &settings.auth.providers[provider].kind {
        ProviderKind::ApiKey(keys) => keys,
        other => panic!("{other:?}"),
    }
}

fn provider_names(settings: &Settings) -> Vec<&str> {
    settings.auth.providers.iter().map(|provider| provider.name.as_str()).collect()
}

const SHORT_FORM: &str = "
auth:
  enabled: true
  mode: composite
  api_keys:
    - name: frontend-service
      key: \"${FRONTEND_API_KEY}\"
      scopes: [\"*\"]
    - name: read-only-client
      key_hash: \"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"
      scopes: [\"agents:read\"]
      expires_at: 2027-01-31T00:00:00Z
      not_before: 2026-12-01T00:00:00Z
      revoked: false
      claims: {team: search, plan: gold}
  oauth2:
    issuer: \"https://auth.example.com\"
    audience: \"my-api\"
    jwks_uri: null
    algorithms: [RS256, ES256]
    scope_claim: \"scope\"
    clock_skew_seconds: 30
  public_paths: [/v1/health, /metrics]
";

#[test]
fn the_short_form() {
    let loaded = good(SHORT_FORM);
    let settings = &loaded.settings;
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    assert!(settings.auth.enabled);
    assert_eq!(provider_names(settings), ["api_key", "oauth2"]);
    assert_eq!(settings.auth.public_paths, ["/v1/health", "/metrics"]);

    let [frontend, reader] = keys(settings, 0) else { panic!() };
    assert_eq!(frontend.name, "frontend-service");
    assert_eq!(frontend.scopes, ["*"]);
    assert_eq!(frontend.hash, claimgate::config::key::hash("value-of-FRONTEND_API_KEY"));
    assert_eq!(reader.hash, claimgate::config::key::hash("abc"));
    assert_eq!(reader.scopes, ["agents:read"]);
    assert_eq!(reader.expires_at, Some(UnixTime::from_seconds(1_801_353_600.0)));
    assert_eq!(reader.not_before, Some(UnixTime::from_seconds(1_796_083_200.0)));
    assert_eq!(json!(reader.claims), json!({"team": "search", "plan": "gold"}));

    let ProviderKind::OAuth2(oauth2) = &settings.auth.providers[1].kind else { panic!() };
    assert_eq!(oauth2.issuer, "https://auth.example.com");
    assert_eq!(oauth2.audience, ["my-api"]);
    let url = "https://auth.example.com/.well-known/jwks.json".to_owned();
    assert_eq!(oauth2.keys.location, KeyLocation::Url(url));
    assert!(oauth2.wildcard_scope);
}

#[test]
fn a_mode_picks_its_providers() {
    let with_mode = |mode: &str| good(&SHORT_FORM.replace("mode: composite", mode));
    let cases = [
        ("mode: composite", vec!["api_key", "oauth2"], true, 0),
        ("mode: api_key", vec!["api_key"], true, 1),
        ("", vec!["api_key"], true, 1),
        ("mode: null", vec!["api_key"], true, 1),
        ("mode: oauth2", vec!["oauth2"], true, 1),
        ("mode: none", vec!["api_key", "oauth2"], false, 0),
        ("mode: ${GONE:-oauth2}", vec!["oauth2"], true, 1),
    ];
    for (mode, names, enabled, warnings) in cases {
        let loaded = with_mode(mode);
        assert_eq!(provider_names(&loaded.settings), names, "{mode}");
        assert_eq!(loaded.settings.auth.enabled, enabled, "{mode}");
        assert_eq!(loaded.warnings.len(), warnings, "{mode}: {:?}", loaded.warnings);
    }
}

#[test]
fn authentication_is_off_where_it_says_so() {
    for text in [
        "auth: {enabled: false}",
        "auth: {enabled: false, mode: oauth2}",
        "auth: {mode: none}",
        "auth: {enabled: true, mode: none}",
        "auth: {enabled: '${NO}'}",
        "auth: {enabled: false, providers: []}",
        "auth: {enabled: false, routes: [{name: r, match: {path: /}, providers: [later]}]}",
    ] {
        assert!(!good(text).settings.auth.enabled, "{text}");
    }
}

#[test]
fn public_paths_differ_by_form() {
    let general = |paths: &str| {
        good(&format!(
            "auth: {{providers: [{{name: p, type: api_key, keys: [{{name: n, key: k}}]}}]{paths}}}"
        ))
    };
    let health = vec!["/v1/health".to_owned()];
    assert_eq!(auth("").auth.public_paths, health);
    assert_eq!(auth("public_paths: null").auth.public_paths, health);
    assert_eq!(auth("public_paths: []").auth.public_paths, Vec::<String>::new());
    assert_eq!(general("").settings.auth.public_paths, Vec::<String>::new());
    assert_eq!(general(", public_paths: [/v1/health]").settings.auth.public_paths, health);
}

#[test]
fn the_digest_is_that_of_the_file() {
    // printf 'auth: {enabled: false}' | sha256sum
    let digest = "sha256:36e5c01a6876be7cab3a3cdc529e108ab4808c290582b1298129ba82586ae3f9";
    assert_eq!(good("auth: {enabled: false}").digest, digest);
}

#[test]
fn the_defaults() {
    let settings = auth("");
    let server = &settings.server;
    assert_eq!(server.grpc.address, ListenAddress::Tcp("0.0.0.0:9001".into()));
    assert_eq!(server.grpc.tls, None);
    assert_eq!(server.admin_address, "0.0.0.0:9003");
    assert_eq!(server.status_page, None);
    assert_eq!(server.workers, None);
    assert_eq!(server.check_timeout, Duration::from_millis(150));
    assert_eq!(server.shutdown_grace, Duration::from_secs(20));
    assert_eq!(server.tracing, None);
    let auth = &settings.auth;
    assert_eq!(auth.required_scopes, Vec::<String>::new());
    assert!(!auth.allow_cors_preflight && auth.routes.is_empty() && auth.forward_token);
    assert_eq!(auth.token_sources.len(), 1);
    let bearer = TokenPlace::Header { name: "authorization".into(), scheme: Some("Bearer".into()) };
    assert_eq!(auth.token_sources[0].place, bearer);
    assert_eq!(auth.headers.subject.as_deref(), Some("x-auth-subject"));
    assert_eq!(auth.headers.provider.as_deref(), Some("x-auth-provider"));
    assert_eq!((auth.max_token_bytes, auth.token_cache_entries), (16_384, 10_000));
    assert_eq!(auth.token_cache_bytes, 64 * 1024 * 1024);
    assert_eq!(auth.realm, "claimgate");
    assert_eq!(auth.metadata, MetadataMembers::ALL);

    let oauth2 = issuer("");
    assert_eq!(oauth2.algorithms, [Algorithm::Rs256, Algorithm::Es256]);
    assert_eq!(oauth2.clock_skew, Duration::from_secs(30));
    assert_eq!(oauth2.max_token_lifetime, None);
    assert_eq!(oauth2.accepted_types, Some(vec!["jwt".into(), "at+jwt".into()]));
    assert!(!oauth2.accept_bound_tokens && !oauth2.wildcard_scope);
    assert_eq!(oauth2.scope_claim, ClaimPath::named("scope"));
    assert_eq!(oauth2.subject_claim, ClaimPath::named("sub"));
    assert_eq!(oauth2.keys.cache, Duration::from_secs(3600));
    assert_eq!(oauth2.keys.max_stale, Duration::from_secs(86_400));
    assert_eq!(oauth2.keys.refresh_cooldown, Duration::from_secs(10));
    assert_eq!(oauth2.keys.timeout, Duration::from_secs(5));
}

/// Null is the same as leaving a key out, for every key with a default.
#[test]
fn nulls_are_defaults() {
    let nulls = |keys: &[&str]| {
        keys.iter().map(|key| format!("{key}: null")).collect::<Vec<_>>().join(", ")
    };
    let auth_keys = nulls(&[
        "enabled",
        "mode",
        "providers",
        "oauth2",
        "required_scopes",
        "public_paths",
        "allow_cors_preflight",
        "routes",
        "case_sensitive_paths",
        "match_as_sent",
        "token_sources",
        "several_tokens",
        "headers",
        "metadata",
        "forward_token",
        "max_token_bytes",
        "realm",
        "token_cache_entries",
        "token_cache_bytes",
    ]);
    let key = nulls(&["key_hash", "scopes", "expires_at", "not_before", "revoked", "claims"]);
    let server = nulls(&[
        "grpc",
        "admin",
        "workers",
        "check_timeout_ms",
        "shutdown_grace_seconds",
        "tracing",
    ]);
    let text = format!(
        "server: {{{server}}}\nauth: {{{auth_keys}, api_keys: [{{name: n, key: k1, {key}}}]}}"
    );
    assert_eq!(debug(&good(&text).settings), debug(&auth("")));
    let inner = "server: {grpc: {address: null, tls: null}, admin: {address: null}}";
    let text = format!("auth: {{api_keys: [{{name: n, key: k1}}]}}\n{inner}");
    assert_eq!(debug(&good(&text).settings), debug(&auth("")));

    let keys = nulls(&[
        "require_audience",
        "client_ids",
        "required_claims",
        "jwks_uri",
        "discovery",
        "jwks_file",
        "ca_file",
        "fetch_token_file",
        "allow_http",
        "algorithms",
        "scope_claim",
        "subject_claim",
        "clock_skew_seconds",
        "max_token_lifetime_seconds",
        "accepted_types",
        "accept_bound_tokens",
        "wildcard_scope",
        "jwks_cache_seconds",
        "jwks_max_stale_seconds",
        "jwks_refresh_cooldown_seconds",
        "jwks_timeout_seconds",
        "forward_token",
    ]);
    assert_eq!(format!("{:?}", issuer(&keys)), format!("{:?}", issuer("")));
}

#[test]
fn issuers_and_their_keys() {
    let location = |fields: &str| oauth2(&format!("audience: a, {fields}")).keys.location;
    let url = |url: &str| KeyLocation::Url(url.into());
    let discovery = |url: &str, otherwise: Option<&str>| KeyLocation::Discovery {
        url: url.into(),
        otherwise: otherwise.map(Into::into),
    };
    let cases = [
        ("issuer: https://i.example", url("https://i.example/.well-known/jwks.json")),
        ("issuer: https://i.example/", url("https://i.example/.well-known/jwks.json")),
        ("issuer: https://i.example//", url("https://i.example//.well-known/jwks.json")),
        ("issuer: https://i.example/a//b", url("https://i.example/a//b/.well-known/jwks.json")),
        (
            "issuer: https://i.example/t/, discovery: true",
            discovery(
                "https://i.example/t/.well-known/openid-configuration",
                Some("https://i.example/.well-known/oauth-authorization-server/t"),
            ),
        ),
        (
            "issuer: https://i.example, discovery: true",
            discovery(
                "https://i.example/.well-known/openid-configuration",
                Some("https://i.example/.well-known/oauth-authorization-server"),
            ),
        ),
        (
            "issuer: 'https://i.example:8443/a//b', discovery: 'true'",
            discovery(
                "https://i.example:8443/a//b/.well-known/openid-configuration",
                Some("https://i.example:8443/.well-known/oauth-authorization-server/a//b"),
            ),
        ),
        (
            "issuer: https://i.example, discovery: 'https://k.example//metadata?v=2'",
            discovery("https://k.example//metadata?v=2", None),
        ),
        (
            "issuer: https://i.example, discovery: 'false'",
            url("https://i.example/.well-known/jwks.json"),
        ),
        ("issuer: https://i, jwks_uri: 'https://k//keys?v=1'", url("https://k//keys?v=1")),
        ("issuer: https://i, jwks_file: keys.json", KeyLocation::File("keys.json".into())),
        ("issuer: https://i, jwks_uri: 'http://localhost:80/k'", url("http://localhost:80/k")),
        ("issuer: http://LOCALHOST:1", url("http://LOCALHOST:1/.well-known/jwks.json")),
        ("issuer: http://127.9.9.9:1", url("http://127.9.9.9:1/.well-known/jwks.json")),
        ("issuer: 'http://[::1]:1'", url("http://[::1]:1/.well-known/jwks.json")),
        ("issuer: http://i, allow_http: true", url("http://i/.well-known/jwks.json")),
        ("issuer: plain, allow_http: true, jwks_file: k", KeyLocation::File("k".into())),
        ("issuer: HTTPS://i.example", url("HTTPS://i.example/.well-known/jwks.json")),
    ];
    for (fields, expected) in cases {
        assert_eq!(location(fields), expected, "{fields}");
    }
    assert_eq!(oauth2("issuer: https://i.example/, audience: a").issuer, "https://i.example/");
    assert_eq!(oauth2("issuer: https://i, audience: [a, b]").audience, ["a", "b"]);
    assert!(oauth2("issuer: https://i, require_audience: false").audience.is_empty());
    assert_eq!(oauth2("issuer: https://i, require_audience: false, audience: a").audience, ["a"]);
}

#[test]
fn what_tokens_must_be_like() {
    let types = |list: &str| issuer(&format!("accepted_types: {list}")).accepted_types;
    assert_eq!(types("[\"*\"]"), None);
    assert_eq!(types("[Application/AT+JWT, JOSE]"), Some(vec!["at+jwt".into(), "jose".into()]));
    let all = issuer(
        "algorithms: [RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA]",
    );
    assert_eq!(all.algorithms, Algorithm::ALL);
    for names in ["[EdDSA]", "[Ed25519]", "[EdDSA, Ed25519]", "[Ed25519, EdDSA]"] {
        let settings = issuer(&format!("algorithms: {names}"));
        assert_eq!(settings.algorithms, [Algorithm::EdDsa], "{names}");
    }
    assert_eq!(issuer("clock_skew_seconds: 0").clock_skew, Duration::ZERO);
    assert_eq!(issuer("clock_skew_seconds: '${NUMBER}'").clock_skew, Duration::from_secs(7));
    assert_eq!(issuer("jwks_max_stale_seconds: 0").keys.max_stale, Duration::ZERO);

    let rules = issuer("required_claims: {token_use: access, n: [1, true, a.b], a.b: 1.5}");
    let rules: Vec<_> =
        rules.required_claims.iter().map(|rule| (rule.claim.clone(), json!(rule.any_of))).collect();
    let expected = [
        (ClaimPath::named("token_use"), json!(["access"])),
        (ClaimPath::named("n"), json!([1, true, "a.b"])),
        (ClaimPath::named("a.b"), json!([1.5])),
    ];
    assert_eq!(rules, expected);
    let rules = issuer("required_claims: [{claim: [a.b, c], is: x}, {claim: d.e, is: [1]}]");
    let claims: Vec<_> = rules.required_claims.iter().map(|rule| rule.claim.clone()).collect();
    let segments = ClaimPath::Segments(vec!["a.b".into(), "c".into()]);
    assert_eq!(claims, [segments, ClaimPath::named("d.e")]);
}

#[test]
fn the_metadata_has_the_members_that_are_named() {
    use MetadataMember::*;
    let all = [Reason, Provider, Method, Subject, Scopes, ClientId, ExpiresAt, Claims];
    let cases = [
        ("[]", &[][..]),
        ("[reason]", &[Reason]),
        ("[subject, reason, subject]", &[Reason, Subject]),
        ("[claims, expires_at, client_id, scopes, subject, method, provider, reason]", &all),
        ("null", &all),
    ];
    for (text, expected) in cases {
        let told = auth(&format!("metadata: {text}")).auth.metadata;
        for member in all {
            assert_eq!(told.contains(member), expected.contains(&member), "{text}: {member:?}");
        }
        let expected: MetadataMembers = expected.iter().copied().collect();
        assert_eq!(told, expected, "{text}");
    }
}

#[test]
fn routes_are_normalised() {
    let settings = auth(
        "routes:
    - {name: a, match: {path_prefix: /admin/, methods: [get, POST], hosts: ['API.Example.com:8443', '*.Example.com.', '[::1]:80', '10.0.0.1']}, providers: [api_key]}
    - {name: b, match: {path_prefix: /}, required_scopes: []}
    - {name: c, match: {path: /status/}, public: true}
    - {name: d, match: {path: '/v1/a:b~c-d_e.f+g@h,i=j&k'}}",
    );
    let [a, b, c, _] = settings.auth.routes.as_slice() else { panic!() };
    assert_eq!(a.path_prefix.as_deref(), Some("/admin"));
    assert_eq!(a.methods, ["GET", "POST"]);
    assert_eq!(a.hosts, ["api.example.com", "*.example.com", "[::1]", "10.0.0.1"]);
    assert_eq!(a.providers, Some(vec!["api_key".into()]));
    assert_eq!(a.required_scopes, None);
    assert_eq!(b.path_prefix.as_deref(), Some("/"));
    assert_eq!(b.required_scopes, Some(vec![]));
    assert_eq!(c.path.as_deref(), Some("/status/"));
    assert!(c.public);
}

#[test]
fn token_sources_and_headers() {
    let settings = auth(
        "token_sources: [{header: Authorization, scheme: bearer}, {header: X-Api-Key, providers: [api_key]}, {query: access_token}, {cookie: session_token}, {websocket_protocol: openai-insecure-api-key.}]
  several_tokens: first
  headers: {subject: X-User, provider: null, method: null, claims: [{claim: [a, b], header: X-B}, {claim: c.d, header: x-d}]}",
    );
    let places: Vec<_> = settings.auth.token_sources.iter().map(|it| it.place.clone()).collect();
    let expected = [
        TokenPlace::Header { name: "authorization".into(), scheme: Some("bearer".into()) },
        TokenPlace::Header { name: "x-api-key".into(), scheme: None },
        TokenPlace::Query("access_token".into()),
        TokenPlace::Cookie("session_token".into()),
        TokenPlace::WebSocketProtocol("openai-insecure-api-key.".into()),
    ];
    assert_eq!(places, expected);
    assert_eq!(settings.auth.several_tokens, SeveralTokens::First);
    assert_eq!(auth("several_tokens: refuse").auth.several_tokens, SeveralTokens::Refuse);
    assert_eq!(auth("").auth.several_tokens, SeveralTokens::Refuse);
    let headers = &settings.auth.headers;
    assert_eq!(headers.subject.as_deref(), Some("x-user"));
    assert_eq!(headers.scopes.as_deref(), Some("x-auth-scopes"));
    assert_eq!((&headers.provider, &headers.method), (&None, &None));
    let segments = ClaimPath::Segments(vec!["a".into(), "b".into()]);
    let expected = [(segments, "x-b".to_owned()), (ClaimPath::named("c.d"), "x-d".to_owned())];
    assert_eq!(headers.claims, expected);
    let map = auth("headers: {claims: {client_id: x-c, gone: null}}");
    assert_eq!(map.auth.headers.claims, [(ClaimPath::named("client_id"), "x-c".to_owned())]);
}

#[test]
fn listeners() {
    let server =
        |block: &str| good(&format!("auth: {{enabled: false}}\nserver: {block}")).settings.server;
    let address = |text: &str| server(&format!("{{grpc: {{address: '{text}'}}}}")).grpc.address;
    for text in ["127.0.0.1:0", "[::]:9001", "[::1]:1", "localhost:9001", "my-host.example:1"] {
        assert_eq!(address(text), ListenAddress::Tcp(text.into()));
    }
    assert_eq!(address("unix:/run/x.sock"), ListenAddress::Unix("/run/x.sock".into()));
    assert_eq!(address("unix:///run/x.sock"), ListenAddress::Unix("/run/x.sock".into()));
    assert_eq!(address("unix:x.sock"), ListenAddress::Unix("x.sock".into()));
    assert_eq!(server("{workers: auto}").workers, None);
    assert_eq!(server("{workers: 4}").workers.map(usize::from), Some(4));
    assert_eq!(server("{workers: '${NUMBER}'}").workers.map(usize::from), Some(7));
    assert_eq!(server("{workers: '${GONE:-auto}'}").workers, None);
    assert_eq!(
        server("{grpc: {max_connection_age_seconds: 300}}").grpc.max_connection_age,
        Some(Duration::from_secs(300))
    );
    assert_eq!(server("{grpc: {max_connection_age_seconds: null}}").grpc.max_connection_age, None);
    assert_eq!(server("{shutdown_grace_seconds: 0}").shutdown_grace, Duration::ZERO);
    let tracing = |keys: &str| server(&format!("{{tracing: {{{keys}}}}}")).tracing.unwrap();
    let spans = tracing("otlp_endpoint: 'http://c:4317/', sample_ratio: 1");
    assert_eq!((spans.endpoint.as_str(), spans.sample_ratio), ("http://c:4317", 1.0));
    for (endpoint, url) in [
        ("http://c:4318", "http://c:4318/v1/traces"),
        ("https://c/otlp/", "https://c/otlp/v1/traces"),
        ("https://c/v1/traces", "https://c/v1/traces"),
    ] {
        let spans = tracing(&format!("otlp_endpoint: '{endpoint}', protocol: http"));
        assert_eq!((spans.endpoint.as_str(), spans.sample_ratio), (url, 0.0));
    }
    let ratio = "otlp_endpoint: 'http://c', sample_ratio: '${GONE:-0.25}'";
    assert_eq!(tracing(ratio).sample_ratio, 0.25);
    let both = server("{grpc: {address: '127.0.0.1:0'}, admin: {address: '127.0.0.1:0'}}");
    assert_eq!(both.admin_address, "127.0.0.1:0");
    let page = |value| server(&format!("{{admin: {{status_page: {value}}}}}")).status_page;
    assert_eq!(["true", "false", "null"].map(page), [Some(true), Some(false), None]);
    let tls = "{cert_file: c, key_file: k, client_ca_file: a, allowed_client_sans: [spiffe://x]}";
    let tls = server(&format!("{{grpc: {{tls: {tls}}}}}")).grpc.tls.unwrap();
    assert_eq!(tls.client_ca_file, Some(PathBuf::from("a")));
    assert_eq!(tls.allowed_client_sans, ["spiffe://x"]);
}

#[test]
fn custom_providers() {
    let grpc = |fields: &str| {
        let text = format!("auth: {{providers: [{{name: g, type: grpc, {fields}}}]}}");
        match good(&text).settings.auth.providers.remove(0).kind {
            ProviderKind::Grpc(settings) => settings,
            other => panic!("{other:?}"),
        }
    };
    let defaults = grpc("address: 'http://h:1'");
    assert_eq!(defaults.timeout, Duration::from_millis(100));
    assert_eq!((defaults.cache_entries, defaults.cache), (10_000, Duration::ZERO));
    assert_eq!(defaults.cache_bytes, 16 * 1024 * 1024);
    assert_eq!(grpc("address: h:1, cache_bytes: 65536").cache_bytes, 65_536);
    assert_eq!(grpc("address: 'https://h:1/'").address, "https://h:1");
    assert_eq!(grpc("address: h:1").address, "http://h:1");
    assert_eq!(grpc("address: unix:///run/p").address, "unix:/run/p");
    assert_eq!(grpc("address: h:1, cache_entries: 0").cache_entries, 0);
}

#[test]
fn api_keys() {
    let one = |fields: &str| {
        let settings = good(&format!("auth: {{api_keys: [{{name: n, {fields}}}]}}")).settings;
        keys(&settings, 0)[0].clone()
    };
    assert_eq!(one("key: k").scopes, ["*"]);
    assert_eq!(one("key: k, scopes: []").scopes, Vec::<String>::new());
    assert!(one("key: k, revoked: true").revoked);
    assert_eq!(one("key: k$$k").hash, one("key: 'k$k'").hash);
    let time = |text: &str| one(&format!("key: k, expires_at: {text}")).expires_at.unwrap();
    let midnight = UnixTime::from_seconds(1_801_353_600.0);
    for text in [
        "2027-01-31T00:00:00Z",
        "'2027-01-31T00:00:00Z'",
        "2027-01-31T01:00:00+01:00",
        "2027-01-30T19:00:00-05:00",
        "2027-01-31t00:00:00z",
        "2027-01-31 00:00:00Z",
        "2027-01-31T00:00:00.000Z",
    ] {
        assert_eq!(time(text), midnight, "{text}");
    }
    let claims = one("key: k, claims: {list: [a, {b: null}], n: 1, sub: x}").claims;
    assert_eq!(json!(claims), json!({"list": ["a", {"b": null}], "n": 1, "sub": "x"}));
}

#[test]
fn an_empty_list_of_keys_is_worth_a_warning() {
    for (text, place) in [
        ("auth: {api_keys: []}", "auth.api_keys"),
        ("auth: {providers: [{name: p, type: api_key, keys: []}]}", "auth.providers[0].keys"),
    ] {
        let warnings = good(text).warnings;
        assert!(warnings.len() == 1 && warnings[0].place == place, "{warnings:?}");
    }
}

#[test]
fn other_blocks_are_ignored_with_one_warning() {
    let text = "
models: {gpt: {key: '${UNSET}'}}
auth: {enabled: false}
x-anchors: &a {enabled: '${'}
cache: *a
";
    let warnings = good(text).warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    for name in ["`models`", "`x-anchors`", "`cache`"] {
        assert!(warnings[0].message.contains(name), "{warnings:?}");
    }
}

#[test]
fn anchors_and_merges_work() {
    let text = "
x: &defaults {audience: a, algorithms: [ES256]}
auth:
  providers:
    - {<<: *defaults, name: p, type: oauth2, issuer: https://p}
    - {<<: *defaults, name: q, type: oauth2, issuer: https://q, audience: b}
";
    let settings = good(text).settings;
    let audiences: Vec<_> = settings
        .auth
        .providers
        .iter()
        .map(|provider| match &provider.kind {
            ProviderKind::OAuth2(oauth2) => oauth2.audience.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(audiences, [["a"], ["b"]]);
}

#[test]
fn many_keys_and_issuers_load() {
    let mut text =
        "auth:\n  providers:\n    - name: keys\n      type: api_key\n      keys:\n".to_owned();
    for n in 0..20_000 {
        text += &format!(
            "        - {{name: k{n}, key: key-{n}, scopes: [a, b], claims: {{n: {n}}}}}\n"
        );
    }
    for n in 0..1_000 {
        text +=
            &format!("    - {{name: i{n}, type: oauth2, issuer: 'https://i{n}', audience: a}}\n");
    }
    let settings = good(&text).settings;
    assert_eq!(keys(&settings, 0).len(), 20_000);
    assert_eq!(settings.auth.providers.len(), 1_001);
}

#[test]
fn a_variable_changes_no_structure() {
    let settings = auth("public_paths: ['/${GONE:-x}', '/$${GONE}']");
    assert_eq!(settings.auth.public_paths, ["/x", "/${GONE}"]);
    // A key, a list and a mapping written into a variable stay one string.
    let text = "auth: {providers: [{name: '${LINE}x', type: api_key, keys: []}]}";
    assert!(super::load(text).is_err(), "a line break can't be part of a name");
    let required = issuer("required_claims: {a: '${NUMBER}', b: '${NO}'}").required_claims;
    assert_eq!(required[0].any_of, [json!("7")]);
    assert_eq!(required[1].any_of, [json!("false")]);
}

#[test]
fn files_are_listed_and_looked_into() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let load = |cert: &str, key: &str, jwks: &str, ca: &str, token: &str| {
        good(&format!(
            "server: {{grpc: {{tls: {{cert_file: {cert}, key_file: {key}, client_ca_file: {ca}}}}}}}
auth: {{mode: oauth2, oauth2: {{issuer: https://i, audience: a, jwks_file: {jwks}, ca_file: {ca}, fetch_token_file: {token}}}}}"
        ))
    };
    let cert = write("cert.pem", &cert);
    let key = write("key.pem", &key);
    let jwks = write("jwks.json", &format!("{{\"keys\": [{ED25519_JWK}]}}"));
    let token = write("token", "abc.def.ghi\n");

    let loaded = load(&cert, &key, &jwks, &cert, &token);
    loaded.check_files().unwrap_or_else(|errors| panic!("{errors}"));
    let named: Vec<_> = loaded.files.iter().map(|file| file.path.clone()).collect();
    assert_eq!(named.len(), 6);
    let watched = loaded.settings.files();
    assert!(named.iter().all(|path| watched.contains(path)) && watched.len() == 6);

    let unusable = write("enc.json", r#"{"keys": [{"kty": "oct", "k": "AAAA", "kid": "s"}]}"#);
    let errors = load(&cert, &key, &unusable, &cert, &token).check_files().unwrap_err();
    assert!(errors.to_string().contains("no usable key in it: keys[0] (kid \"s\")"), "{errors}");

    let gone = folder.path().join("gone").display().to_string();
    let errors = load(&gone, &cert, &cert, &key, &gone).check_files().unwrap_err();
    let places: Vec<_> = errors.iter().map(|error| error.place.as_str()).collect();
    let expected = [
        "server.grpc.tls.cert_file",
        "server.grpc.tls.key_file",
        "server.grpc.tls.client_ca_file",
        "auth.oauth2.jwks_file",
        "auth.oauth2.ca_file",
        "auth.oauth2.fetch_token_file",
    ];
    assert_eq!(places, expected, "{errors}");
    assert!(errors.to_string().contains("can't be read"), "{errors}");
    assert!(errors.to_string().contains("holds no PEM private key"), "{errors}");
}

/// Files in use are often incomplete in the parts that they do not use.
#[test]
fn what_a_mode_does_not_use_may_be_missing_or_unfinished() {
    for (text, providers) in [
        ("auth: {mode: composite, oauth2: {issuer: 'https://i', audience: a}}", vec!["oauth2"]),
        (
            "auth: {mode: api_key, api_keys: [{name: a, key: k}], oauth2: {issuer: ''}}",
            vec!["api_key"],
        ),
        (
            "auth: {mode: oauth2, api_keys: [{name: a}], oauth2: {issuer: 'https://i', audience: a}}",
            vec!["oauth2"],
        ),
    ] {
        let loaded = claimgate::config::load(text, &|_| None).expect(text);
        let names: Vec<_> =
            loaded.settings.auth.providers.iter().map(|provider| &provider.name).collect();
        assert_eq!(names, providers, "{text}");
    }
}

/// While a key is rotated, the old and the new one share a subject.
#[test]
fn two_keys_may_have_one_name() {
    let text = "auth: {api_keys: [{name: a, key: k1}, {name: a, key: k2}]}";
    assert!(claimgate::config::load(text, &|_| None).is_ok());
}

#[test]
fn a_route_without_match_is_reached_by_name_only() {
    let text =
        "auth: {api_keys: [{name: a, key: k}], routes: [{name: admin, required_scopes: [a]}]}";
    let loaded = claimgate::config::load(text, &|_| None).expect("loads");
    assert!(loaded.settings.auth.routes[0].only_by_name);
}

#[test]
fn a_route_may_tell_its_denials_otherwise() {
    let lines = "
  error_format: problem
  denial_headers: {X-Docs: https://example.com/help, x-from: '${NUMBER}'}
  routes:
    - {name: same, match: {path: /same}}
    - {name: openai, match: {path: /v1}, error_format: openai, denial_headers: {}}
    - {name: anthropic, match: {path: /v2}, error_format: anthropic}
    - {name: oauth2, match: {path: /v3}, error_format: oauth2}";
    let auth = auth(lines).auth;
    assert_eq!(auth.error_format, ErrorFormat::Problem);
    let headers = [("x-docs", "https://example.com/help"), ("x-from", "7")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(auth.denial_headers, headers);
    let told = auth.routes.iter().map(|route| (route.error_format, route.denial_headers.clone()));
    let expected = [
        (None, None),
        (Some(ErrorFormat::OpenAi), Some(Vec::new())),
        (Some(ErrorFormat::Anthropic), None),
        (Some(ErrorFormat::OAuth2), None),
    ];
    assert_eq!(told.collect::<Vec<_>>(), expected);
}

/// Missing members follow from the requests for the resource.
#[test]
fn a_protected_resource_is_completed_from_the_rules() {
    let text = "
auth:
  providers:
    - {name: keys, type: api_key, keys: [{name: k, key: a-key-of-twenty-bytes}]}
    - {name: one, type: oauth2, issuer: 'https://one.example', audience: a}
    - {name: two, type: oauth2, issuer: 'https://two.example', audience: a}
    - {name: odd, type: oauth2, issuer: odd, allow_http: true, audience: a, jwks_uri: 'https://o'}
  required_scopes: [use]
  public_paths: [/.well-known/oauth-protected-resource/public]
  protected_resource: {resource: 'https://a.example/'}
  routes:
    - {name: inherits, match: {path: /1}, required_scopes: [admin, use]}
    - {name: public, match: {path: /2}, public: true}
    - name: read
      match: {path: /3, methods: [GET]}
      required_scopes: [read]
      providers: [two, keys]
      protected_resource: &mcp {resource: 'https://a.example/mcp', resource_name: Tools}
    - {name: write, match: {path: /3}, required_scopes: [write], providers: [one], protected_resource: *mcp}
    - name: written
      match: {path: /4}
      protected_resource:
        resource: http://a.example/public
        allow_http: true
        authorization_servers: ['https://other.example']
        scopes_supported: [some]";
    let loaded = good(text);
    let told = |resource: &Option<ProtectedResourceSettings>| {
        let resource = resource.clone().expect("a resource");
        (resource.resource, resource.authorization_servers, resource.scopes_supported)
    };
    let expected = |resource: &str, issuers: &[&str], scopes: &[&str]| {
        let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        (resource.to_owned(), owned(issuers), owned(scopes))
    };
    let (one, two) = ("https://one.example", "https://two.example");
    let auth = &loaded.settings.auth;
    let default = expected("https://a.example/", &[one, two], &["use", "admin"]);
    assert_eq!(told(&auth.protected_resource), default);
    let mcp = expected("https://a.example/mcp", &[two, one], &["read", "write"]);
    assert_eq!(told(&auth.routes[2].protected_resource), mcp);
    assert_eq!(auth.routes[2].protected_resource, auth.routes[3].protected_resource);
    let written = expected("http://a.example/public", &["https://other.example"], &["some"]);
    assert_eq!(told(&auth.routes[4].protected_resource), written);
    assert_eq!(auth.routes[0].protected_resource, None);
    assert_eq!(loaded.warnings.len(), 1, "{:?}", loaded.warnings);
    assert!(loaded.warnings[0].message.contains("`auth.public_paths`"), "{:?}", loaded.warnings);
}
