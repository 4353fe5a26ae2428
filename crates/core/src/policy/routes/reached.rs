//! Whether any request leads to a route.
//!
//! A route is asked for with a request that it matches and as few others as
//! possible: names, methods and hosts that no route has. What other requests
//! it has would meet the same routes and more.

use super::{agreement::NoRoute, draft, index::Routes, readings::Difference, route::Route};
use crate::{
    policy::hosts::host_matches,
    request::Request,
    settings::{AuthSettings, RouteSettings},
};

/// A route that no request leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreached {
    /// Its position.
    pub position: usize,
    /// Why.
    pub why: Why,
}

/// Why no request leads to a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// These routes, or fewer than all of them, come first for each request.
    Taken(Vec<String>),
    /// Its path is one of the public paths, which are looked at before.
    Public,
    /// Its requests are refused as ambiguous, as some servers read their paths
    /// otherwise.
    Ambiguous {
        /// The route to which such a reading leads; `None` for no route.
        other: Option<String>,
        /// What makes that reading another.
        difference: Difference,
    },
}

/// The routes of `settings` that no request leads to, though they match some.
pub fn unreached(settings: &AuthSettings) -> Vec<Unreached> {
    let routes = Routes::new(settings);
    let fresh = Fresh::of(settings);
    let matched = settings.routes.iter().enumerate().filter(|(_, route)| !route.only_by_name);
    let why = |(position, route): (usize, &RouteSettings)| {
        let why = routes.why_unreached(position, route, &fresh, settings)?;
        Some(Unreached { position, why })
    };
    matched.filter_map(why).collect()
}

/// The most methods, and hosts, that a route without its own is asked with.
const MOST: usize = 16;

/// Names that no route has.
struct Fresh {
    /// A segment, and a label of a host.
    name: String,
    /// One that no route has, then those that routes have: where their rules
    /// are the same, an earlier route may take what a reading would.
    methods: Vec<String>,
    /// The same.
    hosts: Vec<String>,
    /// The paths of all routes.
    paths: Vec<String>,
    /// More segments than any template has.
    below: String,
}

impl Fresh {
    fn of(settings: &AuthSettings) -> Self {
        let texts = |route: &RouteSettings| {
            let paths = [&route.path, &route.path_prefix, &route.path_template];
            let paths = paths.into_iter().flatten().chain(&route.hosts).chain(&route.methods);
            paths.map(|text| text.to_ascii_lowercase()).collect::<Vec<_>>()
        };
        let used: Vec<_> = settings.routes.iter().flat_map(texts).collect();
        let mut number = 0;
        let mut name = String::from("x");
        while used.iter().any(|text| text.contains(&name)) {
            number += 1;
            name = format!("x{number}");
        }
        let templates = settings.routes.iter().filter_map(|route| route.path_template.as_ref());
        let deepest = templates.map(|template| template.matches('/').count()).max();
        let below = format!("/{name}").repeat(deepest.unwrap_or(0) + 1);
        let all = |list: fn(&RouteSettings) -> &Vec<String>, first: String| {
            let mut all = vec![first];
            for text in settings.routes.iter().flat_map(list) {
                let text = text.replacen('*', &name, 1);
                if all.len() < MOST && !all.contains(&text) {
                    all.push(text);
                }
            }
            all
        };
        let methods = all(|route| &route.methods, name.to_ascii_uppercase());
        let hosts = all(|route| &route.hosts, name.clone());
        let mut fresh = Self { methods, hosts, name, below, paths: Vec::new() };
        fresh.paths = settings.routes.iter().flat_map(|route| fresh.own_paths(route)).collect();
        fresh
    }

    /// The paths of a route, then those of other routes that differ in case or
    /// the slash at the end alone: where the rules are the same, one that is
    /// written so leads here.
    fn paths(&self, route: &RouteSettings) -> Vec<String> {
        let same = |path: &str| path.trim_end_matches('/').to_ascii_lowercase();
        let mut paths = self.own_paths(route);
        let own: Vec<_> = paths.iter().map(|path| same(path)).collect();
        for path in &self.paths {
            if paths.len() < MOST && own.contains(&same(path)) && !paths.contains(path) {
                paths.push(path.clone());
            }
        }
        paths
    }

