//! The door for Envoy over gRPC: the only module that knows the messages of
//! ext_authz. The door inside Envoy is `crates/envoy-module`.
//!
//! A `CheckRequest` arrives as bytes and is decoded in place ([`decode`]);
//! the engine decides; the `CheckResponse` is written straight into its final
//! bytes ([`response`]). [`service`] ties the two together behind gRPC; what happens
//! around a decision is [`crate::check`]'s. [`unfinished`] bounds messages that
//! arrive in several frames. [`capture`] reads recorded messages.
//!
//! The generated message types of `envoy-types` are not used here: filling and
//! dropping their maps costs several times what a decision does. They remain
//! the reference that the tests compare with, and serve where no decision waits.

pub mod capture;
pub mod decode;
pub mod framing;
pub mod health;
pub mod reflection;
pub mod response;
pub mod service;
pub mod unfinished;
pub mod wire;
mod writer;

/// The fully qualified name of the gRPC service.
pub const SERVICE_NAME: &str = "envoy.service.auth.v3.Authorization";

/// The largest message that is read, in bytes. Envoy's own limits keep
/// ordinary messages under 100 kB; bodies, where it is told to send them, make
/// larger ones.
pub const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;
