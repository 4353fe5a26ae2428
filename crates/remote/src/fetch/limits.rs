//! What a fetch may cost.

/// Larger documents are given up on.
pub const MAX_BODY_BYTES: usize = 1 << 20;

/// Redirects followed within the same origin.
pub const MAX_REDIRECTS: usize = 3;