    fn own_paths(&self, route: &RouteSettings) -> Vec<String> {
        // Of a path with a slash at its end, the one without is a reading.
        let less_the_slash = |path: String| {
            let cut = path.strip_suffix('/').filter(|cut| !cut.is_empty()).map(str::to_owned);
            [path].into_iter().chain(cut).collect()
        };
        if let Some(path) = &route.path {
            return less_the_slash(path.clone());
        }
        if let Some(template) = &route.path_template {
            let filled =
                |segment| if draft::is_any(segment) { self.name.as_str() } else { segment };
            return less_the_slash(template.split('/').map(filled).collect::<Vec<_>>().join("/"));
        }
        let prefix = route.path_prefix.as_deref().unwrap_or("/");
        let below = format!("{}{}", prefix.trim_end_matches('/'), self.below);
        vec![below, prefix.into()]
    }

    fn methods(&self, route: &RouteSettings) -> Vec<String> {
        let gets = route.methods.iter().any(|method| method == "GET").then(|| "HEAD".to_owned());
        match route.methods.is_empty() {
            true => self.methods.clone(),
            false => route.methods.iter().cloned().chain(gets).collect(),
        }
    }

    fn hosts(&self, route: &RouteSettings) -> Vec<String> {
        let of_pattern = |host: &String| host.replacen('*', &self.name, 1);
        match route.hosts.is_empty() {
            true => self.hosts.clone(),
            false => {
                let is_own = |host: &&String| route.hosts.iter().any(|own| host_matches(own, host));
                let named_by_others = self.hosts.iter().filter(is_own).cloned();
                route.hosts.iter().map(of_pattern).chain(named_by_others).collect()
            }
        }
    }
}

impl Routes {
    fn why_unreached(
        &self,
        position: usize,
        route: &RouteSettings,
        fresh: &Fresh,
        settings: &AuthSettings,
    ) -> Option<Why> {
        let mut taken: Vec<String> = Vec::new();
        let mut ambiguous = None;
        let mut is_public = false;
        for path in fresh.paths(route) {
            if settings.public_paths.contains(&path) {
                is_public = true;
                continue;
            }
            for host in fresh.hosts(route) {
                for method in fresh.methods(route) {
                    let request =
                        Request { method: &method, host: &host, path: &path, ..Request::default() };
                    match self.find(&request) {
                        Ok(found) if self.is_like(found, position, &request) => return None,
                        Ok(Some(other)) if taken.contains(&other.name) => {}
                        Ok(Some(other)) => taken.push(other.name.clone()),
                        Ok(None) => {}
                        Err(NoRoute::Unknown | NoRoute::Ambiguous) => {
                            ambiguous =
                                ambiguous.or_else(|| self.why_ambiguous(&request, position));
                        }
                    }
                }
            }
        }
        match (ambiguous, is_public && taken.is_empty()) {
            (Some(why), _) => Some(why),
            (None, true) => Some(Why::Public),
            (None, false) => Some(Why::Taken(taken)),
        }
    }

    /// Whether this is the route at a position, or one with the same rules
    /// that comes first only in some readings.
    fn is_like(&self, found: Option<&Route>, position: usize, request: &Request<'_>) -> bool {
        let (Some(found), Some(wanted)) = (found, self.routes.get(position)) else { return false };
        let as_sent = || self.find_as_sent(self.walk(request), request.bare_path());
        std::ptr::eq(found, wanted) || found.rules == wanted.rules && as_sent() == position
    }

