//! Verified tokens, remembered so that a signature is computed once.

use std::{fmt, sync::Arc};

use ahash::RandomState;
use quick_cache::{UnitWeighter, sync::Cache};

use self::hot::HotTokens;
use super::{checks::Times, keys::VerifyingKey};
use crate::{
    claims::{ClaimPath, Claims},
    decision::Recall,
    principal::Principal,
    settings::AuthSettings,
    time::UnixTime,
};

mod hot;

/// What is remembered of a verified token.
pub struct Known {
    /// Compared whole before anything here is believed of a token.
    pub(super) token: Box<str>,
    /// Which provider verified it.
    pub(super) by: ProviderTag,
    /// The token's `iss`.
    pub(crate) issuer: Arc<str>,
    /// The key that verified it; once that is gone, so is this knowledge.
    pub(super) key: Arc<VerifyingKey>,
    /// Compared again at every use.
    pub(super) times: Times,
    /// Who the token is for.
    pub(super) principal: Arc<Principal>,
}

/// What the memory has to say about a token.
#[derive(Debug, Default)]
pub struct Recalled {
    /// What is known of it, if that still holds.
    pub(crate) known: Option<Arc<Known>>,
    /// Its hash, if that was needed.
    hash: Option<u64>,
}

/// Tells providers of one issuer apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProviderTag(pub(super) usize);

impl Known {
    /// Whether this is about `token`, its key still in use and its `exp` ahead.
    fn holds_for(&self, token: &str, now: UnixTime) -> bool {
        *self.token == *token && self.holds(now)
    }

    fn holds(&self, now: UnixTime) -> bool {
        self.key.is_live() && now < self.times.expires_at
    }

    /// The same, sharing nothing that is written to when it is used.
    fn copied(&self) -> Self {
        Self {
            token: self.token.clone(),
            by: self.by,
            issuer: Arc::clone(&self.issuer),
            key: Arc::clone(&self.key),
            times: self.times,
            principal: Arc::new(self.principal.copied()),
        }
    }
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Known").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// Remembers a bounded number of verified tokens.
///
/// Tokens are found by a hash with a key that is drawn when the memory is
/// made, so nobody can choose tokens that collide, and compared whole, so a
/// collision does no harm: of two such tokens only one is remembered. A memory
/// belongs to one configuration: a new configuration starts with an empty one.
pub struct TokenMemory {
    by_hash: Cache<u64, Arc<Known>, UnitWeighter, RandomState>,
    hasher: RandomState,
    hot: HotTokens,
    /// The claims that somebody may ask for; `None` is all.
    wanted: Option<Vec<String>>,
}

impl TokenMemory {
    /// Room for this many tokens and all their claims.
    pub fn new(entries: usize) -> Self {
        let hasher = RandomState::new();
        let weight = entries as u64;
        let by_hash =
            Cache::with(entries, weight, UnitWeighter, hasher.clone(), Default::default());
        Self { by_hash, hasher, hot: HotTokens::new(), wanted: None }
    }

    /// As large as `settings` says, for the claims that its routes and
    /// identity headers name.
    pub fn of(settings: &AuthSettings) -> Self {
        let rules = settings.routes.iter().flat_map(|route| &route.required_claims);
        let mapped = settings.headers.claims.iter().map(|(path, _)| path);
        let paths = rules.map(|rule| &rule.claim).chain(mapped);
        let mut wanted: Vec<_> = paths.flat_map(ClaimPath::outermost).map(String::from).collect();
        wanted.sort_unstable();
        wanted.dedup();
        Self { wanted: Some(wanted), ..Self::new(settings.token_cache_entries) }
    }

    /// The claims that somebody may ask for once a token is verified.
    pub(super) fn worth_keeping(&self, claims: &Claims) -> Claims {
        match &self.wanted {
            Some(wanted) => claims.only(wanted.iter().map(String::as_str)),
            None => claims.clone(),
        }
    }

    /// How many tokens are remembered.
    pub fn len(&self) -> usize {
        self.by_hash.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }

    /// Drops what can't be used any more. Never needed for correctness: every
    /// use looks at key and time itself.
    pub fn tidy(&self, now: UnixTime) {
        self.by_hash.retain(|_, known| known.holds(now));
        self.hot.tidy(now);
    }

    /// What is known of a token, if that still holds.
    pub(crate) fn recall(&self, token: &str, now: UnixTime) -> Recalled {
        let mut hash = None;
        let known = self.hot.recall(token, now, || {
            let hash = *hash.insert(self.hash(token));
            let known = self.by_hash.get(&hash)?;
            if known.holds(now) {
                return Some(known).filter(|known| *known.token == *token);
            }
            self.by_hash.remove(&hash);
            None
        });
        Recalled { known, hash }
    }

    /// Verifies a token once, however many requests bring it at the same
    /// time; the others wait for the one that computes (no longer than a
    /// signature takes: nothing in `verify` waits for I/O).
    pub(super) fn learn<E>(
        &self,
        token: &str,
        recalled: &Recalled,
        verify: impl Fn() -> Result<Known, E>,
    ) -> Result<(Arc<Known>, Recall), E> {
        let hash = recalled.hash.unwrap_or_else(|| self.hash(token));
        let mut computed = false;
        let known = self.by_hash.get_or_insert_with(&hash, || {
            computed = true;
            verify().map(Arc::new)
        })?;
        match computed {
            true => Ok((known, Recall::Miss)),
            false if *known.token == *token => Ok((known, Recall::Wait)),
            // One of the same hash was faster.
            false => Ok((Arc::new(verify()?), Recall::Miss)),
        }
    }

    fn hash(&self, token: &str) -> u64 {
        self.hasher.hash_one(token)
    }
}

impl fmt::Debug for TokenMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenMemory").field("entries", &self.len()).finish()
    }
}
