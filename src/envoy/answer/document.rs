//! The metadata document of a protected resource (RFC 9728, section 3.2),
//! answered in the upstream's place.
//!
//! ext_authz can answer a request in one way only, with what it calls a
//! denial; the HTTP status of that may be any, so here it says 200.

use super::{Encoded, Metadata, check_response, denied_response, header, http_status, status};
use crate::envoy::writer::Writer;

/// `CheckResponse.status.code`: anything but 0 keeps the request from the
/// upstream. `PERMISSION_DENIED` is what Envoy expects beside an answer.
const NOT_FOR_THE_UPSTREAM: u64 = 7;

/// Seconds, short enough for a change of the configuration to get around.
const FRESH: &str = "public, max-age=300";

/// What anybody may have, scripts in any browser included: a request with
/// headers of its own, such as `MCP-Protocol-Version`, is preceded by a
/// preflight (`OPTIONS`).
pub(super) fn answer(document: &str, method: &str, metadata: &Metadata<'_>) -> Encoded {
    let is_preflight = method == "OPTIONS";
    let headers: &[(&str, &str)] = match is_preflight {
        true => &[
            ("access-control-allow-origin", "*"),
            ("access-control-allow-methods", "GET"),
            ("access-control-allow-headers", "*"),
            ("access-control-max-age", "300"),
        ],
        false => &[
            ("content-type", "application/json"),
            ("cache-control", FRESH),
            ("access-control-allow-origin", "*"),
        ],
    };
    let mut response = Writer::new(512 + document.len());
    response.message(check_response::DYNAMIC_METADATA, |w| metadata.write_cause(w));
    response.message(check_response::DENIED_RESPONSE, |answer| {
        if !is_preflight {
            answer.string(denied_response::BODY, document);
        }
        for (name, value) in headers.iter().rev() {
            header(answer, denied_response::HEADERS, name, value);
        }
        let code = if is_preflight { 204 } else { 200 };
        answer.message(denied_response::STATUS, |w| w.varint(http_status::CODE, code));
    });
    response.message(check_response::STATUS, |w| w.varint(status::CODE, NOT_FOR_THE_UPSTREAM));
    response.finish()
}
