//! Routes that no request can reach, because some server reads each of their
//! paths as one of an earlier route.

use std::collections::HashMap;

use claimgate_core::{
    policy::routes::rules,
    settings::{AuthSettings, RouteSettings},
};

use crate::report::Place;

/// Warns about routes whose requests are all refused as ambiguous.
pub(super) fn warn(auth: &AuthSettings, place: &Place) {
    let rules = rules(&auth.routes);
    let mut by_path: HashMap<String, Vec<usize>> = HashMap::new();
    for (later, route) in auth.routes.iter().enumerate() {
        let Some(path) = path(route).filter(|_| !route.only_by_name) else { continue };
        let loose = loose(path, auth.case_sensitive_paths);
        let matches = |earlier: &&usize| {
            let other = &auth.routes[**earlier];
            rules[**earlier] != rules[later]
                && covers(other, route)
                && takes_in(other, &loose, auth.case_sensitive_paths)
        };
        let found = ancestors(&loose).filter_map(|path| by_path.get(path)).flatten().find(matches);
        if let Some(earlier) = found
            && !is_shadowed_as_written(&auth.routes[*earlier], path)
        {
            warn_about(&auth.routes[*earlier], route, &place.index(later).key("match"));
        }
        by_path.entry(loose).or_default().push(later);
    }
}

fn warn_about(earlier: &RouteSettings, route: &RouteSettings, place: &Place) {
    let differ_in_case = path(earlier).zip(path(route)).is_some_and(|(earlier, path)| {
        !ancestors(path.trim_end_matches('/')).any(|it| it == earlier.trim_end_matches('/'))
    });
    let (how, advice) = match differ_in_case {
        true => (
            "without the case of letters",
            "write the same rules for both, or `auth.case_sensitive_paths: true` if every server \
             behind the gateway tells them apart",
        ),
        false => (
            "without the slash at its end",
            "write the same rules for both, one `path_prefix`, or `public_paths`, which are \
             compared byte for byte",
        ),
    };
    place.warn(format_args!(
        "no request leads here: read {how}, as many servers do, the path is one of the earlier \
         route `{}`, so the request is refused as ambiguous; {advice}",
        earlier.name
    ));
}

fn path(route: &RouteSettings) -> Option<&str> {
    route.path.as_deref().or(route.path_prefix.as_deref())
}

/// A path in the form in which the least strict server compares it; empty for the
/// root.
fn loose(path: &str, has_case: bool) -> String {
    let path = path.trim_end_matches('/');
    if has_case { path.into() } else { path.to_ascii_lowercase() }
}

/// A path and every path above it; the root is empty.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| Some(path.rsplit_once('/')?.0))
}

/// Whether a route matches this loose path of a later one, and all below it
/// that the later one matches.
fn takes_in(earlier: &RouteSettings, loose_path: &str, has_case: bool) -> bool {
    earlier.path.is_none() || path(earlier).is_some_and(|path| loose(path, has_case) == *loose_path)
}

/// Whether it matches all of the later one's hosts and methods, and more than
/// one path where that does.
fn covers(earlier: &RouteSettings, later: &RouteSettings) -> bool {
    let host_covers = |wide: &String, host: &String| {
        wide == host || wide.strip_prefix('*').is_some_and(|suffix| host.ends_with(suffix))
    };
    let method_covers = |wide: &String, method: &String| {
        wide.eq_ignore_ascii_case(method) || wide == "GET" && method == "HEAD"
    };
    (earlier.path.is_none() || later.path.is_some())
        && all_covered(&earlier.hosts, &later.hosts, host_covers)
        && all_covered(&earlier.methods, &later.methods, method_covers)
}

/// Empty lists stand for everything.
fn all_covered(
    wide: &[String],
    narrow: &[String],
    covers: impl Fn(&String, &String) -> bool,
) -> bool {
    let is_covered = |value| wide.iter().any(|other| covers(other, value));
    wide.is_empty() || !narrow.is_empty() && narrow.iter().all(is_covered)
}

/// Whether the later route can't be reached even by its exact path.
fn is_shadowed_as_written(earlier: &RouteSettings, later: &str) -> bool {
    match (&earlier.path, &earlier.path_prefix) {
        (Some(path), _) => path == later,
        (None, Some(prefix)) => {
            let prefix = prefix.trim_end_matches('/');
            ancestors(later.trim_end_matches('/')).any(|it| it == prefix)
        }
        (None, None) => true,
    }
}
