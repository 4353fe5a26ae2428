//! The remote half of Claimgate: signing keys of issuers over HTTP, and custom
//! providers over gRPC.
//!
//! [`providers::build`] makes the providers of a configuration. Everything here
//! runs on a tokio runtime; decisions read fetched keys and cached answers
//! without waiting.

pub mod fetch;
pub mod grpc;
pub mod http_client;
pub mod key_source;
pub mod providers;

mod remote_answers;
