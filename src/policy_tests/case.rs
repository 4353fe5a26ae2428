//! A case: a request, a credential and what is expected.

use std::fmt::{self, Formatter};

use serde_json::{Map, Value};

use super::expect::Expectations;
use crate::{decision::ProviderId, explain::Sent, keys::Algorithm, reason::Reason, time::UnixTime};

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// Unique in its file.
    pub name: String,
    /// The request, before the token is put into it.
    pub request: Sent,
    /// The credential in the request.
    pub credential: CaseCredential,
    /// The time of the request; `None` is now.
    pub at: Option<UnixTime>,
    /// Providers that can't be reached.
    pub unavailable: Vec<ProviderId>,
    /// How often the same request came before, at the same moment.
    pub requests_before: u32,
    /// The answers of custom providers; the others answer *not mine*.
    pub answers: Vec<(ProviderId, CustomAnswer)>,
    /// The expected decision.
    pub expect: Expectations,
}

/// The credential in the request.
#[derive(Clone, Default)]
pub enum CaseCredential {
    /// No credential.
    #[default]
    None,
    /// This token.
    Token(String),
    /// An API key of the config.
    ApiKey {
        /// The provider that has it.
        provider: ProviderId,
        /// Its position there.
        position: usize,
    },
    /// A JWT that is made for the case.
    Jwt(CaseJwt),
}

/// A JWT: valid for its provider, apart from the changes here.
#[derive(Clone, Debug)]
pub struct CaseJwt {
    /// The provider that is to accept it.
    pub provider: ProviderId,
    /// Claims that replace those of a valid token; null leaves one out.
    pub claims: Map<String, Value>,
    /// Scopes, put where the provider looks for them.
    pub scopes: Option<Vec<String>>,
    /// Seconds until it expires, perhaps negative; `None` is an hour, or less
    /// where the provider allows less.
    pub expires_in: Option<f64>,
    /// The signature's algorithm; `None` is the first that the provider allows.
    pub algorithm: Option<Algorithm>,
    /// Header members that replace those of a valid token; null leaves one out.
    pub header: Map<String, Value>,
    /// Whether another key than the issuer's signs it, under the same `kid`.
    pub signed_by_stranger: bool,
}

/// The answer of a custom provider.
#[derive(Clone, Debug)]
pub enum CustomAnswer {
    /// The token is valid and belongs to this caller.
    Authenticated {
        /// The subject.
        subject: Option<String>,
        /// The scopes.
        scopes: Vec<String>,
        /// The claims.
        claims: Map<String, Value>,
    },
    /// The token is not one of this provider's.
    NotMine,
    /// The token is one of this provider's and is invalid.
    Refused(Reason),
}

/// Without the text: tokens in a test file may be real ones.
impl fmt::Debug for CaseCredential {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Token(_) => "Token",
            Self::ApiKey { .. } => "ApiKey",
            Self::Jwt(_) => "Jwt",
        })
    }
}
