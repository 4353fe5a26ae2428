//! Policy tests: cases that say what a config must decide, run against the
//! real engine without an issuer, a network or Envoy.
//!
//! A [`TestFile`] holds the cases. The [`Harness`] prepares the config for each
//! [`Case`]: throw-away keys replace the issuers' and sign the case's token, a
//! throw-away API key replaces the named one, and custom providers return the
//! answers in the case.

mod case;
mod expect;
mod file;
mod harness;
mod mint;
mod placeholder;
mod run;

pub use case::{Case, CaseCredential, CaseJwt, CustomAnswer};
pub use expect::{Expectations, Mismatch};
pub use file::TestFile;
pub use harness::{Harness, HarnessError};
pub use placeholder::TOKEN;
pub use run::{CaseReport, run};
