//! The answer of one remote call.

use claimgate_core::{provider::Answer, time::UnixTime};

/// The answer of a remote service about a token.
#[derive(Clone, Debug)]
pub(crate) struct RemoteAnswer {
    pub(crate) answer: Answer,
    /// Until when it holds for other requests with the same token, too;
    /// `None` if it is for this request alone.
    pub(crate) until: Option<UnixTime>,
    /// A sentence for `explain`, without the token.
    pub(crate) note: Option<String>,
}

impl RemoteAnswer {
    /// No answer, and why.
    pub(crate) fn unavailable(why: String) -> Self {
        Self { answer: Answer::Unavailable, until: None, note: Some(why) }
    }

    /// Whether it may serve another request at this time.
    pub(super) fn holds_at(&self, now: UnixTime) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    pub(super) fn is_unavailable(&self) -> bool {
        matches!(self.answer, Answer::Unavailable)
    }
}

impl From<Answer> for RemoteAnswer {
    fn from(answer: Answer) -> Self {
        Self { answer, until: None, note: None }
    }
}
