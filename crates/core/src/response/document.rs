//! The metadata document of a protected resource (RFC 9728, section 3.2),
//! answered in the upstream's place.

use smallvec::{SmallVec, smallvec};

use super::{ClientResponse, HeaderValue};

/// Seconds, short enough for a change of the configuration to get around.
const FRESH: &str = "public, max-age=300";

/// The document, which any client may have, scripts in any browser included:
/// a request with headers of its own, such as `MCP-Protocol-Version`, is
/// preceded by a preflight.
pub(super) fn response(document: &str, is_preflight: bool) -> ClientResponse<'_> {
    let headers: SmallVec<[(&str, &str); 4]> = match is_preflight {
        true => smallvec![
            ("access-control-allow-origin", "*"),
            ("access-control-allow-methods", "GET"),
            ("access-control-allow-headers", "*"),
            ("access-control-max-age", "300"),
        ],
        false => smallvec![
            ("content-type", "application/json"),
            ("cache-control", FRESH),
            ("access-control-allow-origin", "*"),
        ],
    };
    let headers = headers.into_iter().map(|(name, value)| (name, HeaderValue::Whole(value)));
    ClientResponse {
        status: if is_preflight { 204 } else { 200 },
        body: [if is_preflight { "" } else { document }, "", ""],
        headers: headers.collect(),
        configured: &[],
    }
}
