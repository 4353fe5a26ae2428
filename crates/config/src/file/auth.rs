//! The `auth` block: both forms, routes, token sources and headers.

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use schemars::JsonSchema;

use super::{
    block::block,
    claims::ClaimRules,
    forms::{Entries, List, OneOrMany, Switchable, map_or_list},
    limits::{Callers, Count, LimitMode, Plan, RouteLimits},
    provider::{ApiKey, OAuth2, Provider},
};
use crate::problems::Problems;

block! {
    /// Which requests are let through: either the short form (`mode`,
    /// `api_keys`, `oauth2`) or the general form (`providers`).
    struct Auth {
        /// `false` lets every request through.
        #[schemars(extend("default" = true))]
        enabled: Option<bool>,
        /// Short form: which of the blocks below are used.
        #[schemars(extend("default" = "api_key"))]
        mode: Option<Mode>,
        /// Short form: API keys. They are a provider named `api_key`.
        api_keys: Option<List<ApiKey>>,
        /// Short form: an issuer of JWTs. It is a provider named `oauth2`.
        oauth2: Option<OAuth2>,
        /// General form: the providers, tried in this order.
        providers: Option<List<Provider>>,
        /// Scopes that every request needs, public ones aside, unless its
        /// route says otherwise.
        required_scopes: Option<List<String>>,
        /// Paths that need no token, compared byte for byte with the
        /// request's path without its query. Left out: `[/v1/health]` in the
        /// short form, none in the general form.
        public_paths: Option<List<String>>,
        /// `true` lets CORS preflight requests (`OPTIONS` with `Origin` and
        /// `Access-Control-Request-Method`) through without a token.
        #[schemars(extend("default" = false))]
        allow_cors_preflight: Option<bool>,
        /// Exceptions to the defaults; the first match wins.
        routes: Option<List<Route>>,
        /// `true` if every server behind the gateway tells `/Admin` from
        /// `/admin`. Left out, a path that leads to other rules once the case
        /// of its letters is folded is refused as ambiguous.
        #[schemars(extend("default" = false))]
        case_sensitive_paths: Option<bool>,
        /// `true` refuses a request, too, whose path and method compared byte
        /// for byte as they were sent lead to other rules than they do
        /// otherwise. `claimgate import-alb` writes it: AWS ALB compares so.
        #[schemars(extend("default" = false))]
        match_as_sent: Option<bool>,
        /// Where tokens are looked for; left out, in `Authorization: Bearer`.
        token_sources: Option<List<TokenSource>>,
        /// What becomes of a request whose token sources hold different tokens.
        #[schemars(extend("default" = "refuse"))]
        several_tokens: Option<SeveralTokens>,
        /// Headers that tell the upstream about the caller.
        headers: Option<Headers>,
        /// What Envoy's other filters and its access log learn: the members of
        /// the dynamic metadata, of denied requests too. Left out, all of
        /// them; `[]` means none.
        metadata: Option<List<MetadataMember>>,
        /// `false` removes every token source from a request before the
        /// upstream sees it; a provider may override it.
        #[schemars(extend("default" = true))]
        forward_token: Option<bool>,
        /// Longer tokens are refused unread.
        #[schemars(extend("default" = 16384), range(min = 1))]
        max_token_bytes: Option<u64>,
        /// The realm of the `WWW-Authenticate` challenge.
        #[schemars(extend("default" = "claimgate"))]
        realm: Option<String>,
        /// The format of the bodies of denials, unless a route says otherwise.
        #[schemars(extend("default" = "oauth2"))]
        error_format: Option<ErrorFormat>,
        /// Headers that every denial has on top of its own, unless a route
        /// says otherwise: a mapping from name to value.
        denial_headers: Option<Entries<String>>,
        /// The resource that clients may discover how to get a token for,
        /// unless a route names one of its own (RFC 9728).
        protected_resource: Option<ProtectedResource>,
        /// How many verified tokens are cached at most.
        #[schemars(extend("default" = 10000), range(min = 1))]
        token_cache_entries: Option<u64>,
        /// How much memory they take at most, in bytes, with everything that is
        /// cached of them.
        #[schemars(extend("default" = 67108864), range(min = 65536))]
        token_cache_bytes: Option<u64>,
        /// What callers may ask for: a mapping from a plan's name to its
        /// limits. Left out, there are no limits.
        plans: Option<Entries<Plan>>,
        /// Where a caller's claims name its plan: a claim path, or the list of
        /// its exact segments. An API key may say `plan` itself.
        #[schemars(extend("default" = "plan"))]
        plan_claim: Option<OneOrMany<String>>,
        /// The plan of callers that name none, or one that is not listed; left
        /// out, these are not limited.
        default_plan: Option<String>,
        /// What callers with one budget have in common: `subject`, `client_id`,
        /// or a claim path. Callers without it share one budget for each
        /// provider.
        #[schemars(extend("default" = "subject"))]
        limit_by: Option<OneOrMany<String>>,
        /// Who counts the requests.
        #[schemars(extend("default" = "local"))]
        limits: Option<LimitMode>,
        /// How many callers are counted at most; of more, the busiest.
        #[schemars(extend("default" = 100000))]
        max_limited_callers: Option<Callers>,
    }
}

