//! A checked request, borrowed from whatever carried it.
//!
//! The engine sees only what it needs to decide and knows nothing of the
//! message the request came in. A door, a test or `explain` fills a
//! [`Request`] with slices of its own buffers.

use crate::traceparent::Traceparent;

/// The facts of one HTTP request.
///
/// An absent part is an empty string: a request without method or path is
/// answered `malformed_request`.
#[derive(Clone, Default)]
pub struct Request<'a> {
    /// The method as sent; methods are case-sensitive (RFC 9110, 9.1).
    pub method: &'a str,
    /// `Host` or `:authority`, with its port if one was sent.
    pub host: &'a str,
    /// The request target as received, query included.
    pub path: &'a str,
    /// The route that the caller's own routing named
    /// (`context_extensions: {claimgate_route: …}` in Envoy).
    pub route: Option<&'a str>,
    /// The header fields, names in lower case.
    pub headers: Headers<'a>,
}

impl<'a> Request<'a> {
    /// The path without its query, as received.
    pub fn bare_path(&self) -> &'a str {
        split_query(self.path).0
    }

    /// The value of `x-request-id`, if it is text.
    pub fn request_id(&self) -> Option<&'a str> {
        self.headers.first("x-request-id").and_then(|id| str::from_utf8(id).ok())
    }

    /// Where the request stands in its caller's trace, if `traceparent` says so.
    pub fn traceparent(&self) -> Option<Traceparent<'a>> {
        self.headers.first("traceparent").and_then(Traceparent::parse)
    }

    /// The query without its `?`, if there is one.
    pub fn query(&self) -> Option<&'a str> {
        split_query(self.path).1
    }
}

fn split_query(target: &str) -> (&str, Option<&str>) {
    match memchr::memchr(b'?', target.as_bytes()) {
        Some(at) => (&target[..at], Some(&target[at + 1..])),
        None => (target, None),
    }
}

/// Header fields in the order received, repeats kept.
///
/// Names are lower case, values are raw bytes.
#[derive(Clone, Default)]
pub struct Headers<'a> {
    /// Those of [`Headers::borrowed`], while no other is added.
    borrowed: &'a [Field<'a>],
    fields: Vec<Field<'a>>,
    marks: Marks,
}

/// A header field: its name in lower case, and its value.
pub type Field<'a> = (&'a str, &'a [u8]);

/// What the names of a request's headers have in common, so that most names that
/// are not there are not looked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Marks(u64);

/// Room for what most requests have, so that filling takes one allocation: with
/// several, `whole_check` takes 4 % longer (`benches/engine.rs`).
const USUAL_FIELDS: usize = 32;

impl<'a> Headers<'a> {
    /// Those of a list that stays where it is. `marks` must have every name.
    #[inline]
    pub fn borrowed(fields: &'a [Field<'a>], marks: Marks) -> Self {
        Self { borrowed: fields, fields: Vec::new(), marks }
    }

    /// Appends a field; `name` must be lower case.
    pub fn push(&mut self, name: &'a str, value: &'a [u8]) {
        self.marks.add(name);
        if self.fields.capacity() == 0 {
            self.fields.reserve(self.borrowed.len() + USUAL_FIELDS);
            self.fields.extend_from_slice(std::mem::take(&mut self.borrowed));
        }
        self.fields.push((name, value));
    }

    #[inline]
    fn every(&self) -> &[Field<'a>] {
        if self.fields.is_empty() { self.borrowed } else { &self.fields }
    }

    /// All fields.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = Field<'a>> + '_ {
        self.every().iter().copied()
    }

    /// The values of every field called `name`.
    #[inline]
    pub fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a [u8]> + 's {
        self.that_may_be(name).iter().filter(move |(n, _)| *n == name).map(|(_, v)| *v)
    }

    /// The value of the first field called `name`.
    #[inline]
    pub fn first(&self, name: &str) -> Option<&'a [u8]> {
        self.that_may_be(name).iter().find(|(n, _)| *n == name).map(|(_, v)| *v)
    }

    /// All fields, or none if none is called `name` for sure.
    #[inline]
    fn that_may_be(&self, name: &str) -> &[Field<'a>] {
        if self.marks.may_have(name) { self.every() } else { &[] }
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.every().len()
    }

    /// Whether there is no field at all.
    pub fn is_empty(&self) -> bool {
        self.every().is_empty()
    }
}

