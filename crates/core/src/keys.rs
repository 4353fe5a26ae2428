//! Verification keys, parsed once from a JWK Set (RFC 7517).
//!
//! Issuers publish all sorts of keys beside those that sign their tokens:
//! encryption keys, unsupported curves, leftovers. One such key must not
//! cost the others, so a key that can't verify is skipped and named, while a
//! document that is not a JWK Set, or holds no key to verify with, is an error.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use serde_json::Value;

use self::{jwk::Jwk, public_key::PublicKey};

mod algorithm;
mod jwk;
mod public_key;
pub mod signing;
mod store;
#[cfg(test)]
mod tests;
mod unusable;

pub use self::{
    algorithm::{Algorithm, UnknownAlgorithm},
    store::{FixedKeys, KeyStore, Refresh},
    unusable::Unusable,
};

/// A public key ready to verify with.
pub struct VerifyingKey {
    kid: Option<Box<str>>,
    public: PublicKey,
    since: SystemTime,
    live: AtomicBool,
}

impl VerifyingKey {
    fn new(jwk: Jwk) -> Self {
        Self {
            kid: jwk.kid.map(Into::into),
            public: jwk.public,
            since: SystemTime::now(),
            live: AtomicBool::new(true),
        }
    }

    /// The key's id, if the JWK has one.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Whether this key may verify `algorithm`: its type and curve, and the
    /// JWK's own `alg`, `use` and `key_ops`.
    pub fn fits(&self, algorithm: Algorithm) -> bool {
        self.public.fits(algorithm)
    }

    /// Every algorithm that [`VerifyingKey::fits`].
    pub fn algorithms(&self) -> impl Iterator<Item = Algorithm> + Clone + '_ {
        Algorithm::ALL.into_iter().filter(|algorithm| self.fits(*algorithm))
    }

    /// Whether a signature by this key can have that many bytes.
    pub fn makes_signatures_of(&self, bytes: usize) -> bool {
        self.public.signature_len() == bytes
    }

    /// Whether `signature` over `message` verifies; false if the key does not fit.
    ///
    /// ECDSA signatures are the fixed-length `r || s` of RFC 7518, 3.4.
    pub fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        self.public.verify(algorithm, message, signature)
    }

    /// Whether the key is still in its set; once false, never true again.
    pub fn is_live(&self) -> bool {
        self.live.load(Ordering::Acquire)
    }

    /// Whether both are the same public key, bound in the same way (`kid`, `alg`, …).
    pub fn is_same(&self, other: &Self) -> bool {
        self.kid == other.kid && self.public == other.public
    }

    /// When the key was first seen.
    pub fn since(&self) -> SystemTime {
        self.since
    }

    fn retire(&self) {
        self.live.store(false, Ordering::Release);
    }
}

/// The key's name and what it may verify, nothing of the key itself.
impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey")
            .field("kid", &self.kid)
            .field("algorithms", &self.algorithms().map(Algorithm::as_str).collect::<Vec<_>>())
            .field("live", &self.is_live())
            .finish_non_exhaustive()
    }
}

/// The usable keys of one issuer.
#[derive(Debug, Default)]
pub struct KeySet {
    keys: Vec<Arc<VerifyingKey>>,
}

/// What a JWK Set holds.
#[derive(Debug)]
pub struct Parsed {
    /// The keys to verify with; never empty.
    pub set: KeySet,
    /// The keys left out, each worth a warning.
    pub skipped: Vec<Skipped>,
}

impl KeySet {
    /// Reads a JWK Set.
    ///
    /// A key that can't verify is left out and named in [`Parsed::skipped`].
    /// A key given twice is kept once; different keys under one `kid` are all
    /// kept, as RFC 7517, 4.5 allows.
    ///
    /// # Errors
    /// If the document is not a JWK Set or holds no usable key.
    pub fn parse(document: &[u8]) -> Result<Parsed, KeySetError> {
        let mut keys: Vec<Arc<VerifyingKey>> = Vec::new();
        let mut skipped = Vec::new();
        for (index, entry) in read_entries(document)?.iter().enumerate() {
            match Jwk::read(entry) {
                Ok(jwk) => {
                    let key = VerifyingKey::new(jwk);
                    if !keys.iter().any(|other| other.is_same(&key)) {
                        keys.push(Arc::new(key));
                    }
                }
                Err(why) => skipped.push(Skipped { index, kid: kid_of(entry), why }),
            }
        }
        if keys.is_empty() {
            return Err(KeySetError::NoUsableKey(skipped));
        }
        Ok(Parsed { set: Self { keys }, skipped })
    }

