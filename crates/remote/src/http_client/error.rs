//! Why a client can't be set up, and what went wrong with a request.

use std::{error::Error, io};

use jiff::Timestamp;
use rustls::CertificateError;

/// The HTTP client can't be set up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// A file with trust roots can't be used.
    #[error("ca_file {path}: {cause}")]
    CaFile {
        /// Its path.
        path: String,
        /// What is wrong with it.
        cause: String,
    },
    /// An https URL, and no trust roots.
    #[error(
        "this system has no trusted root certificates for https: install the package \
         ca-certificates or set ca_file"
    )]
    NoRoots,
    /// The HTTP library refuses its settings.
    #[error("the HTTP client can't be set up: {0}")]
    Client(String),
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
    // An I/O error prints the error that it wraps, but does not return it as
    // its source.
    while let Some(inner) = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        cause = inner;
    }
    match cause.downcast_ref::<rustls::Error>() {
        Some(rustls::Error::InvalidCertificate(error)) => certificate_problem(error),
        _ => cause.to_string(),
    }
}

/// What is wrong with a server's certificate, in a text that is the same at
/// every retry: the library's counts the seconds.
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
    use std::time::Duration;

    use rustls::pki_types::UnixTime;

    use super::*;

    #[test]
    fn the_text_on_an_expired_certificate_does_not_change_with_time() {
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let expired =
            |time| CertificateError::ExpiredContext { time: at(time), not_after: at(86_400) };
        let text = certificate_problem(&expired(90_000));
        assert_eq!(text, "invalid peer certificate: it expired at 1970-01-02T00:00:00Z");
        assert_eq!(text, certificate_problem(&expired(95_000)), "a retry gives the same text");
        let early = CertificateError::NotValidYetContext { time: at(1), not_before: at(86_400) };
        let text = certificate_problem(&early);
        assert_eq!(text, "invalid peer certificate: it is not valid before 1970-01-02T00:00:00Z");
        let other = certificate_problem(&CertificateError::UnknownIssuer);
        assert_eq!(other, "invalid peer certificate: UnknownIssuer");
    }
}
