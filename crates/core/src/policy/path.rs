//! How servers read a path, and which paths none of them should get.
//!
//! A proxy and the programs behind it seldom agree on every spelling of a
//! path. Instead of guessing which is right, routes are matched on every
//! [`Reading`] that servers are known for; where these lead to different
//! rules, the request is refused. Some spellings are refused as they stand,
//! because what servers make of them has too many forms ([`Defect`]).

use std::fmt;

mod decoded;
mod reading;

use decoded::escaped;
pub(super) use decoded::{Class, Decoded};
pub(super) use reading::{READINGS, Reading, Rule, Rules};

/// The longest path, without its query, that is matched against routes.
pub const MAX_BYTES: usize = 8192;

/// Why a path of `public_paths` would match no request, if it wouldn't: they
/// are compared byte for byte with a path without its query.
pub fn public_path_defect(path: &str) -> Option<&'static str> {
    if !path.starts_with('/') {
        Some("must start with `/`")
    } else if path.contains('?') {
        Some("has a query; write the part before the `?`")
    } else if path.contains('#') {
        Some("has a fragment; write the part before the `#`")
    } else if path.contains(|char: char| char.is_control() || char == ' ') {
        Some("holds a character that no path has; write the path as clients send it")
    } else {
        None
    }
}

/// Why a path is refused whatever routes there are, or as soon as there are
/// any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Defect {
    /// It does not start with `/`.
    NotAbsolute,
    /// It holds `#`.
    Fragment,
    /// It holds a control character, once decoded any number of times.
    Control,
    /// In some reading, a segment of it is `.` or `..`.
    DotSegment,
    /// In some reading it begins with `//`: to a URL parser with a base, what
    /// follows is a host (RFC 3986, section 4.2).
    LeadingSlashes,
    /// It has more than [`MAX_BYTES`]; without routes that is refused only
    /// where there are escapes in escapes.
    TooLong,
}

/// A path that may be matched.
#[derive(Debug)]
pub(super) enum Spelling<'a> {
    /// All readings are this, but for the case of letters and a slash at the
    /// end.
    Plain {
        /// The path.
        path: &'a [u8],
        /// Whether it stays the same when case is folded.
        is_folded: bool,
    },
    /// There are several.
    Odd(Decoded),
}

/// Looks at a path that has no query. Where no route is matched
/// (`has_routes`), no spelling can lead to another, and only what makes a
/// path unreadable counts.
///
/// # Errors
/// The [`Defect`] that it has.
pub(super) fn read(path: &str, has_routes: bool) -> Result<Spelling<'_>, Defect> {
    let bytes = path.as_bytes();
    if bytes.first() != Some(&b'/') {
        return Err(Defect::NotAbsolute);
    }
    if !has_routes {
        return read_without_routes(bytes);
    }
    if bytes.len() > MAX_BYTES {
        return Err(Defect::TooLong);
    }
    let odd = Oddities::of(bytes);
    if odd.has(Oddities::FRAGMENT) {
        return Err(Defect::Fragment);
    }
    if odd.has(Oddities::CONTROL) {
        return Err(Defect::Control);
    }
    if !odd.has(Oddities::READINGS_DIFFER) {
        return Ok(Spelling::Plain { path: bytes, is_folded: !odd.has(Oddities::CASE) });
    }
    let decoded = Decoded::of(bytes);
    if has_control(decoded.bytes()) {
        return Err(Defect::Control);
    }
    if decoded.begins_with_two_slashes() {
        return Err(Defect::LeadingSlashes);
    }
    if has_dot_segment(decoded.bytes()) {
        return Err(Defect::DotSegment);
    }
    Ok(Spelling::Odd(decoded))
}

/// The same where no spelling can lead to another route, and the path may be
/// as long as Envoy lets through: escapes are decoded in full only where there
/// are some in others, and no honest path of that length has those.
fn read_without_routes(path: &[u8]) -> Result<Spelling<'_>, Defect> {
    if memchr::memchr(b'#', path).is_some() {
        return Err(Defect::Fragment);
    }
    let mut has_control_inside = has_control(path);
    let mut is_nested = false;
    let mut rest = path;
    while !rest.is_empty() {
        let Some(byte) = escaped(rest) else {
            rest = from_escape(&rest[1..]);
            continue;
        };
        has_control_inside |= byte.is_ascii_control();
        is_nested |= byte == b'%' || byte.is_ascii_hexdigit();
        if is_nested && path.len() > MAX_BYTES {
            return Err(Defect::TooLong);
        }
        rest = &rest[3..];
    }
    if has_control_inside || is_nested && has_control(Decoded::of(path).bytes()) {
        return Err(Defect::Control);
    }
    Ok(Spelling::Plain { path, is_folded: false })
}

/// From the next `%` on. One that is near is found by a plain loop, which a
/// call would outlast.
fn from_escape(rest: &[u8]) -> &[u8] {
    const NEAR: usize = 16;
    let near = rest.iter().take(NEAR).position(|byte| *byte == b'%');
    let far = || rest.get(NEAR..).and_then(|far| Some(NEAR + memchr::memchr(b'%', far)?));
    near.or_else(far).map_or(&[], |at| &rest[at..])
}

fn has_control(path: &[u8]) -> bool {
    // Without an early end this is vectorised.
    path.iter().fold(false, |found, byte| found | byte.is_ascii_control())
}

