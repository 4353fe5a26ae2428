//! Policy tests: cases that say what a config must decide, run against the
//! real engine without an issuer, a network or Envoy.
//!
//! A [`Case`] is a request, a credential and what is expected. The [`Stage`]
//! sets the config up for it: the issuers' keys are replaced with throw-away
//! ones that sign the case's token, an API key with one made up on the spot,
//! custom providers with what the case says they answer.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::{decision::ProviderId, explain::Sent, keys::Algorithm, time::UnixTime};

mod expect;
mod mint;
mod run;
mod stage;

pub use expect::{Expectations, Mismatch};
pub use run::{CaseReport, run};
pub use stage::{Stage, StageError};

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// Unique in its file.
    pub name: String,
    /// The request, before the token is put into it.
    pub request: Sent,
    /// Who asks.
    pub credential: CaseCredential,
    /// When; `None` is now.
    pub at: Option<UnixTime>,
    /// Providers that can't tell.
    pub unavailable: Vec<ProviderId>,
    /// What custom providers say, those aside that say *not mine*.
    pub answers: Vec<(ProviderId, CustomAnswer)>,
    /// What must come out.
    pub expect: Expectations,
}

/// What stands in a path or a header for the token of the case. Where it
/// stands nowhere, the token goes where the first source looks for it.
pub const TOKEN: &str = "{token}";

/// Who asks.
#[derive(Clone, Default)]
pub enum CaseCredential {
    /// Nobody.
    #[default]
    None,
    /// Whoever sends this.
    Token(String),
    /// Whoever has this API key.
    ApiKey {
        /// The provider that has it.
        provider: ProviderId,
        /// Its position there.
        position: usize,
    },
    /// Whoever has this JWT.
    Jwt(CaseJwt),
}

/// A JWT: a good one of its provider, but for what is said here.
#[derive(Clone, Debug)]
pub struct CaseJwt {
    /// Who is to accept it.
    pub provider: ProviderId,
    /// Claims that replace those of a good token; null leaves one out.
    pub claims: Map<String, Value>,
    /// Scopes, put where the provider looks for them.
    pub scopes: Option<Vec<String>>,
    /// Seconds until it expires, perhaps negative; `None` is an hour, or less
    /// where the provider allows less.
    pub expires_in: Option<f64>,
    /// Signs it; `None` is the first that the provider allows.
    pub algorithm: Option<Algorithm>,
    /// Header members that replace those of a good token; null leaves one out.
    pub header: Map<String, Value>,
    /// Whether a key signs it that is not the issuer's, under the same `kid`.
    pub by_a_stranger: bool,
}

/// What a custom provider says.
#[derive(Clone, Debug)]
pub enum CustomAnswer {
    /// Who the caller is.
    Authenticated {
        /// The subject.
        subject: Option<String>,
        /// The scopes.
        scopes: Vec<String>,
        /// The claims.
        claims: Map<String, Value>,
    },
    /// It is not one of its own.
    NotMine,
    /// It is, and it is no good.
    Refused(crate::Reason),
}

/// How long a good token lives unless the case or the provider says otherwise.
const LIFETIME: Duration = Duration::from_secs(3600);

/// Tokens that were written down may be real ones.
impl std::fmt::Debug for CaseCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Token(_) => "Token",
            Self::ApiKey { .. } => "ApiKey",
            Self::Jwt(_) => "Jwt",
        })
    }
}
