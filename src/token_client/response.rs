//! The responses of a token endpoint (RFC 6749, sections 5.1 and 5.2).

use std::{fmt, time::Duration};

use serde::Deserialize;
use serde_json::Value;

use super::{error::TokenError, token::AccessToken};
use crate::time::UnixTime;

/// Longer error texts are cut.
const LONGEST_ERROR_TEXT: usize = 400;

/// The response to a request that was granted. Only an unusable token is an
/// error; an unusable lifetime counts as none.
#[derive(Deserialize)]
pub(super) struct TokenResponse {
    access_token: Option<Value>,
    expires_in: Option<Value>,
}

impl TokenResponse {
    /// Reads the body of a response with status 200.
    ///
    /// # Errors
    /// The body is not a JSON object.
    pub(super) fn read(body: &[u8]) -> Result<Self, TokenError> {
        object(body).ok_or(TokenError::Response("the answer is not a JSON object"))
    }

    /// The token. It expires by its own `exp` or by the response's
    /// `expires_in`, whichever is earlier.
    ///
    /// # Errors
    /// There is none, or an `Authorization` header can't carry it.
    pub(super) fn token(self, requested_at: UnixTime) -> Result<AccessToken, TokenError> {
        let text = match self.access_token {
            Some(Value::String(text)) => text,
            _ => String::new(),
        };
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::Response("the answer has no usable access_token"));
        }
        let lifetime = self.expires_in.and_then(|seconds| seconds.as_f64());
        let by_response = lifetime
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .map(|lifetime| requested_at + lifetime);
        let expires = match (expiry(&text), by_response) {
            (Some(one), Some(other)) => Some(if one < other { one } else { other }),
            (one, other) => one.or(other),
        };
        Ok(AccessToken { text, expires })
    }
}

/// The `exp` of a JWT, unverified: the server that accepts the token checks it.
fn expiry(token: &str) -> Option<UnixTime> {
    #[derive(Deserialize)]
    struct Claims {
        exp: f64,
    }
    let mut parts = token.split('.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let claims = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(claims.as_bytes()).ok()?;
    object(&claims).map(|Claims { exp }| UnixTime::from_seconds(exp))
}

/// Reads a JSON object, where serde would take an array for a struct too.
fn object<'de, T: Deserialize<'de>>(text: &'de [u8]) -> Option<T> {
    text.trim_ascii_start().starts_with(b"{").then(|| serde_json::from_slice(text).ok())?
}

/// The error that the endpoint reports, safe to print.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ErrorResponse(Option<String>);

impl ErrorResponse {
    /// Reads the body of a response with another status. A text that holds one
    /// of the secrets, which a careless endpoint might repeat, is left out.
    pub(super) fn read(body: &[u8], secrets: &[&str]) -> Self {
        #[derive(Deserialize)]
        struct Body {
            error: String,
            error_description: Option<Value>,
        }
        let Some(Body { error, error_description }) = object(body) else {
            return Self(None);
        };
        let printable = |text: &str| text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        let description = error_description.as_ref().and_then(Value::as_str);
        let text = match description.filter(|text| printable(text)) {
            Some(description) => format!("{error} ({description})"),
            None => error,
        };
        if !printable(&text) || secrets.iter().any(|secret| text.contains(secret)) {
            return Self(None);
        }
        Self(Some(text.chars().take(LONGEST_ERROR_TEXT).collect()))
    }
}

/// With a colon before it, or nothing.
impl fmt::Display for ErrorResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |text| write!(f, ": {text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(body: &str) -> Result<AccessToken, TokenError> {
        TokenResponse::read(body.as_bytes())?.token(UnixTime::from_seconds(1000.0))
    }

    fn jwt(claims: &str) -> String {
        format!("e30.{}.c2ln", base64_simd::URL_SAFE_NO_PAD.encode_to_string(claims))
    }

    #[test]
    fn a_token_expires_by_the_earlier_of_two_times() {
        let with_exp = jwt(r#"{"exp":1500.5}"#);
        let without = jwt(r#"{"sub":"a"}"#);
        for (text, expires_in, expected) in [
            (with_exp.as_str(), "600", Some(1500.5)),
            (&with_exp, "60", Some(1060.0)),
            (&with_exp, "null", Some(1500.5)),
            (&without, "60", Some(1060.0)),
            (&without, "\"60\"", None),
            (&without, "-60", None),
            ("opaque", "60", Some(1060.0)),
            ("opaque", "null", None),
        ] {
            let body = format!(r#"{{"access_token":"{text}","expires_in":{expires_in}}}"#);
            let token = token(&body).unwrap();
            assert_eq!(token.text, text);
            assert_eq!(token.expires.map(UnixTime::as_seconds), expected, "{body}");
        }
    }

    #[test]
    fn responses_without_a_token_are_told_apart_from_requests_that_failed() {
        for body in [
            "",
            "<html>sign in</html>",
            "\"token\"",
            r#"["token",60]"#,
            "{}",
            r#"{"access_token":null}"#,
            r#"{"access_token":""}"#,
            r#"{"access_token":12}"#,
            r#"{"access_token":"a b"}"#,
            r#"{"access_token":"a\nb"}"#,
            r#"{"access_token":"é"}"#,
            r#"{"access_token":"a","access_token":"b"}"#,
            r#"{"access_token":"a"} {}"#,
            r#"{"data":{"access_token":"a"}}"#,
        ] {
            assert!(matches!(token(body), Err(TokenError::Response(_))), "{body}");
        }
    }

    #[test]
    fn error_texts_are_printed_without_secrets() {
        let cut = format!(": {}", "x".repeat(LONGEST_ERROR_TEXT));
        for (body, expected) in [
            (r#"{"error":"invalid_client"}"#, ": invalid_client"),
            (r#"{"error":"a","error_description":"b c"}"#, ": a (b c)"),
            (r#"{"error":"a","error_description":"é"}"#, ": a"),
            (r#"{"error":"a","error_description":"s3cret is wrong"}"#, ""),
            ("{\"error\":\"a\\u001b[2J\"}", ""),
            ("<html>", ""),
            (&format!(r#"{{"error":"{}"}}"#, "x".repeat(1000)), &cut),
        ] {
            assert_eq!(
                ErrorResponse::read(body.as_bytes(), &["s3cret"]).to_string(),
                expected,
                "{body}"
            );
        }
    }
}
