//! An accepted token reads the same to a strict JSON parser, and what it reads is
//! acceptable.

#![no_main]

use std::sync::{Arc, LazyLock};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64_simd::URL_SAFE_NO_PAD;
use claimgate::{
    Engine, Provider, Reason, Request,
    keys::{FixedKeys, KeySet},
    provider::oauth2::{Algorithm, OAuth2},
    settings::{
        AuthSettings, KeyLocation, KeySourceSettings, OAuth2Settings, ProviderKind,
        ProviderSettings,
    },
    token_cache::TokenCache,
};
use claimgate_fuzz::{NOW, json};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const ISSUER: &str = "https://i.example";

static KEY: LazyLock<Ed25519KeyPair> = LazyLock::new(|| {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap_or_else(|_| panic!("32 bytes are a seed"))
});

static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let x = URL_SAFE_NO_PAD.encode_to_string(KEY.public_key());
    let jwks = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"1","x":"{x}"}}]}}"#);
    let keys = KeySet::parse(jwks.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    let place = KeySourceSettings::new(KeyLocation::Url(format!("{ISSUER}/jwks.json")));
    let oauth2 = OAuth2Settings {
        audience: vec!["us".into()],
        algorithms: vec![Algorithm::EdDsa],
        ..OAuth2Settings::new(ISSUER, place)
    };
    let kind = ProviderKind::OAuth2(Box::new(oauth2.clone()));
    let named = ProviderSettings { name: "issuer".into(), forward_token: None, kind };
    let settings = AuthSettings {
        providers: vec![named],
        max_token_bytes: 1 << 20,
        ..AuthSettings::default()
    };
    let cache = Arc::new(TokenCache::of(&settings));
    let provider =
        OAuth2::new("issuer", None, oauth2, Arc::new(FixedKeys::new(keys.set)), Arc::clone(&cache));
    Engine::new(&settings, vec![Arc::new(provider) as Arc<dyn Provider>], cache)
});

/// A token over this header and these claims, whatever they are.
fn sign(header: &[u8], claims: &[u8]) -> String {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode_to_string(bytes);
    let signed = format!("{}.{}", encode(header), encode(claims));
    let signature = KEY.sign(signed.as_bytes());
    format!("{signed}.{}", encode(signature.as_ref()))
}

// The header, a line break, the claims.
fuzz_target!(|input: &[u8]| {
    let at = input.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let (header, claims) = (&input[..at], input[at..].trim_ascii_start());
    let header = if header.is_empty() { br#"{"alg":"EdDSA"}"# } else { header };
    let authorization = format!("Bearer {}", sign(header, claims));
    let headers = [("authorization", authorization.as_bytes())].into_iter().collect();
    let request = Request { method: "GET", path: "/", headers, ..Request::default() };
    let Some(decision) = ENGINE.check_now(&request, NOW) else { return };
    if decision.reason != Reason::Ok {
        return;
    }

    let Some(header) = json::object(header) else {
        panic!("the header is not a strict JSON object")
    };
    assert!(matches!(header["alg"].as_str(), Some("EdDSA" | "Ed25519")));
    assert!(!header.contains_key("crit") && !header.contains_key("enc"));
    assert_ne!(header.get("b64"), Some(&Value::Bool(false)));
    let Some(claims) = json::object(claims) else {
        panic!("the claims are not a strict JSON object")
    };
    assert_eq!(claims["iss"], ISSUER);
    let time = |name: &str| claims.get(name).map(|time| time.as_f64().unwrap_or(f64::NAN));
    assert!(time("exp").is_some_and(|exp| exp > NOW.as_seconds() - 30.0), "exp");
    for name in ["nbf", "iat"] {
        assert!(time(name).is_none_or(|it| it <= NOW.as_seconds() + 30.0), "{name}");
    }
    let audience = claims.get("aud").unwrap_or(&Value::Null);
    assert!(audience == "us" || audience.as_array().is_some_and(|all| all.contains(&"us".into())));
    assert!(!claims.contains_key("cnf"), "bound to a key");
    let Some(caller) = &decision.caller else { panic!("allowed without a caller") };
    assert_eq!(caller.principal.subject.as_deref(), claims.get("sub").and_then(Value::as_str));
});
