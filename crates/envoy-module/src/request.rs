//! A stream's request as the engine sees it.

use std::cell::OnceCell;

use claimgate::check::Exchange;
use claimgate_core::{
    Decision, Engine, Request,
    request::{Field, Headers, Marks},
};

use crate::{
    abi::{HeaderRoom, Stream, text},
    effects::Effects,
};

/// A request that is decided within its hook, borrowed from Envoy's memory.
pub(crate) struct BorrowedRequest<'s> {
    route: Option<&'s str>,
    fields: Result<(Vec<Field<'s>>, Marks), HeaderRoom>,
}

impl<'s> BorrowedRequest<'s> {
    /// That of `stream`; Envoy lists the headers in `room`.
    pub(crate) fn of(stream: &'s Stream<'_>, room: HeaderRoom) -> Self {
        let route = stream.route_config().map(|config| config.route.as_str());
        Self { route, fields: stream.request_headers(room).read() }
    }

    /// The room that its headers took.
    pub(crate) fn into_room(self) -> HeaderRoom {
        self.fields.map_or_else(|room| room, |(list, _)| HeaderRoom::of(list))
    }
}

#[cfg(test)]
impl<'s> BorrowedRequest<'s> {
    /// One with these fields.
    pub(crate) fn with(fields: crate::abi::Fields<'s>) -> Self {
        Self { route: None, fields: fields.read() }
    }
}

impl Exchange for BorrowedRequest<'_> {
    type Scratch = OnceCell<String>;
    type Response = Box<Effects>;

    /// A method or host that is not UTF-8, or a name that is not ASCII, makes it
    /// unreadable, and so empty; a path is read as ext_authz would tell it, from what
    /// is then put into `path`.
    fn request<'a>(&'a self, path: &'a OnceCell<String>) -> Request<'a> {
        let Ok((fields, marks)) = &self.fields else { return Request::default() };
        read(Headers::borrowed(fields, *marks), self.route, path).unwrap_or_default()
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

fn read<'a>(
    headers: Headers<'a>,
    route: Option<&'a str>,
    path: &'a OnceCell<String>,
) -> Option<Request<'a>> {
    // The pseudo headers are the first that Envoy lists.
    let field = |name| headers.first(name).unwrap_or_default();
    let (method, host, sent) = (field(":method"), field(":authority"), field(":path"));
    let told = || path.get_or_init(|| as_told(sent));
    Some(Request {
        method: text(method)?,
        host: text(host)?,
        path: text(sent).unwrap_or_else(|| told()),
        route,
        headers,
    })
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
        let path = OnceCell::new();
        let request = request.request(&path);
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
    use crate::abi::Fields;

    fn request<'s>(fields: &[(&'s [u8], &'s [u8])]) -> BorrowedRequest<'s> {
        BorrowedRequest::with(Fields::of(fields, HeaderRoom::default()))
    }

    #[test]
    fn pseudo_headers_tell_what_is_asked_for() {
        let borrowed = BorrowedRequest {
            route: Some("admin"),
            ..request(&[
                (b":authority", b"api.example.com"),
                (b":path", b"/a?b"),
                (b":method", b"GET"),
                (b"x-a", b"\xff"),
                (b"x-a", b"2"),
            ])
        };
        let path = OnceCell::new();
        let copy = OwnedRequest::of(&borrowed);
        for request in [borrowed.request(&path), copy.borrow()] {
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
            [(b":method", b"\xff"), (b":authority", b"\xff"), (b"\xff", b""), (b"x-\xff", b"")];
        for case in cases {
            let borrowed = request(&[case, (b":method", b"GET"), (b":path", b"/")]);
            let path = OnceCell::new();
            let request = borrowed.request(&path);
            assert!(request.method.is_empty() && request.headers.is_empty(), "{case:?}");
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
            let borrowed = request(&[(b":path", sent)]);
            let request = borrowed.request(&path);
            assert_eq!(request.path, told);
            assert_eq!(request.headers.first(":path"), Some(sent));
        }
    }
}
