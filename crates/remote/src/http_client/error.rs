//! Why a client can't be set up, and what went wrong with a request.

use std::{error::Error, io};

use jiff::Timestamp;
use rustls::{CertificateError, pki_types::UnixTime};

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

const CA_FILE: &str = "ca_file (claimgate token: GATEWAY_CA_FILE)";

/// What is wrong with a server's certificate, in a text that is the same at
/// every retry: the library's counts the seconds.
fn certificate_problem(error: &CertificateError) -> String {
    let date = |when: &UnixTime| {
        let seconds = i64::try_from(when.as_secs()).unwrap_or(i64::MAX);
        Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
    };
    let what = match error {
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("it expired at {}", date(not_after))
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("it is not valid before {}", date(not_before))
        }
        CertificateError::UnknownIssuer => {
            format!("its issuer is not trusted; to trust it, list its certificate in {CA_FILE}")
        }
        CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => {
            "it names no host in subjectAltName, and a common name (CN) does not count".to_owned()
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            format!("it is not for {}, but for {}", expected.to_str(), presented.join(", "))
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "it is not for servers (extendedKeyUsage)".to_owned()
        }
        // The library has no type of its own for it.
        CertificateError::Other(error) if error.to_string().contains("CaUsedAsEndEntity") => {
            format!(
                "it is marked as an authority's (CA:TRUE), as openssl req -x509 makes them; to \
                 trust it anyway, list this very certificate in {CA_FILE}"
            )
        }
        error => error.to_string(),
    };
    format!("invalid peer certificate: {what}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
        let other = certificate_problem(&CertificateError::Revoked);
        assert_eq!(other, "invalid peer certificate: Revoked");
    }
}
