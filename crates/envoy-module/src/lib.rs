//! Claimgate inside Envoy: the engine as an HTTP filter of Envoy's dynamic
//! modules, on the same config file and with the same decisions as the
//! service.
//!
//! Envoy calls the hooks that [`abi`] exports. A filter configuration names a
//! Claimgate configuration ([`options`]), which belongs to the process and is
//! shared by all that name it ([`registry`], [`configuration`]). For every
//! request a [`filter`] reads the headers, has them decided ([`decide`]) and
//! carries out the [`effects`]; a decision that must wait is made on the one
//! [`background`] thread, while Envoy's worker goes on with other requests.

mod abi;

mod filter;

mod request;

mod decide;

mod effects;

mod metadata;

mod query;

mod options;

mod registry;

mod configuration;

mod load;

mod open;

mod admin;

mod stats;

mod background;

mod guard;

mod log;

#[cfg(test)]
mod allocations;

abi::export_hooks!(crate::filter::Filter);
