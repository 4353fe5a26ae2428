//! Which rules apply to a request.

use ahash::AHashMap;

mod readings;

use super::{
    denials::DenialStyle,
    path::{self, Readings},
};
use crate::{
    decision::ProviderId,
    request::Request,
    settings::{AuthSettings, ClaimRule, RouteSettings},
};

/// The rules for one kind of request, defaults filled in.
#[derive(Debug)]
pub struct Route {
    /// Its unique name; empty for the defaults.
    pub name: String,
    /// Nobody is asked for a token.
    pub public: bool,
    /// Scopes that must all be granted.
    pub required_scopes: Vec<String>,
    /// Claims that the caller must have.
    pub required_claims: Vec<ClaimRule>,
    /// Who may be asked.
    pub providers: ProviderFilter,
    /// How its denials are told.
    pub denials: DenialStyle,
    methods: Vec<String>,
    hosts: Vec<String>,
}

/// Some of the providers, or all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderFilter(Option<Box<[bool]>>);

/// All routes, found without trying one after the other.
#[derive(Debug)]
pub struct Routes {
    routes: Vec<Route>,
    defaults: Route,
    by_name: AHashMap<String, usize>,
    anywhere: Vec<usize>,
    tree: Node,
}

/// The routes at one point of the path, and the segments below it. Lists hold
/// positions in ascending order, so the first that fits is the first of all.
#[derive(Debug, Default)]
struct Node {
    exact: Vec<usize>,
    prefix: Vec<usize>,
    below: AHashMap<Box<[u8]>, Node>,
}

/// Why no route could be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// The caller names a route that does not exist.
    Unknown,
    /// The path's readings lead to different routes, or it can't be read.
    Ambiguous,
}

impl Routes {
    /// Indexes the routes of `settings`.
    pub fn new(settings: &AuthSettings) -> Self {
        let mut routes = Self {
            routes: Vec::with_capacity(settings.routes.len()),
            defaults: Route::new(&RouteSettings::default(), settings),
            by_name: AHashMap::new(),
            anywhere: Vec::new(),
            tree: Node::default(),
        };
        for (position, route) in settings.routes.iter().enumerate() {
            routes.by_name.insert(route.name.clone(), position);
            if !route.only_by_name {
                routes.list_for(route).push(position);
            }
            routes.routes.push(Route::new(route, settings));
        }
        routes
    }

    /// The rules for requests that no route matches.
    pub fn defaults(&self) -> &Route {
        &self.defaults
    }

    /// The route of a request; `None` means the defaults.
    ///
    /// # Errors
    ///
    /// [`NoRoute`] where the request must be refused.
    pub fn find(&self, request: &Request<'_>) -> Result<Option<&Route>, NoRoute> {
        if let Some(name) = request.route {
            let position = self.by_name.get(name).ok_or(NoRoute::Unknown)?;
            return Ok(Some(&self.routes[*position]));
        }
        let path = request.bare_path();
        if path == "*" && request.method == "OPTIONS" {
            return Ok(self.first_match(request, b"*").map(|at| &self.routes[at]));
        }
        let found = match path::read(path).map_err(|path::Unreadable| NoRoute::Ambiguous)? {
            Readings::One(path) => self.first_match(request, &path),
            Readings::Two { plain, generous } => {
                let found = self.first_match(request, &plain);
                if found != self.first_match(request, &generous) {
                    return Err(NoRoute::Ambiguous);
                }
                found
            }
        };
        Ok(found.map(|at| &self.routes[at]))
    }

    /// The list that a route belongs into.
    fn list_for(&mut self, route: &RouteSettings) -> &mut Vec<usize> {
        match (&route.path, &route.path_prefix) {
            (Some(path), _) => &mut self.tree.at(path).exact,
            (None, Some(prefix)) => &mut self.tree.at(prefix.trim_end_matches('/')).prefix,
            (None, None) => &mut self.anywhere,
        }
    }

