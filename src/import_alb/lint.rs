//! What is unsafe about a load balancer's setup.

use std::io::{self, Write};

use url::Url;

use super::{
    alb::{Action, Field, Listener, Rule, Validation},
    matcher::Matcher,
    outcome::Outcome,
    pattern::{Glob, Shape},
    region::Region,
};

/// Something unsafe.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its kind, for tools and for looking it up.
    pub code: &'static str,
    /// Where, as `HTTPS:443, rule 10`.
    pub place: String,
    /// What is wrong, what it means, and what to do.
    pub text: String,
}

/// From this many values on, a list is called long.
const LONG_LIST: usize = 5;

/// What is unsafe about these listeners.
pub(super) fn findings(listeners: &[&Listener]) -> Vec<Finding> {
    let mut linter = Linter { findings: Vec::new(), listener: String::new() };
    let any_checks = listeners.iter().any(|listener| listener.validates());
    for listener in listeners {
        linter.listener.clone_from(&listener.label);
        linter.listener(listener, any_checks);
    }
    merged(linter.findings)
}

/// Joins findings that differ in their place alone.
fn merged(findings: Vec<Finding>) -> Vec<Finding> {
    let mut merged: Vec<Finding> = Vec::new();
    for finding in findings {
        let same = |other: &&mut Finding| other.code == finding.code && other.text == finding.text;
        match merged.iter_mut().find(same) {
            Some(other) => other.place = format!("{}; {}", other.place, finding.place),
            None => merged.push(finding),
        }
    }
    merged
}

/// Writes findings, or that there are none.
///
/// # Errors
/// `out` can't be written.
pub fn write(out: &mut impl Write, findings: &[Finding]) -> io::Result<()> {
    for finding in findings {
        let place = finding.place.escape_debug();
        let text: String = finding
            .text
            .chars()
            .map(|char| match char {
                ' '..='~' => char.to_string(),
                other => other.escape_debug().to_string(),
            })
            .collect();
        writeln!(out, "{}: {place}\n  {text}\n", finding.code)?;
    }
    match findings.len() {
        0 => writeln!(out, "nothing unsafe found"),
        1 => writeln!(out, "1 finding"),
        many => writeln!(out, "{many} findings"),
    }
}

struct Linter {
    findings: Vec<Finding>,
    listener: String,
}

impl Linter {
    fn find(&mut self, code: &'static str, rule: Option<&Rule>, text: impl Into<String>) {
        let place = match rule {
            Some(rule) => format!("{}, {}", self.listener, rule.label()),
            None => self.listener.clone(),
        };
        self.findings.push(Finding { code, place, text: text.into() });
    }

    fn listener(&mut self, listener: &Listener, any_checks: bool) {
        self.transport(listener);
        if !listener.validates() {
            if listener.forwards() {
                let text = match any_checks {
                    true => {
                        "passes requests on without checking a token, beside a listener that \
                         checks them: requests to this listener need none"
                    }
                    false => "passes requests on and checks no token at all",
                };
                self.find("no-validation", None, text);
            }
            return;
        }
        for rule in &listener.rules {
            rule.validations().for_each(|validation| self.validation(rule, validation));
            self.rule(rule);
        }
        self.order(&listener.rules);
        if !listener.shows_rules {
            self.find(
                "rules-unknown",
                None,
                "the document shows the default action alone; run this again on what `aws elbv2 \
                 describe-rules` prints, for a rule may let requests through without a token",
            );
        }
        self.find(
            "identity-headers",
            None,
            "ALB passes on every header that a client makes up, such as x-auth-subject or \
             x-user-id, beside a good token or without one; a target that trusts such headers \
             trusts any client. Claimgate sets its identity headers itself and removes forged ones",
        );
        self.find(
            "token-lifetime",
            None,
            "ALB accepts a token for as long as its `exp` says, be it years, and one that is bound \
             to a key or certificate (`cnf`) even if it was stolen. Claimgate has \
             max_token_lifetime_seconds and refuses bound tokens",
        );
    }

