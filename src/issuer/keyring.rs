//! The key that signs, the keys that verifiers still need, and the document
//! that publishes both.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest;
use serde_json::{Value, json};

use super::signing::{SigningError, SigningKey};
use crate::keys::Algorithm;

/// How long after its last token's end a key stays published, in seconds:
/// verifiers allow for clocks that differ.
const CLOCK_SKEW: i64 = 60;

/// All keys of an issuer.
pub(super) struct Keyring {
    algorithm: Algorithm,
    drop_old: bool,
    keys: Mutex<Keys>,
}

struct Keys {
    current: Arc<SigningKey>,
    /// The latest `exp` that the current key has signed, if any.
    last_exp: Option<i64>,
    retired: Vec<Retired>,
}

/// A key that signs no more while tokens that it signed are still valid.
struct Retired {
    jwk: Value,
    last_exp: i64,
}

/// The key set as served.
pub(super) struct Document {
    pub(super) body: String,
    /// A strong entity tag (RFC 9110, section 8.8.3).
    pub(super) etag: String,
}

impl Keyring {
    /// A keyring with one fresh key.
    pub(super) fn new(algorithm: Algorithm, drop_old: bool) -> Result<Self, SigningError> {
        let current = Arc::new(SigningKey::generate(algorithm)?);
        let keys = Keys { current, last_exp: None, retired: Vec::new() };
        Ok(Self { algorithm, drop_old, keys: Mutex::new(keys) })
    }

    /// Signs claims that end at `exp`. The end is noted before the signature
    /// is made, so a rotation in between keeps the key published.
    pub(super) fn sign(&self, claims: &[u8], exp: i64) -> Result<String, SigningError> {
        let key = {
            let mut keys = self.lock();
            keys.last_exp = keys.last_exp.max(Some(exp));
            Arc::clone(&keys.current)
        };
        key.sign(claims)
    }

    /// Replaces the signing key; returns the new one's id.
    pub(super) fn rotate(&self) -> Result<String, SigningError> {
        let fresh = Arc::new(SigningKey::generate(self.algorithm)?);
        let mut keys = self.lock();
        let old = std::mem::replace(&mut keys.current, Arc::clone(&fresh));
        let last_exp = keys.last_exp.take();
        if let Some(last_exp) = last_exp.filter(|_| !self.drop_old) {
            keys.retired.push(Retired { jwk: old.jwk().clone(), last_exp });
        }
        Ok(fresh.kid().into())
    }

    /// The JWK Set (RFC 7517, section 5) at `now`, in seconds since the epoch.
    pub(super) fn document(&self, now: i64) -> Document {
        let mut keys = self.lock();
        keys.retired.retain(|retired| now < retired.last_exp + CLOCK_SKEW);
        let mut published = vec![keys.current.jwk()];
        published.extend(keys.retired.iter().rev().map(|retired| &retired.jwk));
        let body = json!({"keys": published}).to_string();
        let hash = digest::digest(&digest::SHA256, body.as_bytes());
        let etag = format!("\"{}\"", base64_simd::URL_SAFE_NO_PAD.encode_to_string(hash));
        Document { body, etag }
    }

    /// A thread that panicked while holding the lock left whole values behind.
    fn lock(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kids(keyring: &Keyring, now: i64) -> Vec<String> {
        let document: Value = serde_json::from_str(&keyring.document(now).body).unwrap();
        let keys = document["keys"].as_array().unwrap();
        keys.iter().map(|key| key["kid"].as_str().unwrap().into()).collect()
    }

    #[test]
    fn an_old_key_stays_until_its_tokens_have_ended() {
        let keyring = Keyring::new(Algorithm::EdDsa, false).unwrap();
        let first = kids(&keyring, 0);
        keyring.sign(b"{}", 200).unwrap();
        keyring.sign(b"{}", 100).unwrap();
        let second = keyring.rotate().unwrap();
        assert_eq!(kids(&keyring, 199 + CLOCK_SKEW), [second.clone(), first[0].clone()]);
        assert_eq!(kids(&keyring, 200 + CLOCK_SKEW), [second]);
    }

    #[test]
    fn a_key_without_tokens_goes_at_once() {
        let keyring = Keyring::new(Algorithm::EdDsa, false).unwrap();
        let second = keyring.rotate().unwrap();
        assert_eq!(kids(&keyring, 0), [second]);
    }

    #[test]
    fn old_keys_can_be_dropped_at_once() {
        let keyring = Keyring::new(Algorithm::EdDsa, true).unwrap();
        keyring.sign(b"{}", 200).unwrap();
        let second = keyring.rotate().unwrap();
        assert_eq!(kids(&keyring, 0), [second]);
    }

    #[test]
    fn the_entity_tag_changes_with_the_keys() {
        let keyring = Keyring::new(Algorithm::EdDsa, false).unwrap();
        let first = keyring.document(0).etag;
        assert_eq!(keyring.document(0).etag, first);
        keyring.rotate().unwrap();
        assert_ne!(keyring.document(0).etag, first);
    }
}
