//! Spans for an OpenTelemetry collector: of decisions, inside their callers'
//! traces, and of key fetches.
//!
//! A span is made after the fact, when everything about it is known, so that
//! a decision without one costs a look at one option and one header. Spans
//! wait in a bounded queue for a task that sends them: who collects them,
//! and whether anybody does, makes no decision wait.

use std::{
    fmt,
    ops::Range,
    sync::{Arc, Weak},
    time::SystemTime,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use claimgate_files::Content;
use opentelemetry::{
    InstrumentationScope, KeyValue, SpanId, TraceFlags, TraceId,
    trace::{Link, SpanContext, SpanKind, Status, TraceState},
};
use opentelemetry_sdk::trace::{
    IdGenerator, RandomIdGenerator, Sampler, SamplingDecision, ShouldSample, SpanData, SpanEvents,
    SpanLinks,
};
use tokio::time::Instant;

use crate::{
    provider::oauth2::key_source::{FetchReport, FetchResult},
    request::Request,
    settings::TracingSettings,
    traceparent::Traceparent,
};

mod attributes;
mod collector;
mod queue;

pub use attributes::Attributes;
pub use collector::SetupError;
use queue::Queue;

/// The name of a decision's span.
const CHECK: &str = "claimgate.check";

/// The name of a fetch's span.
const KEY_FETCH: &str = "claimgate.key_fetch";

/// How many fetches are kept for the requests that waited for them.
const RECENT_FETCHES: usize = 32;

/// The tracer in force, if there is one. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Traces {
    in_force: Arc<ArcSwapOption<Tracer>>,
    next: Weak<Tracer>,
}

impl Traces {
    /// The tracer of the configuration in force.
    pub fn current(&self) -> Option<Arc<Tracer>> {
        self.in_force.load_full().or_else(|| self.next.upgrade())
    }

    /// A clone for a configuration that is not in force yet: a fetch of its
    /// keys may end before the tracer is, and is recorded all the same.
    pub fn with_next(&self, tracer: Option<&Arc<Tracer>>) -> Self {
        Self { next: tracer.map(Arc::downgrade).unwrap_or_default(), ..self.clone() }
    }

    /// Puts another tracer, or none, in its place.
    pub fn take_up(&self, tracer: Option<Arc<Tracer>>) {
        self.in_force.store(tracer);
    }

    /// Sends what waits to be sent, as far as that is done by `deadline`.
    pub async fn flush(self, deadline: Instant) {
        if let Some(tracer) = self.current() {
            tracer.queue.flush(deadline).await;
        }
    }
}

/// Records spans, by one configuration.
pub struct Tracer {
    settings: TracingSettings,
    roots: Content,
    queue: Queue,
    ids: RandomIdGenerator,
    sampler: Sampler,
    scope: InstrumentationScope,
    /// The latest last.
    fetches: ArcSwap<Vec<Arc<Fetch>>>,
}

/// A fetch that has ended.
struct Fetch {
    provider: String,
    context: SpanContext,
    time: Range<SystemTime>,
    attributes: Vec<KeyValue>,
    status: Status,
}

/// Where in a trace a span belongs.
#[derive(Clone, Debug)]
pub struct Position {
    trace_id: TraceId,
    /// [`SpanId::INVALID`] at the top.
    parent: SpanId,
    state: TraceState,
}

impl Position {
    /// Below the caller's span. A `tracestate` that can't be read is as good
    /// as none (W3C Trace Context, section 3.3).
    fn below(parent: &Traceparent<'_>, tracestate: &[u8]) -> Option<Self> {
        let state = str::from_utf8(tracestate).ok().and_then(|state| state.parse().ok());
        Some(Self {
            trace_id: TraceId::from_hex(parent.trace_id).ok()?,
            parent: SpanId::from_hex(parent.parent_id).ok()?,
            state: state.unwrap_or_default(),
        })
    }
}

impl Tracer {
    /// A tracer, and the task that sends its spans until it is dropped.
    /// `roots` is what `ca_file` holds.
    ///
    /// # Errors
    /// The collector can't be reached in the way that `settings` say.
    pub fn open(
        settings: &TracingSettings,
        roots: Content,
    ) -> Result<(Self, impl Future<Output = ()> + Send + use<>), SetupError> {
        let exporter = collector::exporter(settings)?;
        let (queue, exporting) = queue::start(exporter);
        let scope = InstrumentationScope::builder("claimgate")
            .with_version(env!("CARGO_PKG_VERSION"))
            .build();
        let tracer = Self {
            settings: settings.clone(),
            roots,
            queue,
            ids: RandomIdGenerator::default(),
            sampler: Sampler::TraceIdRatioBased(settings.sample_ratio),
            scope,
            fetches: ArcSwap::default(),
        };
        Ok((tracer, exporting))
    }

