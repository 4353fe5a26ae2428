//! How a path is read: two readings, which must lead to the same route.
//!
//! A proxy and the program behind it seldom agree on every spelling of a
//! path. Instead of guessing which is right, a path is read as the strictest
//! and as the most forgiving server would; where that changes which rules
//! apply, the request is refused.

use std::borrow::Cow;

/// Both readings of a path.
#[derive(Debug, PartialEq, Eq)]
pub enum Readings<'a> {
    /// They agree.
    One(Cow<'a, [u8]>),
    /// They do not.
    Two {
        /// Unreserved characters decoded, `//` merged, dot segments resolved.
        plain: Vec<u8>,
        /// Decoded until nothing changes, `\` read as `/`, parameters
        /// dropped, then merged and resolved.
        generous: Vec<u8>,
    },
}

/// The path can't be read safely: it holds `#` or, once decoded, a control
/// character, or does not start with `/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

impl Unreadable {
    /// Which of these it is about `path`.
    pub fn describe(self, path: &str) -> &'static str {
        if !path.starts_with('/') {
            "the path does not start with `/`"
        } else if path.contains('#') {
            "the path holds a `#`"
        } else {
            "the path holds a control character once it is decoded"
        }
    }
}

/// Reads a path that has no query.
///
/// # Errors
///
/// [`Unreadable`] as described there.
pub fn read(path: &str) -> Result<Readings<'_>, Unreadable> {
    let bytes = path.as_bytes();
    if bytes.first() != Some(&b'/') {
        return Err(Unreadable);
    }
    if is_ordinary(bytes) {
        return Ok(Readings::One(Cow::Borrowed(bytes)));
    }
    let decoded = decode_fully(bytes);
    if bytes.contains(&b'#') || decoded.iter().any(u8::is_ascii_control) {
        return Err(Unreadable);
    }
    let plain = resolve(&decode_unreserved(bytes));
    let generous = resolve(&drop_parameters(decoded));
    Ok(match plain == generous {
        true => Readings::One(Cow::Owned(plain)),
        false => Readings::Two { plain, generous },
    })
}

/// Whether both readings are the path itself, as nearly always.
fn is_ordinary(path: &[u8]) -> bool {
    let mut after_slash = false;
    for &byte in path {
        match byte {
            b'/' | b'.' if after_slash => return false,
            b'%' | b'\\' | b';' | b'#' | 0x00..=0x1f | 0x7f => return false,
            _ => after_slash = byte == b'/',
        }
    }
    true
}

