//! The rules: typed file to settings.
//!
//! Every function here reports what is wrong and goes on with a default, so
//! that one run finds every error; the settings are used only if there is
//! none.

mod address;
mod api_keys;
mod auth;
mod claims;
mod custom;
mod denial_style;
mod headers;
mod limits;
mod metadata;
mod oauth2;
mod open;
mod path;
mod pattern;
mod providers;
mod resources;
mod routes;
mod scalars;
mod server;
mod shadowed;
mod sources;
mod tracing;
mod urls;

use claimgate_core::settings::AuthSettings;

use super::{file::File, report::Place};
use crate::settings::Settings;

/// Whether a route takes this path without an error or a warning only with
/// `literal: true`.
pub fn looks_like_pattern(path: &str) -> bool {
    pattern::sign(path).or_else(|| pattern::faint_sign(path)).is_some()
}

/// Checks a file against the rules.
pub(super) fn settings(file: File, root: &Place) -> Settings {
    let server = server::server(file.server.unwrap_or_default(), &root.key("server"));
    let place = root.key("auth");
    let auth = match file.auth {
        Some(auth) => auth::auth(auth, &place),
        None => {
            place.missing(
                "write a line `auth:` and below it, indented by two spaces, who may pass: \
                 `providers`, or `api_keys`",
            );
            AuthSettings::default()
        }
    };
    Settings { server, auth }
}
