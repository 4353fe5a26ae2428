//! Rules for API keys.

use std::collections::HashMap;

use claimgate_core::{
    provider::api_key::key::{self, KeyHash},
    settings::{ApiKeySettings, LimitSettings},
    time::UnixTime,
};
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{
    limits::{must_be_listed, warn_of_unknown_plan},
    scalars::{name, texts},
};
use crate::{
    file::{forms::List, provider::ApiKey},
    report::Place,
    secret::Secret,
};

/// Keys with fewer characters are warned of.
const SHORT_KEY: usize = 20;

/// The keys of all providers, no two of which may be the same.
pub(super) struct Keys<'p> {
    /// The place where each key is first.
    seen: HashMap<KeyHash, String>,
    /// The limit of `max_token_bytes`; longer keys are refused in requests.
    longest: usize,
    /// The plans that a key may name.
    limits: Option<&'p LimitSettings>,
}

impl<'p> Keys<'p> {
    pub(super) fn new(longest: usize, limits: Option<&'p LimitSettings>) -> Self {
        Self { seen: HashMap::new(), longest, limits }
    }

    /// The keys of one provider.
    pub(super) fn check(&mut self, list: List<ApiKey>, place: &Place) -> Vec<ApiKeySettings> {
        if list.is_empty() {
            place.warn("lists no key, so no API key will be accepted");
        }
        // Names may repeat: while a key is rotated, both have one subject.
        let check = |(place, file): (Place<'_>, ApiKey)| self.check_one(file, &place);
        list.items(place).into_iter().map(check).collect()
    }

    fn check_one(&mut self, file: ApiKey, place: &Place) -> ApiKeySettings {
        let (expires, starts) = (place.key("expires_at"), place.key("not_before"));
        let scopes_place = place.key("scopes");
        let expires_at = file.expires_at.and_then(|time| timestamp(&time, &expires));
        let not_before = file.not_before.and_then(|time| timestamp(&time, &starts));
        if let (Some(end), Some(start)) = (expires_at, not_before)
            && end <= start
        {
            expires.error("is not after `not_before`, so the key would never be valid");
        }
        let claims = file.claims.map(|claims| claims.0).unwrap_or_default().into_iter();
        let claims: Map<_, _> =
            claims.map(|(name, value)| (name, value.unwrap_or(Value::Null))).collect();
        match (&file.plan, self.limits) {
            (Some(plan), limits) => {
                let plans = limits.map_or(&[][..], |limits| &limits.plans);
                must_be_listed(plan, plans, &place.key("plan"));
            }
            (None, Some(limits)) => warn_of_unknown_plan(&claims, limits, &place.key("claims")),
            (None, None) => {}
        }
        ApiKeySettings {
            name: name(file.name, &place.key("name")).unwrap_or_default(),
            hash: self.hash(file.key, file.key_hash, place).unwrap_or_default(),
            scopes: match file.scopes {
                Some(scopes) => texts(scopes, &scopes_place),
                None => vec!["*".into()],
            },
            expires_at,
            not_before,
            revoked: file.revoked.unwrap_or(false),
            claims,
            plan: file.plan,
        }
    }

    /// The hash of `key`, or the one in `key_hash`.
    fn hash(
        &mut self,
        key: Option<Secret>,
        key_hash: Option<String>,
        place: &Place,
    ) -> Option<KeyHash> {
        let (key_place, hash_place) = (place.key("key"), place.key("key_hash"));
        let (hash, place) = match (key, key_hash) {
            (Some(key), None) => {
                if key_place.refuses_bare_reference() {
                    return None;
                }
                if key.len() > self.longest {
                    key_place.error(format_args!(
                        "is longer than `max_token_bytes` ({}); write a shorter key",
                        self.longest
                    ));
                    return None;
                }
                if let Some(defect) = key::defect(&key) {
                    key_place.error(format_args!(
                        "{defect}, so no request could carry it; write a key of visible ASCII \
                         characters without comma"
                    ));
                    return None;
                }
                if key.len() < SHORT_KEY {
                    key_place.warn(format_args!(
                        "has fewer than {SHORT_KEY} characters and may be guessed; `claimgate \
                         new-key` makes one that can't be"
                    ));
                }
                (key::hash(&key), key_place)
            }
            (None, Some(text)) => {
                if hash_place.refuses_bare_reference() {
                    return None;
                }
                let Some(hash) = key::parse_hash(&text) else {
                    hash_place.error(
                        "must be `sha256:` and 64 hex digits; `claimgate hash-key` prints it",
                    );
                    return None;
                };
                (hash, hash_place)
            }
            (Some(_), Some(_)) => {
                place.error("has both `key` and `key_hash`; write one of them");
                return None;
            }
            (None, None) => {
                if !hash_place.has_error() {
                    key_place
                        .missing("write `key`, or `key_hash` as `claimgate hash-key` prints it");
                }
                return None;
            }
        };
        if let Some(earlier) = self.seen.get(&hash) {
            place.error(format_args!("is the same key as `{earlier}`; write another key"));
            return None;
        }
        self.seen.insert(hash, place.to_string());
        Some(hash)
    }
}

/// A time in the format of RFC 3339.
fn timestamp(text: &str, place: &Place) -> Option<UnixTime> {
    match text.parse::<Timestamp>() {
        Ok(time) =>
        {
            #[allow(clippy::cast_precision_loss, reason = "sub-microsecond digits don't matter")]
            Some(UnixTime::from_seconds(time.as_nanosecond() as f64 / 1e9))
        }
        Err(_) => {
            place.wrong(text, "is not an RFC 3339 time; write one such as `2027-01-31T00:00:00Z`");
            None
        }
    }
}
