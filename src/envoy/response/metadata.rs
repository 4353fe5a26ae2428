//! The dynamic metadata: what Envoy's own filters and logs may read of a
//! decision, as a `google.protobuf.Struct`.

use serde_json::Value;

use super::super::writer::Writer;
use crate::response::metadata::{MAX_DEPTH, Metadata};

/// An estimate of how many bytes [`write`] needs.
pub(super) fn room(metadata: &Metadata<'_>) -> usize {
    let scopes: usize = metadata.scopes().iter().map(|scope| scope.len() + 6).sum();
    let subject = metadata.subject().map_or(0, str::len);
    let client = metadata.client_id().map_or(0, str::len);
    let fixed = if metadata.method.is_some() { 256 } else { 96 };
    let limits = metadata.limits.map_or(0, |of| 384 + of.key.len() + of.plan.len());
    limits + fixed + subject + client + scopes + 64 * metadata.most_claims()
}

/// Writes the metadata.
pub(super) fn write(w: &mut Writer, metadata: &Metadata<'_>) {
    if let Some(of) = metadata.limits {
        field(w, "limit_cost", |w| w.double(value::NUMBER, of.cost.into()));
        field(w, "limits", |w| write_value(w, of.limits, MAX_DEPTH));
        for (key, limit) in [("limit_tokens", of.tokens()), ("limit_requests", of.requests())] {
            if let Some(limit) = limit {
                field(w, key, |w| write_value(w, limit, MAX_DEPTH));
            }
        }
        string_field(w, "limit_key", of.key);
        string_field(w, "plan", of.plan);
    }
    if let Some(claims) = metadata.claims() {
        field(w, "claims", |w| {
            w.message(value::STRUCT, |w| write_struct(w, claims, MAX_DEPTH));
        });
    }
    if let Some(expires_at) = metadata.expires_at() {
        field(w, "expires_at", |w| w.double(value::NUMBER, expires_at.as_seconds()));
    }
    if let Some(client_id) = metadata.client_id() {
        string_field(w, "client_id", client_id);
    }
    let scopes = metadata.scopes();
    if !scopes.is_empty() {
        field(w, "scopes", |w| {
            w.message(value::LIST, |w| {
                for scope in scopes.iter().rev() {
                    w.message(list::VALUES, |w| w.string(value::STRING, scope));
                }
            });
        });
    }
    if let Some(subject) = metadata.subject() {
        string_field(w, "subject", subject);
    }
    if let Some(method) = metadata.method {
        string_field(w, "method", method);
    }
    if let Some(provider) = metadata.provider {
        string_field(w, "provider", provider);
    }
    if let Some(reason) = metadata.reason {
        string_field(w, "reason", reason.as_str());
    }
}

fn string_field(w: &mut Writer, key: &str, text: &str) {
    field(w, key, |w| w.string(value::STRING, text));
}

/// One entry of the `fields` of a `Struct`.
fn field(w: &mut Writer, key: &str, write_value: impl FnOnce(&mut Writer)) {
    w.message(structure::FIELDS, |w| {
        w.message(map_entry::VALUE, write_value);
        w.string(map_entry::KEY, key);
    });
}

fn write_struct<'v>(
    w: &mut Writer,
    members: impl DoubleEndedIterator<Item = (&'v str, &'v Value)>,
    depth: usize,
) {
    for (key, member) in members.rev() {
        field(w, key, |w| write_value(w, member, depth - 1));
    }
}

fn write_value(w: &mut Writer, json: &Value, depth: usize) {
    match json {
        Value::Bool(bool) => w.varint(value::BOOL, u64::from(*bool)),
        Value::Number(number) => w.double(value::NUMBER, number.as_f64().unwrap_or_default()),
        Value::String(string) => w.string(value::STRING, string),
        Value::Array(elements) if depth > 0 => w.message(value::LIST, |w| {
            for element in elements.iter().rev() {
                w.message(list::VALUES, |w| write_value(w, element, depth - 1));
            }
        }),
        Value::Object(object) if depth > 0 => {
            let members = object.iter().map(|(name, value)| (name.as_str(), value));
            w.message(value::STRUCT, |w| write_struct(w, members, depth));
        }
        Value::Null | Value::Array(_) | Value::Object(_) => w.varint(value::NULL, 0),
    }
}

/// The field numbers of `google/protobuf/struct.proto`.
mod structure {
    pub(super) const FIELDS: u32 = 1;
}
mod map_entry {
    pub(super) const KEY: u32 = 1;
    pub(super) const VALUE: u32 = 2;
}
mod value {
    pub(super) const NULL: u32 = 1;
    pub(super) const NUMBER: u32 = 2;
    pub(super) const STRING: u32 = 3;
    pub(super) const BOOL: u32 = 4;
    pub(super) const STRUCT: u32 = 5;
    pub(super) const LIST: u32 = 6;
}
mod list {
    pub(super) const VALUES: u32 = 1;
}
