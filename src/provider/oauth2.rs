//! JWTs of OAuth 2.0 issuers (RFC 7519, RFC 9068).

pub mod algorithm;
pub mod fetch;
pub mod jwt;
pub mod key_source;
pub mod keys;
pub mod memory;

pub use algorithm::Algorithm;
