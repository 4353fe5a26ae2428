//! Turns a listener into a config file.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{
    alb::{Action, Listener, Rule},
    matcher::Matcher,
    notes,
    outcome::{ClaimMatch, Outcome, Requirement},
    providers::{self, CLOSED_PROVIDER, PlannedProvider, escaped, required_claims},
    region::{PathSet, Region},
    routes::{PlannedRoute, routes},
    yaml::{self, Entry, Item, WriteError},
};
use crate::config::{self, ConfigErrors};

/// Why a listener can't be turned into a config file.
#[derive(Debug, thiserror::Error)]
pub enum ProduceError {
    /// No rule to import.
    #[error(
        "the listener {0} has no rule that passes requests with a checked token on to a target (a \
         jwt-validation action), so there is nothing for Claimgate to take over"
    )]
    NoTokens(String),
    /// A value that a config file can't have.
    #[error("what the document says makes no config file: {0}")]
    Refused(#[from] ConfigErrors),
    /// The YAML can't be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// The config file for a listener; `others` are those beside it.
///
/// # Errors
/// [`ProduceError`].
pub(super) fn config(listener: &Listener, others: &[&Listener]) -> Result<String, ProduceError> {
    let (rules, mut head) = completed(listener);
    let outcomes: Vec<_> = rules.iter().map(Rule::outcome).collect();
    let routes = routes(&rules);
    // The file also has the providers of rules without a route: an editor needs them.
    let used = routes.iter().map(|route| &route.outcome).chain(&outcomes);
    let providers = PlannedProvider::all(used, &outcomes);
    if providers.is_empty() {
        return Err(ProduceError::NoTokens(listener.label.clone()));
    }
    let file = File { routes, rules: &rules, providers: &providers };
    let mut paragraphs = notes::introduction(listener, others);
    paragraphs.append(&mut head);
    paragraphs.extend(file.without_route());
    let text = yaml::write(&paragraphs, &[Entry::block("auth", file.auth(&outcomes))])?;
    // A file is only returned if it can be loaded.
    config::load(&text, &|_| None)?;
    Ok(text)
}

/// The rules of a listener, with a default action that is safe where the
/// document has none, or one that can't be trusted to be all there is.
fn completed(listener: &Listener) -> (Vec<Rule>, Vec<String>) {
    let mut rules = listener.rules.clone();
    let mut notes = Vec::new();
    let default = rules.iter().position(|rule| rule.priority.is_none());
    let closed = |why: &str| Rule {
        priority: None,
        conditions: Vec::new(),
        actions: vec![Action::Missing(why.into())],
        transforms: Vec::new(),
    };
    match default {
        None => {
            notes.push(
                "The document does not have the listener's default action, so what no rule \
                 matches is closed. `aws elbv2 describe-rules --listener-arn …` prints it with the \
                 rules."
                    .into(),
            );
            rules.push(closed(""));
        }
        Some(at) if !listener.shows_rules => {
            notes.push(
                "The document shows the listener's default action and none of its rules, which \
                 may ask for more, or for less. Import what `aws elbv2 describe-rules \
                 --listener-arn …` prints: it has both."
                    .into(),
            );
            if rules[at].outcome() == Outcome::Public {
                rules[at] = closed(
                    ": the default action passed them on without a token, unless a rule matched, \
                     and the rules are not shown. If there are none, write `public: true` here \
                     instead of `providers`",
                );
            }
        }
        Some(_) => {}
    }
    (rules, notes)
}

/// The parts of a config file.
struct File<'a> {
    rules: &'a [Rule],
    routes: Vec<PlannedRoute>,
    providers: &'a [PlannedProvider],
}

