//! Why a request is decided as it is: the engine's own decision, retold for
//! people and scripts.
//!
//! The verdict, the reason and what either side gets are those of the real
//! engine, run once on the request. The way there is told from what the
//! providers noted meanwhile and from a second look at the request; nothing
//! told can change what was decided.

use std::{
    borrow::Cow,
    panic::AssertUnwindSafe,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use futures_util::FutureExt;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    credential::{Note, Notes},
    decision::{Decision, Denial, Verdict},
    engine::Engine,
    policy::upstream::Edits,
    provider::AnswerKind,
    reason::Reason,
    request::Request,
    response::{ClientResponse, Response, metadata::Metadata},
    time::UnixTime,
};

mod next;
mod path;
mod sent;
mod text;

pub use next::Next;
pub use path::{AskedProvider, FoundToken, RouteTaken, Scopes, TokenSource};
pub use sent::{NoTokenSource, Sent};

/// A decision and the way to it. Serialised, it is what `claimgate explain
/// --output json` prints; `docs/why-denied.md` lists the members.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// `allow` or `deny`.
    pub decision: &'static str,
    /// The word from the closed list.
    pub reason: &'static str,
    /// One sentence on the reason.
    pub description: &'static str,
    /// What to do next, after a denial.
    pub next: Option<Next>,
    /// The client's HTTP status; 200 for allow, where the upstream decides it.
    pub status: u16,
    /// What the reason of a denial rests on, in one sentence: the `detail` of
    /// log line, status page and span.
    pub detail: Option<String>,
    /// The moment that the request was decided for, RFC 3339.
    pub at: String,
    /// The provider that authenticated, whose refusal is answered or that was
    /// unavailable.
    pub provider: Option<String>,
    /// What was asked about.
    pub request: RequestFacts,
    /// Why neither route nor token was looked at, where that is so.
    pub decided_early: Option<String>,
    /// The route, where one was looked for.
    pub route: Option<RouteTaken>,
    /// The token, where one was looked for.
    pub token: Option<FoundToken>,
    /// Every provider, in order, where a token was found.
    pub providers: Vec<AskedProvider>,
    /// Who was authenticated.
    pub caller: Option<Caller>,
    /// The scopes, where a token was looked for.
    pub scopes: Option<Scopes>,
    /// What the route's rules lacked, one sentence each.
    pub policy: Vec<String>,
    /// What came out with more time, where the time limit decided.
    pub without_time_limit: Option<Outlook>,
    /// What the upstream gets of an allowed request.
    pub upstream: Option<Upstream>,
    /// What the client gets of a denied one.
    pub client: Option<Client>,
    /// Envoy's dynamic metadata.
    pub dynamic_metadata: Map<String, Value>,
}

/// The request, without its query and headers: they may hold the token.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RequestFacts {
    /// Its method.
    pub method: String,
    /// Its host.
    pub host: String,
    /// Its path.
    pub path: String,
}

/// An authenticated caller.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Caller {
    /// Who it is.
    pub subject: Option<String>,
    /// The OAuth 2.0 client.
    pub client_id: Option<String>,
    /// When the token ends, RFC 3339.
    pub expires_at: Option<String>,
}

/// A verdict in short.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outlook {
    /// The limit, `server.check_timeout_ms`.
    pub check_timeout_ms: u64,
    /// `allow` or `deny`.
    pub decision: &'static str,
    /// The word from the closed list.
    pub reason: &'static str,
}

/// What the upstream gets.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Upstream {
    /// Headers that are set, whatever the client sent.
    pub set: Headers,
    /// Headers that are removed.
    pub remove: Vec<String>,
    /// Query parameters that are removed.
    pub remove_query: Vec<String>,
}

/// What the client gets.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Client {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: Headers,
    /// The body.
    pub body: String,
}

/// How long providers may take once the time limit is over.
const LAST_PATIENCE: Duration = Duration::from_secs(30);

/// Decides `request` at the moment `now` as the service would, giving up on
/// providers after `limit`, and says why. `sleep` is that of the runtime, such
/// as `tokio::time::sleep`; `waiting` is told the names of the providers that
/// were not in time, before they get up to half a minute more.
pub async fn explain<S: Future<Output = ()> + Send>(
    engine: &Engine,
    request: &Request<'_>,
    now: UnixTime,
    limit: Duration,
    sleep: impl Fn(Duration) -> S + Send + Sync,
    waiting: impl Fn(&[&str]) + Send + Sync,
) -> Explanation {
    let notes = Notes::default();
    let late = AtomicBool::new(false);
    let give_up = async {
        sleep(limit).await;
        late.store(true, Ordering::Relaxed);
    };
    let decision = decide(engine, request, now, &notes, give_up).await;
    let mut explanation = retold(engine, request, now, &decision, &notes);
    if late.load(Ordering::Relaxed) {
        let unavailable = |(id, kind): &(_, AnswerKind)| {
            (*kind == AnswerKind::Unavailable).then(|| engine.provider(*id).name())
        };
        let late: Vec<_> = decision.answers.iter().filter_map(unavailable).collect();
        waiting(&late);
        let patience = sleep(LAST_PATIENCE);
        let later = decide(engine, request, now, &Notes::default(), patience).await;
        explanation.without_time_limit = Some(Outlook {
            check_timeout_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
            decision: word(later.verdict),
            reason: later.reason.as_str(),
        });
    }
    explanation
}

