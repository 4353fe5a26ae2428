//! What is done to a stream once its request is decided.
//!
//! What is needed of the request is copied out of it first, since Envoy's
//! memory of it is good until the first change only. The copies lie end to end
//! in one buffer, which a worker uses again for the next request. What is told
//! about a caller stays where it is, with the caller.

use std::{cell::Cell, ops::Range, sync::Arc};

use claimgate_core::{
    Decision, Engine, Request,
    decision::Verdict,
    identity::Identity,
    policy::upstream::Edits,
    response::{ClientResponse, Response, metadata::Metadata},
};
use smallvec::SmallVec;
use tracing::warn;

use crate::{
    abi::{self, Outcome, Stream},
    metadata,
};

/// Where Envoy's ext_authz puts its metadata: access logs and rate limits
/// find it there, whichever door decided.
const NAMESPACE: &str = "envoy.filters.http.ext_authz";

/// The member of the metadata that is a list.
const SCOPES: &str = "scopes";

/// What is done to a stream.
#[derive(Default)]
pub(crate) struct Effects {
    /// The HTTP status of the answer to the client; `None` lets the request
    /// go on.
    status: Option<u16>,
    /// The words for the span: `allow` or `deny`, and why.
    decision: &'static str,
    reason: &'static str,
    /// The caller of a request that goes on.
    caller: Option<Told>,
    /// The other request headers to set and remove, or the headers of the
    /// answer.
    headers: Vec<Edit>,
    /// Behind the names and values, in the same buffer.
    body: Range<usize>,
    details: Range<usize>,
    text: Vec<u8>,
    /// The strings of the metadata.
    strings: SmallVec<[(&'static str, Range<usize>); 5]>,
    scopes: SmallVec<[Range<usize>; 4]>,
    expires_at: Option<f64>,
    /// Its rest as a serialized `Struct`, where this Envoy takes it and it is
    /// not kept with the caller.
    rest: Vec<u8>,
}

/// What is told about a caller.
#[derive(Debug)]
struct Told {
    identity: Arc<Identity>,
    /// Which of its headers the request comes with: a bit for each.
    are_there: u64,
}

/// A header's name, and its value unless it is removed.
#[derive(Clone, Debug)]
struct Edit {
    name: Range<usize>,
    value: Option<Range<usize>>,
    /// Whether the request comes with a header of this name.
    is_there: bool,
}

thread_local! {
    /// The effects of this worker's last request, for their memory.
    static SPARE: Cell<Option<Box<Effects>>> = const { Cell::new(None) };
}

impl Effects {
    /// Empty ones, perhaps in memory that was used before.
    pub(crate) fn spare() -> Box<Self> {
        SPARE.take().unwrap_or_default()
    }

    /// Leaves the memory to this thread's next request.
    pub(crate) fn give_back(mut self: Box<Self>) {
        self.caller = None;
        SPARE.set(Some(self));
    }

    /// What `decision`, which `engine` made of `request`, comes to.
    pub(crate) fn fill(&mut self, engine: &Engine, request: &Request<'_>, decision: &Decision<'_>) {
        self.clear();
        let is_denied = matches!(decision.verdict, Verdict::Deny(_));
        self.decision = if is_denied { "deny" } else { "allow" };
        self.reason = decision.reason.as_str();
        if decision.verdict == Verdict::Allow {
            self.upstream(&engine.edits_beside_identity(request, decision), request, decision);
        } else if let Response::Client(response) = Response::of(engine, request, decision) {
            self.client(&response, request, decision);
        }
        let told = Metadata::of(engine, decision);
        for (key, text) in metadata::strings(&told) {
            let text = self.push(&[text]);
            self.strings.push((key, text));
        }
        // Without a caller there is nothing else to tell.
        if told.caller.is_none() {
            return;
        }
        self.expires_at = told.expires_at().map(|at| at.as_seconds());
        for scope in told.scopes() {
            let scope = self.push(&[scope]);
            self.scopes.push(scope);
        }
        if self.kept_metadata().is_none() && abi::takes_struct_metadata() {
            metadata::write_rest(&mut self.rest, &told);
        }
    }

    /// Does it.
    pub(crate) fn carry_out(&self, stream: &mut Stream<'_>) -> Outcome {
        let text = |range: &Range<usize>| self.text.get(range.clone()).unwrap_or_default();
        // Asked first, while Envoy has nothing to look through: later it takes 150 ns.
        let are_told = !self.scopes.is_empty()
            && abi::takes_struct_metadata()
            && stream.has_metadata_list(NAMESPACE, SCOPES);
        let rest = self.kept_metadata().unwrap_or(&self.rest);
        if !rest.is_empty() {
            stream.set_metadata(NAMESPACE, rest);
        }
        let strings = self.strings.iter().map(|(key, value)| (*key, text(value)));
        stream.set_metadata_strings(NAMESPACE, strings);
        if let Some(expires_at) = self.expires_at {
            stream.set_metadata_number(NAMESPACE, "expires_at", expires_at);
        }
        let mut scopes = self.scopes.iter().map(text);
        // Envoy can only add to a list. One that another filter has left there is
        // replaced in the way of structures.
        let mut add = |scope| stream.add_metadata_string(NAMESPACE, SCOPES, scope);
        if are_told || !scopes.all(&mut add) {
            let list = metadata::list(SCOPES, self.scopes.iter().map(text));
            stream.set_metadata(NAMESPACE, &list);
        }
        stream.tag_span([("claimgate.decision", self.decision), ("claimgate.reason", self.reason)]);
        let Some(status) = self.status else {
            if let Some(told) = &self.caller {
                told.set_headers(stream);
            }
            for Edit { name, value, is_there } in &self.headers {
                match value {
                    Some(value) => set(stream, text(name), text(value), *is_there),
                    None => stream.remove_request_header(text(name)),
                }
            }
            return Outcome::Continue;
        };
        let headers = self.headers.iter().filter_map(|Edit { name, value, .. }| {
            value.as_ref().map(|value| (text(name), text(value)))
        });
        stream.respond(status, headers, text(&self.body), text(&self.details));
        Outcome::Answered
    }

    fn kept_metadata(&self) -> Option<&[u8]> {
        self.caller.as_ref()?.identity.metadata.get().map(|bytes| &**bytes)
    }

    fn clear(&mut self) {
        self.status = None;
        self.caller = None;
        self.headers.clear();
        (self.body, self.details) = (0..0, 0..0);
        self.text.clear();
        self.strings.clear();
        self.scopes.clear();
        self.expires_at = None;
        self.rest.clear();
    }

    fn upstream(&mut self, edits: &Edits<'_>, request: &Request<'_>, decision: &Decision<'_>) {
        let is_there = |name: &str| request.headers.first(name).is_some();
        self.caller = decision.caller.as_ref().map(|caller| Told::of(&caller.identity, is_there));
        for (name, value) in &edits.set {
            self.set(name, &[value], is_there(name));
        }
        for name in edits.remove.iter().filter(|name| is_there(name)) {
            self.remove(name);
        }
        if !edits.remove_query.is_empty() {
            let name = self.push(&[":path"]);
            let start = self.text.len();
            let removed = edits.remove_query.iter().map(|name| &**name);
            // As it was sent: what was decided on may be readable text in its place.
            let sent = request.headers.first(":path").unwrap_or(request.path.as_bytes());
            crate::query::append_without(&mut self.text, sent, removed);
            let value = Some(start..self.text.len());
            self.headers.push(Edit { name, value, is_there: true });
        }
    }

    fn client(
        &mut self,
        response: &ClientResponse<'_>,
        request: &Request<'_>,
        decision: &Decision<'_>,
    ) {
        self.status = Some(response.status);
        for (name, value) in response.headers() {
            self.set(name, value.pieces(), false);
        }
        if request.headers.first("content-type").is_some_and(is_grpc) {
            // Envoy would say that all is well.
            self.set("grpc-status", &[grpc_status(response.status)], false);
        }
        self.body = self.push(&response.body);
        let end = match decision.verdict {
            Verdict::Deny(_) => "claimgate_denied{",
            Verdict::Allow | Verdict::Respond(_) => "claimgate_answered{",
        };
        self.details = self.push(&[end, decision.reason.as_str(), "}"]);
    }

    /// Sets a header. Envoy validates nothing, takes an empty value for a
    /// removal in some versions, and passes a line break on.
    fn set(&mut self, name: &str, value: &[&str], is_there: bool) {
        let name_at = self.push(&[name]);
        let value = self.push(value);
        let is_sendable = self.text.get(value.clone()).is_some_and(is_sendable);
        if !is_sendable {
            warn!(name, "a header with an empty or unprintable value is not set");
        }
        let value = is_sendable.then_some(value);
        self.headers.push(Edit { name: name_at, value, is_there });
    }

    fn remove(&mut self, name: &str) {
        let name = self.push(&[name]);
        self.headers.push(Edit { name, value: None, is_there: true });
    }

    fn push(&mut self, pieces: &[&str]) -> Range<usize> {
        let start = self.text.len();
        for piece in pieces {
            self.text.extend_from_slice(piece.as_bytes());
        }
        start..self.text.len()
    }
}

impl Told {
    fn of(identity: &Arc<Identity>, is_there: impl Fn(&str) -> bool) -> Self {
        let headers = identity.headers.iter().take(Self::TOLD_APART).enumerate();
        let there = headers.filter(|(_, (name, _))| is_there(name));
        let are_there = there.fold(0, |bits, (at, _)| bits | 1 << at);
        Self { identity: Arc::clone(identity), are_there }
    }

    /// How many headers have a bit; others are set as if they were there.
    const TOLD_APART: usize = u64::BITS as usize;

    fn is_there(&self, at: usize) -> bool {
        at >= Self::TOLD_APART || self.are_there & 1 << at != 0
    }

    fn set_headers(&self, stream: &mut Stream<'_>) {
        for (at, (name, value)) in self.identity.headers.iter().enumerate() {
            // Identities are encoded so that every value can be sent.
            set(stream, name.as_bytes(), value.as_bytes(), self.is_there(at));
        }
    }
}

fn set(stream: &mut Stream<'_>, name: &[u8], value: &[u8], is_there: bool) {
    match is_there {
        true => stream.set_request_header(name, value),
        false => stream.add_request_header(name, value),
    }
}

/// RFC 9110, section 5.5.
fn is_sendable(value: &[u8]) -> bool {
    // To the end, which takes several bytes at a time.
    let is_wrong = |byte: &u8| byte.is_ascii_control() & (*byte != b'\t');
    !value.is_empty() && !value.iter().fold(false, |wrong, byte| wrong | is_wrong(byte))
}

/// As Envoy tells gRPC callers: `application/grpc`, or that with `+proto` and
/// the like; gRPC-Web is ordinary HTTP, and so is what has parameters.
fn is_grpc(content_type: &[u8]) -> bool {
    let rest = content_type.strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+')))
}

/// What Envoy's ext_authz makes of an HTTP status for a gRPC caller.
const fn grpc_status(status: u16) -> &'static str {
    match status {
        400 => "13",
        401 => "16",
        403 => "7",
        429 | 502 | 503 | 504 => "14",
        _ => "2",
    }
}

#[cfg(test)]
impl Effects {
    /// The HTTP status of the answer to the client, if there is one.
    pub(crate) fn status(&self) -> Option<u16> {
        self.status
    }
}

#[cfg(test)]
mod tests {
    use claimgate_core::{Reason, decision::Denial, token_cache::TokenCache};

