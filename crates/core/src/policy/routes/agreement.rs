//! Whether all readings of a path lead to the same rules.

use super::route::Route;
use crate::settings::RouteSettings;

/// What the readings that were followed so far have led to.
#[derive(Debug)]
pub(super) struct Agreement<'t> {
    pub(super) routes: &'t [Route],
    /// The first of the routes, all of which have the same rules.
    pub(super) found: Option<usize>,
    /// Whether only templates count.
    pub(super) of_templates: bool,
}

/// Why no route could be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// The caller names a route that does not exist.
    Unknown,
    /// The path's readings lead to different routes, or it can't be read.
    Ambiguous,
}

impl<'t> Agreement<'t> {
    /// Adds where one reading leads.
    pub(super) fn add(&mut self, position: usize) -> Result<(), NoRoute> {
        let is_template = || self.routes.get(position).is_some_and(|route| route.is_template);
        if self.of_templates && !is_template() {
            return Ok(());
        }
        let found = self.found.unwrap_or(position);
        if found != position && rules_of(self.routes, found) != rules_of(self.routes, position) {
            return Err(NoRoute::Ambiguous);
        }
        self.found = Some(found.min(position));
        Ok(())
    }
}

/// The number of the rules of the route at this position; 0 for no route.
pub(super) fn rules_of(routes: &[Route], position: usize) -> usize {
    routes.get(position).map_or(0, |route| route.rules)
}

/// For each route the number of its rules, from 1 on: all that it says beside
/// its name and what it matches. To lead to one of two routes with the same
/// rules dodges neither.
pub fn rules(routes: &[RouteSettings]) -> Vec<usize> {
    let mut known: Vec<RouteSettings> = Vec::new();
    let number = |route: &RouteSettings| {
        let rules = RouteSettings {
            name: String::new(),
            only_by_name: false,
            path: None,
            path_prefix: None,
            path_template: None,
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
