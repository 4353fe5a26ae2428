//! The cache of answers that hold for every request with their token.

use std::sync::Arc;

use claimgate_core::{
    bounded_cache::{self, BoundedCache, Weighed},
    heap,
    principal::Principal,
    provider::Answer,
    time::UnixTime,
};

use super::answer::RemoteAnswer;

/// Authenticated answers by token, bounded by number and by bytes.
pub(super) struct AnswerCache(BoundedCache<Box<str>, CachedAnswer>);

#[derive(Clone)]
pub(super) struct CachedAnswer {
    pub(super) principal: Arc<Principal>,
    pub(super) until: UnixTime,
}

impl AnswerCache {
    /// `None` for a cache without a single entry.
    pub(super) fn new(entries: usize, bytes: usize) -> Option<Self> {
        let hasher = ahash::RandomState::new();
        (entries > 0).then(|| Self(bounded_cache::bounded(entries, bytes, hasher)))
    }

    /// The answer that holds at this time.
    pub(super) fn get(&self, token: &str, now: UnixTime) -> Option<CachedAnswer> {
        self.0.get(token).map(|entry| entry.value).filter(|cached| now < cached.until)
    }

    /// Caches an answer that authenticates and holds for other requests.
    pub(super) fn insert(&self, token: &str, answer: &RemoteAnswer) {
        if let (Answer::Authenticated(principal), Some(until)) = (&answer.answer, answer.until) {
            let bytes = cached_bytes(token, principal);
            let value = CachedAnswer { principal: Arc::clone(principal), until };
            self.0.insert(token.into(), Weighed { value, bytes });
        }
    }
}

/// How much memory a cached answer takes. The headers for the upstream are
/// rendered when they are first needed: they come from the principal and take
/// less.
fn cached_bytes(token: &str, principal: &Principal) -> usize {
    heap::allocation(token.len()) + 2 * principal.heap_bytes() + bounded_cache::ENTRY_BYTES
}
