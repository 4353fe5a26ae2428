//! Claimgate decides whether Envoy may let a request through.
//!
//! A [`Request`] goes in, a [`Decision`] comes out: the [`Engine`] finds the
//! token, shows it to the [`Provider`]s in order, and applies the policy of
//! the matching route. That engine is the crate `claimgate-core`; this one is
//! the program around it: [`check`] decides and records for every protocol
//! over which checks arrive (a *door*), [`envoy`] is the door for Envoy's
//! ext_authz over gRPC, [`app`] runs the service. What the crates of the
//! workspace offer is re-exported here under one name.

pub use claimgate_core::{
    builder, claims, credential, decision, engine, identity, keys, limits, policy, principal,
    provider_id, reason, request, response, time, token, token_cache, traceparent, urls,
};

pub use claimgate_config as config;

/// The settings of engine and service, as plain data.
pub mod settings {
    pub use claimgate_config::settings::*;
    pub use claimgate_core::settings::*;
}

/// Providers: the trait, the chain, and those that are built in.
pub mod provider {
    pub use claimgate_core::provider::*;
    pub use claimgate_remote::grpc;

    /// JWTs of an OAuth 2.0 issuer.
    pub mod oauth2 {
        pub use claimgate_core::{
            keys::{self, Algorithm},
            provider::oauth2::*,
        };
        pub use claimgate_remote::{fetch, key_source};
    }
}

pub mod build;
pub mod check;

pub mod envoy;

pub mod metrics;

pub mod status;

pub mod readiness;

pub mod admin;

pub mod traces;

pub mod telemetry;

pub mod hardening;

pub mod app;

pub mod cli;

pub mod explain;

pub mod policy_tests;

pub mod issuer;

pub mod import_alb;

pub mod token_client;

mod texts;

pub use claimgate_core::{
    Answer, Answering, Credential, Decision, Engine, Principal, Provider, Reason, Request,
};
