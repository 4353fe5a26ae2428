//! Envoy waits for Claimgate equally long on every page, in every example and
//! in what the chart writes, and longer than Claimgate itself takes.

use serde_json::Value;

use super::{book_pages, page, snippets, yaml_files};

/// Milliseconds: Envoy's own default.
const ENVOY_WAITS: u64 = 200;

#[test]
fn envoy_waits_equally_long_everywhere() {
    let pages = book_pages().into_iter().chain(["README.md".into()]);
    let mut sources: Vec<_> = pages
        .flat_map(|name| {
            let text = page(&name);
            let blocks: Vec<_> = snippets(&text, "yaml").into_iter().map(str::to_owned).collect();
            blocks.into_iter().map(move |block| (name.clone(), block))
        })
        .collect();
    for name in ["examples", "demo"].into_iter().flat_map(yaml_files) {
        let text = without_variables(&page(&name));
        sources.push((name, text));
    }
    let mut found = 0;
    for (name, text) in sources {
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text)
            .unwrap_or_else(|error| panic!("{name}: {error}\nin\n{text}"));
        for document in &documents {
            for timeout in timeouts(document) {
                assert_eq!(milliseconds(&timeout), Some(ENVOY_WAITS), "{name}: {timeout}");
                found += 1;
            }
        }
    }
    assert!(found >= 7, "{found}");
}

#[test]
fn the_sentences_about_it_agree() {
    for name in book_pages() {
        let text = page(&name);
        let prose = text.split("```").step_by(2);
        let sentences = prose.flat_map(str::lines).filter(|line| line.contains("`timeout"));
        for word in sentences.flat_map(|line| line.split(['`', ' '])) {
            let number = word.strip_suffix('s').and_then(|number| number.strip_prefix("0."));
            let named = number.is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()));
            assert!(!named || milliseconds(word) == Some(ENVOY_WAITS), "{name}: {word}");
        }
    }
}

#[test]
fn the_chart_writes_the_same() {
    for (name, before, count) in [
        ("charts/claimgate/templates/NOTES.txt", " timeout: 0", 1),
        ("charts/claimgate/templates/_notes.tpl", "        timeout: 0", 1),
        ("charts/claimgate/templates/envoy-gateway.yaml", " timeout:", 1),
    ] {
        let text = page(name);
        let lines: Vec<_> = text.lines().filter(|line| line.contains(before)).collect();
        assert_eq!(lines.len(), count, "{name}: {lines:?}");
        for line in lines {
            assert!(line.contains("0.2s") || line.contains("\"200ms\""), "{name}: {line}");
        }
    }
}

#[test]
fn claimgate_answers_before() {
    let schema: Value = serde_json::from_str(&page("schema/claimgate.schema.json")).unwrap();
    let mut limits = Vec::new();
    members(&schema, &mut |name, value| {
        if name == "check_timeout_ms" {
            limits.extend(value.get("default").and_then(Value::as_u64));
        }
    });
    assert!(!limits.is_empty() && limits.iter().all(|limit| *limit < ENVOY_WAITS), "{limits:?}");
}

/// The text with `0` for each `${…}`, which not every parser takes without quotes.
fn without_variables(text: &str) -> String {
    let mut parts = text.split("${");
    let first = parts.next().unwrap_or_default().to_owned();
    let rest = parts.map(|part| format!("0{}", part.split_once('}').map_or("", |(_, rest)| rest)));
    first + &rest.collect::<String>()
}

/// The time limit of every place in an Envoy, Istio or Envoy Gateway document
/// that asks Claimgate; `none` where there is none.
fn timeouts(document: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut add = |asks: &Value| {
        let timeout = asks.get("timeout").and_then(Value::as_str);
        found.push(timeout.unwrap_or("none").to_owned());
    };
    members(document, &mut |name, value| match name {
        "envoyExtAuthzGrpc" | "extAuth" => add(value),
        // A patch of what istiod writes names no cluster, and keeps its timeout.
        "typed_config" if is_ext_authz(value) && !names_no_cluster(value) => {
            add(&value["grpc_service"]);
        }
        _ => {}
    });
    found
}

fn is_ext_authz(config: &Value) -> bool {
    let kind = config.get("@type").and_then(Value::as_str);
    kind.is_some_and(|kind| kind.ends_with(".ext_authz.v3.ExtAuthz"))
}

fn names_no_cluster(config: &Value) -> bool {
    config["grpc_service"].get("envoy_grpc").is_none()
}

/// Every member of every object, with its name.
fn members(value: &Value, visit: &mut impl FnMut(&str, &Value)) {
    match value {
        Value::Object(object) => {
            for (name, member) in object {
                visit(name, member);
                members(member, visit);
            }
        }
        Value::Array(elements) => elements.iter().for_each(|element| members(element, visit)),
        _ => {}
    }
}

/// A duration as Envoy (`0.2s`) or Envoy Gateway (`200ms`) writes it.
fn milliseconds(duration: &str) -> Option<u64> {
    if let Some(number) = duration.strip_suffix("ms") {
        return number.parse().ok();
    }
    let seconds = duration.strip_suffix('s')?.parse().ok()?;
    u64::try_from(std::time::Duration::from_secs_f64(seconds).as_millis()).ok()
}
