//! The tests that start the built executable: its commands, its signals and
//! exit codes, its limits during floods. Tests that run inside their own
//! process are in `tests/it/`.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "the helpers of tests fail like tests"
)]

mod cache_memory;
mod commands;
mod explain;
mod import_alb;
mod limits;
mod policy_tests;
mod proxies;
mod reasons;
mod serve;

#[path = "../support/support.rs"]
mod support;
