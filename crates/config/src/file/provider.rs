//! The entries of `auth.providers`, and the short form's blocks.

use std::borrow::Cow;

use deserr::{Deserr, IntoValue, Value, ValueKind, ValuePointerRef};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::json;

use super::{
    block::block,
    claims::ClaimRules,
    forms::{Discovery, Entries, List, OneOrMany, wrong_kind},
};
use crate::{problems::Problems, secret::Secret, spelling::is_meant, wiped::wipe};

/// A provider: a name, a type and that type's keys.
pub(crate) struct Provider {
    pub(crate) name: Option<String>,
    /// By its type, or by its keys where the type is missing.
    pub(crate) kind: Option<Kind>,
    /// Whether its type is written.
    pub(crate) has_type: bool,
}

/// The types of providers.
pub(crate) enum Kind {
    /// A list of API keys.
    ApiKey(ApiKeys),
    /// An issuer of JWTs.
    OAuth2(Box<OAuth2>),
    /// A custom provider over gRPC (`proto/claimgate/provider/v1`).
    Grpc(Grpc),
}

pub(crate) const TYPES: [&str; 3] = ["api_key", "oauth2", "grpc"];

/// Words for a type that other programs have, or that are near to it.
const OTHER_WORDS: [(&str, &[&str]); 3] = [
    ("api_key", &["apikey", "apikeys", "key", "keys", "static", "token", "tokens", "basic"]),
    (
        "oauth2",
        &["oidc", "openid", "openidconnect", "oauth", "jwt", "jwks", "bearer", "cognito", "entra"],
    ),
    ("grpc", &["custom", "external", "extauthz", "plugin", "remote", "webhook"]),
];

/// Keys that one type alone has.
const OWN_KEYS: [(&str, &[&str]); 3] = [
    ("api_key", &["keys"]),
    ("oauth2", &["issuer", "audience", "jwks_uri", "jwks_file", "discovery", "algorithms"]),
    ("grpc", &["address", "timeout_ms"]),
];

/// The type that was meant by a word that is not a type.
pub(crate) fn meant_type(word: &str) -> Option<&'static str> {
    let plain: String =
        word.chars().filter(|char| char.is_alphanumeric()).collect::<String>().to_lowercase();
    let other = OTHER_WORDS.iter().find(|(_, words)| words.contains(&plain.as_str()));
    let near = || TYPES.into_iter().find(|kind| is_meant(word, kind));
    other.map(|(kind, _)| *kind).or_else(near)
}

impl Deserr<Problems> for Provider {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef,
    ) -> Result<Self, Problems> {
        let value = match value {
            Value::Map(_) => serde_json::Value::from(value),
            other => return Err(wrong_kind(other, &[ValueKind::Map], location)),
        };
        let serde_json::Value::Object(mut map) = value else {
            return Err(wrong_kind(value.into_value(), &[ValueKind::Map], location));
        };
        let mut take = |key: &str| match map.remove(key) {
            Some(value) => {
                Option::<String>::deserialize_from_value(value.into_value(), location.push_key(key))
            }
            None => Ok(None),
        };
        let (name, kind) = (take("name")?, take("type")?);
        let has_type = kind.is_some();
        let has = |(_, keys): &&(&str, &[&str])| keys.iter().any(|key| map.contains_key(*key));
        let by_keys = OWN_KEYS.iter().find(has).map(|(kind, _)| *kind);
        let kind = match kind {
            // Whatever else is wrong is told in the same run.
            Some(word) if !TYPES.contains(&word.as_str()) => {
                let meant = meant_type(&word).or(by_keys);
                map.values_mut().for_each(wipe);
                return Err(Problems::unknown_type(word, meant, location.push_key("type")));
            }
            Some(word) => Some(word),
            None => by_keys.map(String::from),
        };
        let rest = serde_json::Value::Object(map).into_value();
        let kind = match kind.as_deref() {
            Some("api_key") => Deserr::deserialize_from_value(rest, location).map(Kind::ApiKey),
            Some("oauth2") => Deserr::deserialize_from_value(rest, location).map(Kind::OAuth2),
            Some("grpc") => Deserr::deserialize_from_value(rest, location).map(Kind::Grpc),
            _ => return Ok(Self { name, kind: None, has_type }),
        };
        let kind = kind.map_err(|all| all.with_known_keys(location, &["name", "type"]))?;
        Ok(Self { name, kind: Some(kind), has_type })
    }
}

