//! The engine of Claimgate: a [`Request`] goes in, a [`Decision`] comes out.
//!
//! The [`Engine`] finds the token, shows it to the [`Provider`]s in order, and
//! applies the policy of the matching route; a [`response::Response`] is what
//! the upstream or the client gets of it. Nothing here does I/O, needs an async
//! runtime or knows a wire: a door (gRPC for Envoy, a module inside Envoy, your
//! own program) reads requests and writes responses.
//!
//! [`Engine::builder`] makes an engine from settings in code. [`settings`] are
//! plain data. Keys come from a [`keys::KeyStore`], such as
//! [`keys::FixedKeys`]; stores that fetch are in `claimgate-remote`, and
//! settings from YAML in `claimgate-config`.

pub mod allowance;
pub mod bounded_cache;
pub mod builder;
pub mod claims;
pub mod credential;
pub mod decision;
mod detail;
pub mod engine;
pub mod explain;
pub mod heap;
pub mod identity;
pub mod keys;
pub mod limits;
pub mod per_thread;
pub mod policy;
pub mod principal;
pub mod provider;
pub mod provider_id;
pub mod reason;
pub mod request;
pub mod response;
mod sentence;
pub mod settings;
pub mod text;
pub mod time;
pub mod token;
pub mod token_cache;
pub mod traceparent;
pub mod urls;

pub use builder::{ApiKey, BuildError, EngineBuilder, Issuer};
pub use credential::Credential;
pub use decision::Decision;
pub use engine::Engine;
pub use principal::Principal;
pub use provider::{Answer, Answering, Provider};
pub use reason::Reason;
pub use request::Request;
