//! The `WWW-Authenticate` header (RFC 6750, section 3; RFC 9110, section 11.6.1).

use crate::{decision::Denial, policy::denials::DenialStyle};

/// The parts of a denial's challenge; `None` where asking for another token
/// would not help. `description` holds nothing that a quoted-string escapes.
pub(super) fn challenge<'s>(
    denial: Denial,
    style: &'s DenialStyle,
    description: &'static str,
) -> Option<[&'s str; 5]> {
    let hints = style.hints.as_str();
    let (error, hints) = match denial {
        Denial::BadRequest => (r#", error="invalid_request", error_description=""#, ""),
        // Who sent no token made no error (section 3.1).
        Denial::Challenge => return Some([&style.challenge, "", "", "", hints]),
        Denial::InvalidToken => (r#", error="invalid_token", error_description=""#, hints),
        Denial::Forbidden => (r#", error="insufficient_scope", error_description=""#, hints),
        Denial::Unavailable | Denial::Internal => return None,
    };
    Some([&style.challenge, error, description, "\"", hints])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_denial_has_its_challenge() {
        let style = DenialStyle {
            challenge: "Bearer realm=\"r\"".into(),
            hints: ", scope=\"a b\"".into(),
            ..DenialStyle::default()
        };
        let cases = [
            (
                Denial::BadRequest,
                Some("Bearer realm=\"r\", error=\"invalid_request\", error_description=\"d\""),
            ),
            (Denial::Challenge, Some("Bearer realm=\"r\", scope=\"a b\"")),
            (
                Denial::InvalidToken,
                Some(
                    "Bearer realm=\"r\", error=\"invalid_token\", error_description=\"d\", \
                     scope=\"a b\"",
                ),
            ),
            (
                Denial::Forbidden,
                Some(
                    "Bearer realm=\"r\", error=\"insufficient_scope\", error_description=\"d\", \
                     scope=\"a b\"",
                ),
            ),
            (Denial::Unavailable, None),
            (Denial::Internal, None),
        ];
        for (denial, expected) in cases {
            let header = challenge(denial, &style, "d").map(|parts| parts.concat());
            assert_eq!(header.as_deref(), expected, "{denial:?}");
        }
    }
}
