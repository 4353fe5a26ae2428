//! An access token.

use crate::time::UnixTime;

/// An access token and when it expires, as far as that is known.
pub struct AccessToken {
    /// The token as it is sent.
    pub text: String,
    pub(super) expires: Option<UnixTime>,
}
