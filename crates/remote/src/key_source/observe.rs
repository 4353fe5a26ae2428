//! Telling others about fetches.

use std::time::Duration;

use claimgate_core::keys::Skipped;

/// Somebody who counts fetches. Logs are written without it.
///
/// Called from the task of a source; it must not block.
pub trait FetchObserver: Send + Sync {
    /// A fetch has ended.
    fn fetched(&self, report: &FetchReport<'_>);

    /// A local file gave the provider this many keys.
    fn loaded(&self, provider: &str, keys: usize) {
        let _ = (provider, keys);
    }

    /// The provider's keys got too old and were taken away.
    fn withdrawn(&self, provider: &str) {
        let _ = provider;
    }
}

/// Nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl FetchObserver for Unobserved {
    fn fetched(&self, _: &FetchReport<'_>) {}
}

/// How a fetch went.
#[derive(Clone, Copy, Debug)]
pub struct FetchReport<'a> {
    /// Whose keys were fetched.
    pub provider: &'a str,
    /// How it ended.
    pub result: FetchResult,
    /// How long it took.
    pub duration: Duration,
    /// How many keys are usable after it, new or old.
    pub keys: usize,
    /// What went wrong, if something did: one sentence without secrets.
    pub error: Option<&'a str>,
    /// The keys of a new document that can't be used.
    pub skipped: &'a [Skipped],
}

/// How a fetch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FetchResult {
    /// With a document.
    Success,
    /// With the word that the document has not changed.
    NotModified,
    /// With neither.
    Failure,
}

impl FetchResult {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Success, Self::NotModified, Self::Failure];

    /// The metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::NotModified => "not_modified",
            Self::Failure => "failure",
        }
    }
}

/// One warning per key that can't be used.
pub(super) fn warn_of_skipped(provider: &str, skipped: &[Skipped]) {
    for key in skipped {
        tracing::warn!(
            provider,
            index = key.index,
            kid = key.kid.as_deref(),
            why = %key.why,
            "a key of the issuer can't verify tokens and is skipped"
        );
    }
}
