//! Why the issuer can't start, and the error responses of its token endpoint (RFC
//! 6749, section 5.2).

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use claimgate_core::keys::signing::SigningError;
use serde_json::json;

/// Why the issuer can't run.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// The address can't be listened on.
    #[error("can't listen on {address}: {source}")]
    Listen {
        /// The address.
        address: String,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The `--issuer` is not a URL that tokens may name.
    #[error("issuer {url:?} must be an http or https URL without query and fragment")]
    IssuerUrl {
        /// The URL as given.
        url: String,
    },
    /// No signing key.
    #[error(transparent)]
    Key(#[from] SigningError),
}

/// An error response of the token endpoint; the texts are for the client's
/// developer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OAuthError {
    InvalidRequest(&'static str),
    InvalidClient(&'static str),
    UnsupportedGrantType,
    InvalidScope(&'static str),
    /// RFC 8707, section 2.
    InvalidTarget(&'static str),
    ServerError,
}

impl OAuthError {
    /// The code, the status and a sentence.
    pub(super) const fn parts(self) -> (&'static str, StatusCode, &'static str) {
        const BAD: StatusCode = StatusCode::BAD_REQUEST;
        match self {
            Self::InvalidRequest(why) => ("invalid_request", BAD, why),
            Self::InvalidClient(why) => ("invalid_client", StatusCode::UNAUTHORIZED, why),
            Self::UnsupportedGrantType => {
                ("unsupported_grant_type", BAD, "grant_type must be client_credentials")
            }
            Self::InvalidScope(why) => ("invalid_scope", BAD, why),
            Self::InvalidTarget(why) => ("invalid_target", BAD, why),
            Self::ServerError => {
                ("server_error", StatusCode::INTERNAL_SERVER_ERROR, "the token can't be signed")
            }
        }
    }
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        let (error, status, description) = self.parts();
        let body = Json(json!({"error": error, "error_description": description}));
        let mut response = (status, body).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Basic realm=\"claimgate issuer\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
