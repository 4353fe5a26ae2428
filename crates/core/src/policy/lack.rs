//! What a caller lacks for a route.

use std::fmt::{self, Display, Formatter};

use crate::{
    claims::RuleOutcome,
    policy::routes::Route,
    principal::Principal,
    reason::Reason,
    sentence::{Name, names},
    settings::ClaimRule,
};

/// The first of a route's rules that does not hold for a caller.
pub(crate) struct Lack<'a> {
    rule: Rule<'a>,
    principal: &'a Principal,
}

enum Rule<'a> {
    Scope(&'a str),
    Claim(&'a ClaimRule, Reason),
}

impl<'a> Lack<'a> {
    /// What the caller lacks, if anything.
    pub(crate) fn find(route: &'a Route, principal: &'a Principal) -> Option<Self> {
        let is_missing = |scope: &&String| !principal.scopes.grant(scope);
        if let Some(scope) = route.required_scopes.iter().find(is_missing) {
            return Some(Self { rule: Rule::Scope(scope), principal });
        }
        let broken = |rule: &'a ClaimRule| match rule.check(&principal.claims) {
            RuleOutcome::Holds => None,
            RuleOutcome::Missing => Some(Rule::Claim(rule, Reason::MissingClaim)),
            RuleOutcome::Differs => Some(Rule::Claim(rule, Reason::WrongClaim)),
        };
        let rule = route.required_claims.iter().find_map(broken)?;
        Some(Self { rule, principal })
    }

    /// The word for it.
    pub(crate) fn reason(&self) -> Reason {
        match self.rule {
            Rule::Scope(_) => Reason::InsufficientScope,
            Rule::Claim(_, reason) => reason,
        }
    }
}

/// The sentence on it.
impl Display for Lack<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.rule {
            Rule::Scope(scope) => {
                let granted = names(self.principal.scopes.names.iter().map(String::as_str));
                write!(f, "missing scope {}, granted: {granted}", Name(scope))
            }
            Rule::Claim(rule, _) => write!(f, "{}", rule.broken_by(&self.principal.claims)),
        }
    }
}
