//! Limits of a fetch.

/// Larger documents are refused.
pub const MAX_BODY_BYTES: usize = 1 << 20;

/// Redirects followed within the same origin.
pub const MAX_REDIRECTS: usize = 3;