    use super::*;

    fn engine(config: &str) -> Engine {
        let loaded = claimgate_config::load(config, &|_| None).unwrap();
        let memory = TokenCache::of(&loaded.settings.auth).into();
        Engine::new(&loaded.settings.auth, Vec::new(), memory)
    }

    fn shown(effects: &Effects) -> Vec<(String, Option<String>)> {
        let text = |range: &Range<usize>| {
            String::from_utf8_lossy(&effects.text[range.clone()]).into_owned()
        };
        let edits = effects.headers.iter();
        edits.map(|edit| (text(&edit.name), edit.value.as_ref().map(text))).collect()
    }

    const OFF: &str = "auth: {enabled: false, forward_token: false, token_sources: [{query: t}]}";

    #[test]
    fn an_allowed_request_loses_its_token_and_what_could_pass_for_an_identity() {
        let engine = engine(OFF);
        let request = Request {
            method: "GET",
            path: "/a?x&t=secret",
            headers: [("x-auth-subject", &b"root"[..]), ("x_auth_subject", b"root")]
                .into_iter()
                .collect(),
            ..Request::default()
        };
        let mut effects = Effects::default();
        let decision = Decision::new(Verdict::Allow, Reason::Disabled);
        effects.fill(&engine, &request, &decision);
        assert_eq!(effects.status, None);
        let shown = shown(&effects);
        assert!(shown.contains(&(":path".into(), Some("/a?x".into()))), "{shown:?}");
        for removed in ["x-auth-subject", "x_auth_subject"] {
            assert!(shown.contains(&(removed.into(), None)), "{shown:?}");
        }
    }

