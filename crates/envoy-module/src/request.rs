//! A stream's request as the engine sees it.

use std::cell::OnceCell;

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
    type Scratch = OnceCell<String>;
    type Response = Box<Effects>;

    fn request<'a>(&'a self, path: &'a OnceCell<String>) -> Request<'a> {
        read(self.fields.iter(), self.route, path).unwrap_or_default()
    }

    fn respond<'a>(
        &self,
        engine: &'a Engine,
        request: &Request<'a>,
        decision: &'a Decision<'_>,
    ) -> Box<Effects> {
        let mut effects = Effects::spare();
        effects.fill(engine, request, decision);
        effects
    }
}

/// A method or host that is not UTF-8, or a name that is not ASCII, makes it unreadable; a path
/// is read as ext_authz would tell it, from what is then put into `path`.
fn read<'s>(
    fields: impl Iterator<Item = (Option<&'s str>, &'s [u8])>,
    route: Option<&'s str>,
    path: &'s OnceCell<String>,
) -> Option<Request<'s>> {
    let mut request = Request { route, ..Request::default() };
    for (name, value) in fields {
        let name = name?;
        match name {
            ":method" => request.method = str::from_utf8(value).ok()?,
            ":path" => {
                let told = || path.get_or_init(|| as_told(value));
                request.path = str::from_utf8(value).unwrap_or_else(|_| told());
            }
            ":authority" => request.host = str::from_utf8(value).ok()?,
            _ => {}
        }
        request.headers.push(name, value);
    }
    Some(request)
}

/// Envoy tells a service `!` for each byte that is not UTF-8.
#[cold]
fn as_told(path: &[u8]) -> String {
    let mut told = String::with_capacity(path.len());
    for chunk in path.utf8_chunks() {
        told.push_str(chunk.valid());
        told.extend(chunk.invalid().iter().map(|_| '!'));
    }
    told
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
        Self::copy(&request.request(&OnceCell::new()))
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
    type Response = Box<Effects>;

    fn request<'a>(&'a self, (): &'a ()) -> Request<'a> {
        self.borrow()
    }

    fn respond<'a>(
        &self,
        engine: &'a Engine,
        request: &Request<'a>,
        decision: &'a Decision<'_>,
    ) -> Box<Effects> {
        let mut effects = Box::<Effects>::default();
        effects.fill(engine, request, decision);
        effects
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pseudo_headers_tell_what_is_asked_for() {
        let fields: [(_, &[u8]); 5] = [
            (Some(":authority"), b"api.example.com"),
            (Some(":path"), b"/a?b"),
            (Some(":method"), b"GET"),
            (Some("x-a"), b"\xff"),
            (Some("x-a"), b"2"),
        ];
        let path = OnceCell::new();
        let request = read(fields.into_iter(), Some("admin"), &path).unwrap();
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
        let cases: [(_, &[u8]); 3] =
            [(Some(":method"), b"\xff"), (Some(":authority"), b"\xff"), (None, b"")];
        for case in cases {
            assert!(read([case].into_iter(), None, &OnceCell::new()).is_none(), "{case:?}");
        }
    }

    #[test]
    fn a_path_is_read_as_a_service_would_be_told_it() {
        let cases: [(&[u8], &str); 4] = [
            (b"/\xff", "/!"),
            (b"/a\xe2\x82?b=\xc3\xa9\xc3", "/a!!?b=\u{e9}!"),
            ("/caf\u{e9}".as_bytes(), "/caf\u{e9}"),
            (b"\xc3\xc3", "!!"),
        ];
        for (sent, told) in cases {
            let path = OnceCell::new();
            let fields = [(Some(":path"), sent)];
            let request = read(fields.into_iter(), None, &path).unwrap();
            assert_eq!(request.path, told);
            assert_eq!(request.headers.first(":path"), Some(sent));
        }
    }
}