/// RFC 3986, section 6.2.2.2: the only escapes that never mean anything else.
fn decode_unreserved(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&byte, tail)) = rest.split_first() {
        match escaped(rest) {
            Some(decoded) if is_unreserved(decoded) => {
                out.push(decoded);
                rest = &rest[3..];
            }
            _ => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    out
}

/// Decodes until nothing changes, in one pass: whenever the last three bytes
/// written are an escape, they are replaced by what it stands for. Escapes
/// can't overlap, so the order of replacing does not matter, and a path of
/// nested escapes costs no more than its length.
fn decode_fully(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    for &byte in path {
        out.push(byte);
        while let Some(start) = out.len().checked_sub(3) {
            let Some(decoded) = escaped(&out[start..]) else { break };
            out.truncate(start);
            out.push(decoded);
        }
    }
    out
}

/// The byte that an escape at the start of `text` stands for.
fn escaped(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Reads `\` as `/` and cuts `;…` off every segment.
fn drop_parameters(mut path: Vec<u8>) -> Vec<u8> {
    let mut in_parameters = false;
    path.retain_mut(|byte| {
        if *byte == b'\\' {
            *byte = b'/';
        }
        match byte {
            b'/' => in_parameters = false,
            b';' => in_parameters = true,
            _ => {}
        }
        !in_parameters
    });
    path
}

/// Merges slashes and resolves `.` and `..`, which can't climb above the root.
fn resolve(path: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(path.len() + 1);
    let mut names_a_folder = true;
    for segment in path.split(|byte| *byte == b'/') {
        names_a_folder = matches!(segment, b"" | b"." | b"..");
        match segment {
            b"" | b"." => {}
            b".." => out.truncate(out.iter().rposition(|byte| *byte == b'/').unwrap_or(0)),
            name => {
                out.push(b'/');
                out.extend_from_slice(name);
            }
        }
    }
    if names_a_folder {
        out.push(b'/');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(path: &str) -> Readings<'_> {
        Readings::One(Cow::Borrowed(path.as_bytes()))
    }

    fn two(plain: &str, generous: &str) -> Readings<'static> {
        Readings::Two { plain: plain.into(), generous: generous.into() }
    }

    #[test]
    fn readings_of_a_path() {
        let cases = [
            ("/", Ok(one("/"))),
            ("/v1/chat/completions", Ok(one("/v1/chat/completions"))),
            ("/a/", Ok(one("/a/"))),
            ("/a//b", Ok(one("/a/b"))),
            ("//", Ok(one("/"))),
            ("/a/./b/../c", Ok(one("/a/c"))),
            ("/a/..", Ok(one("/"))),
            ("/../../a", Ok(one("/a"))),
            ("/a/.", Ok(one("/a/"))),
            ("/.well-known/x", Ok(one("/.well-known/x"))),
            ("/a/.../b", Ok(one("/a/.../b"))),
            ("/%61dmin", Ok(one("/admin"))),
            ("/a/%2e%2E/b", Ok(one("/b"))),
            ("/100%", Ok(one("/100%"))),
            ("/%zz", Ok(one("/%zz"))),
            ("/models/meta%2Fllama", Ok(two("/models/meta%2Fllama", "/models/meta/llama"))),
            ("/a%2f..%2fb", Ok(two("/a%2f..%2fb", "/b"))),
            ("/a%252fb", Ok(two("/a%252fb", "/a/b"))),
            ("/%2561", Ok(two("/%2561", "/a"))),
            ("/a\\b", Ok(two("/a\\b", "/a/b"))),
            ("/a;x=1/b", Ok(two("/a;x=1/b", "/a/b"))),
            ("/x/..;/admin", Ok(two("/x/..;/admin", "/admin"))),
            ("/a%20b", Ok(two("/a%20b", "/a b"))),
            ("/a%3bx", Ok(two("/a%3bx", "/a"))),
            ("/é", Ok(one("/é"))),
            ("/a#b", Err(Unreadable)),
            ("/a%00", Err(Unreadable)),
            ("/a%2500", Err(Unreadable)),
            ("/a\tb", Err(Unreadable)),
            ("/a%7f", Err(Unreadable)),
            ("a", Err(Unreadable)),
            ("*", Err(Unreadable)),
            ("", Err(Unreadable)),
            ("http://host/a", Err(Unreadable)),
        ];
        for (path, expected) in cases {
            assert_eq!(read(path), expected, "{path}");
        }
    }

    #[test]
    fn decoding_in_one_pass_is_decoding_until_nothing_changes() {
        fn once(path: &[u8]) -> Vec<u8> {
            let mut out = Vec::new();
            let mut at = 0;
            while at < path.len() {
                match escaped(&path[at..]) {
                    Some(byte) => (out.push(byte), at += 3),
                    None => (out.push(path[at]), at += 1),
                };
            }
            out
        }
        proptest::proptest!(|(path in "/[%2-6a-f/.]{0,40}")| {
            let mut slow = path.clone().into_bytes();
            while once(&slow) != slow {
                slow = once(&slow);
            }
            proptest::prop_assert_eq!(decode_fully(path.as_bytes()), slow);
        });
    }

    #[test]
    fn nested_escapes_cost_no_more_than_their_length() {
        let path = format!("/{}61", "%25".to_owned() + &"25".repeat(500_000));
        assert!(matches!(read(&path), Ok(Readings::Two { generous, .. }) if generous == b"/a"));
    }
}
