//! From ALB's rules to routes that never require less of a request than ALB did.
//!
//! Both try their rules in order and let the first match decide. Where a rule
//! can be expressed as routes exactly, the same outcome results. Where it can't
//! (a `*` in the middle, a header condition), Claimgate can't tell which
//! requests it matches: those in its [`Fence`] may. Leaving such a rule out
//! hands its requests to the rules after it, so whatever they ask there is
//! joined with what the rule asks. A rule that asks for nothing changes
//! nothing by this, and so never becomes wider than it was.

use super::{
    alb::Rule,
    matcher::{Fence, Matcher},
    outcome::Outcome,
    region::{PathSet, Region},
};

/// A route of the config file.
#[derive(Clone, Debug)]
pub(super) struct PlannedRoute {
    /// Its unique name.
    pub(super) name: String,
    /// The requests; `None` if only Envoy's own routes lead here.
    pub(super) region: Option<Region>,
    /// What it requires of them.
    pub(super) outcome: Outcome,
    /// The position of the rule it is made for.
    pub(super) rule: usize,
    /// Whether it is the rule itself, and not the rule within another.
    pub(super) is_own: bool,
    /// What is different from ALB here; one or more sentences each.
    pub(super) notes: Vec<String>,
}

/// A rule that could not be expressed in full, for the rules after it.
#[derive(Clone, Debug)]
struct Pending {
    fences: Vec<Fence>,
    outcome: Outcome,
    label: String,
    route: String,
}

/// The routes of a list of rules, the last of which matches everything.
pub(super) fn routes(rules: &[Rule]) -> Vec<PlannedRoute> {
    let rules: Vec<_> = rules.iter().map(|rule| (rule, Matcher::of(rule))).collect();
    let mut planner = Planner { rules: &rules, routes: Vec::new() };
    planner.plan(0, &Region::everything(), &[], None);
    let routes = planner.routes;
    let mut all = heads(&rules, &routes);
    all.extend(routes);
    all
}

/// A route's `GET` covers `HEAD`, which ALB's does not. Where that makes a
/// difference, every `HEAD` is decided by these routes, before `routes`.
fn heads(rules: &[(&Rule, Matcher)], routes: &[PlannedRoute]) -> Vec<PlannedRoute> {
    let of_get =
        |route: &&PlannedRoute| route.region.as_ref().is_some_and(Region::has_get_without_head);
    let mut of_get = routes.iter().filter(of_get).peekable();
    let Some(first) = of_get.peek().copied() else { return Vec::new() };
    let mut planner = Planner { rules, routes: Vec::new() };
    let note = "ALB's method GET does not match HEAD, a route's does; so what ALB asked of HEAD \
                is asked of it here.";
    planner.plan(0, &Region::heads(), &[], Some(Enclosing { route: "head", note }));
    let mut heads = planner.routes;
    for head in &mut heads {
        // A hole is named after its rule alone.
        if !head.name.ends_with("-head") {
            head.name.push_str("-head");
        }
    }
    match heads.iter().chain(of_get).all(|route| route.outcome == first.outcome) {
        true => Vec::new(),
        false => heads,
    }
}

struct Planner<'r> {
    rules: &'r [(&'r Rule, Matcher)],
    routes: Vec<PlannedRoute>,
}

/// Which earlier rules concern a region.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Overlap {
    /// Those whose fence covers all of it.
    All,
    /// Those whose fence covers some of it.
    Any,
}

/// The rule around a hole, while the hole is filled: around requests that its
/// route would match and ALB's rule does not.
#[derive(Clone, Copy)]
struct Enclosing<'a> {
    route: &'a str,
    note: &'a str,
}

