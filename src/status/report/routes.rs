//! The routes, and what each asks for.

use std::{collections::HashMap, num::NonZeroU32};

use super::{
    RouteReport,
    requirement::{list, rule},
};
use crate::{
    metrics::Split,
    settings::{AuthSettings, RouteLimit, RouteSettings},
};

/// All routes, then what applies to all other requests.
pub(super) fn of(auth: &AuthSettings, checks: &HashMap<String, Split>) -> Vec<RouteReport> {
    let defaults = RouteSettings::default();
    let report = |route: &RouteSettings, name: Option<&str>| {
        let split = checks.get(name.unwrap_or_default()).copied().unwrap_or_default();
        RouteReport {
            name: name.map(Into::into),
            matches: if name.is_some() { matches(route) } else { Vec::new() },
            rules: rules(route, auth),
            allowed: split.allowed,
            denied: split.denied,
        }
    };
    let named = auth.routes.iter().map(|route| report(route, Some(&route.name)));
    named.chain([report(&defaults, None)]).collect()
}

fn matches(route: &RouteSettings) -> Vec<String> {
    if route.only_by_name {
        return vec!["only where Envoy names it".into()];
    }
    let mut all = Vec::new();
    all.extend(route.path.as_ref().map(|path| format!("path: {path}")));
    all.extend(route.path_prefix.as_ref().map(|prefix| format!("path_prefix: {prefix}")));
    if !route.methods.is_empty() {
        all.push(format!("methods: {}", list(&route.methods)));
    }
    if !route.hosts.is_empty() {
        all.push(format!("hosts: {}", list(&route.hosts)));
    }
    if all.is_empty() {
        all.push("every request".into());
    }
    all
}

fn rules(route: &RouteSettings, auth: &AuthSettings) -> Vec<String> {
    if route.public {
        return vec!["public: no token is needed".into()];
    }
    let mut all = Vec::new();
    let scopes = route.required_scopes.as_ref().unwrap_or(&auth.required_scopes);
    if !scopes.is_empty() {
        all.push(format!("required_scopes: {}", list(scopes)));
    }
    if !route.required_claims.is_empty() {
        all.push(format!("required_claims: {}", list(route.required_claims.iter().map(rule))));
    }
    if let Some(providers) = &route.providers {
        all.push(format!("providers: {}", list(providers)));
    }
    if all.is_empty() {
        all.push("a valid token".into());
    }
    if auth.limits.is_some() {
        match route.limit {
            RouteLimit::Unlimited => all.push("limits: none".into()),
            RouteLimit::Cost(cost) if cost > NonZeroU32::MIN => all.push(format!("cost: {cost}")),
            RouteLimit::Cost(_) => {}
        }
    }
    all
}
