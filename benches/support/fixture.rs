//! The configurations and requests of the engine's benchmarks.

use std::{num::NonZeroU32, sync::Arc, time::Instant};

use claimgate::{
    Decision, Engine, Provider, Request,
    claims::ClaimPath,
    decision::Verdict,
    issuer::signing::SigningKey,
    keys::{FixedKeys, KeySet},
    provider::{
        api_key::ApiKeys,
        oauth2::{Algorithm, OAuth2},
    },
    settings::{
        Amount, ApiKeySettings, AuthSettings, IdentityHeaderSettings, KeyLocation,
        KeySourceSettings, LimitBy, LimitSettings, OAuth2Settings, PlanSettings, ProviderKind,
        ProviderSettings, RouteSettings, TimeUnit,
    },
    time::UnixTime,
    token_cache::TokenCache,
};
use envoy_types::{
    ext_authz::v3::pb::CheckRequest,
    pb::envoy::service::auth::v3::{AttributeContext, attribute_context},
};
use prost::Message;
use serde_json::{Map, json};

use super::claims::claims;

/// The time of every decision.
pub(crate) const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000.0);

/// An issuer with one key.
pub(crate) struct Issuer {
    pub(crate) url: String,
    algorithm: Algorithm,
    key: SigningKey,
}

impl Issuer {
    /// One with an RSA key.
    pub(crate) fn new() -> Self {
        Self::of(Algorithm::Rs256)
    }

    pub(crate) fn of(algorithm: Algorithm) -> Self {
        let key = SigningKey::generate(algorithm).expect("a key");
        Self { url: "https://issuer-0000.example.com".into(), algorithm, key }
    }

    /// The `number`th of many different tokens.
    pub(crate) fn token(&self, number: usize) -> String {
        let claims = claims(self.algorithm, &self.url, 1_799_999_000, number);
        self.key.sign(&claims).expect("a signature")
    }

    /// Its public key as a JWK.
    pub(crate) fn jwk(&self) -> &serde_json::Value {
        self.key.jwk()
    }
}

/// A configuration under test.
#[derive(Default)]
pub(crate) struct Bench {
    pub(crate) issuers: usize,
    pub(crate) api_keys: usize,
    pub(crate) routes: usize,
    pub(crate) cached: usize,
    /// Each caller has a limit that it does not reach, and as many are counted
    /// as tokens are cached.
    pub(crate) limited: bool,
}

impl Bench {
    pub(crate) fn engine(&self, issuer: &Issuer) -> Engine {
        let headers = IdentityHeaderSettings {
            claims: vec![(ClaimPath::named("client_id"), "x-auth-client-id".into())],
            ..IdentityHeaderSettings::default()
        };
        let limits = self.limited.then(|| limits(self.cached));
        let cache = Arc::new(TokenCache::of(&AuthSettings {
            headers: headers.clone(),
            limits: limits.clone(),
            token_cache_entries: self.cached,
            // The number is the bound here.
            token_cache_bytes: (self.cached * 4096).max(64 * 1024 * 1024),
            ..AuthSettings::default()
        }));
        let mut providers: Vec<(ProviderSettings, Arc<dyn Provider>)> = Vec::new();
        if self.api_keys > 0 {
            let keys: Vec<_> = (0..self.api_keys).map(api_key).collect();
            let provider = ApiKeys::new("keys", None, &keys);
            providers.push((named("keys", ProviderKind::ApiKey(keys)), Arc::new(provider)));
        }
        for number in 0..self.issuers {
            let url = if number == 0 {
                issuer.url.clone()
            } else {
                format!("https://other-{number}.example.com")
            };
            let jwks = json!({"keys": [issuer.jwk()]}).to_string();
            let keys = KeySet::parse(jwks.as_bytes()).expect("keys").set;
            let source = KeySourceSettings::new(KeyLocation::Url(format!("{url}/jwks.json")));
            let settings = OAuth2Settings::new(url, source);
            let name = format!("issuer-{number}");
            let provider = OAuth2::new(
                &name,
                None,
                settings.clone(),
                Arc::new(FixedKeys::new(keys)),
                Arc::clone(&cache),
            );
            providers
                .push((named(&name, ProviderKind::OAuth2(Box::new(settings))), Arc::new(provider)));
        }
        let (settings, providers): (Vec<_>, Vec<_>) = providers.into_iter().unzip();
        let settings = AuthSettings {
            providers: settings,
            routes: (0..self.routes).map(route).collect(),
            required_scopes: vec!["https://gateway.internal/invoke".into()],
            headers,
            limits,
            ..AuthSettings::default()
        };
        Engine::new(&settings, providers, cache)
    }
}

