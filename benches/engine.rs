//! Micro-benchmarks of the engine: what each piece of a decision costs, in
//! time and in heap allocations.

use std::sync::Arc;

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{self, KeyPair, ParsedPublicKey},
};
use base64_simd::URL_SAFE_NO_PAD;
use claimgate::{
    Engine, Provider, Request,
    decision::Verdict,
    policy::path,
    provider::{
        api_key::ApiKeys,
        oauth2::{
            OAuth2, jwt::Unverified, key_source::KeySource, keys::KeySet, memory::TokenMemory,
        },
    },
    settings::{
        ApiKeySettings, AuthSettings, IdentityHeaderSettings, KeyLocation, KeySourceSettings,
        OAuth2Settings, ProviderKind, ProviderSettings, RouteSettings,
    },
    time::UnixTime,
};
use divan::{AllocProfiler, Bencher, counter::ItemsCount};
use serde_json::{Map, json};

#[global_allocator]
static ALLOCATOR: AllocProfiler<mimalloc::MiMalloc> = AllocProfiler::new(mimalloc::MiMalloc);

const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000.0);

fn main() {
    divan::main();
}

/// An issuer with one RSA key.
struct Issuer {
    url: String,
    key: RsaKeyPair,
}

impl Issuer {
    fn new(number: usize) -> Self {
        let key = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
        Self { url: format!("https://issuer-{number}.example.com"), key }
    }

    /// An access token of the shape and size that Amazon Cognito issues.
    fn token(&self, number: usize) -> String {
        let header = json!({"kid": "9jqeVjF2lb8zrj1mYJ7QpXQ5nGnO0xFJ6mB8dE3kT2I=", "alg": "RS256"});
        let claims = json!({
            "sub": "3j9b0v7u1q2w4e5r6t7y8u9i0o",
            "token_use": "access",
            "scope": "https://gateway.internal/invoke https://gateway.internal/admin",
            "auth_time": 1_799_999_000,
            "iss": self.url,
            "exp": 1_800_003_000,
            "iat": 1_799_999_000,
            "version": 2,
            "jti": format!("8f14e45f-ceea-467f-a9b3-{number:012}"),
            "client_id": "3j9b0v7u1q2w4e5r6t7y8u9i0o",
            "padding": "x".repeat(200),
        });
        let mut token = URL_SAFE_NO_PAD.encode_to_string(header.to_string());
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode_to_string(claims.to_string()));
        let mut signature = vec![0; self.key.public_modulus_len()];
        let random = SystemRandom::new();
        self.key
            .sign(&signature::RSA_PKCS1_SHA256, &random, token.as_bytes(), &mut signature)
            .expect("a signature");
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode_to_string(signature));
        token
    }

    fn jwks(&self) -> Vec<u8> {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode_to_string(bytes);
        let public = self.key.public_key();
        let key = json!({
            "kty": "RSA", "alg": "RS256", "use": "sig",
            "kid": "9jqeVjF2lb8zrj1mYJ7QpXQ5nGnO0xFJ6mB8dE3kT2I=",
            "n": encode(public.modulus().big_endian_without_leading_zero()),
            "e": encode(public.exponent().big_endian_without_leading_zero()),
        });
        json!({"keys": [key]}).to_string().into_bytes()
    }
}

/// A configuration under test.
#[derive(Default)]
struct Bench {
    issuers: usize,
    api_keys: usize,
    routes: usize,
    remembered: usize,
}

impl Bench {
    fn engine(&self, issuer: &Issuer) -> Engine {
        let memory = Arc::new(TokenMemory::new(self.remembered));
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
            let keys = KeySet::parse(&issuer.jwks()).expect("keys").set;
            let source = KeySourceSettings::new(KeyLocation::Url(format!("{url}/jwks.json")));
            let settings = OAuth2Settings::new(url, source);
            let name = format!("issuer-{number}");
            let provider = OAuth2::new(
                &name,
                None,
                settings.clone(),
                KeySource::fixed(keys),
                Arc::clone(&memory),
            );
            providers
                .push((named(&name, ProviderKind::OAuth2(Box::new(settings))), Arc::new(provider)));
        }
        let (settings, providers): (Vec<_>, Vec<_>) = providers.into_iter().unzip();
        let settings = AuthSettings {
            providers: settings,
            routes: (0..self.routes).map(route).collect(),
            required_scopes: vec!["https://gateway.internal/invoke".into()],
            headers: IdentityHeaderSettings {
                claims: vec![(
                    claimgate::claims::ClaimPath::named("client_id"),
                    "x-auth-client-id".into(),
                )],
                ..IdentityHeaderSettings::default()
            },
            ..AuthSettings::default()
        };
        Engine::new(&settings, providers, memory)
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
        claims: Map::new(),
    }
}