impl File<'_> {
    fn auth(&self, outcomes: &[Outcome]) -> Vec<Entry> {
        let (skipped, scopes) = self.defaults().unzip();
        let scopes = scopes.unwrap_or_default();
        let routes: Vec<_> = self
            .routes
            .iter()
            .enumerate()
            .filter(|(at, _)| Some(*at) != skipped)
            .map(|(at, route)| self.route(at, route, !scopes.is_empty()))
            .collect();
        let mut entries = vec![Entry::items("providers", self.provider_items(outcomes))];
        if let Some(at) = skipped {
            let mut entry = Entry::value("required_scopes", escaped_all(&scopes));
            for note in self.notes(at) {
                entry = entry.note(note);
            }
            entries.push(entry);
        }
        if !routes.is_empty() {
            entries.push(Entry::value("match_as_sent", true));
            entries.push(Entry::items("routes", routes));
        }
        entries
    }

    fn provider_items(&self, outcomes: &[Outcome]) -> Vec<Item> {
        let item = |provider: &PlannedProvider| {
            let required = outcomes.iter().filter_map(|outcome| match outcome {
                Outcome::Token(issuer, requirements) if *issuer == provider.issuer => {
                    Some(requirements)
                }
                _ => None,
            });
            provider.item(&required.flatten().cloned().collect())
        };
        let mut items: Vec<_> = self.providers.iter().map(item).collect();
        if self.routes.iter().any(|route| route.outcome == Outcome::Closed) {
            items.push(providers::closed_provider());
        }
        items
    }

    /// The scopes that become those of `auth` itself: where the last route is
    /// for everything, and requires nothing but scopes of the only provider.
    fn defaults(&self) -> Option<(usize, Vec<String>)> {
        let (at, last) = self.routes.iter().enumerate().next_back()?;
        let [provider] = self.providers else { return None };
        let Outcome::Token(_, requirements) = &last.outcome else { return None };
        let asked = provider.beyond(requirements);
        let is_everything = last.region.as_ref() == Some(&Region::everything());
        (is_everything && asked.claims.is_empty()).then_some((at, asked.scopes))
    }

    fn provider(&self, outcome: &Outcome) -> Option<&PlannedProvider> {
        self.providers.iter().find(|provider| provider.serves(outcome))
    }

    fn route(&self, at: usize, route: &PlannedRoute, needs_scopes: bool) -> Item {
        let mut entries = vec![Entry::value("name", route.name.as_str())];
        if let Some(region) = &route.region {
            entries.push(Entry::value("match", matching(region)));
        }
        match &route.outcome {
            Outcome::Public => entries.push(Entry::value("public", true)),
            Outcome::Closed => entries.push(Entry::value("providers", json!([CLOSED_PROVIDER]))),
            Outcome::Token(_, requirements) => {
                let provider = self.provider(&route.outcome);
                let asked =
                    provider.map(|provider| provider.beyond(requirements)).unwrap_or_default();
                if let Some(provider) = provider.filter(|_| self.providers.len() > 1) {
                    entries.push(Entry::value("providers", json!([escaped(&provider.name)])));
                }
                if needs_scopes || !asked.scopes.is_empty() {
                    entries.push(Entry::value("required_scopes", escaped_all(&asked.scopes)));
                }
                if !asked.claims.is_empty() {
                    let claims = required_claims(&asked.claims);
                    entries.push(Entry::value("required_claims", claims));
                }
            }
        }
        Item { notes: self.notes(at), entries }
    }

    /// The comments above a route: about its rule, where it is the rule's first
    /// route, and about itself.
    fn notes(&self, at: usize) -> Vec<String> {
        let route = &self.routes[at];
        let is_first = |other: &&PlannedRoute| other.is_own && other.rule == route.rule;
        let first = self.routes.iter().find(is_first);
        let mut notes = Vec::new();
        if first.is_some_and(|first| first.name == route.name) {
            notes.extend(self.about(route));
        }
        notes.extend(route.notes.iter().cloned());
        notes.extend(self.lost_words(&route.outcome));
        notes
    }

    fn about(&self, route: &PlannedRoute) -> Vec<String> {
        let rule = &self.rules[route.rule];
        let mut notes = vec![notes::headline(rule)];
        notes.extend(notes::actions(rule));
        let matcher = Matcher::of(rule);
        if !matcher.vague.is_empty() {
            notes.push(notes::vague(rule, &matcher, Some(&route.name)));
        }
        notes
    }

    /// Notes about claims whose words can't be checked one by one.
    fn lost_words(&self, outcome: &Outcome) -> Vec<String> {
        let Outcome::Token(_, requirements) = outcome else { return Vec::new() };
        let provider = self.provider(outcome);
        let is_lost = |requirement: &&Requirement| {
            requirement.matching == ClaimMatch::Word
                && !provider.is_some_and(|it| it.is_scope(requirement))
        };
        let claims: BTreeSet<_> = requirements
            .iter()
            .filter(is_lost)
            .map(|requirement| requirement.claim.as_str())
            .collect();
        let text = |claim: &str| {
            format!(
                "Stricter than ALB: the words of the claim {claim:?} can't be looked at one by one \
                 (a provider has one `scope_claim`), so it must be the wanted value alone, or an \
                 array that has it."
            )
        };
        claims.into_iter().map(text).collect()
    }

    /// Rules that no route was made for, and why.
    fn without_route(&self) -> Vec<String> {
        let without = |at: &usize| self.routes.iter().all(|route| route.rule != *at);
        let text = |at: usize| {
            let rule = &self.rules[at];
            let matcher = Matcher::of(rule);
            if matcher.exact.is_empty() && !matcher.vague.is_empty() {
                let mut notes = vec![notes::headline(rule)];
                notes.extend(notes::actions(rule));
                notes.push(notes::vague(rule, &matcher, None));
                return notes.join(" ");
            }
            let label = notes::capitalised(&rule.label());
            format!("{label} has no route: an earlier rule matches all that it matches.")
        };
        (0..self.rules.len()).filter(without).map(text).collect()
    }
}

fn matching(region: &Region) -> Value {
    let mut members = Map::new();
    match &region.path {
        PathSet::Exact(path) => drop(members.insert("path".into(), escaped(path).into())),
        PathSet::Under(folder) if !folder.is_empty() => {
            members.insert("path_prefix".into(), escaped(folder).into());
        }
        PathSet::Under(_) => {}
        PathSet::Template(segments) => {
            let template = PathSet::template(segments);
            members.insert("path_template".into(), escaped(&template).into());
        }
    }
    if let PathSet::Exact(path) | PathSet::Under(path) = &region.path
        && config::looks_like_pattern(path)
    {
        members.insert("literal".into(), true.into());
    }
    if let Some(methods) = &region.methods {
        members.insert("methods".into(), json!(methods));
    }
    if let Some(hosts) = &region.hosts {
        members.insert("hosts".into(), json!(hosts));
    }
    if members.is_empty() {
        members.insert("path_prefix".into(), "/".into());
    }
    Value::Object(members)
}

fn escaped_all(texts: &[String]) -> Value {
    texts.iter().map(|text| escaped(text)).collect()
}
