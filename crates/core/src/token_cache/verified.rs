//! What the cache keeps of a verified token.

use std::{fmt, sync::Arc};

use crate::{
    bounded_cache::{self, Weighed},
    heap,
    keys::VerifyingKey,
    principal::Principal,
    time::UnixTime,
    token::times::Times,
};

/// A token whose signature and claims were checked.
pub struct VerifiedToken {
    /// The full token; compared before the entry is used.
    pub(crate) token: Box<str>,
    /// Which provider verified it.
    pub(crate) by: ProviderTag,
    /// The token's `iss`.
    pub(crate) issuer: Arc<str>,
    /// The key that verified it; once that is retired, the entry is invalid.
    pub(crate) key: Arc<VerifyingKey>,
    /// Compared again at every use.
    pub(crate) times: Times,
    /// Who the token is for.
    pub(crate) principal: Arc<Principal>,
}

/// A verified token as the tables hold it.
pub(super) type Entry = Weighed<Arc<VerifiedToken>>;

/// Tells providers of one issuer apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProviderTag(pub(crate) usize);

impl VerifiedToken {
    /// Whether this is about `token`, its key still in use and its `exp` ahead.
    pub(super) fn is_valid_for(&self, token: &[u8], now: UnixTime) -> bool {
        self.token.as_bytes() == token && self.is_valid(now)
    }

    pub(super) fn is_valid(&self, now: UnixTime) -> bool {
        self.key.is_live() && now < self.times.expires_at
    }

    /// How much memory it takes behind an `Arc`, its place in a table included.
    pub(super) fn heap_bytes(&self) -> usize {
        heap::shared::<Self>()
            + heap::allocation(self.token.len())
            + self.principal.heap_bytes()
            + bounded_cache::ENTRY_BYTES
    }

    /// The same, sharing nothing that is written to when it is used.
    pub(super) fn copied(&self) -> Self {
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

impl fmt::Debug for VerifiedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedToken").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        claims::{ClaimPath, Claims},
        keys::signing::SigningKey,
        keys::{Algorithm, KeySet},
        policy::identity::IdentityHeaders,
        settings::IdentityHeaderSettings,
    };

    pub(in crate::token_cache) const NOW: UnixTime = UnixTime::from_seconds(1000.0);
    pub(in crate::token_cache) const END: UnixTime = UnixTime::from_seconds(2000.0);

    pub(in crate::token_cache) fn keys() -> KeySet {
        let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
        KeySet::parse(json!({"keys": [key.jwk()]}).to_string().as_bytes()).unwrap().set
    }

    pub(in crate::token_cache) fn first(keys: &KeySet) -> Arc<VerifyingKey> {
        Arc::clone(keys.iter().next().unwrap())
    }

    /// A verified token that is valid until [`END`].
    pub(in crate::token_cache) fn verified(token: &str, key: &Arc<VerifyingKey>) -> VerifiedToken {
        VerifiedToken {
            token: token.into(),
            by: ProviderTag(0),
            issuer: "https://issuer.example.com".into(),
            key: Arc::clone(key),
            times: Times { expires_at: END, not_before: None, issued_at: None },
            principal: Arc::new(Principal::new(Some(format!("subject of {token}")))),
        }
    }

    /// What the upstream is told is kept with the token, and counted with it.
    #[test]
    fn everything_that_is_kept_of_a_token_is_counted() {
        let plain = verified("token", &first(&keys()));
        let least = plain.heap_bytes();
        let claims = Claims::from(
            json!({"groups": vec!["g".repeat(36); 100]}).as_object().cloned().unwrap(),
        );
        let principal = Principal::new(plain.principal.subject.clone()).with_claims(claims);
        let with_claims =
            VerifiedToken { principal: Arc::new(principal), ..verified("token", &plain.key) };
        let more = with_claims.heap_bytes();
        assert!(more > least + 100 * (36 + size_of::<serde_json::Value>()), "{more}");
        let headers = IdentityHeaders::new(&IdentityHeaderSettings {
            claims: vec![(ClaimPath::named("groups"), "x-groups".into())],
            ..IdentityHeaderSettings::default()
        });
        headers.render(&with_claims.principal, "named", "test").unwrap();
        assert!(with_claims.heap_bytes() > more + 100 * 37, "{}", with_claims.heap_bytes());
    }
}