    /// All keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<VerifyingKey>> + Clone {
        self.keys.iter()
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no key at all.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// This set as the successor of `old`: a key that both hold stays the
    /// very same [`Arc`], so that tokens verified with it stay verified.
    pub fn succeeding(mut self, old: &Self) -> Self {
        for key in &mut self.keys {
            if let Some(same) = old.keys.iter().find(|same| same.is_live() && same.is_same(key)) {
                *key = Arc::clone(same);
            }
        }
        self
    }

    /// Whether both hold the very same keys, in the same order.
    pub fn is_as(&self, other: &Self) -> bool {
        self.keys.len() == other.keys.len()
            && self.keys.iter().zip(&other.keys).all(|(one, two)| Arc::ptr_eq(one, two))
    }

    /// Retires the keys that `next`, which succeeds this set, no longer holds.
    pub fn retire_all_but(&self, next: &Self) {
        for key in &self.keys {
            if !next.keys.iter().any(|kept| Arc::ptr_eq(kept, key)) {
                key.retire();
            }
        }
    }
}

/// A key of a JWK Set that is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its position in `keys`, from 0.
    pub index: usize,
    /// Its `kid`, if it has one that can be read.
    pub kid: Option<String>,
    /// What makes it unusable.
    pub why: Unusable,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "keys[{}]", self.index)?;
        if let Some(kid) = &self.kid {
            write!(f, " (kid {kid:?})")?;
        }
        write!(f, ": {}", self.why)
    }
}

/// Why a document gives no keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// It is not JSON.
    #[error("not a JWK Set: {0}")]
    NotJson(String),
    /// It is JSON, but not of the right form.
    #[error("not a JWK Set: {0}")]
    NotASet(&'static str),
    /// None of its keys can verify a signature.
    #[error("no usable key in it{}", listed(.0))]
    NoUsableKey(Vec<Skipped>),
}

fn read_entries(document: &[u8]) -> Result<Vec<Value>, KeySetError> {
    // Read as a plain `Value` first: such errors tell a position, never a
    // part of the document.
    let document = serde_json::from_slice(without_byte_order_mark(document))
        .map_err(|error| KeySetError::NotJson(format!("not JSON ({error})")))?;
    let Value::Object(mut members) = document else {
        return Err(KeySetError::NotASet("not a JSON object with a member \"keys\""));
    };
    match members.remove("keys") {
        Some(Value::Array(keys)) => Ok(keys),
        Some(_) => Err(KeySetError::NotASet("\"keys\" is not an array")),
        None if members.contains_key("kty") => {
            Err(KeySetError::NotASet("a single JWK, write {\"keys\": [ … ]} around it"))
        }
        None => Err(KeySetError::NotASet("no member \"keys\"")),
    }
}

/// A document without the byte-order mark that some servers put before it,
/// although RFC 8259, section 8.1 forbids them to.
pub fn without_byte_order_mark(document: &[u8]) -> &[u8] {
    document.strip_prefix(b"\xef\xbb\xbf").unwrap_or(document)
}

fn kid_of(entry: &Value) -> Option<String> {
    jwk::read_kid(entry.as_object()?).ok().flatten()
}

/// The first few causes: enough to act on, short enough for one line.
fn listed(skipped: &[Skipped]) -> String {
    const SHOWN: usize = 3;
    let mut list = String::new();
    for (n, one) in skipped.iter().take(SHOWN).enumerate() {
        list.push_str(if n == 0 { ": " } else { "; " });
        list.push_str(&one.to_string());
    }
    if skipped.len() > SHOWN {
        list.push_str(&format!("; and {} more", skipped.len() - SHOWN));
    }
    list
}
