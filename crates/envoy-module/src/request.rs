//! A stream's request as the engine sees it.

use std::cell::Cell;

use claimgate::{Request, request::Headers};

use crate::abi::{HeaderRoom, Stream};

thread_local! {
    /// Where Envoy writes the headers of this worker's requests.
    static ROOM: Cell<HeaderRoom> = Cell::default();
}

/// Calls `decide` with the request of `stream`, borrowed from Envoy's memory.
///
/// A request whose method, path, host or header name is not UTF-8 comes as an
/// empty one, which is denied as malformed.
pub(crate) fn with_request<R>(stream: &Stream<'_>, decide: impl FnOnce(&Request<'_>) -> R) -> R {
    let mut room = ROOM.take();
    let result = {
        let route = stream.route_config().map(|config| config.route.as_str());
        let request = read(stream.request_headers(&mut room), route).unwrap_or_default();
        decide(&request)
    };
    ROOM.set(room);
    result
}

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
    pub(crate) fn of(request: &Request<'_>) -> Self {
        let headers = request.headers.iter().map(|(name, value)| (name.into(), value.into()));
        Self {
            method: request.method.to_owned(),
            host: request.host.to_owned(),
            path: request.path.to_owned(),
            route: request.route.map(str::to_owned),
            headers: headers.collect(),
        }
    }

    /// The request again.
    pub(crate) fn borrow(&self) -> Request<'_> {
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
        let copy = OwnedRequest::of(&request);
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
