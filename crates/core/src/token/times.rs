//! When a token is valid.

use crate::time::UnixTime;

/// The times of a token that has an end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Times {
    /// `exp`.
    pub(crate) expires_at: UnixTime,
    /// `nbf`.
    pub(crate) not_before: Option<UnixTime>,
    /// `iat`.
    pub(crate) issued_at: Option<UnixTime>,
}
