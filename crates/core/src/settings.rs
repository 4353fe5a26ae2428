//! The validated configuration: plain data that every other module builds
//! from, free of file formats.
//!
//! `claimgate-config` makes these from YAML; a program that embeds the engine
//! may fill them in itself. Every value here has passed the checks that the
//! config loader documents, so constructors that take them do not fail.

use std::{path::PathBuf, time::Duration};

use serde_json::{Map, Value};

pub use self::{
    limits::{Amount, LimitBy, LimitMode, LimitSettings, PlanSettings, RouteLimit, TimeUnit},
    metadata::{MetadataMember, MetadataMembers},
};
pub use crate::claims::ClaimRule;
use crate::{claims::ClaimPath, keys::Algorithm, time::UnixTime};

mod limits;
mod metadata;

/// The `auth` block.
#[derive(Clone, Debug)]
pub struct AuthSettings {
    /// `false` allows every request.
    pub enabled: bool,
    /// Who is asked about a token, in this order; names are unique.
    pub providers: Vec<ProviderSettings>,
    /// Scopes that every non-public request needs, unless its route says otherwise.
    pub required_scopes: Vec<String>,
    /// Paths that need no token, compared byte for byte.
    pub public_paths: Vec<String>,
    /// Lets CORS preflight requests through without a token.
    pub allow_cors_preflight: bool,
    /// Exceptions to the defaults; the first match wins.
    pub routes: Vec<RouteSettings>,
    /// Whether no server behind the gateway takes `/A` for `/a`.
    pub case_sensitive_paths: bool,
    /// Whether the path and method as sent, byte for byte, must lead to the
    /// same rules too.
    pub match_as_sent: bool,
    /// Where tokens are looked for.
    pub token_sources: Vec<TokenSourceSettings>,
    /// What becomes of a request whose sources hold different tokens.
    pub several_tokens: SeveralTokens,
    /// What the upstream learns about the caller.
    pub headers: IdentityHeaderSettings,
    /// What Envoy's other filters and its access log learn.
    pub metadata: MetadataMembers,
    /// Whether the upstream sees the token.
    pub forward_token: bool,
    /// Longer tokens are refused unread.
    pub max_token_bytes: usize,
    /// The realm of the challenge; free of `"`, `\` and control characters.
    pub realm: String,
    /// What the bodies of denials look like, unless a route says otherwise.
    pub error_format: ErrorFormat,
    /// Headers of every denial, unless a route says otherwise: lower-case
    /// names, each once, and values of visible ASCII and inner spaces.
    pub denial_headers: Vec<(String, String)>,
    /// The resource that every request asks for, unless its route names one.
    pub protected_resource: Option<ProtectedResourceSettings>,
    /// How many verified tokens are remembered at the most.
    pub token_cache_entries: usize,
    /// How much memory they take at the most, with everything that is kept of
    /// them, in bytes.
    pub token_cache_bytes: usize,
    /// How much each caller may ask for; `None` limits nothing.
    pub limits: Option<LimitSettings>,
}

/// One entry of `auth.providers`.
#[derive(Clone, Debug, PartialEq)]
pub struct ProviderSettings {
    /// Unique name.
    pub name: String,
    /// Overrides [`AuthSettings::forward_token`] for requests that this
    /// provider authenticates.
    pub forward_token: Option<bool>,
    /// What kind it is.
    pub kind: ProviderKind,
}

/// The kinds of built-in providers.
#[derive(Clone, Debug, PartialEq)]
pub enum ProviderKind {
    /// `type: api_key`.
    ApiKey(Vec<ApiKeySettings>),
    /// `type: oauth2`.
    OAuth2(Box<OAuth2Settings>),
    /// `type: grpc`.
    Grpc(GrpcProviderSettings),
}

/// One API key; its plaintext is gone by now.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiKeySettings {
    /// Becomes the subject.
    pub name: String,
    /// SHA-256 of the key.
    pub hash: [u8; 32],
    /// What it grants; `*` grants all.
    pub scopes: Vec<String>,
    /// From this moment on it is refused.
    pub expires_at: Option<UnixTime>,
    /// Until this moment it is refused.
    pub not_before: Option<UnixTime>,
    /// Refused whatever the time.
    pub revoked: bool,
    /// Treated like a token's claims.
    pub claims: Map<String, Value>,
    /// Its plan, whatever its claims say.
    pub plan: Option<String>,
}

