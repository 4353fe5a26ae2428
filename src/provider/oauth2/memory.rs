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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        issuer::signing::SigningKey,
        provider::oauth2::{Algorithm, keys::KeySet},
    };

    pub(super) const NOW: UnixTime = UnixTime::from_seconds(1000.0);
    pub(super) const END: UnixTime = UnixTime::from_seconds(2000.0);

    pub(super) fn keys() -> KeySet {
        let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
        KeySet::parse(json!({"keys": [key.jwk()]}).to_string().as_bytes()).unwrap().set
    }

    pub(super) fn first(keys: &KeySet) -> Arc<VerifyingKey> {
        Arc::clone(keys.iter().next().unwrap())
    }

    /// What is remembered of a token that is good until [`END`].
    pub(super) fn known(token: &str, key: &Arc<VerifyingKey>) -> Known {
        Known {
            token: token.into(),
            by: ProviderTag(0),
            issuer: "https://issuer.example.com".into(),
            key: Arc::clone(key),
            times: Times { expires_at: END, not_before: None, issued_at: None },
            principal: Arc::new(Principal::new(Some(format!("subject of {token}")))),
        }
    }

    /// Nobody can find two tokens of one hash, so one is put under the other's.
    #[test]
    fn tokens_of_one_hash_are_told_apart() {
        let (memory, key) = (TokenMemory::new(10), first(&keys()));
        let other = Arc::new(known("other", &key));
        memory.by_hash.insert(memory.hash("token"), other);
        let recalled = memory.recall("token", NOW);
        assert!(recalled.known.is_none());
        let verify = || Ok::<_, ()>(known("token", &key));
        let (learned, recall) = memory.learn("token", &recalled, verify).unwrap();
        assert_eq!((&*learned.token, recall), ("token", Recall::Miss));
        assert!(memory.recall("token", NOW).known.is_none());
    }

    #[test]
    fn a_refused_token_is_not_remembered() {
        let (memory, key) = (TokenMemory::new(10), first(&keys()));
        let recalled = memory.recall("token", NOW);
        assert_eq!(memory.learn("token", &recalled, || Err("no good")).unwrap_err(), "no good");
        assert!(memory.is_empty());
        let verify = || Ok::<_, ()>(known("token", &key));
        memory.learn("token", &recalled, verify).unwrap();
        assert!(memory.recall("token", NOW).known.is_some());
    }

    #[test]
    fn only_wanted_claims_are_kept() {
        let mut claims = Claims::default();
        for name in ["roles", "client_id", "email"] {
            claims.push(name, json!("x"));
        }
        assert_eq!(TokenMemory::new(10).worth_keeping(&claims), claims);
        let mut settings = AuthSettings::default();
        settings.headers.claims = vec![
            (ClaimPath::named("roles"), "x-roles".into()),
            (ClaimPath::named("roles"), "x-roles-again".into()),
            (ClaimPath::named("email.domain"), "x-domain".into()),
        ];
        let kept = TokenMemory::of(&settings).worth_keeping(&claims);
        assert_eq!(kept.names().collect::<Vec<_>>(), ["email", "roles"]);
    }
}
