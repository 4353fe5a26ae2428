//! Rules for the URLs that keys are fetched from.

use claimgate_core::urls::{self, is_loopback};
use url::Url;

use crate::report::Place;

/// The URL that `text` is, if keys may be fetched from it.
pub(super) fn fetchable(text: &str, allow_http: bool, place: &Place) -> Option<Url> {
    let url = secure(text, allow_http, place)?;
    if !matches!(url.scheme(), "http" | "https") {
        place.wrong(text, "can't be fetched from; write an https URL");
        return None;
    }
    if let Err(error) = urls::exact(text) {
        // The error shows the path, and with it what is to stay hidden.
        let why = match place.is_hidden() {
            true => "it can't be fetched exactly as written".into(),
            false => error.to_string(),
        };
        place.wrong(text, format_args!("can't be used: {why}; write the path as it is sent"));
        return None;
    }
    Some(url)
}

/// An issuer: compared byte for byte, so whatever `iss` says may be written
/// where `allow_http` waives the https rule.
pub(super) fn issuer(text: &str, allow_http: bool, place: &Place) -> Option<()> {
    let is_url = text.contains("://");
    if allow_http && !is_url && !has_odd_characters(text) {
        return Some(());
    }
    secure(text, allow_http, place).map(drop)
}

/// A URL without user and fragment that is https, unless that is waived.
fn secure(text: &str, allow_http: bool, place: &Place) -> Option<Url> {
    let url = match Url::parse(text) {
        Ok(url) if !has_odd_characters(text) => url,
        // A malformed URL with an `@` may hold a password.
        _ if text.contains('@') => {
            place.error("is no valid URL; write an https URL");
            return None;
        }
        _ => {
            place.wrong(text, "is no valid URL; write an https URL");
            return None;
        }
    };
    if !url.username().is_empty() || url.password().is_some() {
        place.error("holds a user name or password; write the URL without them");
        return None;
    }
    if url.fragment().is_some() {
        place.wrong(text, "has a fragment; write the URL without `#`");
        return None;
    }
    if url.scheme() == "https" || allow_http || (url.scheme() == "http" && is_loopback(&url)) {
        return Some(url);
    }
    place.wrong(text, "is not https; write an https URL, or `allow_http: true` beside it");
    None
}

/// What the URL parser would silently drop or encode.
fn has_odd_characters(text: &str) -> bool {
    !text.bytes().all(|byte| byte.is_ascii_graphic())
}
