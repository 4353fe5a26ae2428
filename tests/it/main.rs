//! The tests of claimgate as a library, over real gRPC and HTTP: one program,
//! so that it is linked once and its tests run in parallel. Tests that need the
//! built executable are in `tests/program/`.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "the helpers of tests fail like tests"
)]

mod check_service;
mod config;
mod corpora;
mod decisions;
mod denials;
mod docs;
mod explain_agrees;
mod grpc_provider;
mod honest_paths;
mod issuer;
mod jwt_checks;
mod keys_over_http;
mod limits;
mod oracle;
mod path_model;
mod serving;
mod status_page;
mod traces;
mod wire_property;

#[path = "../support/support.rs"]
mod support;
