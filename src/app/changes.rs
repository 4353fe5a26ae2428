//! What a reload changed, in words for the log.

use std::{collections::BTreeMap, fmt::Debug};

use crate::settings::{AuthSettings, ProviderKind, ServerSettings};

/// How many names of a kind are told.
const MAX_NAMES: usize = 5;

/// The keys that differ, and which providers, API keys, routes and public paths
/// are new (`+`), gone (`-`) or changed (`~`). Names only, no values.
pub fn changes(
    old: (&ServerSettings, &AuthSettings),
    new: (&ServerSettings, &AuthSettings),
) -> String {
    let mut changes = Vec::new();
    server(old.0, new.0, &mut changes);
    auth(old.1, new.1, &mut changes);
    match changes.is_empty() {
        true => "no setting, perhaps the content of a file that is named".into(),
        false => changes.join("; "),
    }
}

fn server(old: &ServerSettings, new: &ServerSettings, changes: &mut Vec<String>) {
    changes.extend(differing(old, new).into_iter().map(|field| format!("server.{field}")));
}

fn auth(old: &AuthSettings, new: &AuthSettings, changes: &mut Vec<String>) {
    if old.enabled != new.enabled {
        let state = if new.enabled { "on" } else { "off" };
        changes.push(format!("authentication is {state} now"));
    }
    changes.extend(list("providers", &old.providers, &new.providers, |it| it.name.clone()));
    let before: BTreeMap<&str, &ProviderKind> =
        old.providers.iter().map(|it| (it.name.as_str(), &it.kind)).collect();
    for provider in &new.providers {
        if let (ProviderKind::ApiKey(keys), Some(ProviderKind::ApiKey(before))) =
            (&provider.kind, before.get(provider.name.as_str()))
        {
            let title = format!("keys of {}", provider.name);
            changes.extend(list(&title, before, keys, |key| key.name.clone()));
        }
    }
    changes.extend(list("routes", &old.routes, &new.routes, |it| it.name.clone()));
    changes.extend(list("public_paths", &old.public_paths, &new.public_paths, String::clone));
    let told = ["enabled", "providers", "routes", "public_paths"];
    changes.extend(differing(old, new).into_iter().filter(|field| !told.contains(&field.as_str())));
}

/// The names of the fields that differ, in order. They are read from what is
/// printed for `Debug`, so that no setting of a later version is forgotten.
fn differing(old: &impl Debug, new: &impl Debug) -> Vec<String> {
    let (old, new) = (fields(old), fields(new));
    let differ = old.iter().zip(&new).filter(|(old, new)| old != new);
    differ.map(|((name, _), _)| name.clone()).collect()
}

/// The fields of a struct: a name, and all that is printed for it.
fn fields(settings: &impl Debug) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in format!("{settings:#?}").lines() {
        let field =
            line.strip_prefix("    ").filter(|field| !field.starts_with([' ', '}', ']', ')']));
        match (field.and_then(|field| field.split_once(": ")), fields.last_mut()) {
            (Some((name, value)), _) => fields.push((name.into(), value.into())),
            (None, Some((_, value))) => value.push_str(line),
            (None, None) => {}
        }
    }
    fields
}

/// `title: +new, -gone, ~changed`; `None` if the lists are the same.
fn list<T: Debug>(
    title: &str,
    old: &[T],
    new: &[T],
    name: impl Fn(&T) -> String,
) -> Option<String> {
    let by_name = |list: &[T]| -> BTreeMap<String, String> {
        list.iter().map(|item| (name(item), format!("{item:?}"))).collect()
    };
    let (before, after) = (by_name(old), by_name(new));
    let added = after.keys().filter(|it| !before.contains_key(*it)).map(|it| format!("+{it}"));
    let gone = before.keys().filter(|it| !after.contains_key(*it)).map(|it| format!("-{it}"));
    let is_changed =
        |(name, value): &(&String, &String)| before.get(*name).is_some_and(|it| it != *value);
    let changed = after.iter().filter(is_changed).map(|(name, _)| format!("~{name}"));
    let names: Vec<_> = added.chain(gone).chain(changed).collect();
    if names.is_empty() {
        let order = |list: &[T]| list.iter().map(&name).collect::<Vec<_>>();
        return (order(old) != order(new)).then(|| format!("{title}: another order"));
    }
    let more = names.len().saturating_sub(MAX_NAMES);
    let shown = names[..names.len() - more].join(", ");
    Some(match more {
        0 => format!("{title}: {shown}"),
        more => format!("{title}: {shown} and {more} more"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn what_changed_is_named_and_no_value_is_shown() {
        let settings = |text: &str| {
            let settings = config::load(text, &|_| None).unwrap().settings;
            (settings.server, settings.auth)
        };
        let keys = |keys: &str, more: &str| format!("auth: {{api_keys: [{keys}]{more}}}");
        let (a, b) =
            ("{name: a, key: secret-key-of-a-1234}", "{name: b, key: secret-key-of-b-1234}");
        let other_a = "{name: a, key: secret-key-of-a-5678}";
        let many: Vec<_> = (0..8).map(|n| format!("{{name: n{n}, key: secret-{n}}}")).collect();
        let route =
            |name: &str, path: &str| format!("{{name: {name}, match: {{path_prefix: {path}}}}}");
        let routes = |list: &[&str]| keys(a, &format!(", routes: [{}]", list.join(", ")));
        let (x, y) = (route("x", "/x"), route("y", "/y"));
        for (old, new, expected) in [
            (keys(a, ""), keys(a, ""), "no setting, perhaps the content of a file that is named"),
            (
                keys(a, ""),
                keys(&format!("{a}, {b}"), ""),
                "providers: ~api_key; keys of api_key: +b",
            ),
            (keys(a, ""), keys(other_a, ""), "providers: ~api_key; keys of api_key: ~a"),
            (
                keys(a, ""),
                keys(&many.join(", "), ""),
                "providers: ~api_key; keys of api_key: +n0, +n1, +n2, +n3, +n4 and 4 more",
            ),
            (keys(a, ""), keys(a, ", enabled: false"), "authentication is off now"),
            (keys(a, ""), keys(a, ", public_paths: [/v1/health, /x]"), "public_paths: +/x"),
            (keys(a, ""), keys(a, ", forward_token: false, realm: r"), "forward_token; realm"),
            (
                keys(a, ""),
                keys(a, "") + "\nserver: {workers: 3, check_timeout_ms: 20}",
                "server.workers; server.check_timeout",
            ),
            (routes(&[&*x]), routes(&[&*y]), "routes: +y, -x"),
            (routes(&[&*x]), routes(&[&*route("x", "/z")]), "routes: ~x"),
            (routes(&[&*x, &*y]), routes(&[&*y, &*x]), "routes: another order"),
        ] {
            let ((old_server, old), (new_server, new)) = (settings(&old), settings(&new));
            assert_eq!(changes((&old_server, &old), (&new_server, &new)), expected);
        }
    }
}
