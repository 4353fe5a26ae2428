//! Mistakes that people make, and everything that they are told.
//!
//! Each file is one that somebody may write. The messages are compared as a
//! whole: who reads them has nothing else.

use super::load;

/// A file and its messages, one a line.
struct Mistake(&'static str, &'static str);

const MISTAKES: &[Mistake] = &[
    // Indentation.
    Mistake("auth:\nproviders:\n  - {name: a, type: api_key, keys: []}\n", ""),
    Mistake("auth:\nenabled: true\nmode: oauth2\noauth2:\n  issuer: https://i.example\n", ""),
    Mistake("providers:\n  - {name: a, type: api_key, keys: []}\n", ""),
    Mistake("Auth:\n  api_keys: []\n", ""),
    Mistake("authentication:\n  api_keys: []\n", ""),
    Mistake("auth:\n  mode: oauth2\n  oauth2:\n  issuer: https://i.example\n  audience: a\n", ""),
    Mistake("auth:\n  api_keys:\n    name: a\n    key: ${FRONTEND_API_KEY}\n", ""),
    Mistake("auth:\n  - api_keys: []\n", ""),
    Mistake("auth:\n  api_keys:\n  - name: a\n   key: b\n", ""),
    Mistake(
        "auth:\n  api_keys: [{name: a, key: '${FRONTEND_API_KEY}'}]\n  routes:\n    - name: r\n      path_prefix: /a\n",
        "",
    ),
    Mistake(
        "auth:\n  enabled: true\n  server:\n    grpc: {address: 0.0.0.0:9001}\n  api_keys: []\n",
        "",
    ),
    Mistake("auth: {api_keys: []}\nserver:\n  address: 0.0.0.0:9001\n", ""),
    // Typos.
    Mistake("auth:\n  provider:\n    - {name: a, type: api_key, keys: []}\n", ""),
    Mistake("auth:\n  apikeys: []\n", ""),
    Mistake("auth:\n  mode: oauth2\n  oauth: {issuer: https://i.example, audience: a}\n", ""),
    Mistake(
        "auth:\n  providers:\n    - {name: i, type: oauth2, isuer: https://i.example, audiance: a}\n",
        "",
    ),
    Mistake(
        "auth:\n  providers:\n    - {name: i, type: oauth2, issuer: https://i.example, audience: a, clock_skew: 30}\n",
        "",
    ),
    Mistake(
        "auth:\n  providers:\n    - {name: i, type: oauth2, issuer: https://i.example, audience: a, required_scopes: [a]}\n",
        "",
    ),
    Mistake(
        "auth:\n  providers:\n    - {name: i, type: oauth2, issuer: https://i.example, audience: a, keys: []}\n",
        "",
    ),
    Mistake(
        "auth:\n  providers:\n    - {name: i, type: oidc, issuer: http://i.example, algorithm: RS256}\n",
        "",
    ),
    Mistake(
        "auth:\n  providers:\n    - {name: i, type: jwt, issuer: i.example, audience: a}\n",
        "",
    ),
    Mistake("auth:\n  providers:\n    - {name: k, type: apikey, keys: [{name: a, key: ''}]}\n", ""),
    Mistake("auth:\n  providers:\n    - {name: x, type: ldap, url: ldap://x}\n", ""),
    Mistake("auth:\n  providers:\n    - {name: x, issuer: https://i.example, audience: a}\n", ""),
    // Types.
    Mistake("auth: {api_keys: []}\nserver:\n  grpc:\n    address: 9001\n", ""),
    Mistake(
        "auth: {api_keys: []}\nserver:\n  grpc: {address: '9001'}\n  admin: {address: 9003}\n",
        "",
    ),
    Mistake("auth: {api_keys: []}\nserver: {grpc: 0.0.0.0:9001}\n", ""),
    Mistake("auth:\n  mode: oauth2\n  oauth2: {issuer: https://i.example, audience: true}\n", ""),
    Mistake(
        "auth:\n  mode: oauth2\n  oauth2: {issuer: https://i.example, audience: a, algorithms: RS256}\n",
        "",
    ),
    Mistake(
        "auth: {api_keys: []}\nserver: {check_timeout_ms: 150ms, shutdown_grace_seconds: 1m}\n",
        "",
    ),
    Mistake("auth:\n  api_keys: []\n  required_scopes: read, write\n  public_paths: /health\n", ""),
    Mistake("auth:\n  enabled: 'true'\n  forward_token: no\n  api_keys: []\n", ""),
    Mistake("auth:\n  enabled: 1\n  api_keys: []\n", ""),
    Mistake("auth:\n  api_keys: []\n  max_token_bytes: 16KiB\n  realm: [a]\n", ""),
    Mistake("auth:\n  api_keys: [{name: a, key: 12345}]\n", ""),
    Mistake("auth:\n  api_keys: sk-12345\n", ""),
    // Variables.
    Mistake("auth:\n  api_keys: [{name: a, key: '${GONE}'}]\n  realm: '${GONE}'\n", ""),
    Mistake("auth:\n  api_keys: [{name: a, key: $FRONTEND_API_KEY}]\n", ""),
    Mistake("auth:\n  enabled: '${ISSUER}'\n  api_keys: []\n", ""),
    Mistake("auth:\n  api_keys: []\n  routes: [{name: r, match: {path: '${ISSUER}'}}]\n", ""),
    // Documents and URLs.
    Mistake("auth:\n  api_keys: []\n---\nserver: {}\n", ""),
    Mistake("auth:\n\tapi_keys: []\n", ""),
    Mistake("auth:\n  realm: a: b\n", ""),
    Mistake("auth:\n  api_keys: []\n  api_keys: []\n", ""),
    Mistake("auth:\n  mode: oauth2\n  oauth2: {issuer: i.example/realms/a, audience: a}\n", ""),
    Mistake("auth:\n  mode: oauth2\n  oauth2: {issuer: //i.example, audience: a}\n", ""),
    Mistake("auth:\n  mode: oauth2\n  oauth2: {issuer: 'localhost:8080', audience: a}\n", ""),
    Mistake("auth:\n  mode: oauth2\n", ""),
    Mistake("auth: {}\n", ""),
    Mistake("server: {}\n", ""),
    Mistake("", ""),
];

#[test]
fn each_mistake_is_told_so_that_its_author_can_mend_it() {
    let mut different = Vec::new();
    for Mistake(text, expected) in MISTAKES {
        let told = match load(text) {
            Ok(loaded) => format!("loads: {:?}", loaded.warnings),
            Err(errors) => errors.to_string().replace("config file:", ""),
        };
        assert!(!told.contains("enabled: false") && !told.contains("mode: none"), "{told}");
        if told != *expected {
            different.push(format!("{text}=>\n{told}\n"));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}
