//! API keys as an operator writes them: what makes one usable, and its hash.

use aws_lc_rs::digest;

use super::MAX_KEY_BYTES;

/// SHA-256 of an API key.
pub type KeyHash = [u8; 32];

const PREFIX: &str = "sha256:";

/// Why a key can never be presented, if it can't: only visible ASCII passes
/// through every header and bearer token unchanged (RFC 9110, section 5.5;
/// RFC 6750, section 2.1), and a comma is what Envoy joins repeated headers
/// with.
pub fn defect(key: &str) -> Option<&'static str> {
    if key.is_empty() {
        return Some("is empty");
    }
    if key.len() > MAX_KEY_BYTES {
        return Some("is over the 4096 bytes that an API key may have");
    }
    key.chars().find_map(|char| match char {
        ' ' => Some("holds a space"),
        ',' => Some("holds a comma"),
        '\n' | '\r' => Some("holds a line break"),
        char if char.is_control() => Some("holds a control character"),
        char if !char.is_ascii() => Some("holds a character outside ASCII"),
        _ => None,
    })
}

/// SHA-256 of a key, or of another text.
pub fn hash(key: &str) -> KeyHash {
    let mut hash = KeyHash::default();
    hash.copy_from_slice(digest::digest(&digest::SHA256, key.as_bytes()).as_ref());
    hash
}

/// `sha256:` and 64 hex digits.
pub fn format_hash(hash: &KeyHash) -> String {
    format!("{PREFIX}{}", hex::encode(hash))
}

/// Reads what [`format_hash`] wrote; hex digits may be upper case.
pub fn parse_hash(text: &str) -> Option<KeyHash> {
    let mut hash = KeyHash::default();
    hex::decode_to_slice(text.strip_prefix(PREFIX)?, &mut hash).ok()?;
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_reads_back() {
        let text = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(format_hash(&hash("abc")), text);
        assert_eq!(parse_hash(text), Some(hash("abc")));
        let upper = format!("sha256:{}", text["sha256:".len()..].to_uppercase());
        assert_eq!(parse_hash(&upper), Some(hash("abc")));
    }

    #[test]
    fn other_text_is_no_hash() {
        let digits = "0".repeat(64);
        for text in [
            "",
            "sha256:",
            &digits,
            &format!("sha256:{}", &digits[1..]),
            &format!("sha256:0{digits}"),
            &format!("SHA256:{digits}"),
            &format!("sha512:{digits}"),
            &format!("sha256:g{}", &digits[1..]),
            &format!("sha256:é{}", &digits[2..]),
        ] {
            assert_eq!(parse_hash(text), None, "{text}");
        }
    }

    #[test]
    fn a_key_is_visible_ascii_without_comma() {
        for key in ["k", "a-b_c.d~e+f/g==", "!#$%&'*^`|\"\\;:@?<>{}[]()"] {
            assert_eq!(defect(key), None, "{key}");
        }
        for key in ["", "a b", "a,b", "a\n", "\r", "a\tb", "\u{7f}", "\0", "kéy", "a\u{a0}b"] {
            assert!(defect(key).is_some(), "{key:?}");
        }
    }
}
