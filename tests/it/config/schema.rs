//! The JSON Schema agrees with the loader: it is for editors, so it must accept
//! a valid file, and should refuse a misspelt one.

use std::fs;

use claimgate::config;
use serde_json::{Value, json};

use super::{debug, folder, good};

fn is_valid(file: &Value) -> bool {
    let validator = jsonschema::validator_for(&config::schema()).unwrap();
    for error in validator.iter_errors(file) {
        eprintln!("{}: {error}", error.instance_path());
    }
    validator.is_valid(file)
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

#[test]
fn every_example_is_valid() {
    for path in folder("examples") {
        let text = fs::read_to_string(&path).unwrap();
        assert!(is_valid(&yaml(&text)), "{}", path.display());
    }
}

#[test]
fn variables_nulls_and_other_blocks_are_valid() {
    for text in [
        "auth: {enabled: '${ON}', mode: '${MODE:-api_key}', max_token_bytes: '${N}'}",
        "auth: {mode: null, providers: null, headers: {subject: null, claims: {a: null}}}",
        "auth: {enabled: false}\nserver: {workers: '${N}', grpc: {tls: null}}\ncache: {size: 1}",
        "auth: {oauth2: {issuer: 'https://i', audience: [a], algorithms: ['${ALGORITHM}']}}",
        "auth: {oauth2: {issuer: 'https://i', required_claims: {a: [1, true, x]}}}",
    ] {
        assert!(is_valid(&yaml(text)), "{text}");
    }
}

#[test]
fn misspelt_files_are_not_valid() {
    for text in [
        "server: {}",
        "auth: {relm: x}",
        "auth: {enabled: maybe}",
        "auth: {mode: jwt}",
        "auth: {api_keys: [{key: k}]}",
        "auth: {api_keys: [{name: n, kee: k}]}",
        "auth: {providers: [{name: p}]}",
        "auth: {providers: [{name: p, type: jwt}]}",
        "auth: {providers: [{name: p, type: oauth2, issuer: x, isuer: x}]}",
        "auth: {providers: [{type: oauth2, issuer: x}]}",
        "auth: {oauth2: {issuer: 'https://i', audience: a, name: p}}",
        "auth: {oauth2: {issuer: 'https://i', algorithms: [HS256]}}",
        "auth: {oauth2: {issuer: 'https://i', jwks_cache_seconds: 0}}",
        "auth: {oauth2: {issuer: 'https://i', required_claims: {a: {b: c}}}}",
        "auth: {routes: [{name: r, match: {prefix: /}}]}",
        "auth: {token_sources: [{headr: x}]}",
        "auth: {enabled: false}\nserver: {workers: 0}",
        "auth: {enabled: false}\nserver: {grpc: {tls: {cert_file: x}}}",
    ] {
        assert!(!is_valid(&yaml(text)), "{text}");
    }
}

/// Writing every default down must change nothing.
#[test]
fn its_defaults_are_the_loaders() {
    let schema = config::schema();
    let defaults = |pointer: &str| {
        let block = schema.pointer(pointer).unwrap_or_else(|| panic!("{pointer}"));
        let defaults: serde_json::Map<_, _> = block["properties"]
            .as_object()
            .unwrap()
            .iter()
            .filter_map(|(key, property)| Some((key.clone(), property.get("default")?.clone())))
            .collect();
        assert!(!defaults.is_empty(), "{pointer}");
        defaults
    };
    let with = |fixed: Value, pointer: &str| {
        let mut all = defaults(pointer);
        all.extend(fixed.as_object().unwrap().clone());
        Value::from(all)
    };
    let key = json!({"name": "n", "key": "k"});
    let oauth2 = json!({"name": "o", "type": "oauth2", "issuer": "https://i", "audience": "a"});
    let grpc = json!({"name": "g", "type": "grpc", "address": "http://h:1"});
    let file = |server: Value, auth: Value| json!({"server": server, "auth": auth}).to_string();
    let providers = |key: &Value, oauth2: &Value, grpc: &Value| json!({"providers": [{"name": "k", "type": "api_key", "keys": [key]}, oauth2, grpc]});

    let short = file(json!({}), providers(&key, &oauth2, &grpc));
    let mut auth = with(
        providers(
            &with(key, "/$defs/ApiKey"),
            &with(oauth2, "/$defs/OAuth2"),
            &with(grpc, "/$defs/Provider/oneOf/2"),
        ),
        "/properties/auth",
    );
    auth["mode"] = Value::Null;
    auth["headers"] = defaults("/$defs/Headers").into();
    let server = with(
        json!({"grpc": defaults("/$defs/Grpc"), "admin": defaults("/$defs/Admin")}),
        "/$defs/Server",
    );
    let long = file(server, auth);
    assert!(long.len() > short.len() + 800, "{long}");
    assert_eq!(debug(&good(&long).settings), debug(&good(&short).settings));
}

#[test]
fn every_key_has_a_description() {
    fn visit(value: &Value, path: &str) {
        if let Some(properties) = value.get("properties").and_then(Value::as_object) {
            for (key, property) in properties {
                let told = property.get("description").or(property.get("const"));
                assert!(told.is_some(), "{path}/{key}");
            }
        }
        if let Some(object) = value.as_object() {
            object.iter().for_each(|(key, value)| visit(value, &format!("{path}/{key}")));
        }
        if let Some(list) = value.as_array() {
            list.iter().for_each(|value| visit(value, path));
        }
    }
    visit(&config::schema(), "");
}
