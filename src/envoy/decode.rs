//! `envoy.service.auth.v3.CheckRequest`, decoded in place.
//!
//! The message is walked once. What the engine needs is borrowed from it, the
//! rest is skipped, and nothing is built that would have to be dropped: with
//! prost, which takes six times as long, `whole_check` would take more than
//! twice as long (`benches/engine.rs`).
//!
//! It is read as any protobuf library does: unknown fields are skipped, repeated
//! parts of a message are merged, and the last of a repeated scalar counts.
//! Three things differ, each on the safe side:
//!
//! - A repeated map key stays repeated in [`Headers`], so that code which
//!   relies on a header having one value can see that there is another.
//! - Header values may be any bytes; HTTP allows it, a protobuf string doesn't.
//! - Fields that are not read here may hold anything.

use std::cell::OnceCell;

use super::wire::{Fields, Malformed};
use crate::request::{Headers, Request};

/// The key in `context_extensions` by which Envoy's own route names one of ours.
pub const ROUTE_EXTENSION: &str = "claimgate_route";

/// A buffer for header names that had to be converted to lower case; Envoy's
/// are lower case already. Filled by [`check_request`] if needed.
pub type Names = OnceCell<String>;

/// Reads a `CheckRequest`.
///
/// What is absent from the message is empty in the request. Headers come from
/// `header_map` if it has any, which Envoy fills when told to
/// `encode_raw_headers`, else from `headers`.
///
/// # Errors
///
/// [`Malformed`] if the bytes are not such a message, or if a method, path, host,
/// route or header name is not UTF-8.
pub fn check_request<'a>(message: &'a [u8], names: &'a Names) -> Result<Request<'a>, Malformed> {
    let mut reading = Reading::default();
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next_field()? {
        if number == check_request::ATTRIBUTES {
            reading.attributes(value.bytes()?)?;
        }
    }
    if reading.upper_case {
        reading.request.headers = lower_case(&reading.request.headers, names);
    }
    Ok(reading.request)
}

/// The request as read so far.
#[derive(Default)]
struct Reading<'a> {
    request: Request<'a>,
    /// Whether the headers are those of `header_map`.
    raw: bool,
    /// Whether some header name has an upper-case letter.
    upper_case: bool,
}

