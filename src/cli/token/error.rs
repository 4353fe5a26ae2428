//! Why there is no token.

/// What the exit codes tell apart.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    /// A variable is missing or can't be used.
    #[error("{0}")]
    Variable(String),
    /// No answer, or another status than 200.
    #[error("{0}")]
    Request(String),
    /// The answer is not JSON or has no token that could be used.
    #[error("{0}")]
    Answer(&'static str),
}

impl TokenError {
    /// What the program ends with.
    pub(super) const fn exit_code(&self) -> u8 {
        match self {
            Self::Variable(_) => 1,
            Self::Request(_) => 2,
            Self::Answer(_) => 3,
        }
    }
}
