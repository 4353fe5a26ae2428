//! Custom providers in any language, asked over gRPC
//! (`proto/claimgate/provider/v1/provider.proto`).

use std::{fmt, sync::Arc, time::Duration};

use claimgate_core::{
    bounded_cache::{self, BoundedCache, Weighed},
    claims::{self, Claims},
    credential::Credential,
    heap,
    principal::Principal,
    provider::{Answer, Answering, Provider},
    reason::Reason,
    settings::GrpcProviderSettings,
    time::UnixTime,
};
use serde_json::{Map, Value};
use tokio::{runtime::Handle, sync::watch};
use tonic::transport::Channel;

pub use self::endpoint::{SetupError, endpoint};

mod endpoint;

/// The generated client, server and messages.
#[expect(missing_docs, reason = "generated code")]
pub mod proto {
    tonic::include_proto!("claimgate.provider.v1");
}

use proto::authenticate_response::Result as Word;

/// Asks somebody else.
pub struct GrpcProvider {
    name: String,
    forward_token: Option<bool>,
    timeout: Duration,
    remember: Duration,
    /// False for a memory without a single entry.
    remembers: bool,
    client: proto::provider_client::ProviderClient<Channel>,
    answers: Arc<BoundedCache<Box<str>, Remembered>>,
    /// Calls run here, so that a request that stops waiting does not end the
    /// call: its answer serves whoever asks next.
    runtime: Handle,
}

/// A good answer that holds for every request with this token.
#[derive(Clone)]
struct Remembered {
    principal: Arc<Principal>,
    until: UnixTime,
}

/// How much memory an answer takes while it is remembered. What the upstream
/// is told is rendered when it is first needed: it comes from the principal
/// and takes less.
fn remembered_bytes(token: &str, principal: &Principal) -> usize {
    heap::allocation(token.len()) + 2 * principal.heap_bytes() + bounded_cache::ENTRY_BYTES
}

/// What came of one call.
#[derive(Clone)]
struct Said {
    answer: Answer,
    /// Until when it holds for other requests too.
    until: Option<UnixTime>,
    /// What there is to say about it.
    note: Option<String>,
}

impl Said {
    fn unavailable(note: String) -> Self {
        Self { answer: Answer::Unavailable, until: None, note: Some(note) }
    }
}

impl From<Answer> for Said {
    fn from(answer: Answer) -> Self {
        Self { answer, until: None, note: None }
    }
}

impl GrpcProvider {
    /// A provider called `name` that connects when first asked; its calls run
    /// on `runtime`.
    ///
    /// # Errors
    ///
    /// [`SetupError`] if the address or the trust roots can't be used.
    pub fn new(
        name: &str,
        forward_token: Option<bool>,
        settings: &GrpcProviderSettings,
        runtime: Handle,
    ) -> Result<Self, SetupError> {
        let endpoint = endpoint(&settings.address, settings.ca_file.as_deref())?
            .connect_timeout(settings.timeout)
            .timeout(settings.timeout);
        let channel = {
            let _inside = runtime.enter();
            endpoint.connect_lazy()
        };
        let answers = bounded_cache::bounded(
            settings.cache_entries.max(1),
            settings.cache_bytes,
            ahash::RandomState::new(),
        );
        Ok(Self {
            name: name.into(),
            forward_token,
            timeout: settings.timeout,
            remember: settings.cache,
            remembers: settings.cache_entries > 0,
            client: proto::provider_client::ProviderClient::new(channel),
            answers: Arc::new(answers),
            runtime,
        })
    }

    /// Starts a call that goes on whoever waits for it.
    fn call(&self, credential: &Credential<'_>) -> watch::Receiver<Option<Said>> {
        let (request, now) = (credential.request(), credential.now());
        let message = proto::AuthenticateRequest {
            token: credential.token().into(),
            request: Some(proto::RequestFacts {
                method: request.method.into(),
                host: request.host.into(),
                path: request.bare_path().into(),
            }),
        };
        let (tell, told) = watch::channel(None);
        let (mut client, timeout, name) = (self.client.clone(), self.timeout, self.name.clone());
        let (answers, remember) = (Arc::clone(&self.answers), self.remember);
        let remembers = self.remembers;
        let token = message.token.clone();
        let request_id = request.request_id().map(String::from);
        let trace_id = request.traceparent().map(|parent| parent.trace_id.to_owned());
        self.runtime.spawn(async move {
            let said = tokio::time::timeout(timeout, client.authenticate(message)).await;
            let said = match said {
                Ok(Ok(said)) => read(said.into_inner(), now, remember),
                Ok(Err(status)) => {
                    tracing::warn!(
                        provider = name, code = ?status.code(), request_id, trace_id,
                        "custom provider failed"
                    );
                    Said::unavailable(format!("the call failed: {:?}", status.code()))
                }
                Err(_) => {
                    tracing::warn!(
                        provider = name,
                        request_id,
                        trace_id,
                        "custom provider did not answer in time"
                    );
                    Said::unavailable(format!("no answer within {} ms", timeout.as_millis()))
                }
            };
            if let (Answer::Authenticated(principal), Some(until)) = (&said.answer, said.until)
                && remembers
            {
                let bytes = remembered_bytes(&token, principal);
                let value = Remembered { principal: Arc::clone(principal), until };
                answers.insert(token.into(), Weighed { value, bytes });
            }
            // Whoever asked may have stopped waiting.
            let _ = tell.send(Some(said));
        });
        told
    }
}