    /// The position of the first route that matches this reading of the path.
    fn first_match(&self, request: &Request<'_>, path: &[u8]) -> Option<usize> {
        let host = bare_host(request.host);
        let mut best = usize::MAX;
        let mut consider = |list: &[usize]| {
            let mut earlier = list.iter().copied().take_while(|at| *at < best);
            let fits = |at: &usize| self.routes[*at].fits(request.method, host);
            best = earlier.find(fits).unwrap_or(best);
        };
        consider(&self.anywhere);
        if let Some(path) = path.strip_prefix(b"/") {
            let mut node = &self.tree;
            consider(&node.prefix);
            let mut segments = path.split(|byte| *byte == b'/').peekable();
            while let Some(segment) = segments.next() {
                let Some(below) = node.below.get(segment) else { break };
                node = below;
                consider(&node.prefix);
                if segments.peek().is_none() {
                    consider(&node.exact);
                }
            }
        }
        (best != usize::MAX).then_some(best)
    }
}

impl Node {
    /// The node of a path that starts with `/` or is empty.
    fn at(&mut self, path: &str) -> &mut Self {
        path.split('/')
            .skip(1)
            .fold(self, |node, segment| node.below.entry(segment.as_bytes().into()).or_default())
    }
}

impl Route {
    fn new(route: &RouteSettings, settings: &AuthSettings) -> Self {
        let required_scopes = route.required_scopes.as_ref().unwrap_or(&settings.required_scopes);
        Self {
            name: route.name.clone(),
            public: route.public,
            required_scopes: required_scopes.clone(),
            required_claims: route.required_claims.clone(),
            providers: ProviderFilter::new(route.providers.as_deref(), settings),
            denials: DenialStyle::new(route, settings),
            methods: route.methods.clone(),
            hosts: route.hosts.clone(),
        }
    }

    fn fits(&self, method: &str, host: &str) -> bool {
        (self.methods.is_empty() || self.methods.iter().any(|allowed| allowed == method))
            && (self.hosts.is_empty()
                || self.hosts.iter().any(|allowed| host_matches(allowed, host)))
    }
}

impl ProviderFilter {
    /// The providers with these names; all, if there is no list.
    pub fn new(names: Option<&[String]>, settings: &AuthSettings) -> Self {
        let named = |names: &[String]| {
            settings.providers.iter().map(|provider| names.contains(&provider.name)).collect()
        };
        Self(names.map(named))
    }

    /// Whether this provider is one of them.
    pub fn allows(&self, provider: ProviderId) -> bool {
        self.0.as_ref().is_none_or(|allowed| allowed.get(usize::from(provider.0)) == Some(&true))
    }

    /// Those of either.
    pub fn or(&self, other: &Self) -> Self {
        let (Some(left), Some(right)) = (&self.0, &other.0) else { return Self(None) };
        Self(Some(left.iter().zip(right).map(|(l, r)| *l || *r).collect()))
    }
}

/// A host without port and trailing dot.
pub(super) fn bare_host(host: &str) -> &str {
    let end_of_address = host.rfind(']').map_or(0, |at| at + 1);
    let end = host[end_of_address..].find(':').map_or(host.len(), |at| end_of_address + at);
    let host = &host[..end];
    host.strip_suffix('.').unwrap_or(host)
}

