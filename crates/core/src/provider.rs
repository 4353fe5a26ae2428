//! Providers: who is asked about a token, and the four answers they give.
//!
//! A provider either recognises a token or leaves it to the next one. It says
//! *refused* only for a token it recognises, *unavailable* when it can't tell
//! right now, and never anything that could be mistaken for yes.
//!
//! # Writing your own
//!
//! ```
//! use std::sync::Arc;
//! use claimgate::{Answer, Answering, Credential, Principal, Provider, Reason};
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
//! A provider that must ask somebody returns [`Answering::Later`]; the future
//! may need whatever runtime the embedding program has, the engine needs none.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use crate::{credential::Credential, principal::Principal, reason::Reason};

pub mod api_key;
pub mod chain;
pub mod oauth2;

/// Somebody who can tell whether a token is good.
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

    /// The `iss` of the only tokens it recognises. The chain then asks it
    /// about JWTs of this issuer alone, however many providers there are.
    fn issuer(&self) -> Option<&str> {
        None
    }

    /// Whether it takes tokens that are no JWTs. Decides between the reasons
    /// `unknown_key` and `malformed_token` when nobody recognises a token.
    fn takes_opaque_tokens(&self) -> bool {
        self.issuer().is_none()
    }

    /// Whether the upstream sees the token of a request that this provider
    /// authenticated; `None` leaves it to the general setting.
    fn forward_token(&self) -> Option<bool> {
        None
    }
}

/// What a provider says of a token.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The token is not one of its own.
    NotMine,
    /// The token is good.
    Authenticated(Arc<Principal>),
    /// The token is its own and no good.
    Refused(Reason),
    /// It can't tell right now.
    Unavailable,
}

impl Answer {
    /// Which of the four it is.
    pub fn kind(&self) -> AnswerKind {
        match self {
            Self::NotMine => AnswerKind::NotMine,
            Self::Authenticated(_) => AnswerKind::Authenticated,
            Self::Refused(_) => AnswerKind::Refused,
            Self::Unavailable => AnswerKind::Unavailable,
        }
    }
}

/// The four answers without what they carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum AnswerKind {
    /// See [`Answer::Authenticated`].
    Authenticated,
    /// See [`Answer::NotMine`].
    NotMine,
    /// See [`Answer::Refused`].
    Refused,
    /// See [`Answer::Unavailable`].
    Unavailable,
}

impl AnswerKind {
    /// All four.
    pub const ALL: [Self; 4] =
        [Self::Authenticated, Self::NotMine, Self::Refused, Self::Unavailable];

    /// The metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Authenticated => "authenticated",
            Self::NotMine => "not_mine",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
        }
    }
}

/// An answer, now or later.
pub enum Answering<'a> {
    /// Known without I/O.
    Now(Answer),
    /// Waits for somebody.
    Later(Pin<Box<dyn Future<Output = Answer> + Send + 'a>>),
}

impl<'a> Answering<'a> {
    /// Boxes a future.
    pub fn later(future: impl Future<Output = Answer> + Send + 'a) -> Self {
        Self::Later(Box::pin(future))
    }
}

impl fmt::Debug for Answering<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now(answer) => f.debug_tuple("Now").field(answer).finish(),
            Self::Later(_) => f.write_str("Later"),
        }
    }
}
