//! API keys: opaque tokens the operator wrote into the configuration.

use std::sync::Arc;

use ahash::AHashMap;
use aws_lc_rs::{constant_time, digest};

use super::{Answer, Answering, Provider};
use crate::{
    claims::{self, Claims},
    credential::Credential,
    principal::Principal,
    reason::Reason,
    sentence::{Name, Span},
    settings::ApiKeySettings,
    time::UnixTime,
};

pub mod key;

/// What [`Provider::method`] says of API keys.
pub const METHOD: &str = "api_key";

/// The longest key, in bytes. Longer tokens are not API keys and are not
/// hashed: any client may send them.
pub const MAX_KEY_BYTES: usize = 4096;

/// Finds API keys by their SHA-256.
pub struct ApiKeys {
    name: String,
    forward_token: Option<bool>,
    /// By the first bytes of the hash. They are not secret in themselves, and
    /// the rest is compared in constant time. With the standard library's map, a
    /// check takes 1 % longer (`api_key_of_many` in `benches/engine.rs`).
    by_prefix: AHashMap<u64, Vec<ApiKey>>,
}

struct ApiKey {
    hash: [u8; 32],
    principal: Arc<Principal>,
    expires_at: Option<UnixTime>,
    not_before: Option<UnixTime>,
    revoked: bool,
}

impl ApiKeys {
    /// A provider called `name` of validated keys.
    pub fn new(name: &str, forward_token: Option<bool>, keys: &[ApiKeySettings]) -> Self {
        let mut by_prefix: AHashMap<u64, Vec<ApiKey>> = AHashMap::with_capacity(keys.len());
        for key in keys {
            by_prefix.entry(prefix(&key.hash)).or_default().push(ApiKey::new(key));
        }
        Self { name: name.into(), forward_token, by_prefix }
    }

    fn find(&self, token: &str) -> Option<&ApiKey> {
        if token.len() > MAX_KEY_BYTES {
            return None;
        }
        let hash = digest::digest(&digest::SHA256, token.as_bytes());
        let same = |key: &&ApiKey| {
            constant_time::verify_slices_are_equal(&key.hash, hash.as_ref()).is_ok()
        };
        self.by_prefix.get(&prefix(hash.as_ref()))?.iter().find(same)
    }
}

impl Provider for ApiKeys {
    fn name(&self) -> &str {
        &self.name
    }

    fn method(&self) -> &str {
        METHOD
    }

    fn authenticate<'a>(&'a self, credential: &'a Credential<'a>) -> Answering<'a> {
        let Some(key) = self.find(credential.token()) else {
            credential.note(|| "no API key has this hash".into());
            return Answering::Now(Answer::NotMine);
        };
        Answering::Now(match key.refusal(credential.now()) {
            Some(reason) => {
                credential.belongs_to(&key.principal);
                key.tell_refusal(reason, credential);
                Answer::Refused(reason)
            }
            None => {
                credential.note(|| key.describe());
                Answer::Authenticated(Arc::clone(&key.principal))
            }
        })
    }

    fn forward_token(&self) -> Option<bool> {
        self.forward_token
    }
}

impl ApiKey {
    fn new(key: &ApiKeySettings) -> Self {
        let claims = Claims::from(key.claims.clone());
        let client = claims::clients(&claims).next().map(Into::into);
        let principal = Principal::new(Some(key.name.clone()))
            .with_scopes(key.scopes.clone())
            .with_client_id(client)
            .with_claims(claims)
            .with_expires_at(key.expires_at)
            .with_plan(key.plan.clone());
        Self {
            hash: key.hash,
            principal: Arc::new(principal),
            expires_at: key.expires_at,
            not_before: key.not_before,
            revoked: key.revoked,
        }
    }

    fn refusal(&self, now: UnixTime) -> Option<Reason> {
        refusal(self.revoked, self.not_before, self.expires_at, now)
    }

