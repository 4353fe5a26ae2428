//! Third-party JOSE vectors (Wycheproof, the RFC 7520 cookbook, Istio) and the
//! expected verdict of each. `CLAIMGATE_CORPORA` names the folder with
//! `MANIFEST.json`; without it these tests are reported as ignored.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use base64_simd::URL_SAFE_NO_PAD;
use claimgate::{
    decision::Verdict,
    provider::oauth2::{Algorithm, keys::KeySet},
    settings::{KeyLocation, KeySourceSettings, OAuth2Settings},
    time::UnixTime,
};
use serde_json::Value;

use crate::support::oauth2;

/// The time at which the manifest's tokens are checked.
const CLOCK: UnixTime = UnixTime::from_seconds(1_795_000_000.0);

/// Why the signature layer refuses a token that the manifest accepts. This
/// program never accepts HMAC, even if a key set has the secret.
const NO_HMAC: &str = "HMAC is never accepted";

struct Case {
    id: String,
    token: String,
    jwks: Vec<u8>,
    signature_layer: String,
    service_must: String,
}

fn folder() -> PathBuf {
    std::env::var_os("CLAIMGATE_CORPORA")
        .expect("CLAIMGATE_CORPORA names the corpora's folder")
        .into()
}

fn cases() -> Vec<Case> {
    let folder = folder();
    let manifest = std::fs::read(folder.join("MANIFEST.json")).expect("a manifest");
    let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
    let text = |case: &Value, name: &str| case[name].as_str().unwrap_or_default().to_owned();
    let read = |case: &Value| Case {
        id: text(case, "id"),
        token: text(case, "token"),
        jwks: match case["jwks_file"].as_str() {
            Some(file) => std::fs::read(folder.join(file)).expect("a key set"),
            None => case["jwks"].to_string().into_bytes(),
        },
        signature_layer: text(case, "signature_layer"),
        service_must: text(case, "service_must"),
    };
    let cases: Vec<_> = manifest["cases"].as_array().expect("cases").iter().map(read).collect();
    assert_eq!(cases.len(), manifest["count"].as_u64().expect("a count") as usize);
    cases
}

fn header(token: &str) -> Option<Value> {
    let bytes = URL_SAFE_NO_PAD.decode_to_vec(token.split('.').next()?).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Verifies only the signature, with the key set, on any content.
fn signature_verifies(case: &Case) -> bool {
    let verify = || {
        let header = header(&case.token)?;
        let algorithm: Algorithm = header["alg"].as_str()?.parse().ok()?;
        let (signed, signature) = case.token.rsplit_once('.')?;
        let (_, payload) = signed.split_once('.')?;
        URL_SAFE_NO_PAD.decode_to_vec(payload).ok()?;
        let signature = URL_SAFE_NO_PAD.decode_to_vec(signature).ok()?;
        let keys = KeySet::parse(&case.jwks).ok()?.set;
        let kid = header["kid"].as_str();
        let named = |key: &&Arc<_>| kid.is_none_or(|kid| claimgate_kid(key) == Some(kid));
        keys.iter()
            .filter(named)
            .any(|key| key.verify(algorithm, signed.as_bytes(), &signature))
            .then_some(())
    };
    verify().is_some()
}

fn claimgate_kid(key: &Arc<claimgate::keys::VerifyingKey>) -> Option<&str> {
    key.kid()
}

/// Runs the token through the whole engine, trusting the issuer it names.
fn service_allows(case: &Case) -> bool {
    let claims =
        case.token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode_to_vec(part).ok());
    let claims: Value =
        claims.and_then(|claims| serde_json::from_slice(&claims).ok()).unwrap_or_default();
    let issuer = claims["iss"].as_str().unwrap_or("https://issuer.example.com");
    let keys = KeySet::parse(&case.jwks).map(|parsed| parsed.set).unwrap_or_default();
    let source = KeySourceSettings::new(KeyLocation::Url("https://issuer.example.com/jwks".into()));
    let settings = OAuth2Settings {
        algorithms: Algorithm::ALL.to_vec(),
        accepted_types: None,
        ..OAuth2Settings::new(issuer, source)
    };
    let engine = oauth2::engine(vec![settings], keys);
    oauth2::check(&engine, case.token.as_bytes(), CLOCK).verdict == Verdict::Allow
}

#[test]
#[ignore = "needs CLAIMGATE_CORPORA"]
fn signatures_get_their_verdict() {
    let mut deviations: BTreeMap<&str, usize> = BTreeMap::new();
    for case in cases() {
        let verifies = signature_verifies(&case);
        let is_hmac = header(&case.token)
            .is_some_and(|header| header["alg"].as_str().is_some_and(|alg| alg.starts_with("HS")));
        match case.signature_layer.as_str() {
            "accept" if is_hmac => {
                assert!(!verifies, "{}: {NO_HMAC}", case.id);
                *deviations.entry(NO_HMAC).or_default() += 1;
            }
            "accept" => assert!(verifies, "{}", case.id),
            "reject" | "n/a" => assert!(!verifies, "{}", case.id),
            "either" | "exclude" => {}
            other => panic!("{}: unknown verdict {other:?}", case.id),
        }
    }
    eprintln!("deviations: {deviations:?}");
}

#[test]
#[ignore = "needs CLAIMGATE_CORPORA"]
fn the_service_gives_the_verdict() {
    let mut allowed = 0;
    for case in cases() {
        let expected = match case.service_must.as_str() {
            "allow" => true,
            "deny" => false,
            other => panic!("{}: unknown verdict {other:?}", case.id),
        };
        assert_eq!(service_allows(&case), expected, "{}", case.id);
        allowed += usize::from(expected);
    }
    assert!(allowed > 0, "a corpus that allows nothing proves nothing");
}