impl JsonSchema for Provider {
    fn schema_name() -> Cow<'static, str> {
        "Provider".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let [api_key, oauth2, grpc] = TYPES;
        json_schema!({
            "description": "Verifies tokens.",
            "oneOf": [
                with_name_and_type(api_key, ApiKeys::json_schema(generator)),
                with_name_and_type(oauth2, OAuth2::json_schema(generator)),
                with_name_and_type(grpc, Grpc::json_schema(generator)),
            ],
        })
    }
}

/// The schema of a type's keys with the two that every provider has.
fn with_name_and_type(kind: &str, mut schema: Schema) -> Schema {
    let name = "A unique name, for routes, logs, metrics and the provider header.";
    let mut properties = json!({
        "name": {"type": "string", "description": name},
        "type": {"const": kind},
    });
    let mut required = vec![json!("name"), json!("type")];
    if let (Some(properties), Some(serde_json::Value::Object(own))) =
        (properties.as_object_mut(), schema.remove("properties"))
    {
        properties.extend(own);
    }
    if let Some(serde_json::Value::Array(own)) = schema.remove("required") {
        required.extend(own);
    }
    schema.insert("properties".into(), properties);
    schema.insert("required".into(), required.into());
    schema
}

block! {
    /// A list of API keys.
    struct ApiKeys {
        /// The keys.
        #[schemars(required)]
        keys: Option<List<ApiKey>>,
        /// Overrides `auth.forward_token` for requests that this provider
        /// authenticates.
        forward_token: Option<bool>,
    }
}

block! {
    /// An API key: `key` or `key_hash`, and what it grants.
    struct ApiKey {
        /// Becomes the subject.
        #[schemars(required)]
        name: Option<String>,
        /// The key itself, best as `${VARIABLE}`.
        key: Option<Secret>,
        /// `sha256:` and the 64 hex digits that `claimgate hash-key` prints.
        key_hash: Option<String>,
        /// What it grants; `*` grants all.
        #[schemars(extend("default" = ["*"]))]
        scopes: Option<List<String>>,
        /// From this moment on it is refused (RFC 3339).
        #[schemars(extend("format" = "date-time"))]
        expires_at: Option<String>,
        /// Until this moment it is refused (RFC 3339).
        #[schemars(extend("format" = "date-time"))]
        not_before: Option<String>,
        /// `true` refuses it whatever the time.
        #[schemars(extend("default" = false))]
        revoked: Option<bool>,
        /// Treated like a token's claims.
        claims: Option<Entries<serde_json::Value>>,
        /// Its plan, one of `auth.plans`, whatever its claims say.
        plan: Option<String>,
    }
}

