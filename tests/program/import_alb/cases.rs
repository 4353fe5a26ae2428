//! Requests to the load balancers of the documents beside this file, and ALB's
//! documented decisions: rules in the order of their
//! priority, the first whose conditions all hold decides; `*` is any number
//! of characters and `?` one, both crossing `/`; paths are case-sensitive, hosts
//! are not; a token needs `iss`, `exp` and the additional claims, and is
//! forwarded. Where AWS does not say whether several values of a claim are all
//! needed, the cases keep to tokens that have all or none.

/// The token of a request, with changes to its claims as JSON;
/// numbers for `exp`, `nbf` and `iat` are seconds from now.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Token<'a> {
    /// No token.
    None,
    /// One of the user pool.
    Cognito(&'a str),
    /// One of the other issuer.
    Other(&'a str),
}

/// A request and its decisions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case<'a> {
    /// Method, host and path.
    pub(crate) request: &'a str,
    /// The route that Envoy names.
    pub(crate) route: Option<&'a str>,
    /// Its token.
    pub(crate) token: Token<'a>,
    /// Whether ALB forwards it to a target.
    pub(crate) alb: bool,
    /// If Claimgate decides differently: the comment in the file.
    pub(crate) difference: &'a str,
}

const fn same<'a>(request: &'a str, token: Token<'a>, alb: bool) -> Case<'a> {
    Case { request, route: None, token, alb, difference: "" }
}

const fn differs<'a>(
    request: &'a str,
    token: Token<'a>,
    alb: bool,
    difference: &'a str,
) -> Case<'a> {
    Case { request, route: None, token, alb, difference }
}

const fn named<'a>(route: &'a str, request: &'a str, token: Token<'a>, alb: bool) -> Case<'a> {
    Case { request, route: Some(route), token, alb, difference: "" }
}

use Token::{Cognito, None as NoToken, Other};

const PLAIN: Token<'_> = Cognito("{}");
const INVOKE: Token<'_> = Cognito(r#"{"scope": "https://gateway.internal/invoke"}"#);
const ADMIN: Token<'_> = Cognito(r#"{"scope": "https://gateway.internal/admin"}"#);