impl<'a> Reading<'a> {
    fn attributes(&mut self, message: &'a [u8]) -> Result<(), Malformed> {
        let mut fields = Fields::new(message);
        while let Some((number, value)) = fields.next_field()? {
            match number {
                attribute_context::REQUEST => self.request(value.bytes()?)?,
                attribute_context::CONTEXT_EXTENSIONS => {
                    let (key, value) = map_entry(value.bytes()?)?;
                    if key == ROUTE_EXTENSION {
                        self.request.route = Some(utf8(value)?);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn request(&mut self, message: &'a [u8]) -> Result<(), Malformed> {
        let mut fields = Fields::new(message);
        while let Some((number, value)) = fields.next_field()? {
            if number == request::HTTP {
                self.http(value.bytes()?)?;
            }
        }
        Ok(())
    }

    fn http(&mut self, message: &'a [u8]) -> Result<(), Malformed> {
        let mut fields = Fields::new(message);
        while let Some((number, value)) = fields.next_field()? {
            match number {
                http_request::METHOD => self.request.method = value.text()?,
                http_request::PATH => self.request.path = value.text()?,
                http_request::HOST => self.request.host = value.text()?,
                http_request::HEADERS => {
                    let (name, value) = map_entry(value.bytes()?)?;
                    if !self.raw {
                        self.header(name, value);
                    }
                }
                http_request::HEADER_MAP => self.header_map(value.bytes()?)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn header_map(&mut self, message: &'a [u8]) -> Result<(), Malformed> {
        let mut fields = Fields::new(message);
        while let Some((number, value)) = fields.next_field()? {
            if number == header_map::HEADERS {
                let (name, value) = header_value(value.bytes()?)?;
                if !self.raw {
                    self.raw = true;
                    self.request.headers = Headers::default();
                }
                self.header(name, value);
            }
        }
        Ok(())
    }

    #[inline]
    fn header(&mut self, name: &'a str, value: &'a [u8]) {
        // No early exit, so that the loop is one of whole vectors: with `any`,
        // `whole_check` takes 3 % longer (`benches/engine.rs`).
        self.upper_case |= name.bytes().fold(false, |upper, b| upper | b.is_ascii_uppercase());
        self.request.headers.push(name, value);
    }
}

/// An entry of a `map<string, string>`; its value may not be UTF-8.
#[inline]
fn map_entry(message: &[u8]) -> Result<(&str, &[u8]), Malformed> {
    let (mut key, mut entry): (&[u8], &[u8]) = (&[], &[]);
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next_field()? {
        match number {
            map_entry::KEY => key = value.bytes()?,
            map_entry::VALUE => entry = value.bytes()?,
            _ => {}
        }
    }
    Ok((utf8(key)?, entry))
}

/// A `HeaderValue`: the raw bytes take precedence where there are any.
fn header_value(message: &[u8]) -> Result<(&str, &[u8]), Malformed> {
    let (mut key, mut text, mut raw): (&[u8], &[u8], &[u8]) = (&[], &[], &[]);
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next_field()? {
        match number {
            header_value::KEY => key = value.bytes()?,
            header_value::VALUE => text = value.bytes()?,
            header_value::RAW_VALUE => raw = value.bytes()?,
            _ => {}
        }
    }
    Ok((utf8(key)?, if raw.is_empty() { text } else { raw }))
}

fn utf8(bytes: &[u8]) -> Result<&str, Malformed> {
    str::from_utf8(bytes).map_err(|_| Malformed)
}

/// The same headers, their names in lower case and kept in `names`.
fn lower_case<'a>(headers: &Headers<'a>, names: &'a Names) -> Headers<'a> {
    let lowered = names.get_or_init(|| {
        let mut all: String = headers.iter().map(|(name, _)| name).collect();
        all.make_ascii_lowercase();
        all
    });
    let mut rest = lowered.as_str();
    let lower_cased = headers.iter().map(|(name, value)| {
        // Lower-casing ASCII changes no length.
        let (name, after) = rest.split_at_checked(name.len()).unwrap_or_default();
        rest = after;
        (name, value)
    });
    lower_cased.collect()
}

/// The field numbers of `envoy/service/auth/v3/external_auth.proto`,
/// `attribute_context.proto` beside it and `envoy/config/core/v3/base.proto`.
mod check_request {
    pub(super) const ATTRIBUTES: u32 = 1;
}
mod attribute_context {
    pub(super) const REQUEST: u32 = 4;
    pub(super) const CONTEXT_EXTENSIONS: u32 = 10;
}
mod request {
    pub(super) const HTTP: u32 = 2;
}
mod http_request {
    pub(super) const METHOD: u32 = 2;
    pub(super) const HEADERS: u32 = 3;
    pub(super) const PATH: u32 = 4;
    pub(super) const HOST: u32 = 5;
    pub(super) const HEADER_MAP: u32 = 13;
}
mod header_map {
    pub(super) const HEADERS: u32 = 1;
}
mod header_value {
    pub(super) const KEY: u32 = 1;
    pub(super) const VALUE: u32 = 2;
    pub(super) const RAW_VALUE: u32 = 3;
}
mod map_entry {
    pub(super) const KEY: u32 = 1;
    pub(super) const VALUE: u32 = 2;
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::{
        config::core::v3::{HeaderMap, HeaderValue},
        service::auth::v3::{
            AttributeContext, CheckRequest,
            attribute_context::{HttpRequest, Request as AttributeRequest},
        },
    };
    use prost::Message;

    use super::*;

    fn encoded(http: HttpRequest) -> Vec<u8> {
        let request = Some(AttributeRequest { http: Some(http), time: None });
        let attributes = Some(AttributeContext { request, ..AttributeContext::default() });
        CheckRequest { attributes }.encode_to_vec()
    }

    fn with_headers(headers: &[(&str, &str)]) -> HttpRequest {
        let headers = headers.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        HttpRequest { method: "GET".into(), path: "/".into(), headers, ..HttpRequest::default() }
    }

    fn raw(key: &str, value: &str, raw_value: &[u8]) -> HeaderValue {
        HeaderValue { key: key.into(), value: value.into(), raw_value: raw_value.into() }
    }

    /// A length-delimited field; number and length under 16 and 128.
    fn field(number: u8, value: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, value.len() as u8], value].concat()
    }

    fn http_bytes(http: &[u8]) -> Vec<u8> {
        field(1, &field(4, &field(2, http)))
    }

    #[test]
    fn an_empty_message_is_an_empty_request() {
        let names = Names::new();
        let request = check_request(&[], &names).expect("no bytes are a message");
        assert_eq!((request.method, request.path, request.host), ("", "", ""));
        assert!(request.headers.is_empty());
    }

    #[test]
    fn raw_headers_replace_the_others_and_keep_repeats() {
        let mut http = with_headers(&[("x-joined", "1,2")]);
        http.header_map = Some(HeaderMap {
            headers: vec![
                raw("cookie", "", b"a=\xff"),
                raw("cookie", "", b"b=2"),
                raw("x-text", "text", b""),
                raw("x-both", "text", b"raw"),
            ],
        });
        let message = encoded(http);
        let names = Names::new();
        let request = check_request(&message, &names).expect("valid");
        let headers: Vec<_> = request.headers.iter().collect();
        let expected: [(&str, &[u8]); 4] =
            [("cookie", b"a=\xff"), ("cookie", b"b=2"), ("x-text", b"text"), ("x-both", b"raw")];
        assert_eq!(headers, expected);
    }

    #[test]
    fn an_empty_header_map_does_not_hide_the_headers() {
        let mut http = with_headers(&[("x-a", "1")]);
        http.header_map = Some(HeaderMap::default());
        let (message, names) = (encoded(http), Names::new());
        let request = check_request(&message, &names).expect("valid");
        assert_eq!(request.headers.first("x-a"), Some(b"1".as_slice()));
    }

    #[test]
    fn header_names_become_lower_case() {
        let (message, names) =
            (encoded(with_headers(&[("X-MiXed-É", "1"), ("", "2")])), Names::new());
        let request = check_request(&message, &names).expect("valid");
        assert_eq!(request.headers.first("x-mixed-É"), Some(b"1".as_slice()));
        assert_eq!(request.headers.first(""), Some(b"2".as_slice()));
    }

    #[test]
    fn lower_case_names_need_no_room() {
        let (message, names) = (encoded(with_headers(&[("x-a", "A")])), Names::new());
        check_request(&message, &names).expect("valid");
        assert_eq!(names.get(), None);
    }

    #[test]
    fn messages_that_come_twice_are_merged() {
        let first = http_bytes(&[field(2, b"GET"), field(4, b"/a")].concat());
        let second = http_bytes(&[field(4, b"/b"), field(5, b"h")].concat());
        let (message, names) = ([first, second].concat(), Names::new());
        let request = check_request(&message, &names).expect("valid");
        assert_eq!((request.method, request.path, request.host), ("GET", "/b", "h"));
    }

    #[test]
    fn a_map_key_that_comes_twice_stays_twice() {
        let entry = |value| field(3, &[field(1, b"authorization"), field(2, value)].concat());
        let message = http_bytes(&[entry(b"one"), entry(b"two")].concat());
        let names = Names::new();
        let request = check_request(&message, &names).expect("valid");
        let values: Vec<_> = request.headers.all("authorization").collect();
        assert_eq!(values, [b"one", b"two"]);
    }

    #[test]
    fn the_route_comes_from_the_context_extensions() {
        let extension = |key, value| field(10, &[field(1, key), field(2, value)].concat());
        let message = field(
            1,
            &[extension(b"other", b"x"), extension(b"claimgate_route", b"admin")].concat(),
        );
        let names = Names::new();
        assert_eq!(check_request(&message, &names).expect("valid").route, Some("admin"));
    }

    #[test]
    fn only_header_values_may_be_other_than_utf8() {
        let bad = b"\xc3\x28";
        let good = http_bytes(&field(3, &[field(1, b"x"), field(2, bad)].concat()));
        let names = Names::new();
        let request = check_request(&good, &names).expect("bytes are fine in a value");
        assert_eq!(request.headers.first("x"), Some(bad.as_slice()));
        for (what, message) in [
            ("method", http_bytes(&field(2, bad))),
            ("path", http_bytes(&field(4, bad))),
            ("host", http_bytes(&field(5, bad))),
            ("header name", http_bytes(&field(3, &field(1, bad)))),
            (
                "route",
                field(1, &field(10, &[field(1, b"claimgate_route"), field(2, bad)].concat())),
            ),
        ] {
            assert_eq!(check_request(&message, &Names::new()).err(), Some(Malformed), "{what}");
        }
    }

    #[test]
    fn a_megabyte_of_headers_is_read_in_one_go() {
        let http = HttpRequest {
            headers: (0..50_000).map(|i| (format!("X-{i:08}"), "v".repeat(10))).collect(),
            ..HttpRequest::default()
        };
        let (message, names) = (encoded(http), Names::new());
        assert!(message.len() > 1_000_000);
        assert_eq!(check_request(&message, &names).expect("valid").headers.len(), 50_000);
    }
}
