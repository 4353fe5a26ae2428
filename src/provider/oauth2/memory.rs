//! Verified tokens, remembered so that a signature is computed once.

/// What is remembered of a verified token.
#[derive(Debug)]
pub struct Known {}
