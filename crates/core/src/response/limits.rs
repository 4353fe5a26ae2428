//! The headers of a denial for the caller's limit: `retry-after` (RFC 9110,
//! section 10.2.3), and `RateLimit-Policy` and `RateLimit` of the IETF draft
//! draft-ietf-httpapi-ratelimit-headers-11.

use super::HeaderValue;
use crate::limits::{Plan, Wait};

/// The headers for a caller on `plan` that has to wait. They tell no plan's
/// name: which plan a caller is on is not the client's business.
pub(super) fn headers<'a>(
    plan: &'a Plan,
    wait: &'a Wait,
) -> impl Iterator<Item = (&'static str, HeaderValue<'a>)> {
    let left = ["\"requests\";r=", &wait.left, ";t=", &wait.seconds, ""];
    [
        ("retry-after", HeaderValue::Whole(&wait.seconds)),
        ("ratelimit-policy", HeaderValue::Whole(&plan.policy)),
        ("ratelimit", HeaderValue::Pieces(left)),
    ]
    .into_iter()
}
