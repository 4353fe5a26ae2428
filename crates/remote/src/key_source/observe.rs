//! Observers of key fetches: metrics, traces and the log.

use std::time::Duration;

use claimgate_core::keys::Skipped;

/// Observes key fetches, for metrics and traces. Logs are written without it.
///
/// It is called from the task of a source and must not block.
pub trait FetchObserver: Send + Sync {
    /// A fetch has ended.
    fn fetched(&self, report: &FetchReport<'_>);

    /// This many keys were read from a local file for the provider.
    fn loaded(&self, provider: &str, keys: usize) {
        let _ = (provider, keys);
    }

    /// The provider's keys got too old and were withdrawn.
    fn withdrawn(&self, provider: &str) {
        let _ = provider;
    }
}

/// Observes nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl FetchObserver for Unobserved {
    fn fetched(&self, _: &FetchReport<'_>) {}
}

/// The outcome of a fetch.
#[derive(Clone, Copy, Debug)]
pub struct FetchReport<'a> {
    /// The providers whose keys were fetched: several if they share a source.
    pub providers: &'a [String],
    /// Its result.
    pub result: FetchResult,
    /// How long it took.
    pub duration: Duration,
    /// How many keys can be used after it, new or old.
    pub keys: usize,
    /// Why it failed, if it did: one sentence without secrets.
    pub error: Option<&'a str>,
    /// The keys of a new document that can't be used.
    pub skipped: &'a [Skipped],
}

/// The result of a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FetchResult {
    /// It brought a document.
    Success,
    /// The document has not changed.
    NotModified,
    /// Any other.
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

/// Logs one warning per key that can't be used.
pub(super) fn warn_of_skipped(providers: &[String], skipped: &[Skipped]) {
    let provider = providers.join(", ");
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
