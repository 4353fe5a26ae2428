//! The command line.

pub mod issuer;
