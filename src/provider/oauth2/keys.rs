//! Verification keys, parsed once from a JWK Set (RFC 7517).

use std::sync::Arc;

use super::algorithm::Algorithm;

/// A public key ready to verify with.
#[derive(Debug)]
pub struct VerifyingKey {
    _todo: (),
}

impl VerifyingKey {
    /// The key's id, if the JWK has one.
    pub fn kid(&self) -> Option<&str> {
        todo!()
    }

    /// Whether this key may verify `algorithm`: its type and curve, and the
    /// JWK's own `alg`, `use` and `key_ops`.
    pub fn fits(&self, algorithm: Algorithm) -> bool {
        let _ = algorithm;
        todo!()
    }

    /// Whether `signature` over `message` verifies; false if the key does not fit.
    pub fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let _ = (algorithm, message, signature);
        todo!()
    }

    /// Whether the key is still in its set; once false, never true again.
    pub fn is_live(&self) -> bool {
        todo!()
    }

    /// Whether both are the same public key, bound in the same way (`kid`, `alg`, …).
    pub fn is_same(&self, other: &Self) -> bool {
        let _ = other;
        todo!()
    }
}

/// The usable keys of one issuer.
#[derive(Debug, Default)]
pub struct KeySet {
    keys: Vec<Arc<VerifyingKey>>,
}

impl KeySet {
    /// All keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<VerifyingKey>> {
        self.keys.iter()
    }
}
