//! The `WWW-Authenticate` header (RFC 6750, section 3; RFC 9110, section 11.6.1).

use super::denial;
use crate::{decision::Denial, policy::denial_style::DenialStyle};

/// The parts of a denial's challenge; `None` where asking for another token
/// would not help. `description` holds nothing that a quoted-string escapes.
pub(super) fn challenge<'s>(
    denial: Denial,
    style: &'s DenialStyle,
    description: &'static str,
) -> Option<[&'s str; 5]> {
    let hints = match denial {
        Denial::RateLimited | Denial::Unavailable | Denial::Internal => return None,
        // A request without a token is not in error (section 3.1).
        Denial::Challenge => return Some([&style.challenge, "", "", "", &style.hints]),
        // Another token would not mend the request.
        Denial::BadRequest => "",
        Denial::InvalidToken | Denial::Forbidden => &style.hints,
    };
    Some([&style.challenge, denial::challenge(denial), description, "\"", hints])
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
