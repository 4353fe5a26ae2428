//! A token as it is shown to the providers.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

pub use self::notes::{Note, Notes};
use crate::{
    reason::Reason,
    request::Request,
    time::UnixTime,
    token::jwt::Unverified,
    token_cache::{CacheMiss, VerifiedToken},
};

mod notes;

/// A token found in a request, with the facts a provider may look at.
pub struct Credential<'a> {
    token: &'a str,
    request: &'a Request<'a>,
    now: UnixTime,
    jwt: OnceLock<Option<Unverified>>,
    cached: Option<Arc<VerifiedToken>>,
    cache_miss: OnceLock<CacheMiss>,
    notes: Option<&'a Notes>,
}

impl<'a> Credential<'a> {
    /// A token of `request`, judged at `now`.
    pub fn new(token: &'a str, request: &'a Request<'a>, now: UnixTime) -> Self {
        Self {
            token,
            request,
            now,
            jwt: OnceLock::new(),
            cached: None,
            cache_miss: OnceLock::new(),
            notes: None,
        }
    }

    /// With the entry that the token cache has of this token.
    pub(crate) fn with_cached(mut self, cached: Option<Arc<VerifiedToken>>) -> Self {
        self.cached = cached;
        self
    }

    /// With a place for notes on the decision, if they are wanted.
    pub(crate) fn noted(mut self, notes: Option<&'a Notes>) -> Self {
        self.notes = notes;
        self
    }

    /// The token itself. It is a secret: never log it, nor put it in an error.
    pub fn token(&self) -> &'a str {
        self.token
    }

    /// The request that carried it.
    pub fn request(&self) -> &'a Request<'a> {
        self.request
    }

    /// The moment to judge it at.
    pub fn now(&self) -> UnixTime {
        self.now
    }

    /// Adds a sentence on what the provider saw and would have needed, if
    /// notes are wanted. Never the token itself.
    pub fn note(&self, sentence: impl FnOnce() -> String) {
        if let Some(notes) = self.notes {
            notes.push(sentence());
        }
    }
}

impl Credential<'_> {
    /// The token read as a JWT, its signature not verified; `None` if it can't
    /// be read as one. Read once, however many providers ask.
    pub(crate) fn jwt(&self) -> Option<&Unverified> {
        self.jwt.get_or_init(|| Unverified::read(self.token)).as_ref()
    }

    /// The entry that the token cache has of this token.
    pub(crate) fn cached(&self) -> Option<&Arc<VerifiedToken>> {
        self.cached.as_ref()
    }

    /// Tells the chain that the provider being asked found no entry of its own
    /// in the token cache. A provider that verifies again after waiting for
    /// keys tells the same again.
    pub(crate) fn missed_cache(&self, entry: Option<Arc<VerifiedToken>>) {
        let _ = self.cache_miss.set(CacheMiss { entry });
    }

    /// What the provider just asked told with [`Credential::missed_cache`].
    pub(crate) fn take_cache_miss(&mut self) -> Option<CacheMiss> {
        self.cache_miss.take()
    }

    /// Whether notes are wanted.
    pub(crate) fn is_noted(&self) -> bool {
        self.notes.is_some()
    }

    /// Notes that the provider being asked refuses.
    pub(crate) fn note_refusal(&self, reason: Reason) {
        if let Some(notes) = self.notes {
            notes.refused(reason);
        }
    }

    /// The notes that follow are about this provider, or about the policy.
    pub(crate) fn begin_notes(&self, provider: Option<&str>) {
        if let Some(notes) = self.notes {
            notes.begin(provider);
        }
    }
}

impl fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("token", &"…").field("now", &self.now).finish()
    }
}