    fn why_ambiguous(&self, request: &Request<'_>, position: usize) -> Option<Why> {
        let (other, difference) = self.disagreement(request, position)?;
        Some(Why::Ambiguous { other, difference })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(name: &str) -> RouteSettings {
        RouteSettings {
            name: name.into(),
            required_scopes: Some(vec![name.into()]),
            ..RouteSettings::default()
        }
    }

    fn path(name: &str, path: &str) -> RouteSettings {
        RouteSettings { path: Some(path.into()), ..route(name) }
    }

    fn prefix(name: &str, path: &str) -> RouteSettings {
        RouteSettings { path_prefix: Some(path.into()), ..route(name) }
    }

    fn template(name: &str, path: &str) -> RouteSettings {
        RouteSettings { path_template: Some(path.into()), ..route(name) }
    }

    fn by(methods: &[&str], route: RouteSettings) -> RouteSettings {
        RouteSettings { methods: methods.iter().map(ToString::to_string).collect(), ..route }
    }

    #[test]
    fn a_route_is_unreached_where_others_come_first_for_all_its_requests() {
        let taken =
            |names: &[&str]| Some(Why::Taken(names.iter().map(ToString::to_string).collect()));
        let cases: Vec<(Vec<RouteSettings>, Option<Why>)> = vec![
            (vec![prefix("a", "/a"), path("b", "/a/b")], taken(&["a"])),
            (vec![prefix("a", "/a"), template("b", "/a/{x}")], taken(&["a"])),
            (vec![template("a", "/{x}/b"), path("b", "/a/b")], taken(&["a"])),
            (vec![template("a", "/{x}/b"), template("b", "/a/{x}")], None),
            (vec![template("a", "/{x}/{y}"), template("b", "/a/{x}")], taken(&["a"])),
            (vec![template("a", "/a/{x}"), prefix("b", "/a")], None),
            (vec![template("a", "/{x}"), template("b", "/{y}")], taken(&["a"])),
            (vec![path("a", "/a"), prefix("b", "/a")], None),
            (vec![prefix("a", "/a"), prefix("b", "/a")], taken(&["a"])),
            (vec![route("a"), prefix("b", "/")], taken(&["a"])),
            (vec![prefix("a", "/"), by(&["GET"], route("b"))], taken(&["a"])),
            (
                vec![
                    by(&["GET"], path("g", "/a")),
                    by(&["POST"], path("p", "/a")),
                    by(&["GET", "POST"], path("b", "/a")),
                ],
                taken(&["g", "p"]),
            ),
            (vec![by(&["HEAD"], path("h", "/a")), by(&["GET"], path("b", "/a"))], None),
            (vec![by(&["GET"], path("g", "/a")), by(&["HEAD"], path("b", "/a"))], taken(&["g"])),
        ];
        for (routes, expected) in cases {
            let last = routes.len() - 1;
            let told = format!("{routes:#?}");
            let settings = AuthSettings { routes, ..AuthSettings::default() };
            let found = unreached(&settings).into_iter().map(|it| (it.position, it.why));
            let expected = expected.map(|why| (last, why));
            assert_eq!(found.collect::<Vec<_>>(), Vec::from_iter(expected), "{told}");
        }
    }

    /// Fastify takes the empty segment behind a slash for a parameter's value.
    #[test]
    fn a_path_that_a_template_may_match_is_refused_and_the_template_named() {
        let settings = AuthSettings {
            routes: vec![template("a", "/a/{x}"), path("b", "/a/")],
            ..AuthSettings::default()
        };
        let why =
            |other: &str, difference| Why::Ambiguous { other: Some(other.into()), difference };
        let found = unreached(&settings);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].position, &found[0].why), (1, &why("a", Difference::EmptySegment)));

        // With the rules of another, its reading without the slash is taken for it.
        let [first, second] = [template("a", "/a/{x}"), path("b", "/a/")];
        let same =
            RouteSettings { required_scopes: second.required_scopes.clone(), ..path("c", "/A") };
        let settings =
            AuthSettings { routes: vec![first, second, same], ..AuthSettings::default() };
        assert_eq!(unreached(&settings), []);
    }

    #[test]
    fn a_public_path_comes_before_every_route() {
        let settings = AuthSettings {
            public_paths: vec!["/a".into()],
            routes: vec![path("a", "/a"), prefix("b", "/a")],
            ..AuthSettings::default()
        };
        assert_eq!(unreached(&settings), [Unreached { position: 0, why: Why::Public }]);
    }
}
