//! Limits for each caller.

use deserr::Deserr;
use schemars::JsonSchema;

use super::{block::block, forms::Whole};
use crate::problems::Problems;

/// So many requests or tokens. Above the most, the time that one takes from a
/// budget is under a nanosecond.
pub(crate) type Count = Whole<1, 1_000_000_000>;

/// So many callers; bounds the memory that the counters take, 16 bytes each.
pub(crate) type Callers = Whole<1, 10_000_000>;

block! {
    /// What callers on one plan may ask for.
    struct Plan {
        /// How many requests.
        requests: Option<Amount>,
        /// How many tokens of a language model; with `limits: metadata`, where
        /// Envoy counts them.
        tokens: Option<Amount>,
    }
}

block! {
    /// So many in a unit of time: one of `per_second`, `per_minute`,
    /// `per_hour` and `per_day`.
    struct Amount {
        /// How many each second.
        per_second: Option<Count>,
        /// How many each minute.
        per_minute: Option<Count>,
        /// How many each hour.
        per_hour: Option<Count>,
        /// How many each day; with `limits: metadata`.
        per_day: Option<Count>,
        /// How many at once, of requests that Claimgate counts; left out, as
        /// many as in the whole unit of time.
        burst: Option<Count>,
    }
}

/// Who counts the requests of a caller.
#[derive(Clone, Copy, Deserr, JsonSchema, PartialEq, Eq)]
#[deserr(error = Problems)]
#[schemars(rename_all = "snake_case")]
pub(crate) enum LimitMode {
    /// Each Claimgate for itself: what is over a limit is denied (429).
    #[deserr(rename = "local")]
    Local,
    /// Each Claimgate for itself: what would be denied is recorded, nothing is
    /// denied.
    #[deserr(rename = "shadow")]
    Shadow,
    /// A rate-limit service that Envoy asks; the dynamic metadata tells Envoy
    /// the caller's plan, key and limits.
    #[deserr(rename = "metadata")]
    Metadata,
}

/// Whether a route's requests are limited.
#[derive(Clone, Copy, Deserr, JsonSchema, PartialEq, Eq)]
#[deserr(error = Problems)]
#[schemars(rename_all = "snake_case")]
pub(crate) enum RouteLimits {
    /// They are neither counted nor limited.
    #[deserr(rename = "none")]
    None,
}
