//! A recorded `CheckRequest`: binary as it was sent, or JSON in protobuf's own
//! mapping, which most tools print.
//!
//! <https://protobuf.dev/programming-guides/json/>

use std::fmt;

use envoy_types::pb::envoy::service::auth::v3::CheckRequest;
use prost::Message;
use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage};
use serde_json::{Map, Value};

use super::{
    decode::{Names, check_request},
    reflection::DESCRIPTORS,
    wire::Malformed,
};
use crate::{explain::Sent, time::UnixTime};

/// A captured request, as the bytes that Envoy would send.
pub struct Capture {
    message: Vec<u8>,
    time: Option<UnixTime>,
}

/// Why a capture can't be read.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// It is JSON, but of something else.
    #[error(
        "is JSON, but not a CheckRequest: write an object with `attributes`, or the attributes \
         alone, with `request`"
    )]
    OtherJson,
    /// It is JSON that does not fit the message.
    #[error("is not a CheckRequest: {0}")]
    Json(#[from] serde_json::Error),
    /// It is neither JSON nor such a message.
    #[error("is neither a CheckRequest in JSON nor a binary one")]
    Binary,
    /// A defect that no input brings about.
    #[error("can't be read: {0}")]
    Descriptors(#[from] prost_reflect::DescriptorError),
}

impl Capture {
    /// Reads a capture: JSON of a `CheckRequest` or of its attributes, or the
    /// binary message, with or without the five bytes that gRPC puts in front.
    ///
    /// Of the JSON only what a decision can depend on is read, so metadata of
    /// unknown types is ignored.
    ///
    /// # Errors
    ///
    /// [`CaptureError`]; never with a value of the capture, which holds a token.
    pub fn read(bytes: &[u8]) -> Result<Self, CaptureError> {
        let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
        let message = match json(bytes) {
            Some(value) => from_json(value?)?,
            None => unframed(bytes).to_vec(),
        };
        check_request(&message, &Names::new()).map_err(|_| CaptureError::Binary)?;
        let time = CheckRequest::decode(&*message).ok().and_then(|request| {
            let time = request.attributes?.request?.time?;
            Some(UnixTime::from_seconds(time.seconds as f64 + f64::from(time.nanos) / 1e9))
        });
        Ok(Self { message, time })
    }

    /// The binary message.
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// The captured request, read as the service reads it.
    ///
    /// # Errors
    ///
    /// [`Malformed`], which a [`Capture`] never is.
    pub fn sent(&self) -> Result<Sent, Malformed> {
        Ok(Sent::from(&check_request(&self.message, &Names::new())?))
    }

    /// When Envoy received the request, if the capture says so.
    pub fn time(&self) -> Option<UnixTime> {
        self.time
    }
}

/// Some editors and shells put it in front of a text. No message begins with it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The capture as JSON; `None` if it does not look like any. A binary message
/// may begin with what looks like a line break and a brace, so only text that
/// begins with the brace itself must be JSON.
fn json(bytes: &[u8]) -> Option<Result<Value, CaptureError>> {
    let text = bytes.trim_ascii_start();
    let parsed = text.starts_with(b"{").then(|| serde_json::from_slice(text))?;
    match parsed {
        Err(error) if bytes.starts_with(b"{") => Some(Err(error.into())),
        parsed => parsed.ok().map(Ok),
    }
}

/// A gRPC frame is a byte for the compression and four for the length; a
/// message never begins with a zero.
fn unframed(bytes: &[u8]) -> &[u8] {
    let Some((head, message)) = bytes.split_first_chunk::<5>() else { return bytes };
    let [0, length @ ..] = head else { return bytes };
    let length = usize::try_from(u32::from_be_bytes(*length)).ok();
    if length == Some(message.len()) { message } else { bytes }
}

/// The parts of the attributes that a decision depends on, under both the
/// names that JSON may use.
const DECISIVE: [&str; 3] = ["request", "contextExtensions", "context_extensions"];

fn from_json(value: Value) -> Result<Vec<u8>, CaptureError> {
    let Value::Object(mut members) = value else { return Err(CaptureError::OtherJson) };
    let mut attributes = match members.remove("attributes") {
        Some(Value::Object(attributes)) => attributes,
        Some(Value::Null) => Map::new(),
        Some(_) => return Err(CaptureError::OtherJson),
        None if members.is_empty() || DECISIVE.iter().any(|name| members.contains_key(*name)) => {
            members
        }
        None => return Err(CaptureError::OtherJson),
    };
    attributes.retain(|name, _| DECISIVE.contains(&name.as_str()));
    let request = Value::from_iter([("attributes", Value::Object(attributes))]);
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    let pool = DescriptorPool::decode(DESCRIPTORS)?;
    let Some(descriptor) = pool.get_message_by_name(CHECK_REQUEST) else {
        return Err(CaptureError::Binary);
    };
    let message = DynamicMessage::deserialize_with_options(descriptor, request, &options);
    Ok(message.map_err(without_values)?.encode_to_vec())
}

const CHECK_REQUEST: &str = "envoy.service.auth.v3.CheckRequest";

/// The error without the value that it may quote: the text before the value
/// and, where serde appends it, what was expected instead.
fn without_values(error: serde_json::Error) -> serde_json::Error {
    let text = error.to_string();
    let Some(until) = text.find(['"', '`']) else { return serde::de::Error::custom(text) };
    let prefix = text[..until].trim_end_matches([' ', ':']);
    let expected = match prefix.starts_with("invalid type") || prefix.starts_with("invalid value") {
        true => text.rfind(", expected ").map_or("", |at| &text[at..]),
        false => "",
    };
    serde::de::Error::custom(format_args!("{prefix}{expected}"))
}

/// The request holds a token.
impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capture").field("time", &self.time).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"{"attributes": {
        "source": {"address": {"socketAddress": {"address": "10.0.0.1", "portValue": 1234}}},
        "request": {
            "time": "2026-11-22T08:00:00.500Z",
            "http": {
                "id": "1", "method": "POST", "path": "/a?b=c", "host": "api", "size": "12",
                "headers": {":path": "/a?b=c", "authorization": "Bearer secret-token"},
                "newField": 1
            }
        },
        "contextExtensions": {"claimgate_route": "admin"},
        "metadataContext": {"typedFilterMetadata": {"x": {"@type": "type.example.com/Unknown"}}}
    }}"#;

    type Facts = (String, String, Option<String>, Vec<(String, Vec<u8>)>);

    fn facts(capture: &Capture) -> Facts {
        let names = Names::new();
        let request = check_request(capture.message(), &names).unwrap();
        let mut headers: Vec<_> =
            request.headers.iter().map(|(name, value)| (name.into(), value.to_vec())).collect();
        headers.sort();
        (request.method.into(), request.path.into(), request.route.map(Into::into), headers)
    }

    #[test]
    fn every_form_of_a_capture_says_the_same() {
        let value: Value = serde_json::from_str(JSON).unwrap();
        let snake = JSON.replace("contextExtensions", "context_extensions");
        let camel = Capture::read(JSON.as_bytes()).unwrap();
        assert_eq!(camel.time(), Some(UnixTime::from_seconds(1_795_334_400.5)));
        let expected = facts(&camel);
        assert_eq!(
            (&*expected.0, &*expected.1, expected.2.as_deref(), expected.3.len()),
            ("POST", "/a?b=c", Some("admin"), 2)
        );
        let length = u32::try_from(camel.message().len()).unwrap().to_be_bytes();
        let framed = [&[0], &length[..], camel.message()].concat();
        let forms = [
            snake.into_bytes(),
            format!("\n {JSON}").into_bytes(),
            format!("\u{feff}{JSON}").into_bytes(),
            value["attributes"].to_string().into_bytes(),
            camel.message().to_vec(),
            framed,
        ];
        for form in forms {
            let capture = Capture::read(&form).unwrap();
            assert_eq!(facts(&capture), expected, "{}", form.escape_ascii());
        }
    }

    #[test]
    fn raw_headers_are_base64_in_json() {
        let json = r#"{"request": {"http": {"method": "GET", "path": "/", "headerMap":
            {"headers": [{"key": "x", "rawValue": "/w=="}, {"key": "x", "rawValue": "YQ=="}]}}}}"#;
        let headers = facts(&Capture::read(json.as_bytes()).unwrap()).3;
        assert_eq!(headers, [("x".to_owned(), b"a".to_vec()), ("x".to_owned(), b"\xff".to_vec())]);
    }

    #[test]
    fn an_empty_message_is_one() {
        for empty in ["", "{}", r#"{"attributes": null}"#, r#"{"attributes": {}}"#] {
            let capture = Capture::read(empty.as_bytes()).unwrap();
            assert_eq!(facts(&capture), Facts::default(), "{empty}");
        }
    }

    #[test]
    fn what_is_not_a_capture_is_refused_without_its_secrets() {
        let cases = [
            (r#"{"secret": 1}"#, "`attributes`"),
            (r#"{"attributes": ["secret"]}"#, "`attributes`"),
            (
                r#"{"attributes": {"request": {"http": {"headers": "secret"}}}}"#,
                "not a CheckRequest",
            ),
            (r#"{"request": {"http": {"method": {"secret": 1}}}}"#, "not a CheckRequest"),
            (
                r#"{"request": {"http": {"headers": {"a": "b", "c": 5}}}}"#,
                "invalid type: integer, expected a string",
            ),
            (
                r#"{"request": {"http": {"headers": ", expected `secret"}}}"#,
                "invalid type: string, expected a map",
            ),
            ("{secret", "not a CheckRequest"),
            ("GET /secret", "neither"),
        ];
        for (text, expected) in cases {
            let error = Capture::read(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("secret"), "{text}: {error}");
        }
    }

    #[test]
    fn a_binary_message_that_looks_like_json_is_binary() {
        // `attributes` of 0x7b bytes: the first bytes are a line feed and `{`.
        let mut message = vec![0x0a, 0x7b, 0x22, 0x79, 0x12, 0x77, 0x22, 0x75];
        message.extend([b'/'; 0x75]);
        let capture = Capture::read(&message).unwrap();
        assert_eq!(facts(&capture).1, "/".repeat(0x75));
    }
}
