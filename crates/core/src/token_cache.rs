//! Verified tokens, cached so that a signature is computed once.

use std::{fmt, sync::Arc};

use ahash::RandomState;

pub(crate) use self::verified::ProviderTag;
pub use self::verified::VerifiedToken;
use self::{hot::HotTokens, refused::RefusedTokens};
use crate::{
    bounded_cache::{self, BoundedCache, Weighed},
    claims::{ClaimPath, Claims},
    settings::{AuthSettings, LimitSettings},
    time::UnixTime,
};

mod hot;
mod refused;
mod tail;
mod verified;

/// The answer of the cache for one token.
#[derive(Debug, Default)]
pub(crate) struct Lookup {
    /// The entry, if there is a valid one.
    pub(crate) found: Option<Arc<VerifiedToken>>,
    /// The token's hash, if it was needed; saves [`TokenCache::insert`] another.
    pub(crate) hash: Option<u64>,
}

/// A provider verified a token without an entry of its own.
#[derive(Debug)]
pub(crate) struct CacheMiss {
    /// The new entry, if the cache shall keep one.
    pub(crate) entry: Option<Arc<VerifiedToken>>,
}

/// A cache of verified tokens, bounded by their number and by their bytes.
///
/// Tokens are found by a hash with a key that is drawn when the cache is
/// made, so a client can't choose tokens that collide, and compared whole, so
/// a collision does no harm: of two such tokens only one is cached. A cache
/// belongs to one configuration: a new configuration starts with an empty one.
pub struct TokenCache {
    by_hash: BoundedCache<u64, Arc<VerifiedToken>>,
    hasher: RandomState,
    hot: HotTokens,
    refused: RefusedTokens,
    /// The claims that the policy may ask for; `None` is all.
    wanted: Option<Vec<String>>,
}

/// The copies that threads have of their own may take one part in so many of
/// the memory.
const HOT_PART: usize = 8;

impl TokenCache {
    /// Room for this many tokens with all their claims, but for no more than
    /// fit into 64 MiB.
    pub fn new(entries: usize) -> Self {
        Self::with_room(entries, AuthSettings::default().token_cache_bytes)
    }

    fn with_room(entries: usize, bytes: usize) -> Self {
        let hasher = RandomState::new();
        let hot = HotTokens::new(bytes / HOT_PART);
        let by_hash = bounded_cache::bounded(entries, bytes - bytes / HOT_PART, hasher.clone());
        Self { by_hash, hasher, hot, refused: RefusedTokens::new(), wanted: None }
    }

    /// As large as `settings` says, for the claims that its routes, identity
    /// headers and limits name.
    pub fn of(settings: &AuthSettings) -> Self {
        let rules = settings.routes.iter().flat_map(|route| &route.required_claims);
        let mapped = settings.headers.claims.iter().map(|(path, _)| path);
        let limits = settings.limits.iter().flat_map(LimitSettings::claims);
        let paths = rules.map(|rule| &rule.claim).chain(mapped).chain(limits);
        let mut wanted: Vec<_> = paths.flat_map(ClaimPath::outermost).map(String::from).collect();
        wanted.sort_unstable();
        wanted.dedup();
        Self {
            wanted: Some(wanted),
            ..Self::with_room(settings.token_cache_entries, settings.token_cache_bytes)
        }
    }

    /// The claims that the policy may ask for once a token is verified.
    pub(crate) fn worth_keeping(&self, claims: &Claims) -> Claims {
        match &self.wanted {
            Some(wanted) => claims.only(wanted.iter().map(String::as_str)),
            None => claims.clone(),
        }
    }

    /// How many tokens are cached.
    pub fn len(&self) -> usize {
        self.by_hash.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }

    /// Drops invalid entries. Never needed for correctness: every lookup
    /// checks key and time itself.
    pub fn tidy(&self, now: UnixTime) {
        self.by_hash.retain(|_, entry| entry.value.is_valid(now));
        self.hot.tidy(now);
    }

