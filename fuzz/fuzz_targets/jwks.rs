//! An accepted key document is JSON, and means the same when it is formatted in
//! another way; no key verifies a made-up signature.

#![no_main]

use claimgate::keys::{KeySet, Parsed};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// What tells one set of keys from another.
fn summary(parsed: &Parsed) -> Vec<(Option<&str>, Vec<&str>)> {
    let keys = parsed.set.iter();
    keys.map(|key| (key.kid(), key.algorithms().map(|it| it.as_str()).collect())).collect()
}

fuzz_target!(|document: &[u8]| {
    let Ok(parsed) = KeySet::parse(document) else { return };
    assert!(!parsed.set.is_empty());
    let text = document.strip_prefix(b"\xef\xbb\xbf").unwrap_or(document);
    let Ok(value) = serde_json::from_slice::<Value>(text) else { panic!("it is not JSON") };
    let Ok(again) = KeySet::parse(value.to_string().as_bytes()) else {
        panic!("other spaces matter")
    };
    assert_eq!(summary(&parsed), summary(&again));
    for key in parsed.set.iter() {
        for algorithm in key.algorithms() {
            assert!(key.fits(algorithm) && !key.verify(algorithm, b"message", &[1; 64]));
        }
    }
});
