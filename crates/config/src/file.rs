//! The types of the file: which keys it may have, and the type of each.
//!
//! Every key is optional here, and null is the same as leaving it out; what
//! is required, and the defaults, are the business of [`super::check`]. The
//! JSON Schema is made from these types and their comments, so a key can't
//! be in one and not in the other; a test compares the defaults.

use deserr::Deserr;
use schemars::JsonSchema;

pub(super) mod auth;
mod block;
pub(super) mod claims;
pub(super) mod forms;
pub(super) mod limits;
pub(super) mod provider;
pub(super) mod server;

use super::problems::Problems;

/// The configuration of Claimgate. Inside a string of `auth` and `server`,
/// `${NAME}` and `${NAME:-default}` are replaced from the environment, and
/// `$$` is a literal `$`. Other top-level keys belong to other programs and
/// are ignored.
#[derive(Default, Deserr, JsonSchema)]
#[deserr(error = Problems)]
#[schemars(title = "Claimgate configuration")]
pub(super) struct File {
    /// Which requests are let through. Authentication is turned off only by
    /// `enabled: false` or `mode: none`.
    #[schemars(required)]
    #[deserr(default)]
    pub(super) auth: Option<auth::Auth>,
    /// Where and how the service listens.
    #[deserr(default)]
    pub(super) server: Option<server::Server>,
}
