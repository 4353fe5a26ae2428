//! `filter_config`: what Envoy's configuration says to the filter.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use claimgate_config::ConfigErrors;
use claimgate_files::{Contents, content_of};
use prost::Message;
use prost_types::{Struct, value::Kind};
use serde_json::{Map, Value};

use crate::abi::RouteConfig;

/// How errors name the text that Envoy hands on.
const NAME: &str = "filter_config";

/// Which Claimgate configuration a filter decides by.
#[derive(Clone, PartialEq)]
pub(crate) enum FilterOptions {
    /// That of this config file.
    File(PathBuf),
    /// This one, as the text of a config file, which may hold API keys.
    Inline(String),
}

/// Shows no text.
impl fmt::Debug for FilterOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.file_name().fmt(f)
    }
}

/// What is wrong with `filter_config`. Nothing of it is quoted, as it may hold
/// API keys.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OptionsError {
    /// Envoy hands on any bytes, and a message of any type as its bytes.
    #[error("filter_config is not text; make it a google.protobuf.Struct or StringValue")]
    NotText,
    /// It is not the YAML of a mapping.
    #[error(transparent)]
    NotMapping(#[from] ConfigErrors),
    /// It names no configuration, or two.
    #[error("write either `config_file: PATH` or `config: {{auth: …}}` in filter_config")]
    NotOne,
    /// It names no route.
    #[error("write `route: NAME`, the name of a route in `auth.routes`, in filter_config")]
    NoRoute,
    /// It has a key that means nothing.
    #[error("filter_config.{0}: unknown key; {1} is what may stand here")]
    UnknownKey(String, &'static str),
    /// A path is another value.
    #[error("filter_config.config_file: must be the path of a config file")]
    NotPath,
    /// A configuration is another value.
    #[error("filter_config.config: must be what a config file holds, such as `{{auth: …}}`")]
    NotConfig,
}

impl FilterOptions {
    /// Reads the JSON that Envoy makes of a `Struct`, or YAML.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, OptionsError> {
        let mut fields = mapping(text)?;
        let [file, config] = ["config_file", "config"].map(|key| take(&mut fields, key));
        only_known(&fields, "`config_file` or `config`")?;
        match (file, config) {
            (Some(Value::String(path)), None) if !path.is_empty() => Ok(Self::File(path.into())),
            (Some(_), None) => Err(OptionsError::NotPath),
            (None, Some(mut config @ Value::Object(_))) => {
                // Envoy writes the members of one `Struct` in any order.
                config.sort_all_objects();
                Ok(Self::Inline(config.to_string()))
            }
            (None, Some(Value::String(text))) => Ok(Self::Inline(text)),
            (None, Some(_)) => Err(OptionsError::NotConfig),
            (None, None) | (Some(_), Some(_)) => Err(OptionsError::NotOne),
        }
    }

    /// The config file, or what stands for it.
    pub(crate) fn file_name(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Inline(_) => Path::new(NAME),
        }
    }

    /// The config file and what it holds now, to tell later whether it has
    /// changed.
    pub(crate) fn content(&self) -> Contents {
        match self {
            Self::File(path) => Contents::from([(path.clone(), content_of(path))]),
            Self::Inline(_) => Contents::new(),
        }
    }
}

/// Reads the `filter_config` of a route: the JSON that Envoy makes of a
/// `Struct`, or YAML, or a `Struct` as it is, of which Envoy 1.38 makes no JSON
/// on routes.
pub(crate) fn route(text: &[u8]) -> Result<RouteConfig, OptionsError> {
    let route = route_of_text(text).or_else(|error| route_of_struct(text).ok_or(error))?;
    Ok(RouteConfig { route })
}

fn route_of_text(text: &[u8]) -> Result<String, OptionsError> {
    let mut fields = mapping(text)?;
    let route = take(&mut fields, "route");
    only_known(&fields, "`route`")?;
    match route {
        Some(Value::String(route)) => Ok(route),
        _ => Err(OptionsError::NoRoute),
    }
}

fn route_of_struct(serialized: &[u8]) -> Option<String> {
    let mut fields = Struct::decode(serialized).ok()?.fields;
    match fields.remove("route")?.kind? {
        Kind::StringValue(route) if fields.is_empty() => Some(route),
        _ => None,
    }
}

fn mapping(text: &[u8]) -> Result<Map<String, Value>, OptionsError> {
    let is_text = |text: &&str| text.chars().all(|it| !it.is_control() || it.is_whitespace());
    let text = str::from_utf8(text).ok().filter(is_text).ok_or(OptionsError::NotText)?;
    Ok(claimgate_config::mapping(NAME, text)?)
}

