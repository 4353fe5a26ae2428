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
    policy::{denials::DenialStyle, upstream::Edits},
    request::Request,
    settings::ErrorFormat,
};

mod body;
mod challenge;
mod document;
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
            let style = engine.denial_style(decision);
            deny(denial, style, body_format(style, request), &metadata)
        }
        Verdict::Answer(resource) => {
            document::answer(engine.resource_metadata(resource), request.method, &metadata)
        }
    }
}

/// The format of this denial's body. Envoy puts a body that goes to a gRPC
/// caller into `grpc-message`, where no SDK of an HTTP API looks: there it is
/// the short one, whatever the route's format.
fn body_format(style: &DenialStyle, request: &Request<'_>) -> ErrorFormat {
    if style.format == ErrorFormat::OAuth2 {
        return ErrorFormat::OAuth2;
    }
    match request.headers.first("content-type") {
        Some(kind) if is_grpc(kind) => ErrorFormat::OAuth2,
        _ => style.format,
    }
}

/// As Envoy tells gRPC callers: `application/grpc`, or that with `+proto` and
/// the like; gRPC-Web is ordinary HTTP.
fn is_grpc(content_type: &[u8]) -> bool {
    let rest = content_type.strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
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

/// Turns the request away, with a body of this format.
///
/// Nothing from the request or its token is in the answer.
pub fn deny(
    denial: Denial,
    style: &DenialStyle,
    format: ErrorFormat,
    metadata: &Metadata<'_>,
) -> Encoded {
    let shape = Shape::of(denial);
    let description = metadata.reason.description();
    let mut response = Writer::new(640 + room_for_style(style) + metadata.room());
    response.message(check_response::DYNAMIC_METADATA, |w| metadata.write_cause(w));
    response.message(check_response::DENIED_RESPONSE, |denied| {
        denied.concatenation(denied_response::BODY, &body::body(format, denial, description));
        for (name, value) in style.headers.iter().rev() {
            header(denied, denied_response::HEADERS, name, value);
        }
        if denial == Denial::Unavailable {
            header(denied, denied_response::HEADERS, "retry-after", RETRY_AFTER_SECONDS);
        }
        if let Some(challenge) = challenge::challenge(denial, style, description) {
            header_with(denied, denied_response::HEADERS, "www-authenticate", |header| {
                header.concatenation(header_value::VALUE, &challenge);
            });
        }
        header(denied, denied_response::HEADERS, "cache-control", "no-store");
        let content_type = body::content_type(format);
        header(denied, denied_response::HEADERS, "content-type", content_type);
        denied.message(denied_response::STATUS, |w| w.varint(http_status::CODE, shape.http));
    });
    response.message(check_response::STATUS, |w| w.varint(status::CODE, shape.grpc));
    response.finish()
}

/// About how many bytes of a denial come from its style.
fn room_for_style(style: &DenialStyle) -> usize {
    let headers: usize =
        style.headers.iter().map(|(name, value)| name.len() + value.len() + 24).sum();
    style.challenge.len() + style.hints.len() + headers
}

/// Long enough for a key fetch to come through, short enough for a person.
const RETRY_AFTER_SECONDS: &str = "1";

/// What a denial looks like outside.
struct Shape {
    /// The HTTP status that Envoy sends.
    http: u64,
    /// `CheckResponse.status.code`: what a gRPC caller would get for `http`.
    grpc: u64,
}

impl Shape {
    const fn of(denial: Denial) -> Self {
        match denial {
            Denial::BadRequest => Self { http: 400, grpc: 3 },
            Denial::Challenge => Self { http: 401, grpc: 16 },
            Denial::InvalidToken => Self { http: 401, grpc: 16 },
            Denial::Forbidden => Self { http: 403, grpc: 7 },
            Denial::Unavailable => Self { http: 503, grpc: 14 },
            Denial::Internal => Self { http: 500, grpc: 13 },
        }
    }
}

/// A header that replaces every other of its name.
fn header(message: &mut Writer, number: u32, name: &str, value: &str) {
    header_with(message, number, name, |header| header.string(header_value::VALUE, value));
}

/// A header that replaces every other of its name; `write_value` writes its
/// value.
///
/// Said both ways: Envoy up to 1.36 looks at `append`, from 1.37 on at
/// `append_action`, and the defaults of either would leave a client's own
/// header beside ours.
fn header_with(
    message: &mut Writer,
    number: u32,
    name: &str,
    write_value: impl FnOnce(&mut Writer),
) {
    message.message(number, |option| {
        option.varint(header_value_option::APPEND_ACTION, OVERWRITE_IF_EXISTS_OR_ADD);
        // An empty BoolValue: false.
        option.message(header_value_option::APPEND, |_| {});
        option.message(header_value_option::HEADER, |header| {
            write_value(header);
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