/// Which providers the short form uses.
#[derive(Clone, Copy, Deserr, JsonSchema, PartialEq, Eq)]
#[deserr(error = Problems)]
#[schemars(rename_all = "snake_case")]
pub(crate) enum Mode {
    /// The keys in `api_keys`.
    #[deserr(rename = "api_key")]
    ApiKey,
    /// The issuer in `oauth2`.
    #[deserr(rename = "oauth2")]
    #[schemars(rename = "oauth2")]
    OAuth2,
    /// The API keys, then the issuer.
    #[deserr(rename = "composite")]
    Composite,
    /// The same as `enabled: false`.
    #[deserr(rename = "none")]
    None,
}

/// What becomes of different tokens in one request.
#[derive(Clone, Copy, Deserr, JsonSchema, PartialEq, Eq)]
#[deserr(error = Problems)]
#[schemars(rename_all = "snake_case")]
pub(crate) enum SeveralTokens {
    /// The request is refused.
    #[deserr(rename = "refuse")]
    Refuse,
    /// That of the earliest source counts, the others are ignored.
    #[deserr(rename = "first")]
    First,
}

/// A member of the dynamic metadata.
#[derive(Clone, Copy, Deserr, JsonSchema, PartialEq, Eq)]
#[deserr(error = Problems)]
#[schemars(rename_all = "snake_case")]
pub(crate) enum MetadataMember {
    /// Why it was decided so.
    #[deserr(rename = "reason")]
    Reason,
    /// The provider that decided.
    #[deserr(rename = "provider")]
    Provider,
    /// How the caller authenticated.
    #[deserr(rename = "method")]
    Method,
    /// The subject.
    #[deserr(rename = "subject")]
    Subject,
    /// The scopes.
    #[deserr(rename = "scopes")]
    Scopes,
    /// The OAuth 2.0 client.
    #[deserr(rename = "client_id")]
    ClientId,
    /// When the token ends.
    #[deserr(rename = "expires_at")]
    ExpiresAt,
    /// The claims that `headers.claims` maps.
    #[deserr(rename = "claims")]
    Claims,
}

/// What the body of a denial looks like.
#[derive(Clone, Copy, Deserr, JsonSchema, PartialEq, Eq)]
#[deserr(error = Problems)]
#[schemars(rename_all = "lowercase")]
pub(crate) enum ErrorFormat {
    /// `error` and `error_description`, as OAuth 2.0 has them.
    #[deserr(rename = "oauth2")]
    OAuth2,
    /// `application/problem+json` (RFC 9457).
    #[deserr(rename = "problem")]
    Problem,
    /// The error object of the OpenAI API.
    #[deserr(rename = "openai")]
    OpenAi,
    /// The error object of the Anthropic API.
    #[deserr(rename = "anthropic")]
    Anthropic,
}

block! {
    /// An exception to the defaults.
    struct Route {
        /// A unique name, for logs and for `context_extensions:
        /// {claimgate_route: NAME}` of Envoy's own routes.
        #[schemars(required)]
        name: Option<String>,
        /// Which requests it is for; all that is written must hold. Left out,
        /// only Envoy's own routes lead here, by name.
        #[schemars(rename = "match")]
        #[deserr(rename = "match")]
        matching: Option<Match>,
        /// `true` needs no token.
        #[schemars(extend("default" = false))]
        public: Option<bool>,
        /// Replaces `auth.required_scopes`.
        required_scopes: Option<List<String>>,
        /// Names of the only providers tried; left out, all are.
        providers: Option<List<String>>,
        /// Claims that the caller must have (403 otherwise).
        required_claims: Option<ClaimRules>,
        /// Replaces `auth.error_format`.
        error_format: Option<ErrorFormat>,
        /// Replaces `auth.denial_headers`; `{}` means none.
        denial_headers: Option<Entries<String>>,
        /// Replaces `auth.protected_resource`.
        protected_resource: Option<ProtectedResource>,
        /// `none`: its requests are neither counted nor limited.
        limits: Option<RouteLimits>,
        /// How many requests' worth each of its requests takes from its
        /// caller's budget.
        #[schemars(extend("default" = 1))]
        cost: Option<Count>,
    }
}

