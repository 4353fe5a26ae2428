//! `filter_config`: what Envoy's configuration says to the filter.

use std::path::{Path, PathBuf};

use claimgate_files::{Contents, content_of};
use prost::Message;
use prost_types::{Struct, value::Kind};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::abi::RouteConfig;

/// Which Claimgate configuration a filter decides by.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum FilterOptions {
    /// That of this config file.
    File(PathBuf),
    /// This one, as the text of a config file.
    Inline(String),
}

/// What is wrong with `filter_config`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OptionsError {
    /// Envoy hands on any bytes.
    #[error("filter_config is not UTF-8")]
    NotText,
    /// It says nothing.
    #[error("filter_config is empty")]
    Empty,
    /// It has another shape.
    #[error("filter_config can't be read: {0}")]
    Unreadable(String),
    /// It says both or nothing.
    #[error("write either `config_file: PATH` or `config: {{auth: …}}` in filter_config")]
    NotOne,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    config_file: Option<PathBuf>,
    config: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteFields {
    route: String,
}

impl FilterOptions {
    /// Reads the JSON that Envoy makes of a `Struct`, or YAML.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, OptionsError> {
        match parse(text)? {
            Fields { config_file: Some(path), config: None } => Ok(Self::File(path)),
            Fields { config_file: None, config: Some(config) } => {
                Ok(Self::Inline(Value::from(config).to_string()))
            }
            Fields { .. } => Err(OptionsError::NotOne),
        }
    }

    /// The config file, or what stands for it.
    pub(crate) fn file_name(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Inline(_) => Path::new("filter_config"),
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
    let fields = parse(text).map(|RouteFields { route }| route);
    let route = fields.or_else(|error| route_of_struct(text).ok_or(error))?;
    Ok(RouteConfig { route })
}

fn route_of_struct(serialized: &[u8]) -> Option<String> {
    let mut fields = Struct::decode(serialized).ok()?.fields;
    match fields.remove("route")?.kind? {
        Kind::StringValue(route) if fields.is_empty() => Some(route),
        _ => None,
    }
}

fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, OptionsError> {
    let text = str::from_utf8(text).map_err(|_| OptionsError::NotText)?;
    if text.trim().is_empty() {
        return Err(OptionsError::Empty);
    }
    serde_saphyr::from_str(text).map_err(|error| OptionsError::Unreadable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_configuration_is_named() {
        let file = FilterOptions::File("/etc/claimgate/gateway.yaml".into());
        let inline = FilterOptions::Inline(r#"{"auth":{"enabled":false}}"#.into());
        let cases = [
            ("config_file: /etc/claimgate/gateway.yaml", Some(&file)),
            (r#"{"config_file":"/etc/claimgate/gateway.yaml"}"#, Some(&file)),
            (r#"{"config":{"auth":{"enabled":false}}}"#, Some(&inline)),
            ("config: {auth: {enabled: false}}", Some(&inline)),
            ("", None),
            ("{}", None),
            ("config_file: a\nconfig: {}", None),
            ("config_files: a", None),
            ("config: text", None),
            ("[]", None),
        ];
        for (text, expected) in cases {
            let found = FilterOptions::parse(text.as_bytes());
            assert_eq!(found.as_ref().ok(), expected, "{text}: {found:?}");
        }
        assert!(FilterOptions::parse(b"\xff").is_err());
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
