//! Providers: they are asked about a token and give one of four answers.
//!
//! A provider either recognises a token or leaves it to the next one. It says
//! *refused* only for a token it recognises, *unavailable* when it can't tell
//! right now, and never anything that could be mistaken for yes.
//!
//! # Writing your own
//!
//! ```
//! use std::sync::Arc;
//! use claimgate_core::{Answer, Answering, Credential, Principal, Provider, Reason};
//!
//! /// Accepts the one token that a coin-operated turnstile hands out.
//! struct Turnstile {
//!     jammed: bool,
//! }
//!
//! impl Provider for Turnstile {
//!     fn name(&self) -> &str { "turnstile" }
//!     fn method(&self) -> &str { "coin" }
//!
//!     fn authenticate<'a>(&'a self, credential: &'a Credential<'a>) -> Answering<'a> {
//!         Answering::Now(match credential.token() {
//!             "coin" if self.jammed => Answer::Refused(Reason::KeyRevoked),
//!             "coin" => {
//!                 let passenger = Principal::new(Some("passenger".into()));
//!                 Answer::Authenticated(Arc::new(passenger.with_scopes(vec!["ride".into()])))
//!             }
//!             _ => Answer::NotMine,
//!         })
//!     }
//! }
//! ```
//!
//! A provider that needs I/O returns [`Answering::Later`]; the future may need
//! whatever runtime the embedding program has, the engine needs none.

pub use self::answer::{Answer, AnswerKind, Answering};
use crate::{credential::Credential, token_cache::VerifiedToken};

pub mod answer;
pub mod api_key;
pub mod chain;
pub mod oauth2;

/// Tells whether a token is valid.
pub trait Provider: Send + Sync {
    /// The unique name it has in the configuration.
    fn name(&self) -> &str;

    /// How it authenticates, for the method header: `api_key`, `oauth2`, ….
    fn method(&self) -> &str;

    /// What it says of this token.
    ///
    /// Runs on the decision path: it must not block. Where the answer is
    /// known it is returned as [`Answering::Now`]; the engine waits for
    /// [`Answering::Later`] within the caller's time limit, after which the
    /// future is dropped. Work belongs into that future, not before it: a
    /// caller that can't wait drops it unpolled and asks again.
    fn authenticate<'a>(&'a self, credential: &'a Credential<'a>) -> Answering<'a>;

    /// Its answer for a token that it verified before; `None` if another
    /// provider did. Asked first where the token cache has an entry.
    #[doc(hidden)]
    fn answer_cached(&self, cached: &VerifiedToken, credential: &Credential<'_>) -> Option<Answer> {
        let _ = (cached, credential);
        None
    }

    /// The `iss` of the only tokens it recognises. The chain then asks it
    /// about JWTs of this issuer alone, however many providers there are.
    fn issuer(&self) -> Option<&str> {
        None
    }

    /// Whether it takes tokens that are not JWTs. Decides between the reasons
    /// `unknown_key` and `malformed_token` when no provider recognises a token.
    fn takes_opaque_tokens(&self) -> bool {
        self.issuer().is_none()
    }

    /// Whether the upstream sees the token of a request that this provider
    /// authenticated; `None` leaves it to the general setting.
    fn forward_token(&self) -> Option<bool> {
        None
    }
}