fn route(number: usize) -> RouteSettings {
    RouteSettings {
        name: format!("route-{number}"),
        path_prefix: Some(format!("/service-{number}/v1")),
        ..RouteSettings::default()
    }
}

/// The headers that Envoy adds to those of a chat client.
const HEADERS: [(&str, &str); 16] = [
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

fn request<'a>(authorization: &'a str) -> Request<'a> {
    let fields = HEADERS.into_iter().chain([("authorization", authorization)]);
    Request {
        method: "POST",
        host: "gateway.internal",
        path: "/v1/chat/completions",
        route: None,
        headers: fields.map(|(name, value)| (name, value.as_bytes())).collect(),
    }
}

fn allow(engine: &Engine, authorization: &str) {
    let request = request(authorization);
    let decision = engine.check_now(&request, NOW).expect("no I/O");
    assert_eq!(decision.verdict, Verdict::Allow);
    divan::black_box(engine.edits(&request, &decision));
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

#[divan::bench(threads = [1, 2])]
fn known_token(bencher: Bencher) {
    let issuer = Issuer::new(0);
    let engine = Bench { issuers: 1, remembered: 1000, ..Bench::default() }.engine(&issuer);
    let authorization = bearer(&issuer.token(0));
    bencher.counter(ItemsCount::new(1_usize)).bench(|| allow(&engine, &authorization));
}

#[divan::bench(threads = [1, 2])]
fn api_key_of_many(bencher: Bencher) {
    let engine = Bench { api_keys: 10_000, ..Bench::default() }.engine(&Issuer::new(0));
    bencher.counter(ItemsCount::new(1_usize)).bench(|| allow(&engine, "Bearer api-key-77"));
}

#[divan::bench]
fn ever_new_token(bencher: Bencher) {
    let issuer = Issuer::new(0);
    let engine = Bench { issuers: 1, remembered: 100, ..Bench::default() }.engine(&issuer);
    let tokens: Vec<_> = (0..2000).map(|number| bearer(&issuer.token(number))).collect();
    let mut next = 0;
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        next = (next + 1) % tokens.len();
        allow(&engine, &tokens[next]);
    });
}

#[divan::bench]
fn raw_aws_lc_rs_verification(bencher: Bencher) {
    let issuer = Issuer::new(0);
    let key = issuer.key.public_key().as_ref().to_vec();
    let key = ParsedPublicKey::new(&signature::RSA_PKCS1_2048_8192_SHA256, key).expect("a key");
    let signed = |token: String| {
        let (signed, signature) = token.rsplit_once('.').expect("a token");
        (signed.to_owned(), URL_SAFE_NO_PAD.decode_to_vec(signature).expect("base64url"))
    };
    let tokens: Vec<_> = (0..2000).map(|number| signed(issuer.token(number))).collect();
    let mut next = 0;
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        next = (next + 1) % tokens.len();
        let (signed, signature) = &tokens[next];
        key.verify_sig(signed.as_bytes(), signature).expect("a good signature");
    });
}

#[divan::bench]
fn read_jwt(bencher: Bencher) {
    let token = Issuer::new(0).token(0);
    bencher.bench(|| Unverified::read(divan::black_box(&token)).is_some());
}

#[divan::bench(args = [10, 100_000])]
fn known_tokens(bencher: Bencher, count: usize) {
    let issuer = Issuer::new(0);
    let engine = Bench { issuers: 1, remembered: 200_000, ..Bench::default() }.engine(&issuer);
    let tokens: Vec<_> = (0..count).map(|number| bearer(&issuer.token(number))).collect();
    tokens.iter().for_each(|token| allow(&engine, token));
    let mut next = 0;
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        next = (next + 7919) % tokens.len();
        allow(&engine, &tokens[next]);
    });
}

#[divan::bench(args = [1, 1000])]
fn issuers(bencher: Bencher, issuers: usize) {
    let issuer = Issuer::new(0);
    let engine = Bench { issuers, remembered: 1000, ..Bench::default() }.engine(&issuer);
    let authorization = bearer(&issuer.token(0));
    bencher.bench(|| allow(&engine, &authorization));
}

#[divan::bench(args = [10, 1000])]
fn routes(bencher: Bencher, routes: usize) {
    let issuer = Issuer::new(0);
    let engine = Bench { issuers: 1, routes, remembered: 1000, ..Bench::default() }.engine(&issuer);
    let authorization = bearer(&issuer.token(0));
    bencher.bench(|| allow(&engine, &authorization));
}

#[divan::bench(args = ["/v1/chat/completions", "/v1/models/meta%2Fllama"])]
fn read_path(bencher: Bencher, target: &str) {
    bencher.bench(|| path::read(divan::black_box(target)).is_ok());
}
