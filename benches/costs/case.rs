//! A configuration and one request.

use std::{sync::Arc, time::Duration};

use base64_simd::URL_SAFE_NO_PAD;
use claimgate::{
    Engine, Provider, Reason,
    check::Snapshot,
    envoy::decode::{Names, check_request},
    issuer::signing::SigningKey,
    keys::{FixedKeys, KeySet},
    metrics::{CheckMeters, Metrics},
    provider::{
        api_key::ApiKeys,
        oauth2::{Algorithm, OAuth2},
    },
    settings::{
        ApiKeySettings, AuthSettings, KeyLocation, KeySourceSettings, OAuth2Settings, ProviderKind,
        ProviderSettings, RouteSettings, TokenPlace, TokenSourceSettings,
    },
    time::UnixTime,
    token_cache::TokenCache,
};
use envoy_types::{
    ext_authz::v3::pb::CheckRequest,
    pb::envoy::{
        config::core::v3::{HeaderMap, HeaderValue},
        service::auth::v3::{AttributeContext, attribute_context},
    },
};
use prost::Message;
use serde_json::{Value, json};

/// The issuer whose tokens are accepted.
pub(crate) const ISSUER: &str = "https://issuer.example.com";

/// An active configuration and the message of one check.
pub(crate) struct Case {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) message: Vec<u8>,
}

impl Case {
    /// The plain denial that everything is compared with.
    pub(crate) fn plain() -> Self {
        let plain = Self {
            snapshot: Config::default().snapshot(),
            message: RequestSpec::default().message(),
        };
        assert_eq!(plain.decided_otherwise(Reason::MissingToken), None);
        plain
    }

    /// The reason of the decision, if it is not `expected`: the row must measure
    /// what its name says.
    pub(crate) fn decided_otherwise(&self, expected: Reason) -> Option<Reason> {
        let names = Names::new();
        let request = check_request(&self.message, &names).expect("a message");
        let decision = self.snapshot.engine.check_now(&request, UnixTime::now()).expect("no I/O");
        Some(decision.reason).filter(|reason| *reason != expected)
    }
}

/// A configuration: one JWT provider, and what a row needs beside it.
#[derive(Default)]
pub(crate) struct Config {
    pub(crate) keys: Vec<Value>,
    pub(crate) api_keys: bool,
    pub(crate) sources: Vec<TokenPlace>,
    pub(crate) routes: Vec<RouteSettings>,
    pub(crate) public: Vec<String>,
    pub(crate) hides_tokens: bool,
}

impl Config {
    pub(crate) fn snapshot(self) -> Arc<Snapshot> {
        let keys = match self.keys.is_empty() {
            true => vec![SigningKey::generate(Algorithm::EdDsa).expect("a key").jwk().clone()],
            false => self.keys,
        };
        let set = KeySet::parse(json!({"keys": keys}).to_string().as_bytes()).expect("keys").set;
        let source = KeySourceSettings::new(KeyLocation::Url(format!("{ISSUER}/jwks.json")));
        let oauth2 = OAuth2Settings {
            algorithms: Algorithm::ALL.into(),
            ..OAuth2Settings::new(ISSUER, source)
        };
        let cache = Arc::new(TokenCache::of(&AuthSettings::default()));
        let mut settings = vec![named("issuer", ProviderKind::OAuth2(Box::new(oauth2.clone())))];
        let provider =
            OAuth2::new("issuer", None, oauth2, Arc::new(FixedKeys::new(set)), Arc::clone(&cache));
        let mut providers: Vec<Arc<dyn Provider>> = vec![Arc::new(provider)];
        if self.api_keys {
            let keys = vec![api_key()];
            providers.push(Arc::new(ApiKeys::new("keys", None, &keys)));
            settings.push(named("keys", ProviderKind::ApiKey(keys)));
        }
        let mut auth = AuthSettings {
            providers: settings,
            routes: self.routes,
            public_paths: self.public,
            forward_token: !self.hides_tokens,
            ..AuthSettings::default()
        };
        let more = self.sources.into_iter();
        let more = more.map(|place| TokenSourceSettings { place, providers: None });
        auth.token_sources.extend(more);
        let engine = Engine::new(&auth, providers, cache);
        let metrics = Metrics::new("bench", "bench").expect("metrics");
        Arc::new(Snapshot {
            meters: CheckMeters::new(&metrics, &engine),
            engine,
            check_timeout: Duration::from_millis(150),
            denials: None,
            tracer: None,
        })
    }
}

