//! The `WWW-Authenticate` header (RFC 6750, section 3; RFC 9110, section 11.6.1).

use crate::decision::Denial;

/// The challenge of a denial; `None` where asking for another token would not
/// help. `scopes` are those that the request would have needed.
pub(super) fn challenge(
    denial: Denial,
    realm: &str,
    description: &str,
    scopes: &[String],
) -> Option<String> {
    let (error, names_scopes) = match denial {
        Denial::BadRequest => (Some("invalid_request"), false),
        // Who sent no token made no error (section 3.1).
        Denial::Challenge => (None, true),
        Denial::InvalidToken => (Some("invalid_token"), true),
        Denial::Forbidden => (Some("insufficient_scope"), true),
        Denial::Unavailable | Denial::Internal => return None,
    };
    let mut header = String::with_capacity(160);
    header.push_str("Bearer realm=\"");
    push_quoted(&mut header, realm);
    header.push('"');
    if let Some(error) = error {
        header.push_str(", error=\"");
        header.push_str(error);
        header.push_str("\", error_description=\"");
        push_quoted(&mut header, description);
        header.push('"');
    }
    if names_scopes && !scopes.is_empty() {
        header.push_str(", scope=\"");
        for (i, scope) in scopes.iter().enumerate() {
            if i > 0 {
                header.push(' ');
            }
            push_scope(&mut header, scope);
        }
        header.push('"');
    }
    Some(header)
}

/// Appends the inside of a quoted-string (RFC 9110, section 5.6.4). A control
/// character can't be in one and would void the whole answer: it becomes a
/// space.
fn push_quoted(header: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '"' | '\\' => header.extend(['\\', c]),
            c if c.is_control() => header.push(' '),
            c => header.push(c),
        }
    }
}

/// Appends a scope. A scope-token is `%x21 / %x23-5B / %x5D-7E` (RFC 6749,
/// section 3.3); whatever else an operator wrote is percent-encoded.
fn push_scope(header: &mut String, scope: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in scope.bytes() {
        match byte {
            0x21 | 0x23..=0x5b | 0x5d..=0x7e => header.push(char::from(byte)),
            _ => {
                let digit = |nibble: u8| char::from(HEX[usize::from(nibble)]);
                header.extend(['%', digit(byte >> 4), digit(byte & 15)]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_denial_has_its_challenge() {
        let scopes = ["https://gateway.internal/invoke".to_owned(), "b".to_owned()];
        let cases = [
            (
                Denial::BadRequest,
                Some("Bearer realm=\"r\", error=\"invalid_request\", error_description=\"d\""),
            ),
            (
                Denial::Challenge,
                Some("Bearer realm=\"r\", scope=\"https://gateway.internal/invoke b\""),
            ),
            (
                Denial::InvalidToken,
                Some(
                    "Bearer realm=\"r\", error=\"invalid_token\", error_description=\"d\", \
                     scope=\"https://gateway.internal/invoke b\"",
                ),
            ),
            (
                Denial::Forbidden,
                Some(
                    "Bearer realm=\"r\", error=\"insufficient_scope\", error_description=\"d\", \
                     scope=\"https://gateway.internal/invoke b\"",
                ),
            ),
            (Denial::Unavailable, None),
            (Denial::Internal, None),
        ];
        for (denial, expected) in cases {
            assert_eq!(challenge(denial, "r", "d", &scopes).as_deref(), expected, "{denial:?}");
        }
    }

    #[test]
    fn no_scope_is_named_where_none_is_needed() {
        let header = challenge(Denial::Challenge, "r", "d", &[]);
        assert_eq!(header.as_deref(), Some("Bearer realm=\"r\""));
    }

    #[test]
    fn nothing_breaks_out_of_a_quoted_string() {
        let header = challenge(Denial::InvalidToken, "a\"b\\c\r\nd", "é", &[]);
        let expected = r#"Bearer realm="a\"b\\c  d", error="invalid_token", error_description="é""#;
        assert_eq!(header.as_deref(), Some(expected));
    }

    #[test]
    fn scopes_keep_to_their_alphabet() {
        let scopes = ["a\"b\\c d\u{7f}é%20!~".to_owned()];
        let header = challenge(Denial::Challenge, "r", "d", &scopes);
        let expected = "Bearer realm=\"r\", scope=\"a%22b%5Cc%20d%7F%C3%A9%20!~\"";
        assert_eq!(header.as_deref(), Some(expected));
    }
}
