//! Limits for each caller.

use deserr::Deserr;
use schemars::JsonSchema;

use super::block::block;
use crate::problems::Problems;

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
        #[schemars(range(min = 1))]
        per_second: Option<u64>,
        /// How many each minute.
        #[schemars(range(min = 1))]
        per_minute: Option<u64>,
        /// How many each hour.
        #[schemars(range(min = 1))]
        per_hour: Option<u64>,
        /// How many each day; with `limits: metadata`.
        #[schemars(range(min = 1))]
        per_day: Option<u64>,
        /// How many at once, of requests that Claimgate counts; left out, as
        /// many as in the whole unit of time.
        #[schemars(range(min = 1))]
        burst: Option<u64>,
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
