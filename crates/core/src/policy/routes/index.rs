//! All routes, indexed by what they match.

use ahash::AHashMap;

use super::{
    agreement::{Agreement, NoRoute, rules},
    draft::RoutePath,
    every_reading::EveryReading,
    node::NO_ROUTE,
    route::{Asked, Route},
    tree::{Tree, Walk},
};
use crate::{
    policy::{
        hosts::bare_host,
        path::{self, Rules, Spelling},
    },
    request::Request,
    settings::{AuthSettings, RouteSettings},
};

/// All routes, found without trying one after the other.
#[derive(Debug)]
pub struct Routes {
    pub(super) routes: Vec<Route>,
    defaults: Route,
    by_name: AHashMap<String, usize>,
    /// Those without a path.
    pub(super) anywhere: Vec<usize>,
    tree: Tree,
    readings: Rules,
    pub(super) has_matches: bool,
    pub(super) paths_have_case: bool,
    pub(super) match_as_sent: bool,
    /// What stands for an empty segment that a server takes for a template's
    /// `{name}`: a segment that no route has. `None` without templates.
    filler: Option<String>,
}

impl Routes {
    /// Indexes the routes of `settings`.
    pub fn new(settings: &AuthSettings) -> Self {
        let matched = || settings.routes.iter().enumerate().filter(|(_, it)| !it.only_by_name);
        let with_path =
            matched().filter_map(|(position, route)| Some((position, RoutePath::of(route)?)));
        let has_no_path = |route: &RouteSettings| RoutePath::of(route).is_none();
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
            filler: filler(&settings.routes),
        };
        let rules = rules(&settings.routes);
        for (position, (route, rules)) in settings.routes.iter().zip(rules).enumerate() {
            routes.by_name.insert(route.name.clone(), position);
            let number = position + 1;
            routes.routes.push(Route { rules, number, ..Route::new(route, settings) });
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
            return Ok(self.routes.get(self.walk(request).first(&self.anywhere, NO_ROUTE)));
        }
        let walk = self.walk(request);
        let mut agreement = Agreement { routes: &self.routes, found: None, of_templates: false };
        self.follow_readings(&walk, path, &mut agreement)?;
        if let Some(filled) = self.filled(path) {
            // Others have no `{name}` for which a server takes an empty segment.
            agreement.of_templates = true;
            self.follow_readings(&walk, &filled, &mut agreement)?;
            agreement.of_templates = false;
        }
        if self.match_as_sent && self.has_matches {
            agreement.add(self.find_as_sent(walk, path))?;
        }
        Ok(agreement.found.and_then(|at| self.routes.get(at)))
    }

    /// The path with a name in place of each empty segment, if it has any and
    /// there are templates.
    pub(super) fn filled(&self, path: &str) -> Option<String> {
        fill_empty(path, self.filler.as_ref()?)
    }

    /// Adds where every reading of a path leads.
    fn follow_readings<'t>(
        &'t self,
        walk: &Walk<'t>,
        path: &str,
        agreement: &mut Agreement<'t>,
    ) -> Result<(), NoRoute> {
        let spelling = path::read(path, self.has_matches).map_err(|_| NoRoute::Ambiguous)?;
        if self.tree.is_overgrown {
            return Err(NoRoute::Ambiguous);
        }
        if !self.has_matches {
            return Ok(());
        }
        let start = |has_case| walk.start(&self.anywhere, has_case);
        match &spelling {
            Spelling::Plain { path, is_folded } => {
                let one_case = self.paths_have_case || *is_folded && self.tree.is_folded();
                walk.follow(start(one_case), path, |_, at| agreement.add(at))?;
            }
            Spelling::Odd(path) => {
                let start = start(self.paths_have_case);
                EveryReading::follow(walk, start, &self.readings, path, agreement)?;
            }
        }
        Ok(())
    }

    /// What `request` asks of the routes.
    pub(super) fn walk<'t>(&'t self, request: &Request<'t>) -> Walk<'t> {
        let host = bare_host(request.host);
        let asked = Asked { method: request.method, host, as_sent: false };
        Walk { routes: &self.routes, tree: &self.tree, asked }
    }

    /// The route of a path and method compared byte for byte.
    pub(super) fn find_as_sent(&self, walk: Walk<'_>, path: &str) -> usize {
        let asked = Asked { as_sent: true, ..walk.asked };
        Walk { asked, ..walk }.as_sent(path.as_bytes(), &self.anywhere)
    }
}

/// A segment that no route has, if there are templates.
fn filler(routes: &[RouteSettings]) -> Option<String> {
    routes.iter().find(|route| route.path_template.is_some() && !route.only_by_name)?;
    let is_taken = |name: &str| {
        let mut literals = routes.iter().filter_map(RoutePath::of).flat_map(RoutePath::literals);
        literals.any(|literal| literal.eq_ignore_ascii_case(name))
    };
    (0..).map(|number| format!("x{number}")).find(|name| !is_taken(name))
}

/// The path with a name in place of each empty segment, if it has any: some
/// routers (Fastify, and those like httprouter) take one for the value of a
/// parameter.
fn fill_empty(path: &str, name: &str) -> Option<String> {
    let segments = path.strip_prefix('/')?;
    if !segments.split('/').any(str::is_empty) {
        return None;
    }
    let filled = segments.split('/').map(|segment| if segment.is_empty() { name } else { segment });
    Some(filled.fold(String::with_capacity(path.len() + 16), |path, segment| path + "/" + segment))
}