/// `*.example.com` stands for every host below `example.com`, not for itself.
fn host_matches(allowed: &str, host: &str) -> bool {
    match allowed.strip_prefix('*') {
        Some(suffix) => {
            let (host, suffix) = (host.as_bytes(), suffix.as_bytes());
            host.len() > suffix.len()
                && host[host.len() - suffix.len()..].eq_ignore_ascii_case(suffix)
        }
        None => host.eq_ignore_ascii_case(allowed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(routes: Vec<RouteSettings>) -> Routes {
        Routes::new(&AuthSettings { routes, ..AuthSettings::default() })
    }

    fn prefix(path: &str) -> RouteSettings {
        RouteSettings {
            name: path.into(),
            path_prefix: Some(path.into()),
            ..RouteSettings::default()
        }
    }

    fn exact(path: &str) -> RouteSettings {
        RouteSettings {
            name: format!("={path}"),
            path: Some(path.into()),
            ..RouteSettings::default()
        }
    }

    fn name(routes: &Routes, request: &Request<'_>) -> Result<String, NoRoute> {
        routes.find(request).map(|route| route.map_or(String::new(), |route| route.name.clone()))
    }

    #[test]
    fn prefixes_end_at_segments_and_spelling_can_not_dodge_them() {
        let routes =
            routes(vec![exact("/admin/status"), prefix("/admin"), exact("/a/"), exact("/")]);
        let cases = [
            ("/admin", Ok("/admin")),
            ("/admin/", Ok("/admin")),
            ("/admin/x/y?z", Ok("/admin")),
            ("/admin/status", Ok("=/admin/status")),
            ("/admin/status/", Ok("/admin")),
            ("/administrator", Ok("")),
            ("/Admin", Ok("")),
            ("/a/", Ok("=/a/")),
            ("/a", Ok("")),
            ("/", Ok("=/")),
            ("/?admin", Ok("=/")),
            ("//admin", Ok("/admin")),
            ("/x/../admin", Ok("/admin")),
            ("/%61dmin", Ok("/admin")),
            ("/%2561dmin", Err(NoRoute::Ambiguous)),
            ("/x%2f..%2fadmin", Err(NoRoute::Ambiguous)),
            ("/admin%2f..%2fx", Ok("")),
            ("/admin;v=1", Err(NoRoute::Ambiguous)),
            ("/\\admin", Err(NoRoute::Ambiguous)),
            ("/models/meta%2Fllama", Ok("")),
            ("/admin/meta%2Fllama", Ok("/admin")),
            ("/admin#", Err(NoRoute::Ambiguous)),
            ("admin", Err(NoRoute::Ambiguous)),
        ];
        for (path, expected) in cases {
            let request = Request { method: "GET", path, ..Request::default() };
            assert_eq!(name(&routes, &request), expected.map(String::from), "{path}");
        }
    }

    #[test]
    fn the_first_match_wins_whatever_its_kind() {
        let routes = routes(vec![prefix("/a"), exact("/a/b"), prefix("/"), prefix("/a/b/c")]);
        for (path, expected) in [("/a/b", "/a"), ("/a/b/c/d", "/a"), ("/x", "/"), ("/", "/")] {
            let request = Request { method: "GET", path, ..Request::default() };
            assert_eq!(name(&routes, &request).as_deref(), Ok(expected), "{path}");
        }
    }

    #[test]
    fn methods_and_hosts_narrow_a_route() {
        let posts = RouteSettings { methods: vec!["POST".into()], ..prefix("/a") };
        let hosts = vec!["api.example.com".into(), "*.example.org".into()];
        let api = RouteSettings { name: "api".into(), hosts, ..RouteSettings::default() };
        let routes = routes(vec![posts, api]);
        let cases = [
            ("POST", "x", "/a", "/a"),
            ("GET", "x", "/a", ""),
            ("post", "x", "/a", ""),
            ("GET", "API.example.com:8443", "/a", "api"),
            ("GET", "api.example.com.", "/a", "api"),
            ("GET", "api.example.com.:443", "/a", "api"),
            ("GET", "a.b.EXAMPLE.org", "/a", "api"),
            ("GET", "example.org", "/a", ""),
            ("GET", "badexample.org", "/a", ""),
            ("GET", "[::1]:80", "/a", ""),
            ("POST", "api.example.com", "/a", "/a"),
        ];
        for (method, host, path, expected) in cases {
            let request = Request { method, host, path, ..Request::default() };
            assert_eq!(name(&routes, &request).as_deref(), Ok(expected), "{method} {host} {path}");
        }
    }

    #[test]
    fn a_named_route_needs_no_matching() {
        let hidden =
            RouteSettings { name: "hidden".into(), only_by_name: true, ..RouteSettings::default() };
        let routes = routes(vec![hidden, prefix("/admin")]);
        let named = |route, path| Request { method: "GET", path, route, ..Request::default() };
        assert_eq!(name(&routes, &named(Some("hidden"), "/x")).as_deref(), Ok("hidden"));
        assert_eq!(name(&routes, &named(None, "/x")).as_deref(), Ok(""));
        assert_eq!(name(&routes, &named(Some("/admin"), "/x%2f..#")).as_deref(), Ok("/admin"));
        assert_eq!(name(&routes, &named(Some("other"), "/admin")), Err(NoRoute::Unknown));
    }

    #[test]
    fn options_star_has_the_rules_of_no_path() {
        let routes = routes(vec![prefix("/")]);
        let request = |method| Request { method, path: "*", ..Request::default() };
        assert_eq!(name(&routes, &request("OPTIONS")).as_deref(), Ok(""));
        assert_eq!(name(&routes, &request("GET")), Err(NoRoute::Ambiguous));
    }
}
