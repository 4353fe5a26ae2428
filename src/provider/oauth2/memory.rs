//! Verified tokens, remembered so that a signature is computed once.

use std::{fmt, sync::Arc};

use ahash::RandomState;

use self::{hot::HotTokens, refused::RefusedTokens};
use super::{checks::Times, keys::VerifyingKey};
use crate::{
    cache::{self, BoundedCache, Weighed},
    claims::{ClaimPath, Claims},
    heap,
    principal::Principal,
    settings::AuthSettings,
    time::UnixTime,
};

mod hot;
mod refused;
mod tail;

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

/// A token that is remembered.
type Kept = Weighed<Arc<Known>>;

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

    /// How much memory it takes behind an `Arc`, its place in a table included.
    fn heap_bytes(&self) -> usize {
        heap::shared::<Self>()
            + heap::allocation(self.token.len())
            + self.principal.heap_bytes()
            + cache::ENTRY_BYTES
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

/// Remembers verified tokens, no more than a number of them and no more than
/// fit into so many bytes.
///
/// Tokens are found by a hash with a key that is drawn when the memory is
/// made, so nobody can choose tokens that collide, and compared whole, so a
/// collision does no harm: of two such tokens only one is remembered. A memory
/// belongs to one configuration: a new configuration starts with an empty one.
pub struct TokenMemory {
    by_hash: BoundedCache<u64, Arc<Known>>,
    hasher: RandomState,
    hot: HotTokens,
    refused: RefusedTokens,
    /// The claims that somebody may ask for; `None` is all.
    wanted: Option<Vec<String>>,
}

/// One part of the memory in so many is for what threads have copies of.
const HOT_PART: usize = 8;

impl TokenMemory {
    /// Room for this many tokens with all their claims, but for no more than
    /// fit into 64 MiB.
    pub fn new(entries: usize) -> Self {
        Self::with_room(entries, AuthSettings::default().token_cache_bytes)
    }

    fn with_room(entries: usize, bytes: usize) -> Self {
        let hasher = RandomState::new();
        let hot = HotTokens::new(bytes / HOT_PART);
        let by_hash = cache::bounded(entries, bytes - bytes / HOT_PART, hasher.clone());
        Self { by_hash, hasher, hot, refused: RefusedTokens::new(), wanted: None }
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
        Self {
            wanted: Some(wanted),
            ..Self::with_room(settings.token_cache_entries, settings.token_cache_bytes)
        }
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
        self.by_hash.retain(|_, kept| kept.value.holds(now));
        self.hot.tidy(now);
    }

    /// What is known of a token, if that still holds.
    pub(crate) fn recall(&self, token: &str, now: UnixTime) -> Recalled {
        let mut hash = None;
        let known = self.hot.recall(token, now, || {
            let hash = *hash.insert(self.hash(token));
            let kept = self.by_hash.get(&hash)?;
            if kept.value.holds(now) {
                return Some(kept).filter(|kept| *kept.value.token == *token);
            }
            self.by_hash.remove(&hash);
            None
        });
        Recalled { known, hash }
    }

    /// Keeps what was found out about a token, once everything that is kept
    /// with it is there, so that all of it is counted. Of two tokens of one
    /// hash the latest stays.
    pub(crate) fn keep(&self, known: Arc<Known>, recalled: &Recalled) {
        let hash = recalled.hash.unwrap_or_else(|| self.hash(&known.token));
        let bytes = known.heap_bytes();
        self.by_hash.insert(hash, Weighed { value: known, bytes });
    }

    /// The tokens that were just refused for their signature.
    pub(super) fn refused(&self) -> &RefusedTokens {
        &self.refused
    }

    /// With the standard library's SipHash, a check of one of 2,000 known tokens
    /// takes 4 % longer (`known_tokens` in `benches/engine.rs`).
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
        credential::Credential,
        issuer::signing::SigningKey,
        policy::identity::IdentityHeaders,
        provider::{
            Answering, Provider,
            oauth2::{Algorithm, keys::KeySet},
        },
        settings::IdentityHeaderSettings,
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

    fn learn(memory: &TokenMemory, token: &str, key: &Arc<VerifyingKey>) {
        memory.keep(Arc::new(known(token, key)), &Recalled::default());
    }

    /// Tokens of one hash can't be found, so one is put under the other's.
    #[test]
    fn tokens_of_one_hash_are_told_apart() {
        let (memory, key) = (TokenMemory::new(10), first(&keys()));
        let recalled = memory.recall("token", NOW);
        memory.keep(Arc::new(known("other", &key)), &recalled);
        assert!(memory.recall("token", NOW).known.is_none());
        memory.keep(Arc::new(known("token", &key)), &recalled);
        assert_eq!(&*memory.recall("token", NOW).known.unwrap().token, "token");
    }

    #[test]
    fn the_number_of_tokens_is_bounded() {
        let key = first(&keys());
        for (entries, least) in [(1, 1), (10, 10), (1000, 900)] {
            let memory = TokenMemory::new(entries);
            (0..3 * entries).for_each(|n| learn(&memory, &format!("token {n}"), &key));
            assert!((least..=entries + 1).contains(&memory.len()), "{entries}: {}", memory.len());
        }
    }

    #[test]
    fn the_bytes_of_tokens_are_bounded() {
        const MIB: usize = 1024 * 1024;
        let key = first(&keys());
        for (length, most) in [(1, MIB / 300), (10_000, MIB / 10_000), (60_000, MIB / 60_000)] {
            let memory = TokenMemory::with_room(10_000, MIB);
            (0..5000).for_each(|n| learn(&memory, &format!("{n:0length$}"), &key));
            assert!((most / 3..=most).contains(&memory.len()), "{length}: {}", memory.len());
            assert!(memory.by_hash.weight() <= MIB as u64);
        }
    }

    /// What the upstream is told is kept with the token, and counted with it.
    #[test]
    fn everything_that_is_kept_of_a_token_is_counted() {
        let plain = known("token", &first(&keys()));
        let least = plain.heap_bytes();
        let claims = Claims::from(
            json!({"groups": vec!["g".repeat(36); 100]}).as_object().cloned().unwrap(),
        );
        let principal = Principal::new(plain.principal.subject.clone()).with_claims(claims);
        let with_claims = Known { principal: Arc::new(principal), ..known("token", &plain.key) };
        let more = with_claims.heap_bytes();
        assert!(more > least + 100 * (36 + size_of::<serde_json::Value>()), "{more}");
        let headers = IdentityHeaders::new(&IdentityHeaderSettings {
            claims: vec![(ClaimPath::named("groups"), "x-groups".into())],
            ..IdentityHeaderSettings::default()
        });
        headers.render(&with_claims.principal, &Named).unwrap();
        assert!(with_claims.heap_bytes() > more + 100 * 37, "{}", with_claims.heap_bytes());
    }

    /// A provider that is never asked.
    struct Named;

    impl Provider for Named {
        fn name(&self) -> &str {
            "named"
        }
        fn method(&self) -> &str {
            "test"
        }
        fn authenticate<'a>(&'a self, _: &'a Credential<'a>) -> Answering<'a> {
            unreachable!()
        }
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
