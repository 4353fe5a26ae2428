//! Rules about claims, as routes and providers have them.

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use schemars::JsonSchema;

use super::{
    block::block,
    forms::{Entries, List, OneOrMany, Scalar, map_or_list},
};
use crate::problems::Problems;

/// Claims and the values they must have: a mapping from claim path to value
/// or values, or a list for claims that need exact segments.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(crate) enum ClaimRules {
    Map(Entries<OneOrMany<Scalar>>),
    List(List<ClaimRule>),
}

block! {
    /// A claim and the values it may have.
    struct ClaimRule {
        /// A claim path, or the list of its exact segments.
        #[schemars(required)]
        claim: Option<OneOrMany<String>>,
        /// A string, number or boolean that the claim must equal, or contain
        /// where it is an array; a list means any one of these.
        #[schemars(required)]
        is: Option<OneOrMany<Scalar>>,
    }
}

impl Deserr<Problems> for ClaimRules {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef,
    ) -> Result<Self, Problems> {
        map_or_list(value, location, Self::Map, Self::List)
    }
}
