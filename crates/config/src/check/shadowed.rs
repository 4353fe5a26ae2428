//! Routes that no request leads to.

use claimgate_core::{
    policy::routes::{Difference, Why, unreached},
    settings::AuthSettings,
};

use crate::report::Place;

/// Warns about routes that no request leads to.
pub(super) fn warn(auth: &AuthSettings, place: &Place) {
    for route in unreached(auth) {
        place.index(route.position).key("match").warn(told(&route.why, place));
    }
}

/// Names of routes may have come from the environment.
fn told(why: &Why, place: &Place) -> String {
    let named = |name: &str| match place.hides_any("name") {
        true => "a name that is not shown".to_owned(),
        false => format!("`{}`", name.escape_debug()),
    };
    match why {
        Why::Taken(names) => {
            let names: Vec<_> = names.iter().map(|name| named(name)).collect();
            let routes = if names.len() == 1 { "route" } else { "routes" };
            let matches = if names.len() == 1 { "matches" } else { "match" };
            format!(
                "no request leads here: the earlier {routes} {} {matches} all of them, and the \
                 first match wins; write this route before, or remove it",
                names.join(", ")
            )
        }
        Why::Public => "no request leads here: the path is one of `auth.public_paths`, which are \
                        looked at before; remove it there, or remove this route"
            .into(),
        Why::Ambiguous { other, difference } => {
            let other = match other {
                Some(name) => format!("one of the route {}", named(name)),
                None => "one of no route".into(),
            };
            let (how, advice) = match difference {
                Difference::Case => (
                    "without the case of letters, as many servers do",
                    "write the same rules for both, or `auth.case_sensitive_paths: true` if \
                     every server behind the gateway tells them apart",
                ),
                Difference::Slash => (
                    "without the slash at its end, as many servers do",
                    "write the same rules for both, one `path_prefix`, or `public_paths`, which \
                     are compared byte for byte",
                ),
                Difference::EmptySegment => (
                    "with an empty segment for a template's `{name}`, as some routers do",
                    "write the same rules for both, or the path without the slash at its end",
                ),
                Difference::Other => (
                    "as some servers do",
                    "write a path that every server reads alike, or a shorter `path_prefix`",
                ),
            };
            format!(
                "no request leads here: read {how}, the path is {other}, so the request is \
                 refused as ambiguous; {advice}"
            )
        }
    }
}