/// A provider of JWTs.
#[derive(Clone, Debug, PartialEq)]
pub struct OAuth2Settings {
    /// The exact `iss`.
    pub issuer: String,
    /// Any one must be in `aud`; empty leaves `aud` unchecked.
    pub audience: Vec<String>,
    /// Allowed clients (`client_id`, `azp`, `appid` or `cid`); empty allows all.
    pub client_ids: Vec<String>,
    /// Claims that make the token good.
    pub required_claims: Vec<ClaimRule>,
    /// Allowed signature algorithms; never empty.
    pub algorithms: Vec<Algorithm>,
    /// Where the scopes are.
    pub scope_claim: ClaimPath,
    /// Where the subject is.
    pub subject_claim: ClaimPath,
    /// Tolerance for `exp`, `nbf` and `iat`.
    pub clock_skew: Duration,
    /// Longest allowed `exp - iat`.
    pub max_token_lifetime: Option<Duration>,
    /// Accepted header `typ`s, lower case, without `application/`; `None` accepts any.
    pub accepted_types: Option<Vec<String>>,
    /// Lets a token with `cnf` pass as a plain bearer token.
    pub accept_bound_tokens: bool,
    /// Whether a scope `*` in a token grants all.
    pub wildcard_scope: bool,
    /// Where its signing keys come from.
    pub keys: KeySourceSettings,
}

/// Where a provider's signing keys come from.
#[derive(Clone, Debug, PartialEq)]
pub struct KeySourceSettings {
    /// File, URL or discovery.
    pub location: KeyLocation,
    /// Extra PEM trust roots for the fetch.
    pub ca_file: Option<PathBuf>,
    /// File with a bearer token sent with each fetch, re-read each time.
    pub fetch_token_file: Option<PathBuf>,
    /// Lets a discovered `jwks_uri` be plain http.
    pub allow_http: bool,
    /// Age at which keys are due for a refresh.
    pub cache: Duration,
    /// How much older than `cache` they may get while the issuer is down.
    pub max_stale: Duration,
    /// Pause after a fetch that an unknown `kid` triggered.
    pub refresh_cooldown: Duration,
    /// Time limit of one fetch.
    pub timeout: Duration,
}

/// Where a key document is.
#[derive(Clone, Debug, PartialEq)]
pub enum KeyLocation {
    /// A local JWKS.
    File(PathBuf),
    /// A JWKS at this URL, fetched as written.
    Url(String),
    /// The `jwks_uri` of a discovery document, whose `issuer` must be ours.
    Discovery {
        /// Where the document is.
        url: String,
        /// Where it is if a server answers 404 there.
        otherwise: Option<String>,
    },
}

/// A custom provider behind gRPC (`proto/claimgate/provider/v1`).
#[derive(Clone, Debug, PartialEq)]
pub struct GrpcProviderSettings {
    /// `http://host:port`, `https://host:port` or `unix:/path`.
    pub address: String,
    /// PEM trust roots for `https`.
    pub ca_file: Option<PathBuf>,
    /// Deadline of one call.
    pub timeout: Duration,
    /// How many answers are remembered at the most.
    pub cache_entries: usize,
    /// How much memory they take at the most, in bytes.
    pub cache_bytes: usize,
    /// How long an authenticated answer without `expires_at` is remembered.
    pub cache: Duration,
}

/// One entry of `auth.routes`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RouteSettings {
    /// Unique name, used by `context_extensions` and logs.
    pub name: String,
    /// Matches no request by itself; only [`crate::Request::route`] leads here.
    pub only_by_name: bool,
    /// Exact path.
    pub path: Option<String>,
    /// Path prefix, matched at segment boundaries; without a trailing slash
    /// unless it is `/`.
    pub path_prefix: Option<String>,
    /// A path in which each segment that begins with `{` and ends with `}`
    /// stands for any one segment that is not empty.
    pub path_template: Option<String>,
    /// Methods; empty matches all.
    pub methods: Vec<String>,
    /// Lower-case hosts, `*.` for any subdomain; empty matches all.
    pub hosts: Vec<String>,
    /// No token is needed.
    pub public: bool,
    /// Replaces the default scopes.
    pub required_scopes: Option<Vec<String>>,
    /// Names of the only providers asked; `None` asks all.
    pub providers: Option<Vec<String>>,
    /// Claims that the caller must have.
    pub required_claims: Vec<ClaimRule>,
    /// Replaces the default format of denials.
    pub error_format: Option<ErrorFormat>,
    /// Replaces the default headers of denials.
    pub denial_headers: Option<Vec<(String, String)>>,
    /// Replaces the default resource. The same resource may be that of
    /// several routes; it is then described alike by all of them.
    pub protected_resource: Option<ProtectedResourceSettings>,
    /// What its requests take from the budgets of their callers.
    pub limit: RouteLimit,
}

/// What clients may discover about a resource behind the gateway (RFC 9728,
/// section 2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProtectedResourceSettings {
    /// Its identifier: an http or https URL without user, query and fragment.
    pub resource: String,
    /// The issuers whose tokens open it.
    pub authorization_servers: Vec<String>,
    /// The scopes worth asking for; empty says nothing about them.
    pub scopes_supported: Vec<String>,
    /// Its name, for people.
    pub resource_name: Option<String>,
    /// The URL of a page for developers.
    pub resource_documentation: Option<String>,
    /// The URL of a page about what may be done with its data.
    pub resource_policy_uri: Option<String>,
    /// The URL of its terms of service.
    pub resource_tos_uri: Option<String>,
}