    fn transport(&mut self, listener: &Listener) {
        if listener.is_plaintext() && listener.forwards() {
            self.find(
                "http-listener",
                None,
                "passes on what came in over plain HTTP: tokens and answers can be read and \
                 changed on the way; redirect to https instead",
            );
        }
        // The AWS names of policies that allow TLS 1.0 or 1.1.
        let is_old = |policy: &str| {
            ["2015-05", "2016-08", "TLS-1-0", "TLS-1-1", "-FS-2018-06", "-Ext1-2", "-Ext0-"]
                .iter()
                .any(|part| policy.contains(part))
                && !policy.contains("TLS13-1-2")
        };
        if let Some(policy) = listener.tls_policy.as_deref().filter(|policy| is_old(policy)) {
            self.find(
                "old-tls",
                None,
                format!("the policy {policy} allows TLS 1.0 or 1.1; allow 1.2 and 1.3 alone"),
            );
        }
    }

    fn validation(&mut self, rule: &Rule, validation: &Validation) {
        let requires = |name: &str| validation.claims.iter().any(|claim| claim.name == name);
        let requires_scope = requires("scope") || requires("scp");
        if validation.claims.is_empty() {
            self.find(
                "any-token",
                Some(rule),
                "wants nothing but a token of the issuer: every client of it is let in, and may do \
                 everything. Ask for scopes, and name your clients (`client_ids`)",
            );
        }
        if !requires("aud") {
            let but = if requires_scope {
                ". The scopes it asks for help only if no other service's are called the same"
            } else {
                ""
            };
            self.find(
                "no-audience",
                Some(rule),
                format!(
                    "does not look at `aud`: a token that the issuer made for another service \
                     passes, also one that this other service received and kept{but}. Write \
                     `audience`, or for Amazon Cognito, whose access tokens have none, \
                     `client_ids` and required_scopes"
                ),
            );
        }
        if !requires("token_use") && !requires("typ") && !requires_scope {
            self.find(
                "no-token-type",
                Some(rule),
                "does not look at the kind of token: an ID token, which browsers and logs see, \
                 passes like an access token. Ask for `token_use: access` (Amazon Cognito), a scope, or \
                 the issuer's own mark of access tokens",
            );
        }
        for claim in validation.claims.iter().filter(|claim| claim.values.len() >= 2) {
            let long = if claim.values.len() >= LONG_LIST { ", a long list," } else { "" };
            self.find(
                "many-values",
                Some(rule),
                format!(
                    "the claim {:?} has {} values{long} and AWS does not say whether a token needs \
                     one of them or all; if any one is enough, the weakest decides. The imported \
                     file asks for all",
                    claim.name,
                    claim.values.len()
                ),
            );
        }
        self.urls(rule, validation);
    }

    fn urls(&mut self, rule: &Rule, validation: &Validation) {
        let url = |text: &str| Url::parse(text).ok();
        let (issuer, jwks) = (url(&validation.issuer), url(&validation.jwks));
        if jwks.as_ref().is_none_or(|url| url.scheme() != "https") {
            self.find(
                "http-jwks",
                Some(rule),
                "the keys' URL is not https: an attacker who can change the response on its \
                 way can sign tokens. The imported file fetches over https",
            );
        }
        if issuer.as_ref().is_none_or(|url| url.scheme() != "https") {
            self.find(
                "http-issuer",
                Some(rule),
                "the issuer is not an https URL, which OpenID Connect and RFC 8414 require",
            );
        }
        let host = |url: &Option<Url>| url.as_ref()?.host_str().map(String::from);
        let is_cognito = issuer
            .as_ref()
            .and_then(Url::host_str)
            .is_some_and(|host| host.starts_with("cognito-idp."));
        let is_elsewhere = match is_cognito {
            true => !validation.jwks.starts_with(&format!("{}/", validation.issuer)),
            false => host(&issuer) != host(&jwks),
        };
        if is_elsewhere {
            self.find(
                "foreign-keys",
                Some(rule),
                "the keys are not on the issuer's host: the owner of that host can sign tokens in \
                 the issuer's name. Compare with `jwks_uri` in the issuer's \
                 /.well-known/openid-configuration",
            );
        }
    }

