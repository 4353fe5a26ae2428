//! Notes on a decision, for `claimgate explain`.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::reason::Reason;

/// Collects the sentences of [`crate::Credential::note`].
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
        // A provider that looks again after waiting repeats its notes.
        if !collected.notes.contains(&note) {
            collected.notes.push(note);
        }
    }

    /// Every refusal: the provider's name and its reason.
    pub fn refusals(&self) -> Vec<(String, Reason)> {
        self.collected().refusals.clone()
    }

    /// Takes what was collected so far.
    pub fn take(&self) -> Vec<Note> {
        std::mem::take(&mut self.collected().notes)
    }

    /// The provider that is being asked refuses.
    pub(super) fn refused(&self, reason: Reason) {
        let mut collected = self.collected();
        if let Some(provider) = collected.asking.clone() {
            collected.refusals.push((provider, reason));
        }
    }

    /// The notes that follow are about this provider, or about the policy.
    pub(super) fn begin(&self, provider: Option<&str>) {
        self.collected().asking = provider.map(Into::into);
    }

    fn collected(&self) -> MutexGuard<'_, Collected> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
