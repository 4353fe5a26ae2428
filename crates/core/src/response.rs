//! What either side gets of a decision: the upstream gets the request with
//! edits, or the client gets an HTTP response.
//!
//! Nothing here knows a wire. Every piece is borrowed from the engine, the
//! request or the decision, so a response costs no allocation before it is
//! written.

use smallvec::{SmallVec, smallvec};

use crate::{
    decision::{Decision, Denial, Verdict},
    engine::Engine,
    limits::Limited,
    policy::{denial_style::DenialStyle, upstream::Edits},
    reason::Reason,
    request::Request,
    settings::ErrorFormat,
};

mod body;
mod challenge;
mod denial;
mod document;
mod limits;
pub mod metadata;

/// What happens to a request.
#[derive(Clone, Debug)]
pub enum Response<'a> {
    /// It goes on to the upstream, edited.
    Upstream(Edits<'a>),
    /// The client gets this, the upstream nothing.
    Client(ClientResponse<'a>),
}

/// An HTTP response to the client.
#[derive(Clone, Debug)]
pub struct ClientResponse<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The pieces of the body, in order.
    pub body: [&'a str; 3],
    headers: SmallVec<[(&'static str, HeaderValue<'a>); 4]>,
    /// The route's own headers, after the others.
    configured: &'a [(String, String)],
}

/// A header's value, whole or in pieces.
#[derive(Clone, Debug)]
pub enum HeaderValue<'a> {
    /// In one piece.
    Whole(&'a str),
    /// In several, in order.
    Pieces([&'a str; 5]),
}

impl<'a> Response<'a> {
    /// What `decision`, which `engine` made of `request`, comes to.
    pub fn of(engine: &'a Engine, request: &Request<'a>, decision: &'a Decision<'_>) -> Self {
        match decision.verdict {
            Verdict::Allow => Self::Upstream(engine.edits(request, decision)),
            Verdict::Deny(denial) => {
                let style = engine.denial_style(decision);
                let format = body_format(style, request);
                let mut response = ClientResponse::denial(denial, decision.reason, style, format);
                if let Some((plan, wait)) = decision.limited.as_ref().and_then(Limited::denied) {
                    response.headers.extend(limits::headers(plan, wait));
                }
                Self::Client(response)
            }
            Verdict::Respond(resource) => Self::Client(document::response(
                engine.resource_metadata(resource),
                request.method == "OPTIONS",
            )),
        }
    }
}

impl<'a> ClientResponse<'a> {
    /// A denial, its body in `format`. It tells nothing of the request or its
    /// token.
    pub fn denial(
        denial: Denial,
        reason: Reason,
        style: &'a DenialStyle,
        format: ErrorFormat,
    ) -> Self {
        let description = reason.description();
        let mut headers = smallvec![
            ("content-type", HeaderValue::Whole(body::content_type(format))),
            ("cache-control", HeaderValue::Whole("no-store")),
        ];
        if let Some(challenge) = challenge::challenge(denial, style, description) {
            headers.push(("www-authenticate", HeaderValue::Pieces(challenge)));
        }
        if denial == Denial::Unavailable {
            headers.push(("retry-after", HeaderValue::Whole(RETRY_AFTER_SECONDS)));
        }
        Self {
            status: denial::status(denial),
            body: body::body(format, denial, description),
            headers,
            configured: &style.headers,
        }
    }

    /// The headers in order, each replacing every other of its name.
    pub fn headers(&self) -> impl DoubleEndedIterator<Item = (&str, HeaderValue<'a>)> {
        let own = self.headers.iter().map(|(name, value)| (*name, value.clone()));
        let configured = self.configured.iter();
        own.chain(configured.map(|(name, value)| (name.as_str(), HeaderValue::Whole(value))))
    }
}

impl HeaderValue<'_> {
    /// The pieces of the value, in order.
    pub fn pieces(&self) -> &[&str] {
        match self {
            Self::Whole(text) => std::slice::from_ref(text),
            Self::Pieces(pieces) => pieces,
        }
    }
}

/// Long enough for a key fetch to come through, short enough for a person.
const RETRY_AFTER_SECONDS: &str = "1";

/// The format of this denial's body. A proxy puts a body that goes to a gRPC
/// caller into `grpc-message`, where no SDK of an HTTP API looks: there it is
/// the short one, whatever the route's format.
fn body_format(style: &DenialStyle, request: &Request<'_>) -> ErrorFormat {
    if style.format == ErrorFormat::OAuth2 {
        return ErrorFormat::OAuth2;
    }
    match request.headers.first("content-type") {
        Some(kind) if is_grpc(kind) => ErrorFormat::OAuth2,
        _ => style.format,
    }
}

/// As Envoy tells gRPC callers: `application/grpc`, or that with `+proto` and
/// the like; gRPC-Web is ordinary HTTP.
fn is_grpc(content_type: &[u8]) -> bool {
    let rest = content_type.strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

#[cfg(test)]
mod tests;