    fn rule(&mut self, rule: &Rule) {
        for action in &rule.actions {
            if let Action::Unknown(kind) = action {
                let text = format!("has an action {kind:?} that this command does not know");
                self.find("unknown-action", Some(rule), text);
            }
        }
        if !rule.transforms.is_empty() {
            self.find(
                "rewritten",
                Some(rule),
                "the target sees another host or path than the one that was matched, so what \
                 protects a path at the target and what protects it here are not the same path",
            );
        }
        if rule.outcome() != Outcome::Public || !rule.actions.contains(&Action::Forward) {
            return;
        }
        if rule.priority.is_none() {
            self.find(
                "open-default",
                Some(rule),
                "passes on without a token whatever no rule matches: every new path, and every \
                 other spelling of a protected one (/Admin, /%61dmin, //admin). Let the default \
                 check tokens and make public what must be",
            );
            return;
        }
        let text = format!("passes on without a token: {}", rule.conditions_text());
        self.find("no-token", Some(rule), text);
        let is_forgeable =
            |field: &Field| matches!(field, Field::Header(_) | Field::Query(_) | Field::Unknown(_));
        let forged: Vec<_> =
            rule.conditions.iter().filter(|c| is_forgeable(&c.field)).map(|c| c.text()).collect();
        if !forged.is_empty() {
            let text = format!(
                "the way in without a token is {}, which any client can send",
                forged.join(", ")
            );
            self.find("forgeable", Some(rule), text);
        }
    }

    /// What comes of the order of rules.
    fn order(&mut self, rules: &[Rule]) {
        let matchers: Vec<_> = rules.iter().map(Matcher::of).collect();
        for (at, (rule, matcher)) in rules.iter().zip(&matchers).enumerate() {
            let later = || rules.iter().zip(&matchers).skip(at + 1);
            let weaker = |other: &Rule| other.outcome() == Outcome::Public;
            if matches!(rule.outcome(), Outcome::Token(..)) && later().any(|(o, _)| weaker(o)) {
                self.edges(rule);
            }
            let is_open = rule.outcome() == Outcome::Public;
            for (other, other_matcher) in later() {
                let is_shadowed = !other_matcher.exact.is_empty()
                    && other_matcher.vague.is_empty()
                    && other_matcher
                        .exact
                        .iter()
                        .all(|part| matcher.exact.iter().any(|wide| wide.has_within(&part.region)));
                if is_shadowed && other.priority.is_some() {
                    let text = format!("can never match: {} comes first", rule.label());
                    self.find("shadowed", Some(other), text);
                } else if is_open
                    && matches!(other.outcome(), Outcome::Token(..))
                    && other.priority.is_some()
                    && overlap(matcher, other_matcher)
                {
                    let text = format!(
                        "comes before {} ({}) and may match some of its requests, which then need \
                         no token",
                        other.label(),
                        other.conditions_text()
                    );
                    self.find("overlap", Some(rule), text);
                }
            }
        }
    }

    /// Spellings of a protected path that something later lets through.
    fn edges(&mut self, rule: &Rule) {
        let paths = rule.conditions.iter().filter(|condition| condition.field == Field::Path);
        let patterns: Vec<_> =
            paths.clone().flat_map(|condition| &condition.values).map(|p| Glob::new(p)).collect();
        if patterns.is_empty() && paths.clone().next().is_none() {
            return;
        }
        self.find(
            "path-spelling",
            Some(rule),
            "paths are compared case and all as they are sent, so another spelling of a protected \
             path (capitals, %61, //, /x/../) has the rules of whatever comes later, which asks \
             for nothing. Claimgate reads these as one path, or refuses them",
        );
        for glob in &patterns {
            if let Shape::Below(folder) = glob.shape()
                && !folder.is_empty()
                && !patterns.iter().any(|other| other.matches(&folder))
            {
                let text = format!(
                    "{0}/* does not match {0} itself, which something later lets through without \
                     a token",
                    folder
                );
                self.find("bare-folder", Some(rule), text);
            }
        }
    }
}

/// Whether some request may match both.
fn overlap(left: &Matcher, right: &Matcher) -> bool {
    let regions = |matcher: &Matcher| {
        let exact = matcher.exact.iter().map(|part| part.region.clone());
        exact.chain(matcher.vague.iter().map(|fence| fence.region.clone())).collect::<Vec<_>>()
    };
    let (lefts, rights) = (regions(left), regions(right));
    let meets = |region: &Region, matcher: &Matcher| {
        matcher.exact.iter().any(|part| part.region.and(region).is_some())
            || matcher.vague.iter().any(|fence| fence.may_match_in(region))
    };
    lefts.iter().any(|region| meets(region, right))
        && rights.iter().any(|region| meets(region, left))
}
