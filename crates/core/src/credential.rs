//! A token as it is shown to the providers.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
};

use crate::{
    decision::Recall, reason::Reason, request::Request, time::UnixTime, token::jwt::Unverified,
    token_cache::VerifiedToken,
};

/// A token found in a request, with the facts a provider may look at.
pub struct Credential<'a> {
    token: &'a str,
    request: &'a Request<'a>,
    now: UnixTime,
    jwt: OnceLock<Option<Unverified>>,
    cached: Option<Arc<VerifiedToken>>,
    recall: AtomicU8,
    learned: OnceLock<Arc<VerifiedToken>>,
    notes: Option<&'a Notes>,
}

/// Nobody looked whether the token is remembered.
const NO_RECALL: u8 = u8::MAX;

impl<'a> Credential<'a> {
    /// A token of `request`, judged at `now`.
    pub fn new(token: &'a str, request: &'a Request<'a>, now: UnixTime) -> Self {
        Self {
            token,
            request,
            now,
            jwt: OnceLock::new(),
            cached: None,
            recall: AtomicU8::new(NO_RECALL),
            learned: OnceLock::new(),
            notes: None,
        }
    }

    /// With the entry that the token cache has of this token.
    pub(crate) fn with_cached(mut self, cached: Option<Arc<VerifiedToken>>) -> Self {
        self.cached = cached;
        self
    }

    /// With somebody who wants to know why.
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

    /// The token read as a JWT, its signature not looked at; `None` if it is
    /// no readable JWT. Read once, however many providers ask.
    pub(crate) fn jwt(&self) -> Option<&Unverified> {
        self.jwt.get_or_init(|| Unverified::read(self.token)).as_ref()
    }

    /// The entry that the token cache has of this token.
    pub(crate) fn cached(&self) -> Option<&Arc<VerifiedToken>> {
        self.cached.as_ref()
    }

    /// Notes what was found out about this token and is worth keeping.
    pub(crate) fn learn(&self, verified: Arc<VerifiedToken>) {
        // Two providers may have verified it; that of the first is enough.
        let _ = self.learned.set(verified);
    }

    /// What was found out about this token.
    pub(crate) fn learned(&self) -> Option<&Arc<VerifiedToken>> {
        self.learned.get()
    }

    /// Notes whether the token was remembered.
    pub(crate) fn record(&self, recall: Recall) {
        self.recall.store(recall as u8, Ordering::Relaxed);
    }

    /// Whether the token was remembered, if a provider looked.
    pub(crate) fn recall(&self) -> Option<Recall> {
        let recorded = self.recall.load(Ordering::Relaxed);
        Recall::ALL.into_iter().find(|recall| *recall as u8 == recorded)
    }

    /// Tells whoever asked why, if anybody did: one sentence on what the
    /// provider saw and would have needed. Never the token itself.
    pub fn note(&self, sentence: impl FnOnce() -> String) {
        if let Some(notes) = self.notes {
            notes.push(sentence());
        }
    }
}

impl Credential<'_> {
    /// Whether somebody wants to know why.
    pub(crate) fn is_noted(&self) -> bool {
        self.notes.is_some()
    }

    /// Tells whoever asked why that the provider being asked refuses.
    pub(crate) fn note_refusal(&self, reason: Reason) {
        if let Some(notes) = self.notes {
            notes.refused(reason);
        }
    }

    /// Tells whoever asked why that this provider is asked next, or nobody.
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

/// Collects the sentences of [`Credential::note`] for `claimgate explain`.
#[derive(Debug, Default)]
pub struct Notes(Mutex<Collected>);

#[derive(Debug, Default)]
struct Collected {
    asking: Option<String>,
    notes: Vec<Note>,
    refusals: Vec<(String, Reason)>,
}

/// One sentence on why a decision came out as it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The provider that was being asked; `None` for the policy.
    pub provider: Option<String>,
    /// What it saw and would have needed.
    pub sentence: String,
}

impl Notes {
    /// Adds a sentence.
    pub fn push(&self, sentence: String) {
        let mut collected = self.collected();
        let note = Note { provider: collected.asking.clone(), sentence };
        // Who looks again after waiting says the same again.
        if !collected.notes.contains(&note) {
            collected.notes.push(note);
        }
    }

    /// The provider that is being asked refuses.
    pub(crate) fn refused(&self, reason: Reason) {
        let mut collected = self.collected();
        if let Some(provider) = collected.asking.clone() {
            collected.refusals.push((provider, reason));
        }
    }

    /// Who refused, by name, and why.
    pub fn refusals(&self) -> Vec<(String, Reason)> {
        self.collected().refusals.clone()
    }

    /// What follows is about this provider, or about the policy.
    pub(crate) fn begin(&self, provider: Option<&str>) {
        self.collected().asking = provider.map(Into::into);
    }

    /// Takes what was collected so far.
    pub fn take(&self) -> Vec<Note> {
        std::mem::take(&mut self.collected().notes)
    }

    fn collected(&self) -> MutexGuard<'_, Collected> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
