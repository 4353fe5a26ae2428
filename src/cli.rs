//! The command line.

pub mod hash_key;
pub mod schema;
pub mod validate;