/// The only API key, where there are API keys.
pub(crate) const API_KEY: &str = "an-api-key-of-the-usual-length";

fn api_key() -> ApiKeySettings {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, API_KEY.as_bytes());
    ApiKeySettings {
        name: "client".into(),
        hash: hash.as_ref().try_into().expect("32 bytes"),
        scopes: vec!["*".into()],
        expires_at: None,
        not_before: None,
        revoked: false,
        claims: serde_json::Map::new(),
        plan: None,
    }
}

fn named(name: &str, kind: ProviderKind) -> ProviderSettings {
    ProviderSettings { name: name.into(), forward_token: None, kind }
}

/// A request; the defaults are those of a chat client.
pub(crate) struct RequestSpec {
    pub(crate) method: String,
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
}

impl Default for RequestSpec {
    fn default() -> Self {
        Self {
            method: "POST".into(),
            host: "gateway.internal".into(),
            path: "/v1/chat/completions".into(),
            headers: Vec::new(),
        }
    }
}

impl RequestSpec {
    pub(crate) fn path(path: impl Into<String>) -> Self {
        Self { path: path.into(), ..Self::default() }
    }

    pub(crate) fn header(name: &str, value: impl Into<Vec<u8>>) -> Self {
        Self { headers: vec![(name.into(), value.into())], ..Self::default() }
    }

    pub(crate) fn bearer(token: &str) -> Self {
        Self::header("authorization", format!("Bearer {token}"))
    }

    pub(crate) fn message(self) -> Vec<u8> {
        let usual = USUAL.into_iter().map(|(name, value)| (name.to_owned(), value.into()));
        let fields = usual.chain(self.headers).map(|(key, raw_value)| HeaderValue {
            key,
            raw_value,
            ..HeaderValue::default()
        });
        let http = attribute_context::HttpRequest {
            method: self.method,
            host: self.host,
            path: self.path,
            header_map: Some(HeaderMap { headers: fields.collect() }),
            ..Default::default()
        };
        let request = attribute_context::Request { http: Some(http), ..Default::default() };
        let attributes = AttributeContext { request: Some(request), ..Default::default() };
        CheckRequest { attributes: Some(attributes) }.encode_to_vec()
    }
}

/// The headers of a chat client and those that Envoy adds.
const USUAL: [(&str, &str); 12] = [
    (":authority", "gateway.internal"),
    (":method", "POST"),
    (":scheme", "https"),
    ("accept", "application/json"),
    ("accept-encoding", "gzip, deflate, br"),
    ("content-length", "1534"),
    ("content-type", "application/json"),
    ("user-agent", "OpenAI/Python 2.8.1"),
    ("x-forwarded-for", "10.1.2.3"),
    ("x-forwarded-proto", "https"),
    ("x-request-id", "5f0f8d3c-6a36-4c1e-8f52-0f3c9f7c9a11"),
    ("x-stainless-lang", "python"),
];

/// Signatures to be verified by the crypto library alone, of this message.
pub(crate) struct Signatures {
    pub(crate) keys: KeySet,
    pub(crate) algorithm: Algorithm,
    pub(crate) message: Vec<u8>,
    pub(crate) signature: Vec<u8>,
}

impl Signatures {
    /// Those that `token` costs with these keys.
    pub(crate) fn of(token: &str, algorithm: Algorithm, keys: &[Value]) -> Self {
        let (message, signature) = token.rsplit_once('.').expect("a token");
        let document = json!({ "keys": keys }).to_string();
        Self {
            keys: KeySet::parse(document.as_bytes()).expect("keys").set,
            algorithm,
            message: message.into(),
            signature: URL_SAFE_NO_PAD.decode_to_vec(signature).expect("base64url"),
        }
    }

    pub(crate) fn verify(&self) {
        for key in self.keys.iter() {
            assert!(!key.verify(self.algorithm, &self.message, &self.signature));
        }
    }
}
