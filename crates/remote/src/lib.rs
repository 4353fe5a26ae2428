//! What Claimgate asks others: issuers for their signing keys over HTTP, and
//! custom providers over gRPC.
//!
//! [`providers::build`] makes the providers that settings name. Everything here
//! runs on a tokio runtime; decisions read what it has fetched without waiting.

pub mod fetch;
pub mod grpc;
pub mod http_client;
pub mod key_source;
pub mod providers;

mod remote_answers;
