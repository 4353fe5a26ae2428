//! Verified tokens, remembered so that a signature is computed once.

use std::{collections::HashSet, fmt, sync::Arc};

use quick_cache::{UnitWeighter, sync::Cache};

use super::{checks::Times, keys::VerifyingKey};
use crate::{
    claims::{ClaimPath, Claims},
    decision::Recall,
    principal::Principal,
    settings::AuthSettings,
    time::UnixTime,
};

/// What is remembered of a verified token.
pub struct Known {
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

/// Tells providers of one issuer apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProviderTag(pub(super) usize);

impl Known {
    /// Whether its key is still in use and its `exp` ahead.
    pub(super) fn holds(&self, now: UnixTime) -> bool {
        self.key.is_live() && now < self.times.expires_at
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
/// collision could do no harm. A memory belongs to one configuration: a new
/// configuration starts with an empty one.
pub struct TokenMemory {
    tokens: Cache<String, Arc<Known>, UnitWeighter, ahash::RandomState>,
    /// The claims that somebody may ask for; `None` is all.
    wanted: Option<HashSet<String>>,
}

impl TokenMemory {
    /// Room for this many tokens and all their claims.
    pub fn new(entries: usize) -> Self {
        let hasher = ahash::RandomState::new();
        Self {
            tokens: Cache::with(entries, entries as u64, UnitWeighter, hasher, Default::default()),
            wanted: None,
        }
    }

    /// As large as `settings` says, for the claims that its routes and
    /// identity headers name.
    pub fn of(settings: &AuthSettings) -> Self {
        let rules = settings.routes.iter().flat_map(|route| &route.required_claims);
        let mapped = settings.headers.claims.iter().map(|(path, _)| path);
        let paths = rules.map(|rule| &rule.claim).chain(mapped);
        let wanted = paths.flat_map(ClaimPath::outermost).map(Into::into).collect();
        Self { wanted: Some(wanted), ..Self::new(settings.token_cache_entries) }
    }

    /// The claims that somebody may ask for once a token is verified.
    pub(super) fn worth_keeping(&self, claims: &Claims) -> Claims {
        let wanted = self.wanted.as_ref();
        claims.only(|name| wanted.is_none_or(|wanted| wanted.contains(name)))
    }

    /// How many tokens are remembered.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Drops what can't be used any more. Never needed for correctness: every
    /// use looks at key and time itself.
    pub fn tidy(&self, now: UnixTime) {
        self.tokens.retain(|_, known| known.holds(now));
    }

    /// What is known of a token, if that still holds.
    pub(crate) fn recall(&self, token: &str, now: UnixTime) -> Option<Arc<Known>> {
        let known = self.tokens.get(token)?;
        if known.holds(now) {
            return Some(known);
        }
        self.tokens.remove(token);
        None
    }

    /// Verifies a token once, however many requests bring it at the same
    /// time; the others wait for the one that computes (no longer than a
    /// signature takes: nothing in `verify` waits for I/O).
    pub(super) fn learn<E>(
        &self,
        token: &str,
        verify: impl FnOnce() -> Result<Known, E>,
    ) -> Result<(Arc<Known>, Recall), E> {
        let mut computed = false;
        let known = self.tokens.get_or_insert_with(token, || {
            computed = true;
            verify().map(Arc::new)
        })?;
        let recall = if computed { Recall::Miss } else { Recall::Wait };
        Ok((known, recall))
    }
}

impl fmt::Debug for TokenMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenMemory").field("entries", &self.len()).finish()
    }
}
