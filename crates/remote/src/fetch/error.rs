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
        Self { place, cause }
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

    /// Why it failed.
    pub fn cause(&self) -> &Cause {
        &self.cause
    }
}