    /// Whether another one for this would do the same.
    pub fn is_for(&self, settings: &TracingSettings, roots: Content) -> bool {
        self.settings == *settings && self.roots == roots
    }

    /// The place of a decision's span in its caller's trace, or at the top of
    /// a new one for the configured share of those without a caller that says.
    /// `None` if there shall be no span, or if nobody could send it: then it
    /// is counted as lost, and nothing else is done for it.
    pub fn position(&self, request: &Request<'_>) -> Option<Position> {
        match request.traceparent() {
            Some(parent) if parent.sampled && self.queue.takes_more() => {
                // A state that was sent in several fields is one list (RFC 9110, 5.3).
                let state: Vec<_> = request.headers.all("tracestate").collect();
                Position::below(&parent, &state.join(&b','))
            }
            Some(_) => None,
            None if self.settings.sample_ratio <= 0.0 => None,
            None if self.settings.sample_ratio >= 1.0 => {
                self.queue.takes_more().then(|| self.top())
            }
            None => {
                let top = self.top();
                (self.is_sampled(top.trace_id) && self.queue.takes_more()).then_some(top)
            }
        }
    }

    fn is_sampled(&self, trace_id: TraceId) -> bool {
        let sampled =
            self.sampler.should_sample(None, trace_id, CHECK, &SpanKind::Server, &[], &[]);
        sampled.decision == SamplingDecision::RecordAndSample
    }

    fn top(&self) -> Position {
        let trace_id = self.ids.new_trace_id();
        Position { trace_id, parent: SpanId::INVALID, state: TraceState::NONE }
    }

    /// Records a decision that took this time. Those of the providers
    /// `asked` whose keys it waited for get a span below it.
    pub fn checked<'p>(
        &self,
        position: Position,
        time: Range<SystemTime>,
        attributes: Attributes,
        status: Status,
        asked: impl Iterator<Item = &'p str>,
    ) {
        let fetches = self.fetches.load();
        let mut span = self.span(&position, CHECK, SpanKind::Server, time.clone());
        for provider in asked {
            let waited_for =
                |fetch: &&Arc<Fetch>| fetch.provider == provider && time.contains(&fetch.time.end);
            for fetch in fetches.iter().filter(waited_for) {
                let below = Position { parent: span.span_context.span_id(), ..position.clone() };
                let time = time.start.max(fetch.time.start)..fetch.time.end;
                let mut waiting = self.span(&below, KEY_FETCH, SpanKind::Internal, time);
                waiting.parent_span_is_remote = false;
                waiting.attributes.clone_from(&fetch.attributes);
                waiting.status.clone_from(&fetch.status);
                waiting.links.links.push(Link::with_context(fetch.context.clone()));
                self.queue.send(waiting, Attributes::default());
            }
        }
        span.status = status;
        self.queue.send(span, attributes);
    }

    /// Records a fetch of keys that has just ended, as a trace of its own:
    /// it is made for everybody.
    pub fn fetched(&self, report: &FetchReport<'_>) {
        let end = SystemTime::now();
        let time = end.checked_sub(report.duration).unwrap_or(end)..end;
        let mut span = self.span(&self.top(), KEY_FETCH, SpanKind::Client, time.clone());
        span.attributes = vec![
            KeyValue::new("claimgate.provider", report.provider.to_owned()),
            KeyValue::new("claimgate.fetch.result", report.result.as_str()),
            KeyValue::new("claimgate.fetch.keys", i64::try_from(report.keys).unwrap_or(i64::MAX)),
        ];
        if report.result == FetchResult::Failure {
            span.status = Status::error(report.error.unwrap_or_default().to_owned());
        }
        let fetch = Arc::new(Fetch {
            provider: report.provider.to_owned(),
            context: span.span_context.clone(),
            time,
            attributes: span.attributes.clone(),
            status: span.status.clone(),
        });
        // A new list instead of a lock: decisions read it.
        self.fetches.rcu(|fetches| {
            let oldest = (fetches.len() + 1).saturating_sub(RECENT_FETCHES);
            let kept = fetches[oldest..].iter().cloned();
            kept.chain([Arc::clone(&fetch)]).collect::<Vec<_>>()
        });
        self.queue.send(span, Attributes::default());
    }

    fn span(
        &self,
        position: &Position,
        name: &'static str,
        span_kind: SpanKind,
        time: Range<SystemTime>,
    ) -> SpanData {
        let Position { trace_id, parent, state } = position.clone();
        let id = self.ids.new_span_id();
        SpanData {
            span_context: SpanContext::new(trace_id, id, TraceFlags::SAMPLED, false, state),
            parent_span_id: parent,
            parent_span_is_remote: parent != SpanId::INVALID,
            span_kind,
            name: name.into(),
            start_time: time.start,
            end_time: time.end,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: self.scope.clone(),
        }
    }
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracer").field("settings", &self.settings).finish_non_exhaustive()
    }
}
