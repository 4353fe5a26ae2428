//! What a provider says of a token.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use crate::{principal::Principal, reason::Reason};

/// What a provider says of a token.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The token is not one of its own.
    NotMine,
    /// The token is valid.
    Authenticated(Arc<Principal>),
    /// The token is its own and not valid.
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
    /// Needs I/O first.
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
