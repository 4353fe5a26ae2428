//! Errors of a fetch: one short sentence with the URL, without anything in it
//! that may be secret, and the cause.

use std::{path::Path, time::Duration};

use claimgate_core::{
    keys::KeySetError,
    urls::{self, NotExact},
};
use reqwest::Url;

use super::limits::MAX_REDIRECTS;
use crate::http_client::{self, root_cause};

/// A fetcher can't be set up: the settings are wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// The location is not a URL, or would be sent in another spelling.
    #[error(transparent)]
    Url(#[from] NotExact),
    /// The HTTP client can't be set up.
    #[error(transparent)]
    Client(#[from] http_client::SetupError),
}

/// A fetch that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {cause}")]
pub struct FetchError {
    place: String,
    cause: Cause,
    retry_after: Option<Duration>,
}

/// Why a fetch failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// There was no connection, or it broke.
    #[error("{0}")]
    Transport(String),
    /// It took too long, from the first connection to the last byte.
    #[error("no complete answer within {0:?}")]
    Timeout(Duration),
    /// Neither 200 nor, for a conditional request, 304.
    #[error("the answer has status {0}")]
    Status(u16),
    /// Nor is the document at the other place, which is named here.
    #[error("the answer has status 404, as it has at {0}")]
    NotFoundAtEither(String),
    /// The body is encoded in another way than gzip.
    #[error("the answer has a content-encoding that is not supported, gzip is")]
    Encoding,
    /// Over [`super::MAX_BODY_BYTES`].
    #[error("the answer is larger than 1 MiB")]
    TooLarge,
    /// A redirect to another scheme, host or port.
    #[error("redirects to another origin ({0}), which is not followed")]
    ForeignRedirect(String),
    /// Over [`super::MAX_REDIRECTS`].
    #[error("more than {MAX_REDIRECTS} redirects")]
    TooManyRedirects,
    /// The discovery document can't be used.
    #[error("{0}")]
    Discovery(&'static str),
    /// The discovery document is another issuer's.
    #[error(
        "its issuer is {theirs:?}, the configured one is {ours:?}{}",
        slash_between(.theirs, .ours)
    )]
    OtherIssuer {
        /// What the document says, or the beginning of it.
        theirs: String,
        /// What the configuration says.
        ours: String,
    },
    /// The key document can't be used.
    #[error("{0}")]
    Keys(KeySetError),
    /// The file with the token for the fetch can't be used.
    #[error("{0}")]
    TokenFile(String),
    /// The document is not modified, but its keys were withdrawn meanwhile.
    #[error("the keys were withdrawn before the server called them unchanged")]
    NothingToRenew,
}

impl FetchError {
    /// `place` must hold nothing secret.
    pub(crate) fn new(place: String, cause: Cause) -> Self {
        Self { place, cause, retry_after: None }
    }

    pub(super) fn at(place: &Url, cause: Cause) -> Self {
        Self::new(urls::shown(place), cause)
    }

    pub(super) fn transport(place: &Url, error: &reqwest::Error) -> Self {
        let what = if error.is_connect() { "can't connect" } else { "the exchange broke off" };
        Self::at(place, Cause::Transport(format!("{what}: {}", root_cause(error))))
    }

    pub(super) fn token_file(path: &Path, cause: String) -> Self {
        Self::new(format!("fetch_token_file {}", path.display()), Cause::TokenFile(cause))
    }

    pub(crate) fn retry_after(self, retry_after: Option<Duration>) -> Self {
        Self { retry_after, ..self }
    }

    /// How long the server wants to be left alone.
    pub(crate) fn wanted_pause(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Why it failed.
    pub fn cause(&self) -> &Cause {
        &self.cause
    }
}

/// The most frequent difference, which is easily overlooked.
fn slash_between(theirs: &str, ours: &str) -> &'static str {
    let same = theirs.strip_suffix('/').unwrap_or(theirs) == ours.strip_suffix('/').unwrap_or(ours);
    match (same, theirs.ends_with('/')) {
        (false, _) => "",
        (true, true) => "; write the slash at its end, too",
        (true, false) => "; write it without the slash at its end",
    }
}
