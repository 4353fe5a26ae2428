//! Rules for the token sources: the places that may hold a token.

use claimgate_core::settings::{TokenPlace, TokenSourceSettings};

use super::{headers::header_name, providers::Known, scalars::text};
use crate::{
    file::{auth::TokenSource, forms::List},
    report::Place,
};

pub(super) fn sources(
    file: Option<List<TokenSource>>,
    known: &Known,
    place: &Place,
) -> Vec<TokenSourceSettings> {
    let Some(list) = file else { return vec![TokenSourceSettings::default()] };
    if list.is_empty() {
        place.error(
            "lists no place, so no token would ever be found; write at least one, or leave it out",
        );
    }
    let mut sources: Vec<TokenSourceSettings> = Vec::new();
    for (place, source) in list.items(place) {
        let Some(source) = token_source(source, known, &place) else { continue };
        if let Some(conflict) =
            sources.iter().find_map(|earlier| conflict(&earlier.place, &source.place))
        {
            place.error(conflict);
        }
        sources.push(source);
    }
    sources
}

/// Why these two can't stand beside each other, the first of them earlier.
fn conflict(earlier: &TokenPlace, place: &TokenPlace) -> Option<&'static str> {
    if same_place(earlier, place) {
        return Some("names the same place as an earlier entry; write it once");
    }
    let reads_whole = |whole: &TokenPlace, part: &TokenPlace| match (whole, part) {
        (TokenPlace::Header { name, .. }, TokenPlace::Cookie(_)) => name == "cookie",
        (TokenPlace::Header { name, .. }, TokenPlace::WebSocketProtocol(_)) => {
            name == "sec-websocket-protocol"
        }
        _ => false,
    };
    if reads_whole(earlier, place) || reads_whole(place, earlier) {
        return Some(
            "reads the same header as an earlier entry, in part here and as a whole there or the \
             other way round, so they would find different tokens; keep the one that reads a part",
        );
    }
    match (earlier, place) {
        (TokenPlace::WebSocketProtocol(one), TokenPlace::WebSocketProtocol(other))
            if one.starts_with(other) || other.starts_with(one) =>
        {
            Some(
                "begins as the prefix of an earlier entry does, so one protocol would hold two \
                 different tokens; write prefixes of which none begins another",
            )
        }
        _ => None,
    }
}

fn same_place(left: &TokenPlace, right: &TokenPlace) -> bool {
    let folded = |scheme: &Option<String>| scheme.as_deref().map(str::to_ascii_lowercase);
    match (left, right) {
        (
            TokenPlace::Header { name: left, scheme: left_scheme },
            TokenPlace::Header { name: right, scheme: right_scheme },
        ) => left == right && folded(left_scheme) == folded(right_scheme),
        (left, right) => left == right,
    }
}

fn token_source(file: TokenSource, known: &Known, place: &Place) -> Option<TokenSourceSettings> {
    let providers = known.only(file.providers, &place.key("providers"));
    let scheme_place = place.key("scheme");
    if file.scheme.is_some() && file.header.is_none() {
        scheme_place.error("belongs to `header`; remove it");
    }
    let header_place = place.key("header");
    let place_of_token = match (file.header, file.query, file.cookie, file.websocket_protocol) {
        (Some(name), None, None, None) => TokenPlace::Header {
            name: header_name(&name, &header_place)?,
            scheme: text(file.scheme, &scheme_place)
                .filter(|scheme| is_token(scheme, &scheme_place)),
        },
        (None, Some(name), None, None) => {
            let place = place.key("query");
            let name = text(Some(name), &place)?;
            TokenPlace::Query(name)
        }
        (None, None, Some(name), None) => {
            let place = place.key("cookie");
            TokenPlace::Cookie(text(Some(name), &place).filter(|name| is_token(name, &place))?)
        }
        (None, None, None, Some(prefix)) => {
            // The prefix is a part of a protocol's name, which is a token too
            // (RFC 6455, section 4.1).
            let place = place.key("websocket_protocol");
            let prefix = text(Some(prefix), &place).filter(|prefix| is_token(prefix, &place))?;
            TokenPlace::WebSocketProtocol(prefix)
        }
        (None, None, None, None) => {
            if !place.has_error_below() {
                place.error(
                    "names no place; write one of `header`, `query`, `cookie` and \
                     `websocket_protocol`",
                );
            }
            return None;
        }
        _ => {
            place.error("names more than one place; write an entry for each of them");
            return None;
        }
    };
    Some(TokenSourceSettings { place: place_of_token, providers })
}

/// Whether this is a `token` of RFC 9110, section 5.6.2, as schemes, methods
/// and cookie names are; reports it otherwise.
pub(super) fn is_token(text: &str, place: &Place) -> bool {
    let token_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let valid = text.bytes().all(token_byte);
    if !valid {
        place.wrong(text, "is not one word; write letters, digits and `!#$%&'*+-.^_`|~` only");
    }
    valid
}
