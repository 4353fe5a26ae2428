//! A stream's request as the engine sees it.

use claimgate::check::Exchange;
use claimgate_core::{Decision, Engine, Request, request::Headers};

use crate::{
    abi::{Fields, HeaderRoom, Stream},
    effects::Effects,
};

/// A request that is decided within its hook, borrowed from Envoy's memory.
pub(crate) struct BorrowedRequest<'s> {
    fields: Fields<'s>,
    route: Option<&'s str>,
}

impl<'s> BorrowedRequest<'s> {
    /// That of `stream`; Envoy lists the headers in `room`.
    pub(crate) fn of(stream: &'s Stream<'_>, room: &'s mut HeaderRoom) -> Self {
        let route = stream.route_config().map(|config| config.route.as_str());
        Self { fields: stream.request_headers(room), route }
    }
}

#[cfg(test)]
impl<'s> BorrowedRequest<'s> {
    /// One with these fields.
    pub(crate) fn with(fields: Fields<'s>) -> Self {
        Self { fields, route: None }
    }
}

impl Exchange for BorrowedRequest<'_> {
    type Scratch = ();
    type Response = Effects;

    fn request<'a>(&'a self, (): &'a ()) -> Request<'a> {
        read(self.fields.iter(), self.route).unwrap_or_default()
    }

    fn respond<'a>(
        &self,
        engine: &'a Engine,
        request: &Request<'a>,
        decision: &'a Decision<'_>,
    ) -> Effects {
        let mut effects = Effects::spare();
        effects.fill(engine, request, decision);
        effects
    }
}

/// A method, path, host or header name that is not UTF-8 makes it unreadable.
fn read<'s>(
    fields: impl Iterator<Item = (&'s [u8], &'s [u8])>,
    route: Option<&'s str>,
) -> Option<Request<'s>> {
    let mut request = Request { route, ..Request::default() };
    for (name, value) in fields {
        let name = str::from_utf8(name).ok()?;
        match name {
            ":method" => request.method = str::from_utf8(value).ok()?,
            ":path" => request.path = str::from_utf8(value).ok()?,
            ":authority" => request.host = str::from_utf8(value).ok()?,
            _ => {}
        }
        request.headers.push(name, value);
    }
    Some(request)
}

/// A request that outlives its hook, for a decision that waits.
pub(crate) struct OwnedRequest {
    method: String,
    host: String,
    path: String,
    route: Option<String>,
    headers: Vec<(Box<str>, Box<[u8]>)>,
}

impl OwnedRequest {
    /// A copy.
    pub(crate) fn of(request: &BorrowedRequest<'_>) -> Self {
        Self::copy(&request.request(&()))
    }

    fn copy(request: &Request<'_>) -> Self {
        let headers = request.headers.iter().map(|(name, value)| (name.into(), value.into()));
        Self {
            method: request.method.to_owned(),
            host: request.host.to_owned(),
            path: request.path.to_owned(),
            route: request.route.map(str::to_owned),
            headers: headers.collect(),
        }
    }

    fn borrow(&self) -> Request<'_> {
        let headers: Headers<'_> =
            self.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        Request {
            method: &self.method,
            host: &self.host,
            path: &self.path,
            route: self.route.as_deref(),
            headers,
        }
    }
}

impl Exchange for OwnedRequest {
    type Scratch = ();
    type Response = Effects;

    fn request<'a>(&'a self, (): &'a ()) -> Request<'a> {
        self.borrow()
    }

    fn respond<'a>(
        &self,
        engine: &'a Engine,
        request: &Request<'a>,
        decision: &'a Decision<'_>,
    ) -> Effects {
        let mut effects = Effects::default();
        effects.fill(engine, request, decision);
        effects
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pseudo_headers_tell_what_is_asked_for() {
        let fields: [(&[u8], &[u8]); 5] = [
            (b":authority", b"api.example.com"),
            (b":path", b"/a?b"),
            (b":method", b"GET"),
            (b"x-a", b"\xff"),
            (b"x-a", b"2"),
        ];
        let request = read(fields.into_iter(), Some("admin")).unwrap();
        let copy = OwnedRequest::copy(&request);
        for request in [request.clone(), copy.borrow()] {
            assert_eq!(
                (request.method, request.host, request.path, request.route),
                ("GET", "api.example.com", "/a?b", Some("admin"))
            );
            assert_eq!(request.headers.all("x-a").collect::<Vec<_>>(), [&b"\xff"[..], b"2"]);
        }
    }

    #[test]
    fn what_is_not_text_is_malformed() {
        let cases: [(&[u8], &[u8]); 4] =
            [(b":path", b"/\xff"), (b":method", b"\xff"), (b":authority", b"\xff"), (b"\xff", b"")];
        for case in cases {
            assert!(read([case].into_iter(), None).is_none(), "{case:?}");
        }
    }
}
