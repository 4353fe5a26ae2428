//! Which rules apply to a request.

use ahash::AHashMap;

mod every_reading;
mod readings;
mod tree;

use super::{
    denials::DenialStyle,
    path::{self, Rules, Spelling},
};
use crate::{
    decision::ProviderId,
    request::Request,
    settings::{AuthSettings, ClaimRule, RouteSettings},
};

use every_reading::EveryReading;
use tree::{NO_ROUTE, Tree, Walk};

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
    /// The same number for routes with the same rules; 0 for no route.
    rules: usize,
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
    /// Those without a path.
    anywhere: Vec<usize>,
    tree: Tree,
    readings: Rules,
    has_matches: bool,
    paths_have_case: bool,
    match_as_sent: bool,
}

/// What is compared beside the path.
#[derive(Clone, Copy, Debug)]
struct Asked<'r> {
    method: &'r str,
    /// Without port and trailing dot.
    host: &'r str,
    /// Whether methods are compared letter for letter.
    as_sent: bool,
}

/// What the readings that were followed so far have led to.
#[derive(Debug)]
struct Agreement<'t> {
    routes: &'t [Route],
    /// The first of the routes, all of which have the same rules.
    found: Option<usize>,
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
        let matched = || settings.routes.iter().enumerate().filter(|(_, it)| !it.only_by_name);
        let with_path = matched().filter_map(|(position, route)| {
            let exact = route.path.as_deref().map(|path| (position, path, false));
            exact.or(route.path_prefix.as_deref().map(|prefix| (position, prefix, true)))
        });
        let has_no_path =
            |route: &RouteSettings| route.path.is_none() && route.path_prefix.is_none();
        let mut routes = Self {
            routes: Vec::with_capacity(settings.routes.len()),
            defaults: Route::new(&RouteSettings::default(), settings),
            by_name: AHashMap::new(),
            anywhere: matched().filter(|(_, it)| has_no_path(it)).map(|(at, _)| at).collect(),
            tree: Tree::new(with_path),
            readings: Rules::new(),
            has_matches: matched().next().is_some(),
            paths_have_case: settings.case_sensitive_paths,
            match_as_sent: settings.match_as_sent,
        };
        let rules = rules(&settings.routes);
        for (position, (route, rules)) in settings.routes.iter().zip(rules).enumerate() {
            routes.by_name.insert(route.name.clone(), position);
            routes.routes.push(Route { rules, ..Route::new(route, settings) });
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
        let walk = self.walk(request);
        let mut agreement = Agreement { routes: &self.routes, found: None };
        if path == "*" && request.method == "OPTIONS" {
            return Ok(self.routes.get(walk.first(&self.anywhere, NO_ROUTE)));
        }
        let spelling = path::read(path, self.has_matches).map_err(|_| NoRoute::Ambiguous)?;
        if !self.has_matches {
            return Ok(None);
        }
        let start = |has_case| walk.start(&self.anywhere, has_case);
        match &spelling {
            Spelling::Plain { path, is_folded } => {
                let one_case = self.paths_have_case || *is_folded && self.tree.is_folded();
                walk.follow(start(one_case), path, |_, at| agreement.add(at))?;
            }
            Spelling::Odd(path) => {
                let start = start(self.paths_have_case);
                EveryReading::follow(&walk, start, &self.readings, path, &mut agreement)?;
            }
        }
        if self.match_as_sent {
            agreement.add(self.find_as_sent(walk, path))?;
        }
        Ok(agreement.found.and_then(|at| self.routes.get(at)))
    }

    fn walk<'t>(&'t self, request: &Request<'t>) -> Walk<'t> {
        let host = bare_host(request.host);
        let asked = Asked { method: request.method, host, as_sent: false };
        Walk { routes: &self.routes, tree: &self.tree, asked }
    }

    /// The route of a path and method compared byte for byte.
    fn find_as_sent(&self, walk: Walk<'_>, path: &str) -> usize {
        let asked = Asked { as_sent: true, ..walk.asked };
        Walk { asked, ..walk }.as_sent(path.as_bytes(), &self.anywhere)
    }
}

impl<'t> Agreement<'t> {
    /// Adds where one reading leads.
    fn add(&mut self, position: usize) -> Result<(), NoRoute> {
        let found = self.found.unwrap_or(position);
        if found != position && rules_of(self.routes, found) != rules_of(self.routes, position) {
            return Err(NoRoute::Ambiguous);
        }
        self.found = Some(found.min(position));
        Ok(())
    }
}

/// The number of the rules of the route at this position; 0 for no route.
fn rules_of(routes: &[Route], position: usize) -> usize {
    routes.get(position).map_or(0, |route| route.rules)
}

/// For each route the number of its rules, from 1 on: all that it says beside
/// its name and what it matches. To lead to one of two routes with the same
/// rules dodges neither.
pub(crate) fn rules(routes: &[RouteSettings]) -> Vec<usize> {
    let mut known: Vec<RouteSettings> = Vec::new();
    let number = |route: &RouteSettings| {
        let rules = RouteSettings {
            name: String::new(),
            only_by_name: false,
            path: None,
            path_prefix: None,
            methods: Vec::new(),
            hosts: Vec::new(),
            ..route.clone()
        };
        let position = known.iter().position(|other| *other == rules).unwrap_or_else(|| {
            known.push(rules);
            known.len() - 1
        });
        position + 1
    };
    routes.iter().map(number).collect()
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
            rules: 0,
        }
    }

    fn fits(&self, asked: &Asked<'_>) -> bool {
        (self.methods.is_empty() || self.methods.iter().any(|allowed| asked.by_method(allowed)))
            && (self.hosts.is_empty()
                || self.hosts.iter().any(|allowed| host_matches(allowed, asked.host)))
    }
}

impl Asked<'_> {
    /// Some frameworks raise a method to upper case, and most answer `HEAD`
    /// as they answer `GET`.
    fn by_method(&self, allowed: &str) -> bool {
        if self.as_sent {
            return allowed == self.method;
        }
        allowed.eq_ignore_ascii_case(self.method)
            || allowed.eq_ignore_ascii_case("GET") && self.method.eq_ignore_ascii_case("HEAD")
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
mod tests;
