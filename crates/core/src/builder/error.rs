//! Why settings make no engine.

use std::fmt;

use crate::provider_id::ProviderId;

/// Everything that keeps settings from making an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildError(pub(super) Vec<Problem>);

impl BuildError {
    /// What is wrong; at least one thing.
    pub fn problems(&self) -> &[Problem] {
        &self.0
    }
}

/// One line for each problem.
impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            let separator = if n == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for BuildError {}

/// One thing that is wrong. It never shows an API key, nor an issuer, which
/// may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Authentication is on and there is no provider.
    #[error(
        "there is no provider, so every token would be refused; call `use_api_keys`, \
         `use_oauth2` or `use_auth_provider`"
    )]
    NoProvider,
    /// More providers than can be numbered.
    #[error("there are more than {} providers; use fewer", ProviderId::MOST)]
    TooManyProviders,
    /// A provider's name is empty or holds a control character.
    #[error("provider {name:?}: this is not a plain name; give it another")]
    Name {
        /// The name.
        name: String,
    },
    /// Two providers have one name.
    #[error("provider {name:?}: an earlier provider has this name; give each its own")]
    SameName {
        /// The name.
        name: String,
    },
    /// A route or a token source names a provider that does not exist.
    #[error("provider {name:?}: a route or token source names it, but it does not exist")]
    UnknownProvider {
        /// The name.
        name: String,
    },
    /// An API key can't be used.
    #[error("API key {name:?} {why}")]
    ApiKey {
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// An issuer can't be used.
    #[error("provider {name:?}: its issuer {why}")]
    Issuer {
        /// The provider's name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// A required scope is empty, or no challenge can name it.
    #[error("required scope {scope:?}: write printable ASCII without `\"` and `\\`")]
    Scope {
        /// The scope.
        scope: String,
    },
    /// No request can have this public path.
    #[error("public path {path:?} {why}")]
    PublicPath {
        /// The path.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// There is no room for all that the templates of routes can match at once.
    #[error("the routes' templates overlap in too many ways")]
    Templates,
}
