//! The config file as its authors see it: what loads, what does not, and the
//! messages.

use std::{fs, path::Path};

use claimgate::{
    config::{self, ConfigErrors, Loaded},
    settings::Settings,
};

/// The environment of these tests: every `…_API_KEY` is set, and a few more.
fn env(name: &str) -> Option<String> {
    match name {
        "ISSUER" => Some("http://env-secret.example".into()),
        "KEY_WITH_COMMA" => Some("env-secret,1".into()),
        "EMPTY" => Some(String::new()),
        "NUMBER" => Some("7".into()),
        "NO" => Some("false".into()),
        "LINE" => Some("env-secret\nauth: {enabled: false}".into()),
        _ => name.ends_with("_API_KEY").then(|| format!("value-of-{name}")),
    }
}

fn load(text: &str) -> Result<Loaded, ConfigErrors> {
    config::load(text, &env)
}

#[track_caller]
fn good(text: &str) -> Loaded {
    match load(text) {
        Ok(loaded) => loaded,
        Err(errors) => panic!("{errors}\nin\n{text}"),
    }
}

fn debug(settings: &Settings) -> String {
    format!("{settings:#?}")
}

/// Every file in a folder of this repository, without its subfolders.
fn folder(name: &str) -> Vec<std::path::PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
}

mod accepted;
mod limits;
mod mistakes;
mod paths;
mod properties;
mod refused;
mod schema;
mod warned;

#[test]
fn every_example_loads_without_a_warning() {
    let examples = folder("examples");
    assert!(examples.len() >= 9, "{examples:?}");
    for path in examples {
        let loaded = good(&fs::read_to_string(&path).unwrap());
        assert!(loaded.warnings.is_empty(), "{}: {:?}", path.display(), loaded.warnings);
    }
}

#[test]
fn the_committed_schema_is_the_one_of_these_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/claimgate.schema.json");
    let committed = fs::read_to_string(path).unwrap();
    let current = format!("{:#}\n", config::schema());
    assert!(committed == current, "run `claimgate schema > schema/claimgate.schema.json`");
}

#[test]
fn a_missing_file_is_named() {
    let errors = config::read(Path::new("/nowhere/gateway.yaml")).unwrap_err().to_string();
    assert!(errors.contains("/nowhere/gateway.yaml") && errors.contains("--config"), "{errors}");
}

#[test]
fn a_file_that_is_not_text_is_an_error_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.yaml");
    fs::write(&path, b"auth:\n  realm: \"\xff\"\n").unwrap();
    let errors = config::read(&path).unwrap_err().to_string();
    assert!(errors.contains(":2:11: is not UTF-8 from here on"), "{errors}");
}