    fn tell_refusal(&self, reason: Reason, credential: &Credential<'_>) {
        let name = Name(self.principal.subject.as_deref().unwrap_or_default());
        let now = credential.now().as_seconds();
        match (reason, self.expires_at, self.not_before) {
            (Reason::KeyExpired, Some(end), _) => {
                let ago = Span(now - end.as_seconds());
                credential.because(format_args!("API key {name} expired {ago} ago, at {end}"));
            }
            (Reason::KeyNotYetValid, _, Some(start)) => {
                let ahead = Span(start.as_seconds() - now);
                credential
                    .because(format_args!("API key {name} is valid in {ahead}, from {start}"));
            }
            _ => credential.because(format_args!("API key {name} is revoked")),
        }
    }

    fn describe(&self) -> String {
        let name = self.principal.subject.as_deref().unwrap_or_default();
        let revoked = if self.revoked { ", revoked" } else { "" };
        let from = self.not_before.map(|at| format!(", valid from {at}")).unwrap_or_default();
        let until = self.expires_at.map(|at| format!(", valid until {at}")).unwrap_or_default();
        format!("it is the API key {name:?}{revoked}{from}{until}")
    }
}

/// Why a configured key is refused at the moment `now`, if it is.
pub fn refusal(
    revoked: bool,
    not_before: Option<UnixTime>,
    expires_at: Option<UnixTime>,
    now: UnixTime,
) -> Option<Reason> {
    if revoked {
        Some(Reason::KeyRevoked)
    } else if expires_at.is_some_and(|end| now >= end) {
        Some(Reason::KeyExpired)
    } else if not_before.is_some_and(|start| now < start) {
        Some(Reason::KeyNotYetValid)
    } else {
        None
    }
}

/// The first eight bytes of a hash as a number.
fn prefix(hash: &[u8]) -> u64 {
    hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::request::Request;

    fn key(name: &str) -> ApiKeySettings {
        let hash = digest::digest(&digest::SHA256, format!("secret-{name}").as_bytes());
        ApiKeySettings {
            name: name.into(),
            hash: hash.as_ref().try_into().unwrap(),
            scopes: vec!["read".into()],
            expires_at: None,
            not_before: None,
            revoked: false,
            claims: json!({"azp": "client-1"}).as_object().cloned().unwrap(),
            plan: None,
        }
    }

    #[test]
    fn keys_are_found_and_judged() {
        let at = |seconds| Some(UnixTime::from_seconds(seconds));
        let keys = ApiKeys::new(
            "team",
            None,
            &[
                key("good"),
                ApiKeySettings { expires_at: at(100.0), ..key("expired") },
                ApiKeySettings { expires_at: at(100.5), ..key("ending") },
                ApiKeySettings { not_before: at(100.5), ..key("early") },
                ApiKeySettings { not_before: at(100.0), ..key("starting") },
                ApiKeySettings { revoked: true, expires_at: at(1.0), ..key("revoked") },
            ],
        );
        let cases = [
            ("secret-good", Ok("good")),
            ("secret-expired", Err(Some(Reason::KeyExpired))),
            ("secret-ending", Ok("ending")),
            ("secret-early", Err(Some(Reason::KeyNotYetValid))),
            ("secret-starting", Ok("starting")),
            ("secret-revoked", Err(Some(Reason::KeyRevoked))),
            ("secret-other", Err(None)),
            ("", Err(None)),
        ];
        let request = Request::default();
        for (token, expected) in cases {
            let credential = Credential::new(token, &request, UnixTime::from_seconds(100.0));
            let Answering::Now(answer) = keys.authenticate(&credential) else { panic!("waits") };
            let got = match &answer {
                Answer::Authenticated(principal) => Ok(principal.subject.as_deref().unwrap()),
                Answer::Refused(reason) => Err(Some(*reason)),
                Answer::NotMine => Err(None),
                Answer::Unavailable => panic!("unavailable"),
            };
            assert_eq!(got, expected, "{token}");
        }
    }
}
