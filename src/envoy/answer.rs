//! A decision as Envoy's `CheckResponse`.
//!
//! Only `status.code` decides what Envoy does: zero lets the request through,
//! anything else turns it away with the HTTP response given here. The call
//! itself always succeeds, because a failed one would hand the choice to
//! Envoy's failure mode.

pub use super::writer::Encoded;
use super::writer::Writer;
use crate::{
    decision::{Decision, Denial, Verdict},
    engine::Engine,
    policy::upstream::Edits,
    reason::Reason,
    request::Request,
};

mod challenge;
mod metadata;

pub use metadata::Metadata;

/// The answer to `request`, ready for the wire.
pub fn encode<'a>(
    engine: &'a Engine,
    request: &Request<'a>,
    decision: &'a Decision<'_>,
) -> Encoded {
    let provider = decision.provider.map(|id| engine.provider(id));
    let metadata = Metadata {
        reason: decision.reason,
        provider: provider.map(|provider| provider.name()),
        method: provider.map(|provider| provider.method()),
        caller: decision.caller.as_ref(),
    };
    match decision.verdict {
        Verdict::Allow => allow(&engine.edits(request, decision), &metadata),
        Verdict::Deny(denial) => {
            deny(denial, engine.realm(), engine.required_scopes(decision), &metadata)
        }
    }
}

/// Lets the request through with these edits.
pub fn allow(edits: &Edits<'_>, metadata: &Metadata<'_>) -> Encoded {
    let mut response = Writer::new(128 + room_for(edits) + metadata.room());
    response.message(check_response::DYNAMIC_METADATA, |w| metadata.write_all(w));
    response.message(check_response::OK_RESPONSE, |ok| {
        for parameter in edits.remove_query.iter().rev() {
            ok.string(ok_response::QUERY_PARAMETERS_TO_REMOVE, parameter);
        }
        for name in edits.remove.iter().rev() {
            ok.string(ok_response::HEADERS_TO_REMOVE, name);
        }
        for (name, value) in edits.set.iter().rev() {
            header(ok, ok_response::HEADERS, name, value);
        }
    });
    // An empty status: code 0.
    response.message(check_response::STATUS, |_| {});
    response.finish()
}

fn room_for(edits: &Edits<'_>) -> usize {
    let set: usize = edits.set.iter().map(|(name, value)| name.len() + value.len() + 24).sum();
    let remove: usize = edits.remove.iter().map(|name| name.len() + 4).sum();
    let query: usize = edits.remove_query.iter().map(|name| name.len() + 4).sum();
    set + remove + query
}

/// Turns the request away. `scopes` are those that it would have needed.
///
/// Nothing from the request or its token is in the answer.
pub fn deny(denial: Denial, realm: &str, scopes: &[String], metadata: &Metadata<'_>) -> Encoded {
    let shape = Shape::of(denial);
    let description = metadata.reason.description();
    let challenge = challenge::challenge(denial, realm, description, scopes);
    let challenge_length = challenge.as_ref().map_or(0, String::len);
    let mut response = Writer::new(384 + challenge_length + metadata.room());
    response.message(check_response::DYNAMIC_METADATA, |w| metadata.write_cause(w));
    response.message(check_response::DENIED_RESPONSE, |denied| {
        let parts =
            ["{\"error\":\"", shape.error, "\",\"error_description\":\"", description, "\"}"];
        denied.concatenation(denied_response::BODY, &parts);
        if denial == Denial::Unavailable {
            header(denied, denied_response::HEADERS, "retry-after", RETRY_AFTER_SECONDS);
        }
        if let Some(challenge) = &challenge {
            header(denied, denied_response::HEADERS, "www-authenticate", challenge);
        }
        header(denied, denied_response::HEADERS, "cache-control", "no-store");
        header(denied, denied_response::HEADERS, "content-type", "application/json");
        denied.message(denied_response::STATUS, |w| w.varint(http_status::CODE, shape.http));
    });
    response.message(check_response::STATUS, |w| w.varint(status::CODE, shape.grpc));
    response.finish()
}

/// The denial of last resort: something here is broken.
pub(super) fn internal_error() -> Encoded {
    let metadata =
        Metadata { reason: Reason::Internal, provider: None, method: None, caller: None };
    deny(Denial::Internal, "", &[], &metadata)
}

/// Long enough for a key fetch to come through, short enough for a person.
const RETRY_AFTER_SECONDS: &str = "1";

/// What a denial looks like outside.
struct Shape {
    /// The HTTP status that Envoy sends.
    http: u64,
    /// `CheckResponse.status.code`: what a gRPC caller would get for `http`.
    grpc: u64,
    /// `error` in the body.
    error: &'static str,
}

impl Shape {
    const fn of(denial: Denial) -> Self {
        match denial {
            Denial::BadRequest => Self { http: 400, grpc: 3, error: "invalid_request" },
            Denial::Challenge => Self { http: 401, grpc: 16, error: "unauthorized" },
            Denial::InvalidToken => Self { http: 401, grpc: 16, error: "invalid_token" },
            Denial::Forbidden => Self { http: 403, grpc: 7, error: "insufficient_scope" },
            Denial::Unavailable => Self { http: 503, grpc: 14, error: "temporarily_unavailable" },
            Denial::Internal => Self { http: 500, grpc: 13, error: "server_error" },
        }
    }
}

/// A header that replaces every other of its name.
///
/// Said both ways: Envoy up to 1.36 looks at `append`, from 1.37 on at
/// `append_action`, and the defaults of either would leave a client's own
/// header beside ours.
fn header(message: &mut Writer, number: u32, name: &str, value: &str) {
    message.message(number, |option| {
        option.varint(header_value_option::APPEND_ACTION, OVERWRITE_IF_EXISTS_OR_ADD);
        // An empty BoolValue: false.
        option.message(header_value_option::APPEND, |_| {});
        option.message(header_value_option::HEADER, |header| {
            header.string(header_value::VALUE, value);
            header.string(header_value::KEY, name);
        });
    });
}

const OVERWRITE_IF_EXISTS_OR_ADD: u64 = 2;

/// The field numbers of `envoy/service/auth/v3/external_auth.proto` and of
/// the messages it uses.
mod check_response {
    pub(super) const STATUS: u32 = 1;
    pub(super) const DENIED_RESPONSE: u32 = 2;
    pub(super) const OK_RESPONSE: u32 = 3;
    pub(super) const DYNAMIC_METADATA: u32 = 4;
}
mod status {
    pub(super) const CODE: u32 = 1;
}
mod ok_response {
    pub(super) const HEADERS: u32 = 2;
    pub(super) const HEADERS_TO_REMOVE: u32 = 5;
    pub(super) const QUERY_PARAMETERS_TO_REMOVE: u32 = 8;
}
mod denied_response {
    pub(super) const STATUS: u32 = 1;
    pub(super) const HEADERS: u32 = 2;
    pub(super) const BODY: u32 = 3;
}
mod http_status {
    pub(super) const CODE: u32 = 1;
}
mod header_value_option {
    pub(super) const HEADER: u32 = 1;
    pub(super) const APPEND: u32 = 2;
    pub(super) const APPEND_ACTION: u32 = 3;
}
mod header_value {
    pub(super) const KEY: u32 = 1;
    pub(super) const VALUE: u32 = 2;
}

#[cfg(test)]
mod tests;
