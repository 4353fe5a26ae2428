//! The config file: YAML to validated settings.
//!
//! A file goes through four steps, each in a module of its own: [`yaml`]
//! parses it, [`environment`] replaces the variables in its strings, [`shape`]
//! gives it the types of [`file`] (from which the JSON Schema is made, too),
//! and [`check`] checks every value and returns [`Settings`]. The steps share
//! one [`report`], so that all errors of a file are reported at once, each with
//! its key path.
//!
//! Errors never show a secret: neither an API key nor a value that came from
//! the environment. Nor does one stay in memory: see [`secret`] and [`wiped`].

use std::{env, path::Path};

use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

mod check;
pub mod document;
mod environment;
mod errors;
mod file;
mod files;
mod loaded;
mod named_file;
mod report;
mod schema;
mod secret;
pub mod settings;
mod shape;
mod wiped;
mod yaml;

pub use claimgate_core::provider::api_key::key;
pub use errors::{ConfigError, ConfigErrors};
pub use files::check_files;
pub use loaded::Loaded;
pub use named_file::{NamedFile, NamedFileKind};
pub use schema::schema;

use report::{Place, Report};

/// Loads a config from its text; `env` looks an environment variable up.
///
/// Files that the config names are not read; see [`Loaded::check_files`].
pub fn load(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, ConfigErrors> {
    let tree = yaml::parse(text, "config file")?;
    settings(tree, env, key::format_hash(&key::hash(text)))
}

/// Takes a parsed file through the other steps.
fn settings(
    mut tree: Map<String, Value>,
    env: &dyn Fn(&str) -> Option<String>,
    digest: String,
) -> Result<Loaded, ConfigErrors> {
    let report = Report::default();
    let root = Place::root(&report);

    yaml::warn_of_other_blocks(&mut tree, &report);
    environment::substitute(&mut tree, env, &root);
    let server = tree.get("server").and_then(|server| server.pointer("/admin/address"));
    let names_admin_address = server.is_some_and(|address| !address.is_null());
    let file = shape::read(tree, &report);
    let settings = check::settings(file, &root);
    let (warnings, files) = report.finish()?;
    Ok(Loaded { settings, warnings, files, digest, names_admin_address })
}

/// Loads the config file at `path` with this process's environment.
pub fn read(path: &Path) -> Result<Loaded, ConfigErrors> {
    load(&text_of(path)?, &|name| env::var(name).ok())
}

/// `server.admin.address` of the config file at `path`. The other blocks are
/// left out: the variables that they use need not be set.
pub fn admin_address(path: &Path) -> Result<String, ConfigErrors> {
    let mut tree = yaml::parse(&text_of(path)?, "config file")?;
    yaml::retain(&mut tree, |block| block == "server");
    tree.insert("auth".into(), json!({"enabled": false}));
    let loaded = settings(tree, &|name| env::var(name).ok(), String::new())?;
    Ok(loaded.settings.server.admin_address)
}

/// The text of the file, wiped when it is dropped: it may hold API keys.
fn text_of(path: &Path) -> Result<Zeroizing<String>, ConfigErrors> {
    let bytes = claimgate_files::read(path).map_err(|error| {
        let advice = "name the config file with --config or CLAIMGATE_CONFIG";
        ConfigErrors::single(path.display(), format_args!("can't be read: {error}; {advice}"))
    })?;
    String::from_utf8(bytes).map(Zeroizing::new).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = 1 + Zeroizing::new(error.into_bytes())[..valid]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        let message = format_args!("line {line} is not UTF-8; save the file as UTF-8");
        ConfigErrors::single(path.display(), message)
    })
}
