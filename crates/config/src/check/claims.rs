//! Rules for claim paths and the values that claims must have.

use claimgate_core::{
    claims::{self, ClaimPath},
    settings::ClaimRule,
};

use crate::{
    file::{
        claims::{ClaimRule as RuleFile, ClaimRules},
        forms::{List, OneOrMany, Scalar},
    },
    report::Place,
};

/// `required_claims`, in either of its forms.
pub(super) fn rules(rules: Option<ClaimRules>, place: &Place) -> Vec<ClaimRule> {
    match rules {
        None => Vec::new(),
        Some(ClaimRules::Map(entries)) => {
            let rule = |(name, values): (String, _)| {
                let place = place.key(&name);
                let any_of = any_of(values, &place)?;
                Some(ClaimRule { claim: single_name(&name, &place)?, any_of })
            };
            entries.0.into_iter().filter_map(rule).collect()
        }
        Some(ClaimRules::List(rules)) => {
            let rule = |(place, rule): (Place, RuleFile)| {
                let claim = path(rule.claim, &place.key("claim"));
                let any_of = any_of(rule.is, &place.key("is"));
                Some(ClaimRule { claim: claim?, any_of: any_of? })
            };
            rules.items(place).into_iter().filter_map(rule).collect()
        }
    }
}

fn any_of(values: Option<OneOrMany<Scalar>>, place: &Place) -> Option<Vec<serde_json::Value>> {
    let Some(values) = values else {
        place.missing("write a string, number or boolean, or a list of them");
        return None;
    };
    if values.is_empty() {
        place.error("lists no value, so no token could pass; write at least one");
        return None;
    }
    let exact = |(place, Scalar(value)): (Place, _)| {
        if !claims::is_exact(&value) {
            place.error(
                "is a number that can't be compared exactly, so no token could pass; write one of \
                 at most 64 bits, or in quotes if the token has it as a string",
            );
        }
        value
    };
    Some(values.items(place).into_iter().map(exact).collect())
}

/// A claim path that is one string.
pub(super) fn single_name(name: &str, place: &Place) -> Option<ClaimPath> {
    if name.is_empty() {
        place.error("must not be empty; write the name of a claim");
        return None;
    }
    Some(ClaimPath::named(name))
}

/// A claim path, or the list of its exact segments.
pub(super) fn path(claim: Option<OneOrMany<String>>, place: &Place) -> Option<ClaimPath> {
    match claim {
        None => {
            place.missing("write a claim path, or the list of its segments");
            None
        }
        Some(OneOrMany::One(name)) => single_name(&name, place),
        Some(OneOrMany::Many(segments)) => exact(segments, place),
    }
}

fn exact(segments: List<String>, place: &Place) -> Option<ClaimPath> {
    if segments.is_empty() {
        place.error("lists no segment; write the names on the way to the claim");
        return None;
    }
    let segments = segments.items(place).into_iter();
    let segments: Vec<_> =
        segments.filter_map(|(place, name)| single_name(&name, &place).map(|_| name)).collect();
    Some(ClaimPath::Segments(segments))
}
