//! Rules for header names and the identity headers.

use std::collections::HashMap;

use claimgate_core::{
    claims::ClaimPath,
    settings::{IdentityHeaderSettings, TokenPlace, TokenSourceSettings},
};
use http::HeaderName;

use super::claims;
use crate::{
    file::{
        auth::{ClaimHeaders, Headers},
        forms::Switchable,
    },
    report::Place,
};

/// Headers about the connection, not the request (RFC 9110, section 7.6.1;
/// RFC 2616, section 13.5.1): a proxy drops or rewrites them.
const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "trailers",
    "transfer-encoding",
    "upgrade",
];

/// A header's name in lower case, if Claimgate may set, remove and trust that
/// header.
pub(super) fn header_name(text: &str, place: &Place) -> Option<String> {
    let name = HeaderName::from_bytes(text.as_bytes()).ok();
    let spelling = dashed(&text.to_ascii_lowercase());
    let problem = match spelling.as_str() {
        "" => "is empty; write the name of a header",
        pseudo if pseudo.starts_with(':') => "is a pseudo-header; write another header",
        "host" | "content-length" => "belongs to the request itself; write another header",
        hop if HOP_BY_HOP.contains(&hop) => "is a hop-by-hop header; write another header",
        envoy if envoy.starts_with("x-envoy-") => "belongs to Envoy; write another header",
        _ if name.is_none() => "is not a valid header name; write letters, digits and dashes",
        _ => return name.map(|name| name.as_str().to_owned()),
    };
    place.wrong(text, problem);
    None
}

/// A name with a `-` for every character but letters and digits: many upstreams
/// read `_` as `-`, some every such character. A colon stays: a pseudo-header is
/// not a header.
pub(super) fn dashed(name: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || letter == ':';
    name.chars().map(|letter| if is_plain(letter) { letter } else { '-' }).collect()
}

/// The identity headers; none may be set twice or hold the token.
pub(super) fn identity(
    file: Headers,
    sources: &[TokenSourceSettings],
    place: &Place,
) -> IdentityHeaderSettings {
    let defaults = IdentityHeaderSettings::default();
    let mut taken = Taken::by(sources);
    let mut switch = |key: &str, value: Switchable<String>, default: Option<String>| {
        let place = place.key(key);
        let name = match value {
            Switchable::Off => return None,
            Switchable::LeftOut => default?,
            Switchable::On(name) => header_name(&name, &place)?,
        };
        taken.claim(name, &place)
    };
    let subject = switch("subject", file.subject, defaults.subject);
    let scopes = switch("scopes", file.scopes, defaults.scopes);
    let method = switch("method", file.method, defaults.method);
    let provider = switch("provider", file.provider, defaults.provider);
    let claims = claim_headers(file.claims, &mut taken, &place.key("claims"));
    IdentityHeaderSettings { subject, scopes, method, provider, claims }
}

fn claim_headers(
    file: Option<ClaimHeaders>,
    taken: &mut Taken,
    place: &Place,
) -> Vec<(ClaimPath, String)> {
    let mut headers = Vec::new();
    let mut add = |claim: Option<ClaimPath>, header: Option<String>, place: Place| {
        let header = header.and_then(|header| header_name(&header, &place));
        let header = header.and_then(|header| taken.claim(header, &place));
        headers.extend(claim.zip(header));
    };
    match file {
        None => {}
        Some(ClaimHeaders::Map(entries)) => {
            for (name, header) in entries.0 {
                let place = place.key(&name);
                add(claims::single_name(&name, &place), header, place);
            }
        }
        Some(ClaimHeaders::List(entries)) => {
            for (place, entry) in entries.items(place) {
                let header_place = place.key("header");
                if entry.header.is_none() {
                    header_place.missing("write the header that the claim goes to");
                }
                add(claims::path(entry.claim, &place.key("claim")), entry.header, header_place);
            }
        }
    }
    headers
}

/// Header names in use, and the key that uses each.
struct Taken(HashMap<String, String>);

impl Taken {
    fn by(sources: &[TokenSourceSettings]) -> Self {
        let header = |source: &TokenSourceSettings| match &source.place {
            TokenPlace::Header { name, .. } => Some(dashed(name)),
            TokenPlace::Cookie(_) => Some("cookie".into()),
            TokenPlace::WebSocketProtocol(_) => Some("sec-websocket-protocol".into()),
            TokenPlace::Query(_) => None,
        };
        let by = "holds the token (`auth.token_sources`)";
        Self(sources.iter().filter_map(header).map(|name| (name, by.to_owned())).collect())
    }

    fn claim(&mut self, name: String, place: &Place) -> Option<String> {
        if let Some(earlier) = self.0.get(&dashed(&name)) {
            place.wrong(&name, format_args!("{earlier}; write another header"));
            return None;
        }
        self.0.insert(dashed(&name), format!("is set by `{place}` already"));
        Some(name)
    }
}
