//! Rules for routes.

use std::collections::HashMap;

use claimgate_core::{policy::routes::templates_overlap_too_much, settings::RouteSettings};

use super::{
    claims,
    denial_style::{denial_headers, error_format},
    limits,
    path::{self, Written},
    providers::Known,
    resources,
    scalars::{name, required_scopes, text},
    sources::is_token,
};
use crate::{
    file::{
        auth::{Match, Route},
        forms::List,
    },
    report::Place,
};

pub(super) fn routes(
    file: Option<List<Route>>,
    known: &Known,
    place: &Place,
) -> Vec<RouteSettings> {
    let mut seen: HashMap<String, String> = HashMap::new();
    let mut routes = Vec::new();
    for (place, file) in file.map(|list| list.items(place)).unwrap_or_default() {
        let route = route(file, known, &place);
        if !route.name.is_empty()
            && let Some(earlier) = seen.insert(route.name.clone(), place.to_string())
        {
            let advice = format_args!("is the name of `{earlier}` too; write a unique name");
            place.key("name").wrong(&route.name, advice);
        }
        routes.push(route);
    }
    if templates_overlap_too_much(&routes) {
        place.error("has templates that overlap in too many ways; write fewer `{name}` in them");
    }
    routes
}

fn route(file: Route, known: &Known, place: &Place) -> RouteSettings {
    let public = file.public.unwrap_or(false);
    if public {
        let contradictions = [
            ("required_scopes", file.required_scopes.as_ref().is_some_and(|list| !list.is_empty())),
            ("providers", file.providers.is_some()),
            ("required_claims", file.required_claims.is_some()),
            ("error_format", file.error_format.is_some()),
            ("denial_headers", file.denial_headers.is_some()),
            ("protected_resource", file.protected_resource.is_some()),
            ("limits", file.limits.is_some()),
            ("cost", file.cost.is_some()),
        ];
        for (key, _) in contradictions.into_iter().filter(|(_, written)| *written) {
            place.key(key).error("has no meaning on a public route; remove it, or `public: true`");
        }
    }
    let scopes_place = place.key("required_scopes");
    let headers_place = place.key("denial_headers");
    let resource_place = place.key("protected_resource");
    let route = RouteSettings {
        name: name(file.name, &place.key("name")).unwrap_or_default(),
        public,
        required_scopes: file.required_scopes.map(|list| required_scopes(list, &scopes_place)),
        providers: known.only(file.providers, &place.key("providers")),
        required_claims: claims::rules(file.required_claims, &place.key("required_claims")),
        error_format: file.error_format.map(error_format),
        denial_headers: file.denial_headers.map(|list| denial_headers(list, &headers_place)),
        protected_resource: file
            .protected_resource
            .and_then(|resource| resources::resource(resource, &resource_place)),
        limit: limits::of_route(file.limits, file.cost, place),
        ..RouteSettings::default()
    };
    let match_place = place.key("match");
    match file.matching {
        Some(file) => matching(file, route, &match_place),
        None => RouteSettings { only_by_name: true, ..route },
    }
}

fn matching(file: Match, route: RouteSettings, place: &Place) -> RouteSettings {
    let paths = [
        ("path", file.path.is_some()),
        ("path_prefix", file.path_prefix.is_some()),
        ("path_template", file.path_template.is_some()),
    ];
    let paths: Vec<_> = paths.iter().filter(|(_, set)| *set).map(|(key, _)| *key).collect();
    let is_literal = file.literal.unwrap_or(false);
    let written = !paths.is_empty() || file.methods.is_some() || file.hosts.is_some() || is_literal;
    if !written && !place.has_error_below() {
        place.error("says nothing; write `path_prefix: /` to match every request");
    }
    if let [first, others @ ..] = paths.as_slice()
        && !others.is_empty()
    {
        let others = others.join("` and `");
        place.error(format_args!("has both `{first}` and `{others}`; write one of them"));
    }
    if is_literal && file.path.is_none() && file.path_prefix.is_none() {
        place.key("literal").error("belongs to `path` or `path_prefix`; write one, or remove it");
    }
    let kind = if is_literal { Written::Literal } else { Written::Plain };
    let path = |path: Option<String>, key: &str, kind| {
        path.and_then(|path| path::normalised(&path, kind, &place.key(key)))
    };
    RouteSettings {
        path: path(file.path, "path", kind),
        path_prefix: path(file.path_prefix, "path_prefix", kind).map(without_last_slash),
        path_template: path(file.path_template, "path_template", Written::Template),
        methods: listed(file.methods, &place.key("methods"), method),
        hosts: listed(file.hosts, &place.key("hosts"), host),
        ..route
    }
}

fn without_last_slash(prefix: String) -> String {
    match prefix.strip_suffix('/') {
        None | Some("") => prefix,
        Some(shorter) => shorter.into(),
    }
}

fn listed(
    values: Option<List<String>>,
    place: &Place,
    read: fn(String, &Place) -> Option<String>,
) -> Vec<String> {
    let Some(values) = values else { return Vec::new() };
    if values.is_empty() {
        place.error("is an empty list, which nothing matches; leave it out to match all");
    }
    values.items(place).into_iter().filter_map(|(place, value)| read(value, &place)).collect()
}

/// A method in upper case: methods are case-sensitive, and those in use are
/// upper case.
fn method(value: String, place: &Place) -> Option<String> {
    let method = text(Some(value), place)?;
    if method == "*" {
        place.wrong(&method, "is not a method; leave `methods` out to match all of them");
        return None;
    }
    is_token(&method, place).then(|| method.to_ascii_uppercase())
}

/// A host without its port and trailing dot, in lower case.
fn host(value: String, place: &Place) -> Option<String> {
    let host = text(Some(value), place)?.to_ascii_lowercase();
    let without_port = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            if name.ends_with(']') || !name.contains(':') { name } else { &host }
        }
        _ => &host,
    };
    let bare = without_port.strip_suffix('.').unwrap_or(without_port);
    let labels = bare.strip_prefix("*.").unwrap_or(bare);
    let label_byte = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let is_name = labels.split('.').all(|label| !label.is_empty() && label.bytes().all(label_byte));
    let is_ip6 = bare
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
    if is_name || is_ip6 {
        return Some(bare.into());
    }
    let advice = match bare {
        "*" => "matches every host; leave `hosts` out",
        _ if bare.contains("://") => "is a URL; write its host alone",
        _ if labels.contains('*') => "has a `*` elsewhere than in `*.` at the front",
        _ if bare.contains(':') => "is not a host; write an IPv6 address in brackets",
        _ => "is not a host; write a DNS name (punycode where needed) or an IP address",
    };
    place.wrong(&host, advice);
    None
}
