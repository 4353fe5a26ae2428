//! A decision as Envoy's `CheckResponse`.
//!
//! Only `status.code` decides what Envoy does: zero lets the request through,
//! anything else turns it away with the HTTP response given here. The call
//! itself always succeeds, because a failed one would hand the choice to
//! Envoy's failure mode.

pub use super::writer::Encoded;
use super::writer::Writer;
use crate::{
    decision::Decision,
    engine::Engine,
    policy::upstream::Edits,
    request::Request,
    response::{ClientResponse, Response, metadata::Metadata},
};

mod metadata;

/// The response to `request`, ready for the wire.
pub fn encode<'a>(
    engine: &'a Engine,
    request: &Request<'a>,
    decision: &'a Decision<'_>,
) -> Encoded {
    let metadata = Metadata::of(engine, decision);
    match Response::of(engine, request, decision) {
        Response::Upstream(edits) => allow(&edits, &metadata),
        Response::Client(response) => deny(&response, &metadata),
    }
}

/// Lets the request through with these edits.
fn allow(edits: &Edits<'_>, metadata: &Metadata<'_>) -> Encoded {
    let mut response = Writer::new(128 + room_for(edits) + metadata::room(metadata));
    tell(&mut response, metadata);
    response.message(check_response::OK_RESPONSE, |ok| {
        for parameter in edits.remove_query.iter().rev() {
            ok.string(ok_response::QUERY_PARAMETERS_TO_REMOVE, parameter);
        }
        for name in edits.remove.iter().rev() {
            ok.string(ok_response::HEADERS_TO_REMOVE, name);
        }
        for (name, value) in edits.set.iter().rev() {
            header(ok, ok_response::HEADERS, name, &[value]);
        }
    });
    // An empty status: code 0.
    response.message(check_response::STATUS, |_| {});
    response.finish()
}

/// Tells Envoy's other filters and its access log.
fn tell(response: &mut Writer, metadata: &Metadata<'_>) {
    if !metadata.is_unwanted() {
        response.message(check_response::DYNAMIC_METADATA, |w| metadata::write(w, metadata));
    }
}

fn room_for(edits: &Edits<'_>) -> usize {
    let set: usize = edits.set.iter().map(|(name, value)| name.len() + value.len() + 24).sum();
    let remove: usize = edits.remove.iter().map(|name| name.len() + 4).sum();
    let query: usize = edits.remove_query.iter().map(|name| name.len() + 4).sum();
    set + remove + query
}

/// Responds to the client in the upstream's place. ext_authz has one message
/// for that, which it calls a denial; the HTTP status may be any.
fn deny(client: &ClientResponse<'_>, metadata: &Metadata<'_>) -> Encoded {
    let mut response = Writer::new(room_for_client(client) + metadata::room(metadata));
    tell(&mut response, metadata);
    response.message(check_response::DENIED_RESPONSE, |denied| {
        // An empty body is the default and is left out.
        if client.body.iter().any(|piece| !piece.is_empty()) {
            denied.concatenation(denied_response::BODY, &client.body);
        }
        for (name, value) in client.headers().rev() {
            header(denied, denied_response::HEADERS, name, value.pieces());
        }
        denied.message(denied_response::STATUS, |w| {
            w.varint(http_status::CODE, u64::from(client.status));
        });
    });
    let code = grpc_code(client.status);
    response.message(check_response::STATUS, |w| w.varint(status::CODE, code));
    response.finish()
}

fn room_for_client(client: &ClientResponse<'_>) -> usize {
    let length = |pieces: &[&str]| pieces.iter().map(|piece| piece.len()).sum::<usize>();
    let headers: usize =
        client.headers().map(|(name, value)| name.len() + length(value.pieces()) + 24).sum();
    64 + length(&client.body) + headers
}

/// `CheckResponse.status.code`: what a gRPC caller would get for this HTTP
/// status. Anything but 0 keeps the request from the upstream.
const fn grpc_code(status: u16) -> u64 {
    match status {
        400 => 3,
        401 => 16,
        429 => 8,
        503 => 14,
        // `PERMISSION_DENIED` is also what Envoy expects beside a response
        // that is not a denial at all.
        200 | 204 | 403 => 7,
        _ => 13,
    }
}

/// A header that replaces every other of its name; its value in pieces.
///
/// Set in both fields: Envoy up to 1.36 reads `append`, from 1.37 on
/// `append_action`, and the defaults of either would leave a client's own
/// header beside ours.
fn header(message: &mut Writer, number: u32, name: &str, value: &[&str]) {
    message.message(number, |option| {
        option.varint(header_value_option::APPEND_ACTION, OVERWRITE_IF_EXISTS_OR_ADD);
        // An empty BoolValue: false.
        option.message(header_value_option::APPEND, |_| {});
        option.message(header_value_option::HEADER, |header| {
            header.concatenation(header_value::VALUE, value);
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
