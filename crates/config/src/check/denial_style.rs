//! Rules for the format and headers of denials.

use std::collections::HashMap;

use claimgate_core::settings::ErrorFormat;

use super::headers::{dashed, header_name};
use crate::{
    file::{auth, forms::Entries},
    report::Place,
};

/// The longest value, in bytes, that most clients and proxies accept.
const LONGEST_VALUE: usize = 8192;

pub(super) fn error_format(file: auth::ErrorFormat) -> ErrorFormat {
    match file {
        auth::ErrorFormat::OAuth2 => ErrorFormat::OAuth2,
        auth::ErrorFormat::Problem => ErrorFormat::Problem,
        auth::ErrorFormat::OpenAi => ErrorFormat::OpenAi,
        auth::ErrorFormat::Anthropic => ErrorFormat::Anthropic,
    }
}

/// Headers for denials that a client can receive and a denial does not have
/// already.
pub(super) fn denial_headers(file: Entries<String>, place: &Place) -> Vec<(String, String)> {
    let mut seen: HashMap<String, String> = HashMap::new();
    let mut headers = Vec::new();
    for (name, value) in file.0 {
        let place = place.key(&name);
        let name = header_name(&name, &place).filter(|name| is_free(name, &place));
        let value = header_value(value, &place);
        let Some(name) = name else { continue };
        if let Some(earlier) = seen.insert(dashed(&name), place.to_string()) {
            place.error(format_args!("is set by `{earlier}` already; write it once"));
        }
        headers.extend(value.map(|value| (name, value)));
    }
    headers
}

/// Whether a header may be set here; reports what sets it otherwise.
fn is_free(name: &str, place: &Place) -> bool {
    let problem = match dashed(name).as_str() {
        "www-authenticate" => "is the challenge, which Claimgate writes; see `realm`",
        "content-type" | "content-encoding" | "cache-control" | "retry-after" | "ratelimit"
        | "ratelimit-policy" => "belongs to the answer that Claimgate writes; write another header",
        "grpc-status" | "grpc-message" => {
            "is what Envoy makes of the status for gRPC callers; write another header"
        }
        _ => return true,
    };
    place.wrong(name, problem);
    false
}

/// A value that reaches the client unchanged (RFC 9110, section 5.5). Envoy
/// drops headers with an empty value.
fn header_value(value: Option<String>, place: &Place) -> Option<String> {
    let Some(value) = value else {
        place.missing("write the header's value, or remove the header");
        return None;
    };
    let problem = if value.is_empty() {
        "is empty; write the header's value, or remove the header"
    } else if !value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        "holds what no header carries unchanged; write printable ASCII on one line"
    } else if value.starts_with(' ') || value.ends_with(' ') {
        "has a space at an end, which is lost on the way; remove it"
    } else if value.len() > LONGEST_VALUE {
        "is too long; write at most 8192 bytes"
    } else {
        return Some(value);
    };
    place.wrong(&value, problem);
    None
}
