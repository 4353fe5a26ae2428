//! Rules for the URLs that keys are fetched from.

use claimgate_core::urls::{self, NotSecure};
use url::Url;

use crate::report::Place;

/// The URL, if keys may be fetched from it.
pub(super) fn fetchable(text: &str, allow_http: bool, place: &Place) -> Option<Url> {
    if place.refuses_any_bare_reference() {
        return None;
    }
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
    if place.refuses_any_bare_reference() {
        return None;
    }
    urls::check_issuer(text, allow_http).map_err(|error| report(text, error, place)).ok()?;
    const WELL_KNOWN: &str = "/.well-known/";
    if let Some((issuer, _)) = text.split_once(WELL_KNOWN) {
        let advice = place.write_instead(issuer);
        place.warn(format_args!(
            "is the URL of a document about the issuer, not the issuer: no token's `iss` is \
             equal to it; {advice}, or what the document says in `issuer`"
        ));
    }
    Some(())
}

/// A URL without user and fragment that is https, unless that is waived.
fn secure(text: &str, allow_http: bool, place: &Place) -> Option<Url> {
    urls::secure(text, allow_http).map_err(|error| report(text, error, place)).ok()
}

fn report(text: &str, error: NotSecure, place: &Place) {
    let advice = match error {
        NotSecure::NotAUrl if lacks_scheme(text) => {
            let rest = text.trim_start_matches('/');
            let is_local = rest.starts_with("localhost") || rest.starts_with("127.");
            let scheme = if is_local { "http" } else { "https" };
            let advice = place.write_instead(&format!("{scheme}://{rest}"));
            place.wrong(text, format_args!("has no scheme; {advice}"));
            return;
        }
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

/// Whether this is the rest of a URL, from its host on.
fn lacks_scheme(text: &str) -> bool {
    let text = text.strip_prefix("//").unwrap_or(text);
    let host = text.split(['/', '?', '#']).next().unwrap_or(text);
    let name = host.split(':').next().unwrap_or(host);
    let name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !text.contains("://")
        && !text.contains('@')
        && (name.contains('.') || name == "localhost")
        && name.bytes().all(name_byte)
        && Url::parse(&format!("https://{text}")).is_ok()
}
