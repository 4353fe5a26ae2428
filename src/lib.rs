//! Claimgate decides whether Envoy may let a request through.
//!
//! A [`Request`] goes in, a [`Decision`] comes out: the [`Engine`] finds the
//! token, shows it to the [`Provider`]s in order, and applies the policy of
//! the matching route. Everything around it adapts: `envoy` speaks Envoy's
//! protocol, `config` reads files, `app` runs the service.

pub mod settings;

pub mod request;

pub mod token;

pub mod credential;

pub mod provider;

pub mod provider_id;

pub mod keys;

pub mod token_cache;

pub mod principal;

pub mod identity;

pub mod claims;

pub mod policy;

pub mod engine;

pub mod decision;

pub mod response;

pub mod reason;

pub mod urls;

pub mod time;

mod bounded_cache;

mod heap;

mod per_thread;

mod texts;

pub mod config;

pub mod check;

pub mod envoy;

pub mod explain;

pub mod policy_tests;

pub mod metrics;

pub mod status;

pub mod readiness;

pub mod admin;

pub mod telemetry;

pub mod hardening;

pub mod traceparent;

pub mod traces;

pub mod app;

pub mod cli;

pub mod issuer;

pub mod import_alb;

pub mod token_client;

pub use credential::Credential;
pub use decision::Decision;
pub use engine::Engine;
pub use principal::Principal;
pub use provider::{Answer, Answering, Provider};
pub use reason::Reason;
pub use request::Request;
