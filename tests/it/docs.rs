//! The pages under `docs/` agree with the program: they explain every name that
//! users see, and their examples work.

use std::{collections::BTreeSet, fs, path::Path, sync::Arc, time::Duration};

use claimgate::{
    Decision, Reason,
    cli::Cli,
    config::{self, key},
    decision::{Caller, Verdict},
    identity::Identity,
    issuer::signing::SigningKey,
    keys::Algorithm,
    metrics::{CheckMeters, Metrics},
    time::UnixTime,
};
use clap::CommandFactory;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::support::envoy::{self, check, connect, http};

#[expect(unreachable_pub, reason = "written as the reader's own program would be")]
#[path = "../../docs/custom_provider.rs"]
mod custom_provider;
mod issuers;
mod reference;
mod timeouts;

fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every key in the schema, without its path.
fn config_keys() -> BTreeSet<String> {
    fn visit(value: &Value, keys: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) => {
                if let Some(Value::Object(properties)) = members.get("properties") {
                    keys.extend(properties.keys().cloned());
                }
                members.values().for_each(|member| visit(member, keys));
            }
            Value::Array(elements) => elements.iter().for_each(|element| visit(element, keys)),
            _ => {}
        }
    }
    let schema = serde_json::from_str(&page("schema/claimgate.schema.json")).unwrap();
    let mut keys = BTreeSet::new();
    visit(&schema, &mut keys);
    keys
}

/// The text of `/metrics` once every metric family has a sample.
/// What a program with something of everything exports.
fn exposition() -> String {
    const CONFIG: &str = "auth: {plans: {free: {requests: {per_minute: 1}}}, providers: \
        [{name: provider, type: oauth2, issuer: 'https://a.example', audience: a}]}";
    let engine = issuers::engine(CONFIG, &SigningKey::generate(Algorithm::Es256).unwrap());
    let metrics = Metrics::new("0", "0").unwrap();
    metrics.set_key_expiries([("provider", "key", UnixTime::from_seconds(1.0))]);
    metrics.fetch_meter("provider").set_keys(1);
    let meters = CheckMeters::new(&metrics, &engine);
    let identity = Identity { dropped: vec!["x-auth-roles".into()], ..Identity::default() };
    let caller = Caller { principal: Arc::default(), identity: Arc::new(identity) };
    let decision = Decision { caller: Some(caller), ..Decision::new(Verdict::Allow, Reason::Ok) };
    meters.record(&decision, Duration::ZERO);
    metrics.encode().unwrap()
}

/// Every metric family.
fn metric_families() -> BTreeSet<String> {
    let family = |line: &str| Some(line.strip_prefix("# TYPE ")?.split(' ').next()?.to_owned());
    exposition().lines().filter_map(family).collect()
}

#[test]
fn every_name_is_explained() {
    let (keys, families) = (config_keys(), metric_families());
    assert!(keys.len() >= 60, "{keys:?}");
    assert!(families.len() >= 20, "{families:?}");
    let configuration = page("docs/configuration.md");
    let row_of = |line: &str| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned());
    let rows: Vec<_> = configuration.lines().filter_map(row_of).collect();
    for key in keys.iter().filter(|key| !["auth", "server", "claim", "is"].contains(&key.as_str()))
    {
        let has_row = rows.iter().any(|row| row.rsplit('.').next() == Some(key.as_str()));
        assert!(has_row, "config key {key}");
    }
    let operations = page("docs/operations.md");
    for family in families {
        assert!(operations.contains(&format!("`{family}`")), "metric {family}");
    }
    for command in Cli::command().get_subcommands() {
        let written = format!("`claimgate {}`", command.get_name());
        assert!(operations.contains(&written), "command {}", command.get_name());
    }
    let reasons = page("docs/reasons.md");
    for reason in Reason::ALL {
        let section = format!("### {reason}\n\n*{}*", reason.description());
        assert!(reasons.contains(&section), "reason {reason}");
    }
}

/// The text of every fenced block of this language.
fn snippets<'p>(page: &'p str, language: &str) -> Vec<&'p str> {
    let fence = format!("\n```{language}\n");
    page.split(&fence).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

/// Every page of the book, by its path in the repository.
fn book_pages() -> Vec<String> {
    files("docs", ".md")
}

/// Every YAML file below a folder, by its path in the repository.
fn yaml_files(folder: &str) -> Vec<String> {
    files(folder, ".yaml")
}

