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

mod blocks;
mod check;
pub mod document;
mod environment;
mod errors;
mod file;
mod files;
mod homes;
mod key_path;
mod loaded;
mod named_file;
mod position;
mod positions;
mod problems;
mod report;
mod schema;
mod secret;
pub mod settings;
mod shape;
mod spelling;
mod wiped;
mod yaml;

pub use check::looks_like_pattern;
pub use claimgate_core::provider::api_key::key;
pub use errors::{ConfigErrors, Finding};
pub use files::check_files;
pub use loaded::Loaded;
pub use named_file::{NamedFile, NamedFileKind};
pub use position::Position;
pub use schema::schema;

use report::{Notes, Place, Report};
use yaml::Source;

/// The name of a text that comes from no file.
const UNNAMED: &str = "config file";

/// Loads a config from its text; `env` looks an environment variable up.
///
/// Files that the config names are not read; see [`Loaded::check_files`].
pub fn load(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, ConfigErrors> {
    load_named(UNNAMED, text, env)
}

/// The same for the text of a file; errors and warnings name it.
pub fn load_named(
    name: &str,
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, ConfigErrors> {
    let source = Source { name, text };
    let tree = yaml::parse(source)?;
    settings(tree, env, source, key::format_hash(&key::hash(text)))
}

/// Takes a parsed file through the other steps.
fn settings(
    mut tree: Map<String, Value>,
    env: &dyn Fn(&str) -> Option<String>,
    source: Source<'_>,
    digest: String,
) -> Result<Loaded, ConfigErrors> {
    let report = Report::default();
    let root = Place::root(&report);

    blocks::set_other_blocks_apart(&mut tree, &root);
    environment::substitute(&mut tree, env, &root);
    let server = tree.get("server").and_then(|server| server.pointer("/admin/address"));
    let names_admin_address = server.is_some_and(|address| !address.is_null());
    let file = shape::read(tree, &report);
    let settings = check::settings(file, &root);
    report.warn_of_bare_references();
    let Notes { warnings, files } = report.finish(source)?;
    Ok(Loaded { settings, warnings, files, digest, names_admin_address })
}

/// Loads the config file at `path` with this process's environment.
pub fn read(path: &Path) -> Result<Loaded, ConfigErrors> {
    read_as_named_by("--config or CLAIMGATE_CONFIG", path)
}

/// The same for a path that `named_by` names, which the error says where the
/// file can't be read.
pub fn read_as_named_by(named_by: &str, path: &Path) -> Result<Loaded, ConfigErrors> {
    let text = text_of(path, named_by)?;
    load_named(&path.display().to_string(), &text, &|name| env::var(name).ok())
}

/// The mapping that a YAML text is, by the rules of a config file; errors name
/// the text and quote nothing of it.
pub fn mapping(name: &str, text: &str) -> Result<Map<String, Value>, ConfigErrors> {
    yaml::parse(Source { name, text })
}

/// `server.admin.address` of the config file at `path`. The other blocks are
/// left out: the variables that they use need not be set.
pub fn admin_address(path: &Path) -> Result<String, ConfigErrors> {
    let text = text_of(path, "--config or CLAIMGATE_CONFIG")?;
    let source = Source { name: &path.display().to_string(), text: &text };
    let mut tree = yaml::parse(source)?;
    blocks::retain(&mut tree, |block| block == "server");
    tree.insert("auth".into(), json!({"enabled": false}));
    let loaded = settings(tree, &|name| env::var(name).ok(), source, String::new())?;
    Ok(loaded.settings.server.admin_address)
}

/// The text of the file, wiped when it is dropped: it may hold API keys.
fn text_of(path: &Path, named_by: &str) -> Result<Zeroizing<String>, ConfigErrors> {
    let bytes = claimgate_files::read(path).map_err(|error| {
        ConfigErrors::of_file(
            path.display(),
            None,
            format_args!("can't be read: {error}; name the config file with {named_by}"),
        )
    })?;
    String::from_utf8(bytes).map(Zeroizing::new).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let bytes = Zeroizing::new(error.into_bytes());
        let position = Position::behind(&bytes[..valid]);
        let message = "is not UTF-8 from here on; save the file as UTF-8";
        ConfigErrors::of_file(path.display(), Some(position), message)
    })
}