block! {
    /// What clients may discover about a resource behind the gateway (RFC
    /// 9728). The challenge names where the document is, and Claimgate
    /// answers it.
    struct ProtectedResource {
        /// Its identifier: the URL by which clients know it.
        #[schemars(required)]
        resource: Option<String>,
        /// Issuers that give tokens for it; left out, those of the `oauth2`
        /// providers that are tried.
        authorization_servers: Option<List<String>>,
        /// Scopes that a client may need; left out, those that are required.
        scopes_supported: Option<List<String>>,
        /// Its name, for people.
        resource_name: Option<String>,
        /// The URL of a page for developers.
        resource_documentation: Option<String>,
        /// The URL of a page about what may be done with its data.
        resource_policy_uri: Option<String>,
        /// The URL of its terms of service.
        resource_tos_uri: Option<String>,
        /// `true` lets the URLs here be plain http.
        #[schemars(extend("default" = false))]
        allow_http: Option<bool>,
    }
}

block! {
    /// Which requests a route is for; at most one of `path`, `path_prefix` and
    /// `path_template`.
    struct Match {
        /// The exact path.
        path: Option<String>,
        /// `/admin` matches `/admin` and `/admin/…`, never `/administrator`.
        path_prefix: Option<String>,
        /// A path like this: `{name}` is one whole segment, never empty.
        /// `/v1/{id}/keys` matches `/v1/a/keys`, but neither `/v1/keys` nor
        /// `/v1/a/b/keys`.
        path_template: Option<String>,
        /// `true` takes a `path` or `path_prefix` as it stands that looks like
        /// a pattern: with `*`, `{`, `}`, `^`, `|`, `[`, `]`, `\` or a `$` at
        /// its end.
        #[schemars(extend("default" = false))]
        literal: Option<bool>,
        /// Methods; left out, all.
        methods: Option<List<String>>,
        /// Hosts without port, `*.` in front for any subdomain; left out, all.
        hosts: Option<List<String>>,
    }
}

block! {
    /// A place that may hold a token: one of `header`, `query`, `cookie` and
    /// `websocket_protocol`.
    struct TokenSource {
        /// A header.
        header: Option<String>,
        /// With `header`: the authentication scheme in front of the token.
        scheme: Option<String>,
        /// A query parameter.
        query: Option<String>,
        /// A cookie.
        cookie: Option<String>,
        /// What an element of `sec-websocket-protocol` begins with; the rest of
        /// it is the token.
        websocket_protocol: Option<String>,
        /// Names of the only providers tried for a token found here; left out,
        /// all.
        providers: Option<List<String>>,
    }
}

block! {
    /// The identity headers; null turns one off. What a client sends under
    /// these names never reaches the upstream.
    struct Headers {
        /// The subject.
        #[schemars(extend("default" = "x-auth-subject"))]
        subject: Switchable<String>,
        /// The scopes, separated by spaces.
        #[schemars(extend("default" = "x-auth-scopes"))]
        scopes: Switchable<String>,
        /// How the caller authenticated: `api_key`, `oauth2`, ….
        #[schemars(extend("default" = "x-auth-method"))]
        method: Switchable<String>,
        /// The name of the provider that authenticated the caller.
        #[schemars(extend("default" = "x-auth-provider"))]
        provider: Switchable<String>,
        /// More headers, from claims.
        claims: Option<ClaimHeaders>,
    }
}

/// Claims and the headers they go to: a mapping from claim path to header, or
/// a list for claims that need exact segments.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(crate) enum ClaimHeaders {
    Map(Entries<String>),
    List(List<ClaimHeader>),
}

block! {
    /// A claim and the header it goes to.
    struct ClaimHeader {
        /// A claim path, or the list of its exact segments.
        #[schemars(required)]
        claim: Option<OneOrMany<String>>,
        /// The header.
        #[schemars(required)]
        header: Option<String>,
    }
}

impl Deserr<Problems> for ClaimHeaders {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef,
    ) -> Result<Self, Problems> {
        map_or_list(value, location, Self::Map, Self::List)
    }
}
