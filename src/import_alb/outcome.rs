//! What a request needs to get through, and what it needs to satisfy two
//! rules at once.

use std::collections::BTreeSet;

use super::alb::{Action, Claim, ClaimFormat, Rule, Validation};

/// What a rule asks of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing.
    Public,
    /// A token of this issuer that meets all demands.
    Token(Issuer, BTreeSet<Demand>),
    /// It never reaches a target with what Claimgate can check.
    Closed,
}

/// Whose tokens, and where the keys are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Issuer {
    /// The exact `iss`.
    pub(super) issuer: String,
    /// The URL of the keys.
    pub(super) jwks: String,
}

/// One thing that a token must say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Demand {
    /// The claim.
    pub(super) claim: String,
    /// How the value is found in it.
    pub(super) want: Want,
    /// The value.
    pub(super) value: String,
}

/// How a wanted value stands in a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Want {
    /// It is the claim, or one element of it.
    Value,
    /// It is one of the words of the claim.
    Word,
}

impl Outcome {
    /// What satisfies both.
    pub(super) fn and(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Public, other) | (other, Self::Public) => other.clone(),
            (Self::Token(issuer, demands), Self::Token(other_issuer, others))
                if issuer == other_issuer =>
            {
                Self::Token(issuer.clone(), demands.union(others).cloned().collect())
            }
            _ => Self::Closed,
        }
    }
}

impl Rule {
    /// What this rule asks of a request that it matches.
    pub(super) fn outcome(&self) -> Outcome {
        let each = self.actions.iter().map(|action| match action {
            Action::Forward => Outcome::Public,
            Action::Validate(validation) => validation.outcome(),
            Action::Answer(_) | Action::Login(_) | Action::Unknown(_) | Action::Missing(_) => {
                Outcome::Closed
            }
        });
        each.fold(Outcome::Public, |all, one| all.and(&one))
    }
}

impl Validation {
    fn outcome(&self) -> Outcome {
        let issuer = Issuer { issuer: self.issuer.clone(), jwks: self.jwks.clone() };
        Outcome::Token(issuer, self.claims.iter().flat_map(Claim::demands).collect())
    }
}

impl Claim {
    /// AWS does not say whether a token needs all the values or any; all of
    /// them is never too little.
    fn demands(&self) -> impl Iterator<Item = Demand> {
        let want = match self.format {
            ClaimFormat::Single | ClaimFormat::Array => Want::Value,
            ClaimFormat::Words => Want::Word,
        };
        self.values.iter().map(move |value| Demand {
            claim: self.name.clone(),
            want,
            value: value.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(issuer: &str, values: &[&str]) -> Outcome {
        let issuer = Issuer { issuer: issuer.into(), jwks: "k".into() };
        let demand =
            |value: &&str| Demand { claim: "c".into(), want: Want::Word, value: (*value).into() };
        Outcome::Token(issuer, values.iter().map(demand).collect())
    }

    #[test]
    fn both_is_never_less_than_either() {
        let cases = [
            (Outcome::Public, Outcome::Public, Outcome::Public),
            (Outcome::Public, token("a", &["x"]), token("a", &["x"])),
            (token("a", &["x"]), token("a", &["y"]), token("a", &["x", "y"])),
            (token("a", &[]), token("b", &[]), Outcome::Closed),
            (Outcome::Closed, Outcome::Public, Outcome::Closed),
            (Outcome::Closed, token("a", &[]), Outcome::Closed),
        ];
        for (left, right, expected) in cases {
            assert_eq!(left.and(&right), expected);
            assert_eq!(right.and(&left), expected);
        }
    }
}
