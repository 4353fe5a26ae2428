//! Shared by the tests: everything that they start, send or make.

#![allow(dead_code, reason = "each test program uses a part")]

pub(crate) mod authority;
pub(crate) mod envoy;
pub(crate) mod folder;
pub(crate) mod http;
pub(crate) mod issuer;
pub(crate) mod mint;
pub(crate) mod oauth2;
pub(crate) mod ports;
pub(crate) mod process;
pub(crate) mod service;
pub(crate) mod wait;
