//! Why there is no token.

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// A variable is missing or can't be used.
    #[error("{0}")]
    Variable(String),
    /// No response, or another status than 200.
    #[error("{0}")]
    Request(String),
    /// The response is not JSON or has no token that could be used.
    #[error("{0}")]
    Response(&'static str),
}