/// Takes a key out; null is as good as none.
fn take(fields: &mut Map<String, Value>, key: &str) -> Option<Value> {
    fields.remove(key).filter(|value| !value.is_null())
}

fn only_known(rest: &Map<String, Value>, known: &'static str) -> Result<(), OptionsError> {
    match rest.keys().next() {
        Some(key) => Err(OptionsError::UnknownKey(key.escape_debug().to_string(), known)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_configuration_is_named() {
        let file = FilterOptions::File("/etc/claimgate/gateway.yaml".into());
        let inline = FilterOptions::Inline(r#"{"auth":{"enabled":false}}"#.into());
        let as_text = FilterOptions::Inline("{auth: {enabled: false}}".into());
        let a = FilterOptions::File("a".into());
        let cases = [
            ("config_file: /etc/claimgate/gateway.yaml", Some(&file)),
            (r#"{"config_file":"/etc/claimgate/gateway.yaml"}"#, Some(&file)),
            (r#"{"config":{"auth":{"enabled":false}}}"#, Some(&inline)),
            ("config: {auth: {enabled: false}}", Some(&inline)),
            ("", None),
            ("{}", None),
            ("config_file: a\nconfig: {}", None),
            ("config_files: a", None),
            ("config: '{auth: {enabled: false}}'", Some(&as_text)),
            ("config_file: a\nconfig: null", Some(&a)),
            ("config: 3", None),
            ("config_file: 3", None),
            ("config_file: ''", None),
            ("config_file: a\nother: 1", None),
            ("config_file: a\n---\nconfig_file: a", None),
            ("config_file: a\nconfig_file: a", None),
            ("[]", None),
        ];
        for (text, expected) in cases {
            let found = FilterOptions::parse(text.as_bytes());
            assert_eq!(found.as_ref().ok(), expected, "{text}: {found:?}");
        }
        assert!(FilterOptions::parse(b"\xff").is_err());
    }

    #[test]
    fn the_order_of_members_makes_no_other_configuration() {
        let [one, other] = [
            r#"{"config":{"auth":{"realm":"a","enabled":false},"server":{}}}"#,
            r#"{"config":{"server":{},"auth":{"enabled":false,"realm":"a"}}}"#,
        ]
        .map(|text| FilterOptions::parse(text.as_bytes()).unwrap());
        assert!(one == other);
    }

    #[test]
    fn what_is_wrong_says_what_to_write_and_quotes_nothing() {
        let cases: [(&[u8], &str); 9] = [
            (b"", "write either `config_file: PATH` or `config: {auth: …}`"),
            (b"\x08\x01", "google.protobuf.Struct or StringValue"),
            (b"config: {key: secret}\nconfig_fil: secret", "filter_config.config_fil: unknown key"),
            (b"config: {key: secret}\nconfig_file: secret", "write either"),
            (b"config: {key: secret", "filter_config:1:"),
            (b"config: {key: secret}\n x: [", "filter_config:2:"),
            (b"config: [secret]", "filter_config.config: must be what a config file holds"),
            (b"config_file: [secret]", "filter_config.config_file: must be the path"),
            (b"secret", "filter_config:1:1: must be a mapping"),
        ];
        for (text, expected) in cases {
            let error = FilterOptions::parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
        let inline = FilterOptions::parse(b"config: {key: secret}").unwrap();
        assert_eq!(format!("{inline:?}"), "\"filter_config\"");
    }

    #[test]
    fn a_route_is_named() {
        let admin = RouteConfig { route: "admin".into() };
        assert_eq!(route(br#"{"route":"admin"}"#).ok(), Some(admin));
        for text in ["", "{}", "route: [a]", "route: a\nother: b"] {
            assert!(route(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_route_is_named_by_a_serialized_struct() {
        let text = |text: &str| prost_types::Value { kind: Some(Kind::StringValue(text.into())) };
        let serialized = |names: &[&str]| {
            let fields = names.iter().map(|name| ((*name).to_owned(), text("admin")));
            Struct { fields: fields.collect() }.encode_to_vec()
        };
        let admin = RouteConfig { route: "admin".into() };
        assert_eq!(route(&serialized(&["route"])).ok(), Some(admin));
        for names in [&["other"][..], &["route", "other"]] {
            assert!(route(&serialized(names)).is_err(), "{names:?}");
        }
    }
}
