//! The one table of how each kind of denial looks in HTTP.

use crate::decision::Denial;

/// Makes the constants of every denial from its status, the status's title
/// (RFC 9110, section 15) and its OAuth 2.0 error code.
macro_rules! denials {
    ($($denial:ident: $status:literal $title:literal $error:literal;)*) => {
        /// The HTTP status.
        pub(super) const fn status(denial: Denial) -> u16 {
            match denial { $(Denial::$denial => $status,)* }
        }

        /// What stands before the description in the body of RFC 6749,
        /// section 5.2.
        pub(super) const fn oauth2(denial: Denial) -> &'static str {
            match denial {
                $(Denial::$denial => {
                    concat!(r#"{"error":""#, $error, r#"","error_description":""#)
                })*
            }
        }

        /// What stands before the description in the body of RFC 9457. Its
        /// type `about:blank` goes with the status's own title (section
        /// 4.2.1); the OAuth 2.0 code is an extension member.
        pub(super) const fn problem(denial: Denial) -> &'static str {
            match denial {
                $(Denial::$denial => concat!(
                    r#"{"type":"about:blank","title":""#, $title, r#"","status":"#, $status,
                    r#","error":""#, $error, r#"","detail":""#,
                ),)*
            }
        }

        /// What stands before the description in a challenge (RFC 6750,
        /// section 3).
        pub(super) const fn challenge(denial: Denial) -> &'static str {
            match denial {
                $(Denial::$denial => {
                    concat!(", error=\"", $error, "\", error_description=\"")
                })*
            }
        }
    };
}

denials! {
    BadRequest: 400 "Bad Request" "invalid_request";
    Challenge: 401 "Unauthorized" "unauthorized";
    InvalidToken: 401 "Unauthorized" "invalid_token";
    Forbidden: 403 "Forbidden" "insufficient_scope";
    RateLimited: 429 "Too Many Requests" "rate_limited";
    Unavailable: 503 "Service Unavailable" "temporarily_unavailable";
    Internal: 500 "Internal Server Error" "server_error";
}
