//! What a reload changed, in words for the log.

use std::collections::BTreeMap;

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

/// The names of the fields of this struct that differ, in order. All of them
/// have to be listed, so that no setting of a later version is forgotten.
macro_rules! differing {
    ($Settings:ident { $($field:ident),+ $(,)? }, $old:expr, $new:expr) => {{
        let $Settings { $($field),+ } = $old;
        let fields = [$((stringify!($field), *$field != $new.$field)),+];
        fields.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name)
    }};
}

fn server(old: &ServerSettings, new: &ServerSettings, changes: &mut Vec<String>) {
    let fields = differing!(
        ServerSettings {
            grpc,
            admin_address,
            status_page,
            workers,
            check_timeout,
            shutdown_grace,
            tracing,
        },
        old,
        new
    );
    changes.extend(fields.map(|field| format!("server.{field}")));
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
    let fields = differing!(
        AuthSettings {
            enabled,
            providers,
            required_scopes,
            public_paths,
            allow_cors_preflight,
            routes,
            case_sensitive_paths,
            match_as_sent,
            token_sources,
            several_tokens,
            headers,
            metadata,
            forward_token,
            max_token_bytes,
            realm,
            error_format,
            denial_headers,
            protected_resource,
            token_cache_entries,
            token_cache_bytes,
            limits,
        },
        old,
        new
    );
    let told = ["enabled", "providers", "routes", "public_paths"];
    changes.extend(fields.filter(|field| !told.contains(field)).map(String::from));
}

/// `title: +new, -gone, ~changed`; `None` if the lists are the same.
fn list<T: PartialEq>(
    title: &str,
    old: &[T],
    new: &[T],
    name: impl Fn(&T) -> String,
) -> Option<String> {
    let by_name = |list| -> BTreeMap<String, &T> {
        <[T]>::iter(list).map(|item| (name(item), item)).collect()
    };
    let (before, after) = (by_name(old), by_name(new));
    let added = after.keys().filter(|it| !before.contains_key(*it)).map(|it| format!("+{it}"));
    let gone = before.keys().filter(|it| !after.contains_key(*it)).map(|it| format!("-{it}"));
    let is_changed =
        |(name, item): &(&String, &&T)| before.get(*name).is_some_and(|it| it != *item);
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
            (
                keys(a, ""),
                keys(a, ", headers: {subject: x-who}, metadata: [reason], several_tokens: first"),
                "several_tokens; headers; metadata",
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