/// As the service decides: a panic is a denial.
async fn decide<'e>(
    engine: &'e Engine,
    request: &Request<'_>,
    now: UnixTime,
    notes: &Notes,
    give_up: impl Future<Output = ()> + Send,
) -> Decision<'e> {
    let decision = AssertUnwindSafe(engine.explain(request, now, notes, give_up)).catch_unwind();
    decision.await.unwrap_or_else(|_| Decision::deny(Denial::Internal, Reason::Internal))
}

const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allow | Verdict::Respond(_) => "allow",
        Verdict::Deny(_) => "deny",
    }
}

fn retold(
    engine: &Engine,
    request: &Request<'_>,
    now: UnixTime,
    decision: &Decision<'_>,
    notes: &Notes,
) -> Explanation {
    let refusals = notes.refusals();
    let notes = notes.take();
    let (status, upstream, client) = match Response::of(engine, request, decision) {
        Response::Upstream(edits) => (200, Some(Upstream::of(&edits)), None),
        Response::Client(response) => (response.status, None, Some(Client::of(&response))),
    };
    let decided_early = path::decided_early(engine, request, decision);
    let routed = decided_early.is_none();
    let route = routed.then(|| RouteTaken::of(engine, request, decision));
    let token = route
        .as_ref()
        .filter(|route| route.asks_for_a_token())
        .map(|_| FoundToken::of(engine, request));
    let providers = match &token {
        Some(token) if token.is_usable() => {
            path::providers(engine, request, decision, &notes, &refusals)
        }
        _ => Vec::new(),
    };
    Explanation {
        decision: word(decision.verdict),
        reason: decision.reason.as_str(),
        description: decision.reason.description(),
        next: matches!(decision.verdict, Verdict::Deny(_))
            .then(|| Next::of(engine, request, decision)),
        status,
        detail: engine.detail(request, decision).map(Into::into),
        at: now.to_string(),
        provider: decision.provider.map(|id| engine.provider(id).name().to_owned()),
        request: RequestFacts::of(request),
        decided_early,
        route,
        scopes: token.as_ref().map(|_| Scopes::of(engine, decision)),
        token,
        providers,
        caller: decision.caller.as_ref().map(|caller| Caller {
            subject: caller.principal.subject.clone(),
            client_id: caller.principal.client_id.clone(),
            expires_at: caller.principal.expires_at.map(|at| at.to_string()),
        }),
        policy: sentences(&notes, None),
        without_time_limit: None,
        upstream,
        client,
        dynamic_metadata: Metadata::of(engine, decision).to_json(),
    }
}

fn sentences(notes: &[Note], provider: Option<&str>) -> Vec<String> {
    let of_provider = notes.iter().filter(|note| note.provider.as_deref() == provider);
    of_provider.map(|note| note.sentence.clone()).collect()
}

impl RequestFacts {
    fn of(request: &Request<'_>) -> Self {
        Self {
            method: request.method.into(),
            host: request.host.into(),
            // A token may stand in a fragment, too.
            path: request.bare_path().split('#').next().unwrap_or_default().into(),
        }
    }
}

impl Upstream {
    fn of(edits: &Edits<'_>) -> Self {
        let set = edits.set.iter().map(|(name, value)| ((*name).into(), (&**value).into()));
        let owned = |names: &[Cow<'_, str>]| names.iter().map(|name| (&**name).into()).collect();
        Self {
            set: Headers(set.collect()),
            remove: owned(&edits.remove),
            remove_query: owned(&edits.remove_query),
        }
    }
}

impl Client {
    fn of(response: &ClientResponse<'_>) -> Self {
        let headers = response.headers();
        let headers = headers.map(|(name, value)| (name.into(), value.pieces().concat()));
        Self {
            status: response.status,
            headers: Headers(headers.collect()),
            body: response.body.concat(),
        }
    }
}

/// Headers in order; no name twice. Where they are shown, cookies are not:
/// they are set without the token, but may hold other secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Headers(pub Vec<(String, String)>);

impl Headers {
    /// Names and values as they may be shown.
    pub fn shown(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| match name.as_str() {
            "cookie" => ("cookie", "(without the token)"),
            name => (name, value.as_str()),
        })
    }
}

impl Serialize for Headers {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.shown())
    }
}

impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.shown()).finish()
    }
}