/// One plan for all callers. It refills slowly enough that budgets are in use.
fn limits(max_callers: usize) -> LimitSettings {
    let (number, burst) = (NonZeroU32::MIN, Some(NonZeroU32::MAX));
    let requests = Amount { number, unit: TimeUnit::Minute, burst };
    let name = "all".to_owned();
    LimitSettings {
        default_plan: Some(name.clone()),
        // All tokens have one subject.
        limit_by: LimitBy::Claim(ClaimPath::named("jti")),
        plans: vec![PlanSettings { name, requests: Some(requests), tokens: None }],
        max_callers,
        ..LimitSettings::default()
    }
}

fn named(name: &str, kind: ProviderKind) -> ProviderSettings {
    ProviderSettings { name: name.into(), forward_token: None, kind }
}

fn api_key(number: usize) -> ApiKeySettings {
    let hash = aws_lc_rs::digest::digest(
        &aws_lc_rs::digest::SHA256,
        format!("api-key-{number}").as_bytes(),
    );
    ApiKeySettings {
        name: format!("client-{number}"),
        hash: hash.as_ref().try_into().expect("32 bytes"),
        scopes: vec!["*".into()],
        expires_at: None,
        not_before: None,
        revoked: false,
        claims: Map::from_iter([("client_id".into(), json!("reporting"))]),
        plan: None,
    }
}

fn route(number: usize) -> RouteSettings {
    RouteSettings {
        name: format!("route-{number}"),
        path_prefix: Some(format!("/service-{number}/v1")),
        ..RouteSettings::default()
    }
}

/// The headers of a chat client and those that Envoy adds; the seventeenth is
/// `authorization`.
pub(crate) const HEADERS: [(&str, &str); 16] = [
    (":authority", "gateway.internal"),
    (":method", "POST"),
    (":path", "/v1/chat/completions"),
    (":scheme", "https"),
    ("accept", "application/json"),
    ("accept-encoding", "gzip, deflate, br"),
    ("content-length", "1534"),
    ("content-type", "application/json"),
    ("user-agent", "OpenAI/Python 2.8.1"),
    ("x-envoy-internal", "true"),
    ("x-forwarded-for", "10.1.2.3"),
    ("x-forwarded-proto", "https"),
    ("x-request-id", "5f0f8d3c-6a36-4c1e-8f52-0f3c9f7c9a11"),
    ("x-stainless-arch", "x64"),
    ("x-stainless-lang", "python"),
    ("x-stainless-retry-count", "0"),
];

pub(crate) fn request(authorization: &str) -> Request<'_> {
    let fields = HEADERS.into_iter().chain([("authorization", authorization)]);
    Request {
        method: "POST",
        host: "gateway.internal",
        path: "/v1/chat/completions",
        route: None,
        headers: fields.map(|(name, value)| (name, value.as_bytes())).collect(),
    }
}

/// The message that Envoy asks with.
pub(crate) fn message(authorization: &str) -> Vec<u8> {
    let fields = HEADERS.into_iter().chain([("authorization", authorization)]);
    let http = attribute_context::HttpRequest {
        method: "POST".into(),
        host: "gateway.internal".into(),
        path: "/v1/chat/completions".into(),
        headers: fields.map(|(name, value)| (name.into(), value.into())).collect(),
        ..Default::default()
    };
    let request = attribute_context::Request { http: Some(http), ..Default::default() };
    let attributes = AttributeContext { request: Some(request), ..Default::default() };
    CheckRequest { attributes: Some(attributes) }.encode_to_vec()
}

/// Decides, and makes everything that the upstream gets.
pub(crate) fn allow(engine: &Engine, authorization: &str) {
    let request = request(authorization);
    finish(engine, &request, decide(engine, &request));
}

/// The same for a request that arrives now, as a service does it.
pub(crate) fn allow_arriving(engine: &Engine, authorization: &str) {
    let request = request(authorization);
    let decision = engine.check_arrived(&request, NOW, Instant::now());
    finish(engine, &request, decision.expect("no I/O"));
}

fn finish<'a>(engine: &'a Engine, request: &Request<'a>, decision: Decision<'a>) {
    assert_eq!(decision.verdict, Verdict::Allow);
    std::hint::black_box(engine.edits(request, &decision));
}

pub(crate) fn decide<'e>(engine: &'e Engine, request: &Request<'_>) -> Decision<'e> {
    engine.check_now(request, NOW).expect("no I/O")
}

pub(crate) fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}
