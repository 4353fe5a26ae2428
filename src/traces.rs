//! Spans for an OpenTelemetry collector: of decisions, inside their callers'
//! traces, and of key fetches.
//!
//! A span is made after the fact, when everything about it is known, so a
//! decision without one costs a check of one option and one header. Spans are
//! queued, up to a limit, for a task that exports them: no decision waits for
//! the collector.

use std::{
    fmt,
    ops::Range,
    sync::{Arc, Weak},
    time::SystemTime,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use claimgate_files::{Content, Contents};
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
pub use collector::ExporterError;
use queue::Queue;

/// The name of a decision's span.
const CHECK: &str = "claimgate.check";

/// The name of a fetch's span.
const KEY_FETCH: &str = "claimgate.key_fetch";

/// How many recent fetches are kept, to be linked from the requests that waited
/// for them.
const RECENT_FETCHES: usize = 32;

/// A handle to the active tracer, if there is one. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct TracerHandle {
    active: Arc<ArcSwapOption<Tracer>>,
    next: Weak<Tracer>,
}

impl TracerHandle {
    /// The active tracer; while there is none, that of [`Self::with_next`].
    pub fn load(&self) -> Option<Arc<Tracer>> {
        self.active.load_full().or_else(|| self.next.upgrade())
    }

    /// A clone for a configuration that is not active yet: the first fetch of its
    /// keys may end before it is, and is recorded anyway.
    pub fn with_next(&self, tracer: Option<&Arc<Tracer>>) -> Self {
        Self { next: tracer.map(Arc::downgrade).unwrap_or_default(), ..self.clone() }
    }

    /// The tracer for `settings`, if tracing is configured; the active one where
    /// its settings are the same. `contents` are those of the files that the
    /// configuration names.
    ///
    /// It has to be called within a tokio runtime, which exports the spans.
    ///
    /// # Errors
    /// The exporter of spans can't be set up.
    pub fn open(
        &self,
        settings: Option<&TracingSettings>,
        contents: &Contents,
    ) -> Result<Option<Arc<Tracer>>, ExporterError> {
        let Some(settings) = settings else { return Ok(None) };
        let roots =
            settings.ca_file.as_ref().and_then(|file| contents.get(file).copied().flatten());
        let (tracer, exporting) = match self.load() {
            Some(tracer) if tracer.is_for(settings, roots) => return Ok(Some(tracer)),
            _ => Tracer::open(settings, roots)?,
        };
        tokio::spawn(exporting);
        Ok(Some(Arc::new(tracer)))
    }

    /// Replaces the active tracer.
    pub fn store(&self, tracer: Option<Arc<Tracer>>) {
        self.active.store(tracer);
    }

    /// Flushes the queued spans until `deadline`.
    pub async fn flush(self, deadline: Instant) {
        if let Some(tracer) = self.load() {
            tracer.queue.flush(deadline).await;
        }
    }
}

/// Records spans as one configuration says.
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
    providers: Vec<String>,
    context: SpanContext,
    time: Range<SystemTime>,
    attributes: Vec<KeyValue>,
    status: Status,
}

/// The place of a span in a trace.
#[derive(Clone, Debug)]
pub struct Position {
    trace_id: TraceId,
    /// [`SpanId::INVALID`] at the root.
    parent: SpanId,
    state: TraceState,
}

impl Position {
    /// Below the caller's span. An invalid `tracestate` is ignored (W3C Trace
    /// Context, section 3.3).
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
    /// A tracer, and the task that exports its spans until the tracer is dropped.
    /// `roots` is the content of `ca_file`.
    ///
    /// # Errors
    /// The exporter can't be set up with these settings.
    pub fn open(
        settings: &TracingSettings,
        roots: Content,
    ) -> Result<(Self, impl Future<Output = ()> + Send + use<>), ExporterError> {
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

    /// Whether a new tracer for these settings would be the same.
    pub fn is_for(&self, settings: &TracingSettings, roots: Content) -> bool {
        self.settings == *settings && self.roots == roots
    }

    /// The place of a decision's span in its caller's trace or, for the configured
    /// share of requests without one, at the root of a new trace. `None` if there
    /// is to be no span, or if the queue is full: then it is counted as lost.
    pub fn position(&self, request: &Request<'_>) -> Option<Position> {
        match request.traceparent() {
            Some(parent) if parent.sampled && self.queue.has_room() => {
                // Several header fields are one list (RFC 9110, section 5.3).
                let state: Vec<_> = request.headers.all("tracestate").collect();
                Position::below(&parent, &state.join(&b','))
            }
            Some(_) => None,
            None if self.settings.sample_ratio <= 0.0 => None,
            None if self.settings.sample_ratio >= 1.0 => self.queue.has_room().then(|| self.root()),
            None => {
                let root = self.root();
                (self.is_sampled(root.trace_id) && self.queue.has_room()).then_some(root)
            }
        }
    }

    fn is_sampled(&self, trace_id: TraceId) -> bool {
        let sampled =
            self.sampler.should_sample(None, trace_id, CHECK, &SpanKind::Server, &[], &[]);
        sampled.decision == SamplingDecision::RecordAndSample
    }

    fn root(&self) -> Position {
        let trace_id = self.ids.new_trace_id();
        Position { trace_id, parent: SpanId::INVALID, state: TraceState::NONE }
    }

    /// Records a decision with its start and end. Each key fetch of the `asked`
    /// providers that it waited for gets a span below it.
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
            let waited_for = |fetch: &&Arc<Fetch>| {
                fetch.providers.iter().any(|name| name == provider)
                    && time.contains(&fetch.time.end)
            };
            for fetch in fetches.iter().filter(waited_for) {
                let below = Position { parent: span.span_context.span_id(), ..position.clone() };
                let time = time.start.max(fetch.time.start)..fetch.time.end;
                let mut wait = self.span(&below, KEY_FETCH, SpanKind::Internal, time);
                wait.parent_span_is_remote = false;
                wait.attributes.clone_from(&fetch.attributes);
                wait.status.clone_from(&fetch.status);
                wait.links.links.push(Link::with_context(fetch.context.clone()));
                self.queue.send(wait, Attributes::default());
            }
        }
        span.status = status;
        self.queue.send(span, attributes);
    }

    /// Records a fetch of keys that has just ended, as a trace of its own: it
    /// belongs to no single request.
    pub fn fetched(&self, report: &FetchReport<'_>) {
        let end = SystemTime::now();
        let time = end.checked_sub(report.duration).unwrap_or(end)..end;
        let mut span = self.span(&self.root(), KEY_FETCH, SpanKind::Client, time.clone());
        span.attributes = vec![
            KeyValue::new("claimgate.provider", report.providers.join(", ")),
            KeyValue::new("claimgate.fetch.result", report.result.as_str()),
            KeyValue::new("claimgate.fetch.keys", i64::try_from(report.keys).unwrap_or(i64::MAX)),
        ];
        if report.result == FetchResult::Failure {
            span.status = Status::error(report.error.unwrap_or_default().to_owned());
        }
        let fetch = Arc::new(Fetch {
            providers: report.providers.to_vec(),
            context: span.span_context.clone(),
            time,
            attributes: span.attributes.clone(),
            status: span.status.clone(),
        });
        // A new list instead of a lock, because decisions read it.
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