/// What the body of a denial looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ErrorFormat {
    /// `error` and `error_description`, as OAuth 2.0 has them (RFC 6749,
    /// section 5.2).
    #[default]
    OAuth2,
    /// `application/problem+json` (RFC 9457).
    Problem,
    /// The error object of the OpenAI API.
    OpenAi,
    /// The error object of the Anthropic API.
    Anthropic,
}

/// One entry of `auth.token_sources`.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenSourceSettings {
    /// Where to look.
    pub place: TokenPlace,
    /// Names of the only providers shown what is found here; `None` shows all.
    pub providers: Option<Vec<String>>,
}

/// A place in a request that may hold a token.
#[derive(Clone, Debug, PartialEq)]
pub enum TokenPlace {
    /// A header (lower case), with the scheme that precedes the token, if any.
    Header {
        /// The header's name in lower case.
        name: String,
        /// An authentication scheme such as `Bearer`; compared without case.
        scheme: Option<String>,
    },
    /// A query parameter.
    Query(String),
    /// A cookie.
    Cookie(String),
    /// An element of `sec-websocket-protocol` that begins with this, compared
    /// byte for byte; the rest of it is the token.
    WebSocketProtocol(String),
}

/// What becomes of a request whose sources hold different tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SeveralTokens {
    /// It is refused: which of them the upstream goes by is not known.
    #[default]
    Refuse,
    /// The token of the earliest source counts, the others are ignored.
    First,
}

/// The identity headers; `None` turns one off. Names are lower case and unique.
#[derive(Clone, Debug, PartialEq)]
pub struct IdentityHeaderSettings {
    /// The subject.
    pub subject: Option<String>,
    /// The scopes, space-separated.
    pub scopes: Option<String>,
    /// `api_key`, `oauth2`, ….
    pub method: Option<String>,
    /// The provider's name.
    pub provider: Option<String>,
    /// Claims and the header each goes to.
    pub claims: Vec<(ClaimPath, String)>,
}

/// Authentication on, no provider: every non-public request is denied.
impl Default for AuthSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            providers: Vec::new(),
            required_scopes: Vec::new(),
            public_paths: Vec::new(),
            allow_cors_preflight: false,
            routes: Vec::new(),
            case_sensitive_paths: false,
            match_as_sent: false,
            token_sources: vec![TokenSourceSettings::default()],
            several_tokens: SeveralTokens::default(),
            headers: IdentityHeaderSettings::default(),
            metadata: MetadataMembers::ALL,
            forward_token: true,
            max_token_bytes: 16_384,
            realm: "claimgate".into(),
            error_format: ErrorFormat::default(),
            denial_headers: Vec::new(),
            protected_resource: None,
            token_cache_entries: 10_000,
            token_cache_bytes: 64 * 1024 * 1024,
            limits: None,
        }
    }
}

/// `Authorization: Bearer`, shown to every provider.
impl Default for TokenSourceSettings {
    fn default() -> Self {
        let place =
            TokenPlace::Header { name: "authorization".into(), scheme: Some("Bearer".into()) };
        Self { place, providers: None }
    }
}

impl Default for IdentityHeaderSettings {
    fn default() -> Self {
        Self {
            subject: Some("x-auth-subject".into()),
            scopes: Some("x-auth-scopes".into()),
            method: Some("x-auth-method".into()),
            provider: Some("x-auth-provider".into()),
            claims: Vec::new(),
        }
    }
}

impl OAuth2Settings {
    /// The defaults of the config file for an issuer whose keys are at `keys`.
    pub fn new(issuer: impl Into<String>, keys: KeySourceSettings) -> Self {
        Self {
            issuer: issuer.into(),
            audience: Vec::new(),
            client_ids: Vec::new(),
            required_claims: Vec::new(),
            algorithms: vec![Algorithm::Rs256, Algorithm::Es256],
            scope_claim: ClaimPath::named("scope"),
            subject_claim: ClaimPath::named("sub"),
            clock_skew: Duration::from_secs(30),
            max_token_lifetime: None,
            accepted_types: Some(vec!["jwt".into(), "at+jwt".into()]),
            accept_bound_tokens: false,
            wildcard_scope: false,
            keys,
        }
    }
}

impl KeySourceSettings {
    /// The defaults of the config file for keys at `location`.
    pub fn new(location: KeyLocation) -> Self {
        Self {
            location,
            ca_file: None,
            fetch_token_file: None,
            allow_http: false,
            cache: Duration::from_secs(3600),
            max_stale: Duration::from_secs(86_400),
            refresh_cooldown: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
        }
    }
}

impl Default for GrpcProviderSettings {
    fn default() -> Self {
        Self {
            address: String::new(),
            ca_file: None,
            timeout: Duration::from_millis(100),
            cache_entries: 10_000,
            cache_bytes: 16 * 1024 * 1024,
            cache: Duration::ZERO,
        }
    }
}