/// Whether every reading leaves this path as it is, but for the case of
/// letters and a slash at its end.
pub fn is_plain(path: &str) -> bool {
    matches!(read(path, true), Ok(Spelling::Plain { .. }))
}

/// Kinds of bytes that make readings differ, or a path unreadable.
#[derive(Clone, Copy)]
struct Oddities(u8);

impl Oddities {
    const ESCAPE: u8 = 1;
    const PARAMETER_OR_BACKSLASH: u8 = 2;
    const FRAGMENT: u8 = 4;
    const CONTROL: u8 = 8;
    /// A capital, or what some server takes for a letter in another case.
    const CASE: u8 = 16;
    const SLASHES: u8 = 32;
    const DOTS: u8 = 64;

    const READINGS_DIFFER: u8 =
        Self::ESCAPE | Self::PARAMETER_OR_BACKSLASH | Self::SLASHES | Self::DOTS;

    /// Those of every byte; `SLASHES` and `DOTS` count behind a slash alone.
    const OF_BYTES: [u8; 256] = {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            table[byte] = match byte as u8 {
                b'%' => Self::ESCAPE,
                b';' | b'\\' => Self::PARAMETER_OR_BACKSLASH,
                b'#' => Self::FRAGMENT,
                0..0x20 | 0x7f => Self::CONTROL,
                b'A'..=b'Z' | 0x80.. => Self::CASE,
                b'/' => Self::SLASHES,
                b'.' => Self::DOTS,
                _ => 0,
            };
            byte += 1;
        }
        table
    };

    fn of(path: &[u8]) -> Self {
        let mut found = match path.len() {
            ..LONG => Self::one_by_one(path),
            _ => Self::by_vectors(path),
        };
        if found & Self::DOTS != 0 && !has_dot_segment(path) {
            found &= !Self::DOTS;
        }
        Self(found)
    }

    /// The fastest way for nearly every path.
    fn one_by_one(path: &[u8]) -> u8 {
        let everywhere = !(Self::SLASHES | Self::DOTS);
        let mut counts = everywhere;
        let mut found = 0;
        for byte in path {
            let is = Self::OF_BYTES[usize::from(*byte)];
            found |= is & counts;
            counts = if *byte == b'/' { 255 } else { everywhere };
        }
        found
    }

    /// The same in comparisons alone, of which the compiler makes some of whole
    /// vectors: several times as fast for a long path, and slower for a short
    /// one.
    fn by_vectors(path: &[u8]) -> u8 {
        let set = |is: bool, kind: u8| u8::from(is) * kind;
        let single = path.iter().fold(0, |found, byte| {
            found
                | set(*byte == b'%', Self::ESCAPE)
                | set((*byte == b';') | (*byte == b'\\'), Self::PARAMETER_OR_BACKSLASH)
                | set(*byte == b'#', Self::FRAGMENT)
                | set((*byte < 0x20) | (*byte == 0x7f), Self::CONTROL)
                | set(byte.is_ascii_uppercase() | (*byte >= 0x80), Self::CASE)
        });
        let behind = path.get(1..).unwrap_or_default();
        path.iter().zip(behind).fold(single, |found, (before, byte)| {
            let counts = *before == b'/';
            found
                | set(counts & (*byte == b'/'), Self::SLASHES)
                | set(counts & (*byte == b'.'), Self::DOTS)
        })
    }

    fn has(self, kind: u8) -> bool {
        self.0 & kind != 0
    }
}

/// From so many bytes on a path is looked at by whole vectors.
const LONG: usize = 256;

/// Whether a segment, less its parameters, is `.` or `..`; `\` counts as `/`.
fn has_dot_segment(path: &[u8]) -> bool {
    let Some(first) = memchr::memchr(b'.', path) else { return false };
    // Where there is one there may be thousands: a plain loop is the fastest.
    let mut places = path.windows(2).zip(1..).skip(first.saturating_sub(1));
    places.any(|(pair, at)| {
        matches!(pair, [b'/' | b'\\', b'.']) && path.get(at..).is_some_and(begins_with_dots)
    })
}

/// Whether the first segment of `rest`, less its parameters, is `.` or `..`.
/// Every reading's slashes and dots are still there when everything is decoded,
/// and `;` is the only other byte that ends a segment's name.
fn begins_with_dots(rest: &[u8]) -> bool {
    let after = match rest {
        [b'.', b'.', after @ ..] | [b'.', after @ ..] => after,
        _ => return false,
    };
    matches!(after, [] | [b'/' | b'\\' | b';', ..])
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAbsolute => f.write_str("the path does not start with `/`"),
            Self::Fragment => f.write_str("the path holds a `#`"),
            Self::Control => f.write_str("the path holds a control character once it is decoded"),
            Self::DotSegment => f.write_str(
                "the path has a segment `.` or `..`, as it stands or once it is decoded, which \
                 some servers resolve and others don't",
            ),
            Self::LeadingSlashes => f.write_str(
                "the path begins with two slashes, as it stands or once it is decoded, and what \
                 follows them is a host to some URL parsers",
            ),
            Self::TooLong => write!(f, "the path has more than {MAX_BYTES} bytes"),
        }
    }
}

#[cfg(test)]
mod tests;