fn files(folder: &str, ending: &str) -> Vec<String> {
    fn visit(folder: &str, ending: &str, found: &mut Vec<String>) {
        for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{folder}/{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                visit(&name, ending, found);
            } else if name.ends_with(ending) {
                found.push(name);
            }
        }
    }
    let mut found = Vec::new();
    visit(folder, ending, &mut found);
    found.sort();
    found
}

#[test]
fn every_example_names_the_schema_for_editors() {
    let schema = config::schema();
    let url = schema["$id"].as_str().unwrap();
    let place = url.strip_prefix(env!("CARGO_PKG_REPOSITORY")).unwrap();
    let file = place.strip_prefix("/raw/main/").unwrap();
    assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(file).exists(), "{file}");
    let line = format!("# yaml-language-server: $schema={url}\n");
    let files = ["examples", "demo"].into_iter().flat_map(yaml_files);
    let configs: Vec<_> = files.filter(|name| page(name).contains("\nauth:")).collect();
    assert!(configs.len() >= 11, "{configs:?}");
    for name in configs {
        assert!(page(&name).starts_with(&line), "{name}");
    }
    assert!(page("docs/configuration.md").contains(&line));
}

#[test]
fn every_page_is_in_the_book() {
    let summary = page("docs/SUMMARY.md");
    for name in book_pages().iter().filter(|name| *name != "docs/SUMMARY.md") {
        let link = format!("({})", name.strip_prefix("docs/").unwrap());
        assert!(summary.contains(&link), "add {name} to docs/SUMMARY.md");
    }
}

/// A variable of the reader's environment; `…_HASH` is the hash of an API key.
fn variable(name: &str) -> String {
    match name.ends_with("_HASH") {
        true => key::format_hash(&key::hash(name)),
        false => format!("value-of-the-variable-{name}"),
    }
}

/// The config inside a YAML block: the block itself, or the `config` of a
/// chart's values or of a file of policy tests. The others are Envoy's, run by
/// the end-to-end tests, or Kubernetes', run by `make test-kube`.
fn config_in(text: &str, name: &str) -> Option<String> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text)
        .unwrap_or_else(|error| panic!("{name}: {error}\nin\n{text}"));
    let [Value::Object(document)] = &documents[..] else { return None };
    match document.get("config") {
        _ if document.contains_key("auth") || document.contains_key("server") => Some(text.into()),
        Some(Value::String(config)) if config.contains('\n') => Some(config.clone()),
        Some(config @ Value::Object(_)) => Some(config.to_string()),
        _ => None,
    }
}

#[test]
fn every_config_that_is_shown_loads() {
    let pages: Vec<_> = book_pages().into_iter().chain(["README.md".into()]).collect();
    let mut loaded = 0;
    for name in pages {
        let text = page(&name);
        for snippet in snippets(&text, "yaml") {
            let Some(config) = config_in(snippet, &name) else { continue };
            let errors = match config::load(&config, &|name| Some(variable(name))) {
                Ok(config) => {
                    config.warnings.iter().map(|warning| format!("{warning}\n")).collect()
                }
                Err(errors) => errors.to_string(),
            };
            assert!(errors.is_empty(), "{name}: {errors}\nin\n{snippet}");
            loaded += 1;
        }
    }
    assert!(loaded >= 20, "{loaded}");
}

#[test]
fn the_custom_providers_that_are_shown_are_the_ones_beside_the_page() {
    let text = page("docs/providers.md");
    for (language, file) in
        [("rust", "docs/custom_provider.rs"), ("python", "docs/custom_provider.py")]
    {
        assert_eq!(snippets(&text, language), [page(file)], "copy {file} into the page");
    }
}

#[tokio::test]
async fn the_custom_provider_in_rust_serves_envoy() {
    use custom_provider::{Session, Sessions, serve};

    let session = |until| Session { user: "alice".into(), until: UnixTime::from_seconds(until) };
    let sessions = [("here".into(), session(4e9)), ("gone".into(), session(1.0))];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(serve(listener, Sessions::new(sessions.into())));
    let mut client = connect(&address).await;

    for (token, code) in [("sess_here", 0), ("sess_gone", 16), ("sess_none", 16), ("other", 16)] {
        let authorization = format!("Bearer {token}");
        let request = check(http("GET", "/", &[("authorization", &authorization)]));
        let response = client.check(request).await.unwrap().into_inner();
        assert_eq!(envoy::code(&response), code, "{token}");
    }
}