impl Planner<'_> {
    /// Plans the rules from `first` on for the requests in `scope`.
    fn plan(
        &mut self,
        first: usize,
        scope: &Region,
        before: &[Pending],
        enclosing: Option<Enclosing<'_>>,
    ) {
        let mut pending = before.to_vec();
        for (at, (_, matcher)) in self.rules.iter().enumerate().skip(first) {
            let own = self.inexpressible(at, scope);
            if enclosing.is_none() && own.is_some() {
                self.by_name_only(at);
            }
            let mut covered = false;
            for part in &matcher.exact {
                let Some(region) = part.region.and(scope) else { continue };
                let hole = match (&part.hole, &region.path) {
                    (Some(hole), PathSet::Exact(path)) if hole == path => continue,
                    (_, PathSet::Exact(_) | PathSet::Template(_)) => None,
                    (hole, PathSet::Under(_)) => hole.as_ref(),
                };
                if let Some(path) = hole {
                    let mut with_own = pending.clone();
                    with_own.extend(own.clone());
                    self.fill(at, &region, &with_own, path);
                }
                self.decide(at, &region, &pending, enclosing);
                covered |= hole.is_none() && scope.is_within(&region);
            }
            if covered {
                return;
            }
            pending.extend(own.filter(|own| own.outcome != Outcome::Public));
        }
    }

    /// The part of a rule that can't be expressed within `scope`.
    fn inexpressible(&self, at: usize, scope: &Region) -> Option<Pending> {
        let (rule, matcher) = &self.rules[at];
        let fences: Vec<_> =
            matcher.vague.iter().filter(|fence| fence.may_match_in(scope)).cloned().collect();
        (!fences.is_empty()).then(|| Pending {
            fences,
            outcome: rule.outcome(),
            label: rule.label(),
            route: rule.route_name(),
        })
    }

    /// `path_prefix: /x` has `/x` in it, which ALB's `/x/*` has not: that one
    /// path gets what the rules after this one ask of it.
    fn fill(&mut self, at: usize, region: &Region, pending: &[Pending], path: &str) {
        let point = Region { path: PathSet::Exact(path.into()), ..region.clone() };
        let Some(scope) = region.and(&point) else { return };
        let note = format!(
            "ALB's pattern {path}/* does not match {path} itself, path_prefix: {path} would; so \
             what comes later in ALB's order is asked of {path} here. {path}/, which some servers \
             take for {path}, is refused with 400."
        );
        let hole = self.hole(at, &scope, pending, &note);
        if self.differs(at, &scope, pending, &hole) {
            hole.into_iter().for_each(|route| self.push(route));
        }
    }

    /// The routes for requests that a rule's route would match and the rule
    /// does not, made of the rules after it.
    fn hole(
        &self,
        at: usize,
        scope: &Region,
        pending: &[Pending],
        note: &str,
    ) -> Vec<PlannedRoute> {
        let mut hole = Planner { rules: self.rules, routes: Vec::new() };
        let route = &self.rules[at].0.route_name();
        hole.plan(at + 1, scope, pending, Some(Enclosing { route, note }));
        hole.routes
    }

    /// Whether any of these routes asks for something else than the rule.
    fn differs(
        &self,
        at: usize,
        scope: &Region,
        pending: &[Pending],
        hole: &[PlannedRoute],
    ) -> bool {
        let [all, any] =
            [Overlap::All, Overlap::Any].map(|it| self.asked(at, scope, pending, it).0);
        all != any || hole.iter().any(|route| route.outcome != all)
    }

    /// Adds the routes for a region that a rule matches as a whole.
    fn decide(
        &mut self,
        at: usize,
        region: &Region,
        pending: &[Pending],
        enclosing: Option<Enclosing<'_>>,
    ) {
        let name = self.rules[at].0.route_name();
        let name = enclosing
            .map_or(name.clone(), |enclosing| format!("{name}-within-{}", enclosing.route));
        let route = |name: &str, region: Region, (outcome, notes)| PlannedRoute {
            name: name.into(),
            region: Some(region),
            outcome,
            rule: at,
            is_own: enclosing.is_none(),
            notes,
        };
        let whole = self.asked(at, region, pending, Overlap::All);
        for earlier in pending {
            for fence in &earlier.fences {
                let part = fence.region.and(region).filter(|part| part != region);
                let Some(part) = part.filter(|part| fence.may_match_in(part)) else { continue };
                let asked = self.asked(at, &part, pending, Overlap::Any);
                if asked.0 != whole.0 {
                    let name = format!("{name}-or-{}", earlier.route);
                    self.push(PlannedRoute { is_own: false, ..route(&name, part, asked) });
                }
            }
        }
        let mut route = route(&name, region.clone(), whole);
        route.notes.extend(enclosing.map(|enclosing| enclosing.note.to_owned()));
        self.push(route);
    }

    /// What is asked of the requests in a region that a rule matches: its own
    /// requirements, and those of the earlier rules that may match there, too.
    fn asked(
        &self,
        at: usize,
        region: &Region,
        pending: &[Pending],
        overlap: Overlap,
    ) -> (Outcome, Vec<String>) {
        let mut outcome = self.rules[at].0.outcome();
        let mut notes = Vec::new();
        for earlier in pending {
            let concerns = |fence: &Fence| {
                fence.may_match_in(region)
                    && (overlap == Overlap::Any || region.is_within(&fence.region))
            };
            if !earlier.fences.iter().any(concerns) {
                continue;
            }
            let stricter = outcome.and(&earlier.outcome);
            if stricter != outcome {
                notes.push(stricter_note(earlier, &stricter));
                outcome = stricter;
            }
        }
        (outcome, notes)
    }

    /// A route that Envoy can name for a rule that it can match and Claimgate
    /// can't.
    fn by_name_only(&mut self, at: usize) {
        let (rule, matcher) = &self.rules[at];
        if rule.outcome() == Outcome::Closed || !matcher.exact.is_empty() {
            return;
        }
        self.push(PlannedRoute {
            name: rule.route_name(),
            region: None,
            outcome: rule.outcome(),
            rule: at,
            is_own: true,
            notes: Vec::new(),
        });
    }

    /// Whether an earlier route matches all that this one does.
    fn is_covered(&self, route: &PlannedRoute) -> bool {
        let Some(region) = &route.region else { return false };
        let regions = self.routes.iter().filter_map(|other| other.region.as_ref());
        regions.into_iter().any(|wide| region.is_within(wide))
    }

    /// Adds a route under a name that is free, unless an earlier one matches
    /// all that it does.
    fn push(&mut self, mut route: PlannedRoute) {
        if self.is_covered(&route) {
            return;
        }
        let is_free = |name: &String| self.routes.iter().all(|other| other.name != *name);
        let numbered = (2..).map(|number| format!("{}-{number}", route.name));
        let mut names = std::iter::once(route.name.clone()).chain(numbered);
        if let Some(name) = names.find(is_free) {
            route.name = name;
        }
        self.routes.push(route);
    }
}

fn stricter_note(earlier: &Pending, stricter: &Outcome) -> String {
    let (label, route) = (&earlier.label, &earlier.route);
    match stricter {
        Outcome::Closed => format!(
            "Stricter than ALB: {label} comes first, may match some of these requests, and can't \
             be told from here, so every request is denied. If Envoy's own route matches {label} \
             before Claimgate is asked, write here what ALB asked."
        ),
        _ => format!(
            "Stricter than ALB: {label} comes first, may match some of these requests, and can't \
             be told from here, so what it asks is asked here too. If Envoy's own route matches \
             {label} and names `claimgate_route: {route}`, remove that here."
        ),
    }
}

#[cfg(test)]
mod tests;