block! {
    /// An issuer of JWTs and the rules for its tokens.
    struct OAuth2 {
        /// The exact `iss` of its tokens: an https URL.
        #[schemars(required)]
        issuer: Option<String>,
        /// Any one of these must be in the token's `aud`.
        audience: Option<OneOrMany<String>>,
        /// `false` allows `audience` to be left out, and `aud` is then not
        /// looked at.
        #[schemars(extend("default" = true))]
        require_audience: Option<bool>,
        /// The only clients allowed, compared with `client_id`, `azp`,
        /// `appid` or `cid`; left out, all are.
        client_ids: Option<List<String>>,
        /// Claims that a valid token must have (401 otherwise).
        required_claims: Option<ClaimRules>,
        /// Where its JWKS is; left out, `<issuer>/.well-known/jwks.json`.
        jwks_uri: Option<String>,
        /// `true` reads `jwks_uri` from
        /// `<issuer>/.well-known/openid-configuration` or, if there is none,
        /// from where RFC 8414 has it; a URL reads it from there.
        #[schemars(extend("default" = false))]
        discovery: Option<Discovery>,
        /// A local JWKS instead of `jwks_uri`.
        jwks_file: Option<String>,
        /// PEM trust roots for the fetch, on top of the usual ones.
        ca_file: Option<String>,
        /// A file with a bearer token that is sent with key fetches.
        fetch_token_file: Option<String>,
        /// `true` allows `issuer` and `jwks_uri` to be plain http.
        #[schemars(extend("default" = false))]
        allow_http: Option<bool>,
        /// Allowed signature algorithms.
        #[schemars(extend("default" = ["RS256", "ES256"]), with = "Option<List<AlgorithmName>>")]
        algorithms: Option<List<String>>,
        /// The claim path of the scopes.
        #[schemars(extend("default" = "scope"))]
        scope_claim: Option<String>,
        /// The claim path of the subject.
        #[schemars(extend("default" = "sub"))]
        subject_claim: Option<String>,
        /// Tolerance for `exp`, `nbf` and `iat`.
        #[schemars(extend("default" = 30))]
        clock_skew_seconds: Option<u64>,
        /// The longest `exp - iat` that is accepted; left out, any.
        #[schemars(range(min = 1))]
        max_token_lifetime_seconds: Option<u64>,
        /// Accepted values of the header's `typ`, in any case and without
        /// `application/`; `["*"]` accepts any, a missing `typ` always passes.
        #[schemars(extend("default" = ["JWT", "at+jwt"]))]
        accepted_types: Option<List<String>>,
        /// `true` lets a token with `cnf` (DPoP, mTLS) pass as a plain bearer
        /// token, its proof unchecked.
        #[schemars(extend("default" = false))]
        accept_bound_tokens: Option<bool>,
        /// `true` lets a scope `*` in a token grant all. Left out: `true` in
        /// the short form, `false` in the general form.
        wildcard_scope: Option<bool>,
        /// Age at which keys are due for a refresh.
        #[schemars(extend("default" = 3600), range(min = 1))]
        jwks_cache_seconds: Option<u64>,
        /// How much older than that keys may get while the issuer is down.
        #[schemars(extend("default" = 86400))]
        jwks_max_stale_seconds: Option<u64>,
        /// Pause after a fetch that an unknown `kid` triggered.
        #[schemars(extend("default" = 10), range(min = 1))]
        jwks_refresh_cooldown_seconds: Option<u64>,
        /// Time limit of one fetch.
        #[schemars(extend("default" = 5), range(min = 1))]
        jwks_timeout_seconds: Option<u64>,
        /// Overrides `auth.forward_token` for requests that this provider
        /// authenticates.
        forward_token: Option<bool>,
    }
}

// For the schema alone: the loader's message for a wrong one says more.
/// A signature algorithm.
#[derive(JsonSchema)]
#[schemars(inline, rename_all = "UPPERCASE")]
#[allow(dead_code, reason = "only its schema is used")]
pub(crate) enum AlgorithmName {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    ES512,
    #[schemars(rename = "EdDSA")]
    EdDsa,
    #[schemars(rename = "Ed25519")]
    Ed25519,
}

block! {
    /// A custom provider over gRPC.
    struct Grpc {
        /// `http://host:port`, `https://host:port` or `unix:/path/to/socket`.
        #[schemars(required)]
        address: Option<String>,
        /// PEM trust roots for `https`.
        ca_file: Option<String>,
        /// Deadline of one call in milliseconds.
        #[schemars(extend("default" = 100), range(min = 1))]
        timeout_ms: Option<u64>,
        /// How many answers are cached at most; 0 caches none.
        #[schemars(extend("default" = 10000))]
        cache_entries: Option<u64>,
        /// How much memory they take at most, in bytes.
        #[schemars(extend("default" = 16777216), range(min = 65536))]
        cache_bytes: Option<u64>,
        /// How long an answer without `expires_at` is cached.
        #[schemars(extend("default" = 0))]
        cache_seconds: Option<u64>,
        /// Overrides `auth.forward_token` for requests that this provider
        /// authenticates.
        forward_token: Option<bool>,
    }
}