/// What the other side said, at the moment `now`.
fn read(said: proto::AuthenticateResponse, now: UnixTime, remember: Duration) -> Said {
    match said.result {
        Some(Word::Authenticated(caller)) => authenticated(caller, now, remember),
        Some(Word::NotMine(_)) => Answer::NotMine.into(),
        Some(Word::Refused(refused)) => {
            let word = refused.reason;
            let reason = Reason::from_word(&word).filter(|reason| reason.is_refusal());
            let note = reason.is_none().then(|| format!("it refused with {word:?}, no reason"));
            let answer = Answer::Refused(reason.unwrap_or(Reason::UnknownKey));
            Said { answer, until: None, note }
        }
        None => Said::unavailable("its answer holds no result".into()),
    }
}

fn authenticated(caller: proto::Authenticated, now: UnixTime, remember: Duration) -> Said {
    let expires_at = caller
        .expires_at
        .map(|at| UnixTime::from_seconds(at.seconds as f64 + f64::from(at.nanos) / 1e9));
    if let Some(end) = expires_at.filter(|end| *end <= now) {
        let note = Some(format!("it ended at {end}, it is {now} now"));
        return Said { answer: Answer::Refused(Reason::Expired), until: None, note };
    }
    let until = match (caller.this_request_only, expires_at) {
        (true, _) => None,
        (false, Some(end)) => Some(end),
        (false, None) => (!remember.is_zero()).then(|| now + remember),
    };
    let claims = Claims::from(caller.claims.map(object).unwrap_or_default());
    let client = claims::clients(&claims).next().map(Into::into);
    let subject = Some(caller.subject).filter(|subject| !subject.is_empty());
    let principal = Principal::new(subject)
        .with_scopes(caller.scopes)
        .with_client_id(client)
        .with_claims(claims)
        .with_expires_at(expires_at);
    Said { answer: Answer::Authenticated(Arc::new(principal)), until, note: None }
}

/// A `Struct` as the JSON object that it stands for.
pub(crate) fn object(fields: prost_types::Struct) -> Map<String, Value> {
    fields.fields.into_iter().map(|(name, value)| (name, json(value))).collect()
}

fn json(value: prost_types::Value) -> Value {
    use prost_types::value::Kind;
    match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(value),
        Some(Kind::StringValue(value)) => Value::String(value),
        Some(Kind::NumberValue(value)) => claims::number(value),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(json).collect(),
        Some(Kind::StructValue(fields)) => Value::Object(object(fields)),
    }
}

impl Provider for GrpcProvider {
    fn name(&self) -> &str {
        &self.name
    }

    fn method(&self) -> &str {
        "grpc"
    }

    fn forward_token(&self) -> Option<bool> {
        self.forward_token
    }

    fn authenticate<'a>(&'a self, credential: &'a Credential<'a>) -> Answering<'a> {
        if let Some(Weighed { value: known, .. }) = self.answers.get(credential.token())
            && credential.now() < known.until
        {
            credential.note(|| format!("its answer is remembered until {}", known.until));
            return Answering::Now(Answer::Authenticated(known.principal));
        }
        // Nothing is sent before somebody waits.
        Answering::later(async move {
            let said = wait(self.call(credential)).await;
            if let Some(note) = said.note {
                credential.note(|| note);
            }
            said.answer
        })
    }
}

async fn wait(mut told: watch::Receiver<Option<Said>>) -> Said {
    let said = told.wait_for(Option::is_some).await;
    said.ok().and_then(|said| said.clone()).unwrap_or(Answer::Unavailable.into())
}

impl fmt::Debug for GrpcProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcProvider").field("name", &self.name).finish_non_exhaustive()
    }
}
