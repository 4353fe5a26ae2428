//! Rules for the URLs that keys are fetched from.

use claimgate_core::urls::{self, NotSecure};
use url::Url;

use crate::report::Place;

/// The URL, if keys may be fetched from it.
pub(super) fn fetchable(text: &str, allow_http: bool, place: &Place) -> Option<Url> {
    let url = secure(text, allow_http, place)?;
    if !matches!(url.scheme(), "http" | "https") {
        place.wrong(text, "can't be fetched from; write an https URL");
        return None;
    }
    if let Err(error) = urls::exact(text) {
        // The error shows the path, and with it the hidden value.
        let why = match place.is_hidden() {
            true => "it can't be fetched exactly as written".into(),
            false => error.to_string(),
        };
        place.wrong(text, format_args!("can't be used: {why}; write the path as it is sent"));
        return None;
    }
    Some(url)
}

/// An issuer.
pub(super) fn issuer(text: &str, allow_http: bool, place: &Place) -> Option<()> {
    urls::check_issuer(text, allow_http).map_err(|error| report(text, error, place)).ok()
}

/// A URL without user and fragment that is https, unless that is waived.
fn secure(text: &str, allow_http: bool, place: &Place) -> Option<Url> {
    urls::secure(text, allow_http).map_err(|error| report(text, error, place)).ok()
}

fn report(text: &str, error: NotSecure, place: &Place) {
    let advice = match error {
        NotSecure::NotAUrl => "write an https URL",
        NotSecure::User => "write the URL without them",
        NotSecure::Fragment => "write the URL without `#`",
        NotSecure::NotHttps => "write an https URL, or `allow_http: true` beside it",
    };
    let advice = format_args!("{error}; {advice}");
    match error {
        NotSecure::User => place.error(advice),
        // A malformed URL with an `@` may hold a password.
        NotSecure::NotAUrl if text.contains('@') => place.error(advice),
        _ => place.wrong(text, advice),
    }
}
