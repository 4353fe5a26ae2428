//! Rules for single values, shared by many keys.

use std::{path::PathBuf, time::Duration};

use claimgate_core::text::is_quotable;

use crate::{NamedFileKind, file::forms::List, report::Place};

/// A hundred years: more than any setting needs, and too short to overflow clocks
/// and timers.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// A string that is not empty, if one was written.
pub(super) fn text(value: Option<String>, place: &Place) -> Option<String> {
    let value = value?;
    if value.is_empty() {
        place.error("must not be empty; write a value, or leave the key out");
        return None;
    }
    Some(value)
}

/// A string that is not empty; reports it if it is missing.
pub(super) fn required(value: Option<String>, place: &Place, advice: &str) -> Option<String> {
    if value.is_none() {
        place.missing(advice);
    }
    text(value, place)
}

/// A name that is written to logs and headers.
pub(super) fn name(value: Option<String>, place: &Place) -> Option<String> {
    let name = required(value, place, "write a unique name")?;
    if name.chars().any(char::is_control) {
        place.wrong(&name, "holds a control character; write a plain name");
        return None;
    }
    Some(name)
}

/// Strings that are not empty.
pub(super) fn texts(values: List<String>, place: &Place) -> Vec<String> {
    let items = values.items(place);
    items.into_iter().filter_map(|(place, value)| text(Some(value), &place)).collect()
}

/// Scopes that a token must grant.
pub(super) fn required_scopes(values: List<String>, place: &Place) -> Vec<String> {
    let scopes = scopes(values, place);
    for (index, scope) in scopes.iter().enumerate().filter(|(_, scope)| scope.contains(' ')) {
        let place = place.index(index);
        let told = place.quoted(scope);
        place.warn(format_args!(
            "{told} holds a space, and no token can grant such a scope: spaces separate the \
             scopes of a token; write each in a list element of its own"
        ));
    }
    scopes
}

/// Scopes; a challenge names them in a quoted string (RFC 6750, section
/// 3).
pub(super) fn scopes(values: List<String>, place: &Place) -> Vec<String> {
    let mut scopes = Vec::new();
    for (place, value) in values.items(place) {
        match text(Some(value), &place) {
            Some(scope) if is_quotable(&scope) => scopes.push(scope),
            Some(scope) => {
                place.wrong(&scope, "is not a scope; write printable ASCII without `\"` and `\\`");
            }
            None => {}
        }
    }
    scopes
}

/// Whether a duration may be zero.
#[derive(Clone, Copy)]
pub(super) enum Zero {
    /// Zero turns the feature off.
    Allowed,
    /// Zero is an error.
    Refused,
}

/// A duration in seconds.
pub(super) fn seconds(
    value: Option<u64>,
    default: Duration,
    zero: Zero,
    place: &Place,
) -> Duration {
    duration(value.map(|n| (n, Duration::from_secs(n))), default, zero, place)
}

/// A duration in milliseconds.
pub(super) fn millis(value: Option<u64>, default: Duration, zero: Zero, place: &Place) -> Duration {
    duration(value.map(|n| (n, Duration::from_millis(n))), default, zero, place)
}

fn duration(
    value: Option<(u64, Duration)>,
    default: Duration,
    zero: Zero,
    place: &Place,
) -> Duration {
    let Some((written, duration)) = value else { return default };
    if duration.is_zero() && matches!(zero, Zero::Refused) {
        place.wrong("0", "makes no sense here; write 1 or more");
        return default;
    }
    if duration > LONGEST {
        place.wrong(&written.to_string(), "is too long; write at most a hundred years");
        return default;
    }
    duration
}

/// A count from 1 to `most`.
pub(super) fn count(value: Option<u64>, default: usize, most: usize, place: &Place) -> usize {
    let Some(written) = value else { return default };
    match usize::try_from(written) {
        Ok(count) if (1..=most).contains(&count) => count,
        _ => {
            place.wrong(&written.to_string(), format_args!("must be from 1 to {most}"));
            default
        }
    }
}

/// How much memory a cache may take, in bytes.
pub(super) fn cache_bytes(value: Option<u64>, default: usize, place: &Place) -> usize {
    const LEAST: u64 = 64 * 1024;
    const MOST: u64 = 1 << 40;
    let Some(written) = value else { return default };
    match usize::try_from(written) {
        Ok(bytes) if (LEAST..=MOST).contains(&written) => bytes,
        _ => {
            place.wrong(&written.to_string(), format_args!("must be from {LEAST} to {MOST}"));
            default
        }
    }
}

/// A file, if one is named; recorded so that it can be checked and watched.
pub(super) fn file(value: Option<String>, kind: NamedFileKind, place: &Place) -> Option<PathBuf> {
    let text = text(value, place)?;
    // It is not repeated: what belongs into such a file may be secret.
    if text.contains(char::is_control) && !text.contains('\0') {
        place.error("is not a path but looks like the content of a file; write the file's path");
        return None;
    }
    let path = PathBuf::from(text);
    if path.as_os_str().as_encoded_bytes().contains(&0) {
        place.error("holds a NUL character; write the path of a file");
        return None;
    }
    place.names_file(&path, kind);
    Some(path)
}
