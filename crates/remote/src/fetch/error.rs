//! What can go wrong with a fetch: short sentences that name the URL, without
//! anything in it that may be secret, and the cause.

use std::{error::Error, io, path::Path, time::Duration};

use claimgate_core::{
    keys::KeySetError,
    urls::{self, NotExact},
};
use jiff::Timestamp;
use reqwest::Url;
use rustls::CertificateError;

use super::limits::MAX_REDIRECTS;

/// A fetch can't even be attempted: the settings are wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// Not a URL to fetch from, or one that would be sent in another spelling.
    #[error(transparent)]
    Url(#[from] NotExact),
    /// A file with trust roots is no good.
    #[error("ca_file {path}: {cause}")]
    CaFile {
        /// Its path.
        path: String,
        /// What is wrong with it.
        cause: String,
    },
    /// An https URL, and nobody to trust.
    #[error(
        "this system has no trusted root certificates for https: install the package \
         ca-certificates or set ca_file"
    )]
    NoRoots,
    /// The HTTP client could not be set up.
    #[error("the HTTP client can't be set up: {0}")]
    Client(String),
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
    /// No connection, or one that broke.
    #[error("{0}")]
    Transport(String),
    /// It took too long, from the first connection to the last byte.
    #[error("no complete answer within {0:?}")]
    Timeout(Duration),
    /// Neither 200 nor the 304 that was asked for.
    #[error("the answer has status {0}")]
    Status(u16),
    /// Over [`super::MAX_BODY_BYTES`].
    #[error("the answer is larger than 1 MiB")]
    TooLarge,
    /// A redirect to another scheme, host or port.
    #[error("redirects to another origin ({0}), which is not followed")]
    ForeignRedirect(String),
    /// One redirect after the other.
    #[error("more than {MAX_REDIRECTS} redirects")]
    TooManyRedirects,
    /// The discovery document is no good.
    #[error("{0}")]
    Discovery(&'static str),
    /// The key document is no good.
    #[error("{0}")]
    Keys(KeySetError),
    /// The file with the token for the fetch is no good.
    #[error("{0}")]
    TokenFile(String),
    /// "Not modified", but the keys that it would renew are gone by now.
    #[error("the keys were withdrawn before the server called them unchanged")]
    NothingToRenew,
}

impl FetchError {
    pub(crate) fn shown_at(place: String, cause: Cause) -> Self {
        Self { place, cause }
    }

    pub(super) fn at(place: &Url, cause: Cause) -> Self {
        Self::shown_at(urls::shown(place), cause)
    }

    pub(super) fn transport(place: &Url, error: &reqwest::Error) -> Self {
        let what = if error.is_connect() { "can't connect" } else { "the exchange broke off" };
        Self::at(place, Cause::Transport(format!("{what}: {}", root_cause(error))))
    }

    pub(super) fn token_file(path: &Path, cause: String) -> Self {
        Self::shown_at(format!("fetch_token_file {}", path.display()), Cause::TokenFile(cause))
    }

    /// Why it failed.
    pub fn cause(&self) -> &Cause {
        &self.cause
    }
}

/// The innermost error. The layers around it repeat themselves, and the
/// outermost quotes the whole URL.
pub fn root_cause(error: &reqwest::Error) -> String {
    let Some(mut cause) = error.source() else {
        return "the request can't be sent".to_owned();
    };
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    // An I/O error speaks for the error that it wraps, but does not name it
    // as its source.
    while let Some(inner) = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        cause = inner;
    }
    match cause.downcast_ref::<rustls::Error>() {
        Some(rustls::Error::InvalidCertificate(error)) => certificate_problem(error),
        _ => cause.to_string(),
    }
}

/// What is wrong with a server's certificate, in words that are the same at
/// every retry: those of the library count the seconds.
fn certificate_problem(error: &CertificateError) -> String {
    let (what, when) = match error {
        CertificateError::ExpiredContext { not_after, .. } => ("expired at", not_after),
        CertificateError::NotValidYetContext { not_before, .. } => {
            ("is not valid before", not_before)
        }
        error => return format!("invalid peer certificate: {error}"),
    };
    let seconds = i64::try_from(when.as_secs()).unwrap_or(i64::MAX);
    let when = Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
    format!("invalid peer certificate: it {what} {when}")
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::UnixTime;

    use super::*;

    #[test]
    fn a_certificates_dates_are_told_without_a_clock() {
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let expired =
            |time| CertificateError::ExpiredContext { time: at(time), not_after: at(86_400) };
        let text = certificate_problem(&expired(90_000));
        assert_eq!(text, "invalid peer certificate: it expired at 1970-01-02T00:00:00Z");
        assert_eq!(text, certificate_problem(&expired(95_000)), "a retry says the same");
        let early = CertificateError::NotValidYetContext { time: at(1), not_before: at(86_400) };
        let text = certificate_problem(&early);
        assert_eq!(text, "invalid peer certificate: it is not valid before 1970-01-02T00:00:00Z");
        let other = certificate_problem(&CertificateError::UnknownIssuer);
        assert_eq!(other, "invalid peer certificate: UnknownIssuer");
    }
}