impl Marks {
    /// Adds a name.
    #[inline]
    pub fn add(&mut self, name: &str) {
        self.0 |= mark(name);
    }

    #[inline]
    fn may_have(self, name: &str) -> bool {
        self.0 & mark(name) != 0
    }
}

impl<'a> FromIterator<(&'a str, &'a [u8])> for Headers<'a> {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a [u8])>>(fields: I) -> Self {
        let mut headers = Self::default();
        for (name, value) in fields {
            headers.push(name, value);
        }
        headers
    }
}

/// One of 64 bits, by what differs most between the usual names: their length,
/// last and middle byte. Without it `whole_check` compares every name for each
/// header that is not there.
#[inline]
fn mark(name: &str) -> u64 {
    let byte = |at: usize| usize::from(name.as_bytes().get(at).copied().unwrap_or_default());
    let (last, middle) = (byte(name.len().wrapping_sub(1)), byte(name.len() / 2));
    1 << ((name.len() + 2 * last + 11 * middle) % 64)
}

/// Without the query, which may hold a token.
impl std::fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("host", &self.host)
            .field("path", &self.bare_path())
            .field("route", &self.route)
            .field("headers", &self.headers)
            .finish()
    }
}

/// Names only: header values may hold credentials.
impl std::fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.every().iter().map(|(n, _)| n)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_starts_at_the_first_question_mark() {
        let request = Request { path: "/a?b=1?c", ..Request::default() };
        assert_eq!(request.bare_path(), "/a");
        assert_eq!(request.query(), Some("b=1?c"));
    }

    #[test]
    fn headers_are_found_by_name() {
        let fields: Vec<_> = (0..100).map(|number| (format!("x-{number}"), [number])).collect();
        let all: Headers<'_> = fields.iter().map(|(name, value)| (&**name, &value[..])).collect();
        for (name, value) in &fields {
            assert_eq!(all.first(name), Some(&value[..]));
            assert_eq!(all.all(name).count(), 1);
            let alone = Headers::from_iter([(&**name, &value[..])]);
            let found = fields.iter().filter(|(other, _)| alone.first(other).is_some());
            assert_eq!(found.count(), 1);
        }
        assert_eq!(all.first(""), None);
        assert_eq!(Headers::from_iter([("", &b"v"[..])]).first(""), Some(&b"v"[..]));
    }

    #[test]
    fn a_borrowed_list_can_be_added_to() {
        let fields = [("x-a", &b"1"[..]), ("x-b", b"2")];
        let mut marks = Marks::default();
        fields.iter().for_each(|(name, _)| marks.add(name));
        let mut headers = Headers::borrowed(&fields, marks);
        assert_eq!((headers.first("x-b"), headers.len()), (Some(&b"2"[..]), 2));
        headers.push("x-a", b"3");
        assert_eq!(headers.all("x-a").collect::<Vec<_>>(), [b"1", b"3"]);
        assert_eq!((headers.first("x-b"), headers.len()), (Some(&b"2"[..]), 3));
    }

    #[test]
    fn debug_output_holds_no_query() {
        let request = Request { path: "/a?access_token=secret", ..Request::default() };
        let debug = format!("{request:?}");
        assert!(debug.contains(r#"path: "/a""#) && !debug.contains("secret"), "{debug}");
    }

    #[test]
    fn debug_output_holds_no_header_value() {
        let headers = Headers::from_iter([("authorization", b"Bearer secret".as_slice())]);
        assert_eq!(format!("{headers:?}"), r#"["authorization"]"#);
    }
}