/// Each document with its requests.
pub(crate) const CASES: &[(&str, &[Case<'_>])] = &[
    (
        "action",
        &[
            same("GET a.test/", NoToken, false),
            same("GET a.test/x", INVOKE, false),
            same(
                "GET a.test/x",
                Cognito(
                    r#"{"scope": "https://gateway.internal/invoke openid", "cognito:groups": ["x", "gateway-users"]}"#,
                ),
                true,
            ),
            same(
                "GET a.test/x",
                Cognito(r#"{"scope": "openid", "cognito:groups": ["gateway-users"]}"#),
                false,
            ),
            same(
                "GET a.test/x",
                Cognito(
                    r#"{"scope": "https://gateway.internal/invoke", "cognito:groups": ["gateway-users"], "token_use": "id"}"#,
                ),
                false,
            ),
            // Claimgate accepts an array where ALB's rule has a single string.
            differs(
                "GET a.test/x",
                Cognito(
                    r#"{"scope": "https://gateway.internal/invoke", "cognito:groups": ["gateway-users"], "token_use": ["access"]}"#,
                ),
                false,
                "A claim that is an array with the value in it holds, whether ALB was told single-string",
            ),
        ],
    ),
    (
        "create-rule",
        &[
            same("POST a.test/v1/chat", INVOKE, true),
            differs(
                "POST a.test/v1/",
                INVOKE,
                true,
                "/v1/, which some servers take for /v1, is refused with 400",
            ),
            same("POST a.test/v1/chat", PLAIN, false),
            same("POST a.test/v1/chat", NoToken, false),
            // The document has only this action of the listener.
            same("GET a.test/v1", NoToken, false),
            same("GET a.test/other", NoToken, false),
        ],
    ),
    (
        "gateway-rules",
        &[
            same("GET a.test/v1/health", NoToken, true),
            same("GET a.test/v1/health?x=1", NoToken, true),
            same("GET a.test/v1/health/", NoToken, false),
            same("GET a.test/V1/health", NoToken, false),
            same("GET a.test/admin/users", ADMIN, true),
            differs(
                "GET a.test/admin/",
                ADMIN,
                true,
                "/admin/, which some servers take for /admin, is refused with 400",
            ),
            same("GET a.test/admin/users", INVOKE, false),
            // The pattern /admin/* does not match /admin.
            same("GET a.test/admin", PLAIN, true),
            same("GET a.test/admin", NoToken, false),
            same("GET a.test/administrator", PLAIN, true),
            same("POST a.test/v1/chat/completions", INVOKE, true),
            same("POST a.test/v1/chat/completions", PLAIN, false),
            same("DELETE a.test/v1/chat/completions", PLAIN, true),
            same("GET a.test/v1/models/meta%2Fllama", INVOKE, true),
            same("GET a.test/v1/models/meta%2Fllama", PLAIN, false),
            same("GET a.test/x", NoToken, false),
            same("GET a.test/x", Cognito(r#"{"exp": -3600}"#), false),
            same("GET a.test/x", Cognito(r#"{"exp": null}"#), false),
            same("GET a.test/x", Cognito(r#"{"nbf": 3600}"#), false),
            same("GET a.test/x", Cognito(r#"{"iat": 3600}"#), false),
            same("GET a.test/x", Cognito(r#"{"nbf": -10, "iat": null}"#), true),
            same("GET a.test/x", Cognito(r#"{"iss": "https://evil.example"}"#), false),
            same("GET a.test/x", Cognito(r#"{"aud": "somebody-else"}"#), true),
            same("GET a.test/x", Cognito(r#"{"client_id": "any-client"}"#), true),
            // Checks that Claimgate has and ALB does not.
            differs(
                "GET a.test/x",
                Cognito(r#"{"cnf": {"jkt": "x"}}"#),
                true,
                "tokens bound to a key or certificate by `cnf` (`accept_bound_tokens`); ALB looked at neither",
            ),
            differs(
                "GET a.test/x",
                Cognito(r#"{"exp": -5}"#),
                false,
                "AWS does not say what difference between clocks ALB tolerated; 0 is none",
            ),
            // Spellings of a protected path.
            differs(
                "GET a.test//admin/users",
                PLAIN,
                true,
                "Where this would lead to different rules",
            ),
            differs(
                "GET a.test/%61dmin/users",
                PLAIN,
                true,
                "Where this would lead to different rules",
            ),
            differs(
                "GET a.test/x%2f..%2fadmin/users",
                PLAIN,
                true,
                "or the path has a dot segment, the request is refused with 400",
            ),
        ],
    ),
    (
        "wildcards",
        &[
            differs(
                "GET a.test/site.css",
                NoToken,
                true,
                "Not carried over exactly: path *.css. Claimgate's routes can't say this. No request gets here by itself",
            ),
            named("rule-5", "GET a.test/site.css", NoToken, true),
            same("GET a.test/static/app.js", NoToken, true),
            same("GET a.test/static", NoToken, true),
            differs(
                "GET a.test/statics",
                NoToken,
                true,
                "Not carried over exactly: path /static*. Claimgate's routes can't say this. Only what is written here is public",
            ),
            same(
                "GET a.test/tenants/7/keys",
                Cognito(r#"{"scope": "https://gateway.internal/tenants"}"#),
                false,
            ),
            same(
                "GET a.test/tenants/7/keys",
                Cognito(
                    r#"{"scope": "https://gateway.internal/tenants https://gateway.internal/admin"}"#,
                ),
                true,
            ),
            same("GET a.test/tenants/7/keys", ADMIN, true),
            differs(
                "GET a.test/tenants/7/8/keys",
                ADMIN,
                true,
                "Stricter than ALB: rule 20 comes first, may match some of these requests",
            ),
            differs(
                "GET a.test/tenants//keys",
                ADMIN,
                true,
                "Not carried over exactly: path /tenants/*/keys where a `*` is several segments, or none. Claimgate's routes can't say this. So that nothing it protected is left open, the routes that such requests reach instead ask for as much",
            ),
            named("rule-20", "GET a.test/tenants/7/keys", ADMIN, true),
            named("rule-20", "GET a.test/tenants/7/keys", INVOKE, false),
            differs(
                "GET a.test/tenants/7",
                Cognito(r#"{"scope": "https://gateway.internal/tenants"}"#),
                true,
                "Stricter than ALB: rule 20 comes first, may match some of these requests",
            ),
            same(
                "GET a.test/v1/models",
                Cognito(
                    r#"{"scope": "https://gateway.internal/models https://gateway.internal/invoke"}"#,
                ),
                true,
            ),
            same("GET a.test/v1/models", INVOKE, false),
            same("GET a.test/v10/models", NoToken, false),
            differs(
                "GET a.test/v10/models",
                INVOKE,
                true,
                "Stricter than ALB: rule 30 comes first, may match some of these requests",
            ),
            same("GET a.test/tenants", INVOKE, true),
            same("GET a.test/tenants", NoToken, false),
        ],
    ),
    (
        "hosts-and-issuers",
        &[
            // Redirected by ALB itself.
            same("GET www.example.com/", NoToken, false),
            same("GET www.example.com/", INVOKE, false),
            same("GET api.example.com/x", INVOKE, true),
            same("GET API.EXAMPLE.COM/x", INVOKE, true),
            same("GET eu.api.example.com/x", INVOKE, true),
            same("GET a.eu.api.example.com/x", INVOKE, true),
            same("GET api.example.com/x", PLAIN, false),
            same("GET api.example.com/x", Other(r#"{"aud": "gateway"}"#), false),
            same("GET notapi.example.com/x", INVOKE, false),
            differs(
                "GET partner-1.example.com/x",
                Other(r#"{"aud": "gateway"}"#),
                true,
                "Not carried over exactly: host partner-*.example.com",
            ),
            named("rule-20", "GET partner-1.example.com/x", Other(r#"{"aud": "gateway"}"#), true),
            named("rule-20", "GET partner-1.example.com/x", Other(r#"{"aud": "else"}"#), false),
            same("GET partner-1.example.com/x", Other(r#"{"aud": "else"}"#), false),
            same("GET partner-1.example.com/x", INVOKE, false),
            same("GET status.example.com/", NoToken, true),
            same("GET status.example.com/assets/x.png", NoToken, true),
            same("GET status.example.com/assets", NoToken, false),
            same("GET status.example.com/other", NoToken, false),
            same("GET other.example.com/", NoToken, false),
            same("GET other.example.com/", INVOKE, false),
        ],
    ),
    (
        "headers-queries-addresses",
        &[
            // Without the header, which no request here has.
            same("GET a.test/v1/x", NoToken, false),
            same("GET a.test/v1/x", INVOKE, true),
            // With ?debug=1, from 10.0.0.1, and as a bot.
            differs(
                "GET a.test/debug/x?debug=1",
                NoToken,
                true,
                "Not carried over exactly: a value of the query parameter debug",
            ),
            same("GET a.test/debug/x", NoToken, false),
            same("GET a.test/debug/x", INVOKE, true),
            named("rule-20", "GET a.test/debug/x?debug=1", NoToken, true),
            differs(
                "GET a.test/internal/x",
                NoToken,
                true,
                "Not carried over exactly: client address 10.0.0.0/8",
            ),
            same("GET a.test/open/x", NoToken, true),
            same("GET a.test/open", NoToken, false),
            same("GET a.test/catalog/x", NoToken, false),
            differs(
                "GET a.test/catalog/x",
                INVOKE,
                true,
                "Not carried over exactly: a value of the header User-Agent",
            ),
            same("GET a.test/other", INVOKE, true),
        ],
    ),
    (
        "listeners",
        &[
            same("GET a.test/x", INVOKE, true),
            same("GET a.test/x", PLAIN, false),
            same("GET a.test/x", NoToken, false),
        ],
    ),
    (
        "open-default",
        &[
            same("GET a.test/api/x", NoToken, false),
            same("GET a.test/api", NoToken, false),
            same("GET a.test/apis", NoToken, false),
            same("GET a.test/api/x", PLAIN, true),
            same("GET a.test/apis", PLAIN, true),
            differs(
                "GET a.test/other",
                NoToken,
                true,
                "Stricter than ALB: rule 10 comes first, may match some of these requests",
            ),
            same("GET a.test/other", PLAIN, true),
        ],
    ),
    (
        "actions-of-all-kinds",
        &[
            same("GET a.test/blue/x", PLAIN, true),
            same("GET a.test/blue/x", NoToken, false),
            // Sent to a login, redirected, answered: no target sees these.
            same("GET a.test/console/x", NoToken, false),
            same("GET a.test/sso/x", PLAIN, false),
            same("GET a.test/old", INVOKE, false),
            same("GET a.test/old/x", NoToken, false),
            same("GET a.test/teapot", INVOKE, false),
            same("GET a.test/future/x", INVOKE, false),
            same("GET a.test/checked-then-refused/x", PLAIN, false),
            differs(
                "GET a.test/v1/raw",
                Cognito(r#"{"scope": "https://gateway.internal/raw"}"#),
                true,
                "Not carried over exactly: path regex ^/v[0-9]+/raw$",
            ),
            named(
                "rule-60",
                "GET a.test/v1/raw",
                Cognito(r#"{"scope": "https://gateway.internal/raw"}"#),
                true,
            ),
            same("GET a.test/v1/raw", INVOKE, false),
            differs(
                "GET a.test/x",
                INVOKE,
                true,
                "Stricter than ALB: rule 60 comes first, may match some of these requests",
            ),
            same("GET a.test/x", NoToken, false),
        ],
    ),
    (
        "claims",
        &[
            same(
                "GET a.test/both/x",
                Cognito(
                    r#"{"scope": "https://gateway.internal/invoke", "roles": ["writer", "reader", "x"]}"#,
                ),
                true,
            ),
            same("GET a.test/both/x", INVOKE, false),
            same("GET a.test/both", INVOKE, false),
            same("GET a.test/scp/x", Cognito(r#"{"scp": "write admin read"}"#), true),
            same("GET a.test/scp/x", Cognito(r#"{"scp": "write"}"#), false),
            same("GET a.test/scp/x", Cognito(r#"{"scope": "read write"}"#), false),
            same(
                "GET a.test/dotted/x",
                Cognito(
                    r#"{"scope": "https://gateway.internal/invoke", "https://example.com/plan": "gold"}"#,
                ),
                true,
            ),
            same(
                "GET a.test/dotted/x",
                Cognito(
                    r#"{"scope": "https://gateway.internal/invoke", "https://example": {"com/plan": "gold"}}"#,
                ),
                false,
            ),
            same("GET a.test/dollar/x", Cognito(r#"{"tier": "${HOME}$$x"}"#), true),
            same("GET a.test/dollar/x", Cognito(r#"{"tier": "/root$x"}"#), false),
            same("GET a.test/typed/x", Cognito(r#"{"admin": "true"}"#), true),
            same("GET a.test/typed/x", Cognito(r#"{"admin": true}"#), false),
            same("GET a.test/okta/x", Other(r#"{"scp": "models chat", "aud": "gateway"}"#), true),
            same("GET a.test/okta/x", Other(r#"{"scp": "models", "aud": "gateway"}"#), false),
            same("GET a.test/okta/x", Other(r#"{"scp": "models chat", "aud": "x"}"#), false),
            same(
                "GET a.test/okta/x",
                Cognito(r#"{"scp": "models chat", "aud": "gateway"}"#),
                false,
            ),
            same("GET a.test/x", INVOKE, false),
        ],
    ),
    (
        "one-page-of-rules",
        &[
            same("GET a.test/v1/x", PLAIN, true),
            same("GET a.test/v1/x", NoToken, false),
            same("GET a.test/health", NoToken, true),
            // An unknown default action: the import is never less strict.
            same("GET a.test/x", NoToken, false),
        ],
    ),
    (
        "methods-and-order",
        &[
            same("GET a.test/items/1", NoToken, true),
            same("HEAD a.test/items/1", NoToken, true),
            same("get a.test/items/1", NoToken, false),
            same("PUT a.test/items/1", NoToken, false),
            same("PUT a.test/items/1", PLAIN, false),
            same(
                "PUT a.test/items/special",
                Cognito(r#"{"scope": "https://gateway.internal/write"}"#),
                true,
            ),
            same("GET a.test/items", NoToken, false),
            same("GET a.test/items", PLAIN, true),
            same(
                "PUT a.test/upload",
                Cognito(r#"{"scope": "https://gateway.internal/write"}"#),
                true,
            ),
            same("POST a.test/upload", PLAIN, false),
            same("GET a.test/x", PLAIN, true),
            same("GET a.test/x", NoToken, false),
        ],
    ),
    (
        "terraform-state",
        &[
            same("GET a.test/health", NoToken, true),
            same("POST a.test/admin", ADMIN, true),
            same("POST a.test/admin/x", ADMIN, true),
            same("POST a.test/admin/x", INVOKE, false),
            same("DELETE a.test/admin/x", INVOKE, true),
            same("GET a.test/x", INVOKE, true),
            same("GET a.test/x", PLAIN, false),
            same("GET a.test/x", Other("{}"), false),
            // With the header x-partner: yes.
            differs(
                "GET partner.example.com/x",
                Other("{}"),
                true,
                "Not carried over exactly: a value of the header X-Partner",
            ),
            named("rule-30", "GET partner.example.com/x", Other("{}"), true),
            differs(
                "GET partner.example.com/x",
                INVOKE,
                true,
                "Stricter than ALB: rule 30 comes first, may match some of these requests, and can't be told from here, so every request is denied",
            ),
        ],
    ),
    (
        "terraform-plan",
        &[
            same("GET gateway.example.com/docs/x", NoToken, true),
            same("GET gateway.example.com/docs", NoToken, false),
            same("GET other.example.com/docs/x", NoToken, false),
            same("GET a.test/x", INVOKE, true),
            same("GET a.test/x", NoToken, false),
            same("GET a.test/files/x", NoToken, false),
            same("GET a.test/files/x?version=2", INVOKE, false),
            differs(
                "GET a.test/files/x",
                INVOKE,
                true,
                "Stricter than ALB: rule 90 comes first, may match some of these requests",
            ),
            named(
                "rule-90",
                "GET a.test/files/x?version=2",
                Cognito(r#"{"scope": "https://gateway.internal/files"}"#),
                true,
            ),
        ],
    ),
];
