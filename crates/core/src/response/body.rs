//! The bodies of denials, in each format.
//!
//! Only one sentence of a closed list differs between the denials of a kind,
//! so a body is what stands before it, the sentence, and what stands after
//! it. Nothing from the request or its token is in any of them.

use super::denial::{oauth2, problem};
use crate::{decision::Denial, settings::ErrorFormat};

/// The content type of a format's bodies.
pub(super) const fn content_type(format: ErrorFormat) -> &'static str {
    match format {
        ErrorFormat::OAuth2 | ErrorFormat::OpenAi | ErrorFormat::Anthropic => "application/json",
        ErrorFormat::Problem => "application/problem+json",
    }
}

/// The parts of a body; `description` holds nothing that JSON escapes.
pub(super) const fn body(
    format: ErrorFormat,
    denial: Denial,
    description: &'static str,
) -> [&'static str; 3] {
    let (before, after) = match format {
        ErrorFormat::OAuth2 => (oauth2(denial), "\"}"),
        ErrorFormat::Problem => (problem(denial), "\"}"),
        ErrorFormat::OpenAi => openai(denial),
        ErrorFormat::Anthropic => (anthropic(denial), "\"}}"),
    };
    [before, description, after]
}

/// <https://platform.openai.com/docs/guides/error-codes>: `type` and `code`
/// are the words that programs look for there, such as `invalid_api_key`.
const fn openai(denial: Denial) -> (&'static str, &'static str) {
    let after = match denial {
        Denial::BadRequest => {
            r#"","type":"invalid_request_error","param":null,"code":"invalid_request"}}"#
        }
        Denial::Challenge | Denial::InvalidToken => {
            r#"","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#
        }
        Denial::Forbidden => {
            r#"","type":"invalid_request_error","param":null,"code":"insufficient_permissions"}}"#
        }
        Denial::RateLimited => {
            r#"","type":"rate_limit_exceeded","param":null,"code":"rate_limit_exceeded"}}"#
        }
        Denial::Unavailable => {
            r#"","type":"server_error","param":null,"code":"service_unavailable"}}"#
        }
        Denial::Internal => r#"","type":"server_error","param":null,"code":"server_error"}}"#,
    };
    (r#"{"error":{"message":""#, after)
}

/// <https://docs.anthropic.com/en/api/errors>
const fn anthropic(denial: Denial) -> &'static str {
    match denial {
        Denial::BadRequest => {
            r#"{"type":"error","error":{"type":"invalid_request_error","message":""#
        }
        Denial::Challenge | Denial::InvalidToken => {
            r#"{"type":"error","error":{"type":"authentication_error","message":""#
        }
        Denial::Forbidden => r#"{"type":"error","error":{"type":"permission_error","message":""#,
        Denial::RateLimited => r#"{"type":"error","error":{"type":"rate_limit_error","message":""#,
        Denial::Unavailable | Denial::Internal => {
            r#"{"type":"error","error":{"type":"api_error","message":""#
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::reason::Reason;

    fn read(format: ErrorFormat, denial: Denial, description: &'static str) -> Value {
        serde_json::from_str(&body(format, denial, description).concat()).expect("JSON")
    }

    #[test]
    fn each_format_has_its_shape() {
        let problem = |title, status, error| {
            json!({"type": "about:blank", "title": title, "status": status, "error": error,
                "detail": "d"})
        };
        let openai = |kind, code| json!({"error": {"message": "d", "type": kind, "param": null, "code": code}});
        let anthropic = |kind| json!({"type": "error", "error": {"type": kind, "message": "d"}});
        let invalid = "invalid_request_error";
        let cases = [
            (
                Denial::BadRequest,
                "invalid_request",
                problem("Bad Request", 400, "invalid_request"),
                openai(invalid, "invalid_request"),
                anthropic(invalid),
            ),
            (
                Denial::Challenge,
                "unauthorized",
                problem("Unauthorized", 401, "unauthorized"),
                openai(invalid, "invalid_api_key"),
                anthropic("authentication_error"),
            ),
            (
                Denial::InvalidToken,
                "invalid_token",
                problem("Unauthorized", 401, "invalid_token"),
                openai(invalid, "invalid_api_key"),
                anthropic("authentication_error"),
            ),
            (
                Denial::Forbidden,
                "insufficient_scope",
                problem("Forbidden", 403, "insufficient_scope"),
                openai(invalid, "insufficient_permissions"),
                anthropic("permission_error"),
            ),
            (
                Denial::RateLimited,
                "rate_limited",
                problem("Too Many Requests", 429, "rate_limited"),
                openai("rate_limit_exceeded", "rate_limit_exceeded"),
                anthropic("rate_limit_error"),
            ),
            (
                Denial::Unavailable,
                "temporarily_unavailable",
                problem("Service Unavailable", 503, "temporarily_unavailable"),
                openai("server_error", "service_unavailable"),
                anthropic("api_error"),
            ),
            (
                Denial::Internal,
                "server_error",
                problem("Internal Server Error", 500, "server_error"),
                openai("server_error", "server_error"),
                anthropic("api_error"),
            ),
        ];
        for (denial, error, problem, openai, anthropic) in cases {
            let oauth2 = json!({"error": error, "error_description": "d"});
            assert_eq!(read(ErrorFormat::OAuth2, denial, "d"), oauth2, "{denial:?}");
            assert_eq!(read(ErrorFormat::Problem, denial, "d"), problem, "{denial:?}");
            assert_eq!(read(ErrorFormat::OpenAi, denial, "d"), openai, "{denial:?}");
            assert_eq!(read(ErrorFormat::Anthropic, denial, "d"), anthropic, "{denial:?}");
        }
    }

    #[test]
    fn every_description_needs_no_escape() {
        for reason in Reason::ALL {
            let description = reason.description();
            let body = read(ErrorFormat::OAuth2, Denial::InvalidToken, description);
            assert_eq!(body["error_description"], description);
        }
    }
}