    /// The entry of a token, if it is valid.
    pub(crate) fn lookup(&self, token: &[u8], now: UnixTime) -> Lookup {
        let mut hash = None;
        let found = self.hot.lookup(token, now, || {
            let hash = *hash.insert(self.hash(token));
            let entry = self.by_hash.get(&hash)?;
            if entry.value.is_valid(now) {
                return Some(entry).filter(|entry| entry.value.token.as_bytes() == token);
            }
            self.by_hash.remove(&hash);
            None
        });
        Lookup { found, hash }
    }

    /// Keeps a verified token, `hash` being that of its [`Lookup`]. Called
    /// once everything that is kept with it is there, so that all of it is
    /// counted. Of two tokens of one hash the latest stays.
    pub(crate) fn insert(&self, verified: Arc<VerifiedToken>, hash: Option<u64>) {
        let hash = hash.unwrap_or_else(|| self.hash(verified.token.as_bytes()));
        let bytes = verified.heap_bytes();
        self.by_hash.insert(hash, Weighed { value: verified, bytes });
    }

    /// The tokens that were just refused for their signature.
    pub(crate) fn refused(&self) -> &RefusedTokens {
        &self.refused
    }

    /// With the standard library's SipHash, a check of one of 2,000 known tokens
    /// takes 4 % longer (`known_tokens` in `benches/engine.rs`).
    fn hash(&self, token: &[u8]) -> u64 {
        self.hasher.hash_one(token)
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache").field("entries", &self.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        verified::tests::{NOW, first, keys, verified},
        *,
    };
    use crate::keys::VerifyingKey;

    fn insert(cache: &TokenCache, token: &str, key: &Arc<VerifyingKey>) {
        cache.insert(Arc::new(verified(token, key)), None);
    }

    /// Tokens of one hash can't be found, so one is put under the other's.
    #[test]
    fn tokens_of_one_hash_are_told_apart() {
        let (cache, key) = (TokenCache::new(10), first(&keys()));
        let hash = cache.lookup(b"token", NOW).hash;
        cache.insert(Arc::new(verified("other", &key)), hash);
        assert!(cache.lookup(b"token", NOW).found.is_none());
        cache.insert(Arc::new(verified("token", &key)), hash);
        assert_eq!(&*cache.lookup(b"token", NOW).found.unwrap().token, "token");
    }

    #[test]
    fn the_number_of_tokens_is_bounded() {
        let key = first(&keys());
        for (entries, least) in [(1, 1), (10, 10), (1000, 900)] {
            let cache = TokenCache::new(entries);
            (0..3 * entries).for_each(|n| insert(&cache, &format!("token {n}"), &key));
            assert!((least..=entries + 1).contains(&cache.len()), "{entries}: {}", cache.len());
        }
    }

    #[test]
    fn the_bytes_of_tokens_are_bounded() {
        const MIB: usize = 1024 * 1024;
        let key = first(&keys());
        for (length, most) in [(1, MIB / 300), (10_000, MIB / 10_000), (60_000, MIB / 60_000)] {
            let cache = TokenCache::with_room(10_000, MIB);
            (0..5000).for_each(|n| insert(&cache, &format!("{n:0length$}"), &key));
            assert!((most / 3..=most).contains(&cache.len()), "{length}: {}", cache.len());
            assert!(cache.by_hash.weight() <= MIB as u64);
        }
    }

    #[test]
    fn only_wanted_claims_are_kept() {
        let mut claims = Claims::default();
        for name in ["roles", "client_id", "email"] {
            claims.push(name, json!("x"));
        }
        assert_eq!(TokenCache::new(10).worth_keeping(&claims), claims);
        let mut settings = AuthSettings::default();
        settings.headers.claims = vec![
            (ClaimPath::named("roles"), "x-roles".into()),
            (ClaimPath::named("roles"), "x-roles-again".into()),
            (ClaimPath::named("email.domain"), "x-domain".into()),
        ];
        let kept = TokenCache::of(&settings).worth_keeping(&claims);
        assert_eq!(kept.names().collect::<Vec<_>>(), ["email", "roles"]);
    }
}