    #[test]
    fn of_a_callers_headers_those_are_replaced_that_the_request_comes_with() {
        let header = |number| (format!("x-{number}").into(), "v".into());
        let identity = Identity { headers: (0..70).map(header).collect(), ..Identity::default() };
        let told = Told::of(&identity.into(), |name| ["x-1", "x-63", "x-64"].contains(&name));
        let there: Vec<_> = (0..70).filter(|at| told.is_there(*at)).collect();
        assert_eq!(there, [1, 63, 64, 65, 66, 67, 68, 69]);
    }

    #[test]
    fn a_grpc_caller_is_whom_envoy_takes_for_one() {
        for grpc in ["application/grpc", "application/grpc+proto", "application/grpc+json"] {
            assert!(is_grpc(grpc.as_bytes()), "{grpc}");
        }
        for other in [
            "application/grpc;a=b",
            "application/grpc-web",
            "application/grpcx",
            "Application/grpc",
        ] {
            assert!(!is_grpc(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn a_denial_says_why_and_tells_grpc_callers_in_their_own_way() {
        let engine = engine(OFF);
        let cases = [
            (Denial::BadRequest, 400, "13"),
            (Denial::Challenge, 401, "16"),
            (Denial::Forbidden, 403, "7"),
            (Denial::RateLimited, 429, "14"),
            (Denial::Unavailable, 503, "14"),
            (Denial::Internal, 500, "2"),
        ];
        for (denial, status, grpc) in cases {
            let request = Request {
                headers: [("content-type", &b"application/grpc+proto"[..])].into_iter().collect(),
                ..Request::default()
            };
            let mut effects = Effects::default();
            effects.fill(&engine, &request, &Decision::deny(denial, Reason::Internal));
            assert_eq!(effects.status, Some(status));
            assert!(shown(&effects).contains(&("grpc-status".into(), Some(grpc.into()))));
            assert_eq!(effects.text[effects.details.clone()], *b"claimgate_denied{internal}");
            effects.fill(&engine, &Request::default(), &Decision::deny(denial, Reason::Internal));
            assert!(!shown(&effects).iter().any(|(name, _)| name == "grpc-status"));
        }
    }

    #[test]
    fn a_value_that_no_header_can_carry_removes_the_header() {
        let mut effects = Effects::default();
        for value in ["", "a\r\nx-forged: 1", "a\nb", "a\0"] {
            effects.clear();
            effects.set("x-a", &[value], true);
            assert_eq!(shown(&effects), [("x-a".into(), None)], "{value:?}");
        }
        effects.clear();
        effects.set("x-a", &["a", "\tb c"], true);
        assert_eq!(shown(&effects), [("x-a".into(), Some("a\tb c".into()))]);
    }
}
