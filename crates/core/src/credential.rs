//! A token as it is shown to the providers.

use std::{
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

pub use self::notes::{Note, Notes};
use crate::{
    principal::Principal,
    reason::Reason,
    request::Request,
    sentence::Sentence,
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
    cached: Option<&'a Arc<VerifiedToken>>,
    cache_miss: OnceLock<CacheMiss>,
    notes: Option<&'a Notes>,
    cause: Mutex<Cause>,
}

/// What the provider being asked told about its refusal, or about why it can't
/// answer.
#[derive(Debug, Default)]
pub(crate) struct Cause {
    /// Why.
    pub(crate) sentence: Option<String>,
    /// Whose token it is, where that is certain.
    pub(crate) principal: Option<Arc<Principal>>,
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
            cause: Mutex::default(),
        }
    }

    /// With the entry that the token cache has of this token.
    pub(crate) fn with_cached(mut self, cached: Option<&'a Arc<VerifiedToken>>) -> Self {
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

    /// Tells in one sentence why the provider refuses the token or can't
    /// answer, for log, status page, span and `explain`: what it saw and would
    /// have needed. Of several sentences the last one counts. Long ones are
    /// cut, control characters escaped. Never the token itself.
    pub fn because(&self, sentence: fmt::Arguments<'_>) {
        let sentence = Sentence::of(sentence);
        if let Some(notes) = self.notes {
            notes.push(sentence.clone());
        }
        self.cause().sentence = Some(sentence);
    }

    /// Tells whose token the provider refuses, once it has verified that: the
    /// token's signature was good, or the API key is known. The request has no
    /// caller for all that; log, status page and span name the principal.
    pub fn belongs_to(&self, principal: &Arc<Principal>) {
        self.cause().principal = Some(Arc::clone(principal));
    }

    fn cause(&self) -> std::sync::MutexGuard<'_, Cause> {
        self.cause.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.cached
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

    /// What the provider just asked told of its answer; the next one begins
    /// again.
    pub(crate) fn take_cause(&mut self) -> Cause {
        std::mem::take(self.cause.get_mut().unwrap_or_else(PoisonError::into_inner))
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
