//! What a rule requires of a request, and what satisfies two rules at once.

use std::collections::BTreeSet;

use super::alb::{Action, Claim, ClaimFormat, Rule, Validation};

/// What a rule requires of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing.
    Public,
    /// A token of this issuer that meets all requirements.
    Token(Issuer, BTreeSet<Requirement>),
    /// Nothing that Claimgate can check lets it reach a target.
    Closed,
}

/// An issuer of tokens and the URL of its keys.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Issuer {
    /// The exact `iss`.
    pub(super) issuer: String,
    /// The URL of the keys.
    pub(super) jwks: String,
}

/// A claim value that a token must have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Requirement {
    /// The claim.
    pub(super) claim: String,
    /// How the value is compared with it.
    pub(super) matching: ClaimMatch,
    /// The value.
    pub(super) value: String,
}

/// How a required value is compared with a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ClaimMatch {
    /// The claim is the value, or an array that holds it.
    Value,
    /// One of the claim's words is the value.
    Word,
}

impl Outcome {
    /// What satisfies both.
    pub(super) fn and(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Public, other) | (other, Self::Public) => other.clone(),
            (Self::Token(issuer, requirements), Self::Token(other_issuer, others))
                if issuer == other_issuer =>
            {
                Self::Token(issuer.clone(), requirements.union(others).cloned().collect())
            }
            _ => Self::Closed,
        }
    }
}

impl Rule {
    /// What this rule requires of a request that it matches.
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
        Outcome::Token(issuer, self.claims.iter().flat_map(Claim::requirements).collect())
    }
}

impl Claim {
    /// AWS does not document whether a token needs all the values or any one; to
    /// require all is the safe reading.
    fn requirements(&self) -> impl Iterator<Item = Requirement> {
        let matching = match self.format {
            ClaimFormat::Single | ClaimFormat::Array => ClaimMatch::Value,
            ClaimFormat::Words => ClaimMatch::Word,
        };
        self.values.iter().map(move |value| Requirement {
            claim: self.name.clone(),
            matching,
            value: value.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(issuer: &str, values: &[&str]) -> Outcome {
        let issuer = Issuer { issuer: issuer.into(), jwks: "k".into() };
        let requirement = |value: &&str| Requirement {
            claim: "c".into(),
            matching: ClaimMatch::Word,
            value: (*value).into(),
        };
        Outcome::Token(issuer, values.iter().map(requirement).collect())
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
