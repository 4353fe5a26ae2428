//! Mistakes that people make, and everything that they are told.
//!
//! Each file is one that a user may write. The messages are compared as a
//! whole: who reads them has nothing else.

use super::load;

/// A file and its messages, one a line.
struct Mistake(&'static str, &'static str);

const MISTAKES: &[Mistake] = &[
    // Indentation.
    Mistake(
        "auth:\nproviders:\n  - {name: a, type: api_key, keys: []}\n",
        "2:1: providers: is a key of `auth`, but stands beside it; write it, and all that belongs to it, below a line `auth:` and indented by two spaces",
    ),
    Mistake(
        "auth:\nenabled: true\nmode: oauth2\noauth2:\n  issuer: https://i.example\n",
        "2:1: enabled: is a key of `auth`, but stands beside it; write it, and all that belongs to it, below a line `auth:` and indented by two spaces\n\
         3:1: mode: is a key of `auth`, but stands beside it; write it, and all that belongs to it, below a line `auth:` and indented by two spaces\n\
         4:1: oauth2: is a key of `auth`, but stands beside it; write it, and all that belongs to it, below a line `auth:` and indented by two spaces",
    ),
    Mistake(
        "providers:\n  - {name: a, type: api_key, keys: []}\n",
        "1:1: providers: is a key of `auth`, but stands beside it; write it, and all that belongs to it, below a line `auth:` and indented by two spaces",
    ),
    Mistake(
        "Auth:\n  api_keys: []\n",
        "1:1: Auth: is not a block of Claimgate; did you mean `auth`?",
    ),
    Mistake(
        "authentication:\n  api_keys: []\n",
        "1:1: authentication: is not a block of Claimgate; did you mean `auth`?",
    ),
    Mistake(
        "auth:\n  mode: oauth2\n  oauth2:\n  issuer: https://i.example\n  audience: a\n",
        "3:3: auth.oauth2: is missing; write the issuer that this `mode` needs, or another `mode`\n\
         4:3: auth.issuer: unknown key; it is a key of `auth.oauth2`, `auth.providers[]`; move it there, or remove it\n\
         5:3: auth.audience: unknown key; it is a key of `auth.oauth2`, `auth.providers[]`; move it there, or remove it",
    ),
    Mistake(
        "auth:\n  api_keys:\n    name: a\n    key: ${FRONTEND_API_KEY}\n",
        "2:3: auth.api_keys: must be a list, not a mapping; begin each element with `- `",
    ),
    Mistake(
        "auth:\n  - api_keys: []\n",
        "1:1: auth: must be a mapping, not a list; write its keys without `- ` in front",
    ),
    Mistake(
        "auth:\n  api_keys:\n  - name: a\n   key: b\n",
        "4:4: is not valid YAML: while parsing a block mapping, did not find expected key at line 4, column 4",
    ),
    Mistake(
        "auth:\n  api_keys: [{name: a, key: '${FRONTEND_API_KEY}'}]\n  routes:\n    - name: r\n      path_prefix: /a\n",
        "5:7: auth.routes[0].path_prefix: unknown key; it is a key of `auth.routes[].match`; move it there, or remove it",
    ),
    Mistake(
        "auth:\n  enabled: true\n  server:\n    grpc: {address: 0.0.0.0:9001}\n  api_keys: []\n",
        "3:3: auth.server: unknown key; it is a key of the top level of the file; move it there, or remove it",
    ),
    Mistake(
        "auth: {api_keys: []}\nserver:\n  address: 0.0.0.0:9001\n",
        "3:3: server.address: unknown key; it is a key of `auth.providers[]`, `server.grpc`, `server.admin`; move it there, or remove it",
    ),
    // Typos.
    Mistake(
        "auth:\n  provider:\n    - {name: a, type: api_key, keys: []}\n",
        "2:3: auth.provider: unknown key; did you mean `providers`?",
    ),
    Mistake("auth:\n  apikeys: []\n", "2:3: auth.apikeys: unknown key; did you mean `api_keys`?"),
    Mistake(
        "auth:\n  mode: oauth2\n  oauth: {issuer: https://i.example, audience: a}\n",
        "3:3: auth.oauth: unknown key; did you mean `oauth2`?",
    ),
    Mistake(
        "auth:\n  providers:\n    - {name: i, type: oauth2, isuer: https://i.example, audiance: a}\n",
        "3:31: auth.providers[0].isuer: unknown key; did you mean `issuer`?\n\
         3:57: auth.providers[0].audiance: unknown key; did you mean `audience`?",
    ),
    Mistake(
        "auth:\n  providers:\n    - {name: i, type: oauth2, issuer: https://i.example, audience: a, clock_skew: 30}\n",
        "3:71: auth.providers[0].clock_skew: unknown key; did you mean `clock_skew_seconds`?",
    ),
    Mistake(
        "auth:\n  providers:\n    - {name: i, type: oauth2, issuer: https://i.example, audience: a, required_scopes: [a]}\n",
        "3:71: auth.providers[0].required_scopes: unknown key; it is a key of `auth`, `auth.routes[]`; move it there, or remove it",
    ),
    Mistake(
        "auth:\n  providers:\n    - {name: i, type: oauth2, issuer: https://i.example, audience: a, keys: []}\n",
        "3:71: auth.providers[0].keys: unknown key; it belongs to another `type` of provider; remove it, or write that type",
    ),
    Mistake(
        "auth:\n  providers:\n    - {name: i, type: oidc, issuer: http://i.example, algorithm: RS256}\n",
        "3:7: auth.providers[0].audience: is missing; write what must be in the tokens' `aud`, or `require_audience: false` beside it if they have none\n\
         3:23: auth.providers[0].type: `oidc` is not known; write one of `api_key`, `oauth2`, `grpc`; did you mean `oauth2`?\n\
         3:37: auth.providers[0].issuer: `http://i.example` is not https; write an https URL, or `allow_http: true` beside it\n\
         3:55: auth.providers[0].algorithm: unknown key; did you mean `algorithms`?",
    ),
    Mistake(
        "auth:\n  providers:\n    - {name: i, type: jwt, issuer: i.example, audience: a}\n",
        "3:23: auth.providers[0].type: `jwt` is not known; write one of `api_key`, `oauth2`, `grpc`; did you mean `oauth2`?\n\
         3:36: auth.providers[0].issuer: `i.example` has no scheme; write `https://i.example`",
    ),
    Mistake(
        "auth:\n  providers:\n    - {name: k, type: apikey, keys: [{name: a, key: ''}]}\n",
        "3:23: auth.providers[0].type: `apikey` is not known; write one of `api_key`, `oauth2`, `grpc`; did you mean `api_key`?\n\
         3:53: auth.providers[0].keys[0].key: is empty, so no request could carry it; write a key of visible ASCII characters without comma",
    ),
    Mistake(
        "auth:\n  providers:\n    - {name: x, type: ldap, url: ldap://x}\n",
        "3:23: auth.providers[0].type: `ldap` is not known; write one of `api_key`, `oauth2`, `grpc`",
    ),
    Mistake(
        "auth:\n  providers:\n    - {name: x, issuer: https://i.example, audience: a}\n",
        "3:7: auth.providers[0].type: is missing; write `type: oauth2`, whose keys it has",
    ),
    // Types.
    Mistake(
        "auth: {api_keys: []}\nserver:\n  grpc:\n    address: 9001\n",
        "4:14: server.grpc.address: must be `host:port`, not `9001`; write `0.0.0.0:9001`, or `127.0.0.1:9001` for this machine alone",
    ),
    Mistake(
        "auth: {api_keys: []}\nserver:\n  grpc: {address: '9001'}\n  admin: {address: 9003}\n",
        "3:19: server.grpc.address: `9001` is a port without a host; write `0.0.0.0:9001`\n\
         4:20: server.admin.address: must be `host:port`, not `9003`; write `0.0.0.0:9003`, or `127.0.0.1:9003` for this machine alone",
    ),
    Mistake(
        "auth: {api_keys: []}\nserver: {grpc: 0.0.0.0:9001}\n",
        "2:16: server.grpc: must be a mapping, not `0.0.0.0:9001`; write its keys below it, indented, each with its value",
    ),
    Mistake(
        "auth:\n  mode: oauth2\n  oauth2: {issuer: https://i.example, audience: true}\n",
        "3:49: auth.oauth2.audience: must be a string or a list, not `true`; write what the tokens have in `aud`, or `require_audience: false` if they have none",
    ),
    Mistake(
        "auth:\n  mode: oauth2\n  oauth2: {issuer: https://i.example, audience: a, algorithms: RS256}\n",
        "3:64: auth.oauth2.algorithms: must be a list, not `RS256`; write `[RS256]`",
    ),
    Mistake(
        "auth: {api_keys: []}\nserver: {check_timeout_ms: 150ms, shutdown_grace_seconds: 1m}\n",
        "2:28: server.check_timeout_ms: must be a whole number from 0 up, not `150ms`; write `150`\n\
         2:59: server.shutdown_grace_seconds: must be a whole number from 0 up, not `1m`; write `60`",
    ),
    Mistake(
        "auth:\n  api_keys: []\n  required_scopes: read, write\n  public_paths: /health\n",
        "3:20: auth.required_scopes: must be a list, not `read, write`; write `[read, write]`\n\
         4:17: auth.public_paths: must be a list, not `/health`; write `[/health]`",
    ),
    Mistake(
        "auth:\n  enabled: 'true'\n  forward_token: no\n  api_keys: []\n",
        "2:12: auth.enabled: must be `true` or `false`, not the text `true`; write `true` without quotes, in small letters\n\
         3:18: auth.forward_token: must be `true` or `false`, not the text `no`; write `false`",
    ),
    Mistake(
        "auth:\n  enabled: 1\n  api_keys: []\n",
        "2:12: auth.enabled: must be `true` or `false`, not `1`; write `true` or `false`",
    ),
    Mistake(
        "auth:\n  api_keys: []\n  max_token_bytes: 16KiB\n  realm: [a]\n",
        "3:20: auth.max_token_bytes: must be a whole number from 0 up, not `16KiB`; write `16384`\n\
         4:10: auth.realm: must be a string, not a list; write one value without brackets and `- `",
    ),
    Mistake(
        "auth:\n  api_keys: [{name: a, key: 12345}]\n",
        "2:29: auth.api_keys[0].key: must be a string, not the value (not shown); put it in quotes",
    ),
    Mistake(
        "auth:\n  api_keys: sk-12345\n",
        "2:13: auth.api_keys: must be a list, not the value (not shown); begin each element with `- `",
    ),
    // Variables.
    Mistake(
        "auth:\n  api_keys: [{name: a, key: '${GONE}'}]\n  realm: '${GONE}'\n",
        "2:29: auth.api_keys[0].key: needs the environment variable `GONE`, which is not set; set it\n\
         3:10: auth.realm: needs the environment variable `GONE`, which is not set; set it, or write `${GONE:-default}`",
    ),
    Mistake(
        "auth:\n  api_keys: [{name: a, key: $FRONTEND_API_KEY}]\n",
        "2:29: auth.api_keys[0].key: has `$FRONTEND_API_KEY` without braces, which is taken as it stands; write `${FRONTEND_API_KEY}` for the environment variable, or `$$FRONTEND_API_KEY` for the text",
    ),
    Mistake(
        "auth:\n  enabled: '${ISSUER}'\n  api_keys: []\n",
        "2:12: auth.enabled: must be `true` or `false`, not the value of `${ISSUER}` (not shown); set the variable to `true` or `false`",
    ),
    Mistake(
        "auth:\n  api_keys: []\n  routes: [{name: r, match: {path: '${ISSUER}'}}]\n",
        "3:36: auth.routes[0].match.path: the value of `${ISSUER}` (not shown) must start with `/`; write another value",
    ),
    // Documents and URLs.
    Mistake(
        "auth:\n  api_keys: []\n---\nserver: {}\n",
        "4:1: begins a second YAML document here, and only one is read; remove the `---`, and write each block once",
    ),
    Mistake(
        "auth:\n\tapi_keys: []\n",
        "2:2: is not valid YAML: tabs disallowed within this context (block indentation) at line 2, column 2",
    ),
    Mistake(
        "auth:\n  realm: a: b\n",
        "2:11: is not valid YAML: mapping values are not allowed in this context at line 2, column 11",
    ),
    Mistake(
        "auth:\n  api_keys: []\n  api_keys: []\n",
        "3:3: is not valid YAML: duplicate mapping key: api_keys at line 3, column 3",
    ),
    Mistake(
        "auth:\n  mode: oauth2\n  oauth2: {issuer: i.example/realms/a, audience: a}\n",
        "3:20: auth.oauth2.issuer: `i.example/realms/a` has no scheme; write `https://i.example/realms/a`",
    ),
    Mistake(
        "auth:\n  mode: oauth2\n  oauth2: {issuer: //i.example, audience: a}\n",
        "3:20: auth.oauth2.issuer: `//i.example` has no scheme; write `https://i.example`",
    ),
    Mistake(
        "auth:\n  mode: oauth2\n  oauth2: {issuer: 'localhost:8080', audience: a}\n",
        "3:20: auth.oauth2.issuer: `localhost:8080` has no scheme; write `http://localhost:8080`",
    ),
    Mistake(
        "auth:\n  mode: oauth2\n",
        "1:1: auth.oauth2: is missing; write the issuer that this `mode` needs, or another `mode`",
    ),
    Mistake(
        "auth: {}\n",
        "1:7: auth.api_keys: is missing; write the list of API keys, or `providers` for other callers",
    ),
    Mistake(
        "server: {}\n",
        "1:1: auth: is missing; write a line `auth:` and below it, indented by two spaces, who may pass: `providers`, or `api_keys`",
    ),
    Mistake(
        "",
        "1:1: auth: is missing; write a line `auth:` and below it, indented by two spaces, who may pass: `providers`, or `api_keys`",
    ),
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
