//! The queue of spans to be exported.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use tokio::{
    select,
    sync::{Notify, mpsc, oneshot},
    time::{Instant, sleep, timeout, timeout_at},
};
use tracing::{info, warn};

use super::Attributes;

/// How many spans are queued at most; further ones are lost. At about a kilobyte
/// each they take some 4 MB.
const CAPACITY: usize = 4096;

/// How many spans are exported at once.
const BATCH_SIZE: usize = 512;

/// How long spans are collected before they are exported. With [`BATCH_SIZE`] it bounds
/// what tracing takes from a core that is busy deciding.
const BATCH_INTERVAL: Duration = Duration::from_millis(200);

/// How long a collector may take to accept a batch.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the shutdown waits for the collector.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// The shortest time between two warnings about lost spans.
const WARN_INTERVAL: Duration = Duration::from_secs(60);

/// Accepts spans without blocking.
pub(super) struct Queue {
    sender: mpsc::Sender<Message>,
    lost: Arc<AtomicU64>,
    flush_requested: Arc<Notify>,
}

enum Message {
    Span(Box<(SpanData, Attributes)>),
    /// Exports everything before this without a pause, then signals.
    Flush(oneshot::Sender<()>),
}

/// A queue, and the task that exports its spans until the queue is dropped.
pub(super) fn start<E: SpanExporter + 'static>(
    exporter: E,
) -> (Queue, impl Future<Output = ()> + Send + use<E>) {
    let (sender, inbox) = mpsc::channel(CAPACITY);
    let (lost, flush_requested) = (Arc::default(), Arc::default());
    let queue =
        Queue { sender, lost: Arc::clone(&lost), flush_requested: Arc::clone(&flush_requested) };
    (queue, export(exporter, inbox, lost, flush_requested))
}

impl Queue {
    /// Whether the queue has room for a span. If not, a span is counted as lost,
    /// so the caller need not make it.
    pub(super) fn has_room(&self) -> bool {
        let has_room = self.sender.capacity() > 0;
        if !has_room {
            self.lost.fetch_add(1, Relaxed);
        }
        has_room
    }

    /// Queues a span, and attributes to be added to it; it is lost if the queue is
    /// full.
    pub(super) fn send(&self, span: SpanData, attributes: Attributes) {
        if self.sender.try_send(Message::Span(Box::new((span, attributes)))).is_err() {
            self.lost.fetch_add(1, Relaxed);
        }
    }

    /// Waits until all queued spans are exported, at most until `deadline`.
    pub(super) async fn flush(&self, deadline: Instant) {
        let deadline = deadline.min(Instant::now() + FLUSH_TIMEOUT);
        let (done, is_done) = oneshot::channel();
        self.flush_requested.notify_one();
        let flushed = timeout_at(deadline, async {
            if self.sender.send(Message::Flush(done)).await.is_ok() {
                // The task may end without a signal, which counts as well.
                let _ = is_done.await;
            }
        });
        if flushed.await.is_err() {
            warn!("the collector did not take the last spans in time");
        }
    }
}

/// Exports queued spans. It polls the queue from time to time only: with a
/// wake-up per span, a check takes 50 % more CPU at 2,000 checks/s, and 66 %
/// more under full load, where it also sends every span it can; with the SDK's
/// `BatchSpanProcessor` 8 % and 61 % more (`make bench ARGS=observing`, all
/// sampled). A flush exports everything in the queue without a pause.
async fn export<E: SpanExporter>(
    exporter: E,
    mut inbox: mpsc::Receiver<Message>,
    lost: Arc<AtomicU64>,
    flush_requested: Arc<Notify>,
) {
    let mut outage = Outage::default();
    let mut is_flushing = false;
    let mut messages = Vec::new();
    while inbox.recv_many(&mut messages, BATCH_SIZE).await > 0 {
        let mut spans = Vec::with_capacity(messages.len());
        let mut flushes = Vec::new();
        for message in messages.drain(..) {
            match message {
                Message::Span(queued) => {
                    let (mut span, attributes) = *queued;
                    span.attributes.extend(attributes.key_values());
                    spans.push(span);
                }
                Message::Flush(done) => flushes.push(done),
            }
        }
        outage.record(lost.swap(0, Relaxed), "more spans than can be sent");
        if !spans.is_empty() {
            let count = spans.len() as u64;
            match timeout(EXPORT_TIMEOUT, exporter.export(spans)).await {
                Ok(Ok(())) => outage.is_over(),
                Ok(Err(error)) => outage.record(count, &error.to_string()),
                Err(_) => outage.record(count, "the collector does not answer"),
            }
        }
        // The receiver may have timed out and be gone.
        for done in flushes {
            let _ = done.send(());
        }
        is_flushing &= !inbox.is_empty();
        if !is_flushing {
            select! {
                () = sleep(BATCH_INTERVAL) => {}
                () = flush_requested.notified() => is_flushing = true,
            }
        }
    }
}

/// Logs lost spans, throttled.
#[derive(Default)]
struct Outage {
    lost: u64,
    warned: Option<Instant>,
    failing: bool,
}

impl Outage {
    fn record(&mut self, lost: u64, error: &str) {
        if lost == 0 {
            return;
        }
        self.lost += lost;
        self.failing = true;
        if self.warned.is_none_or(|at| at.elapsed() >= WARN_INTERVAL) {
            self.warned = Some(Instant::now());
            let lost = mem::take(&mut self.lost);
            warn!(lost, error, "spans can't be exported and are lost");
        }
    }

    fn is_over(&mut self) {
        if mem::take(&mut self.failing) {
            let lost = mem::take(&mut self.lost);
            info!(lost, "spans are exported again");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Mutex, time::UNIX_EPOCH};

    use opentelemetry::{
        InstrumentationScope, SpanId,
        trace::{SpanContext, SpanKind, Status},
    };
    use opentelemetry_sdk::{
        error::OTelSdkResult,
        trace::{SpanEvents, SpanLinks},
    };

    use super::*;

    /// Accepts everything, and counts.
    #[derive(Clone, Debug, Default)]
    struct Counting(Arc<Mutex<Vec<usize>>>);

    impl SpanExporter for Counting {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().expect("not poisoned").push(batch.len());
            Ok(())
        }
    }

    fn span() -> SpanData {
        SpanData {
            span_context: SpanContext::NONE,
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: SpanKind::Server,
            name: "span".into(),
            start_time: UNIX_EPOCH,
            end_time: UNIX_EPOCH,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::default(),
        }
    }

    #[tokio::test]
    async fn a_span_is_sent_or_counted_as_lost() {
        let exporter = Counting::default();
        let (queue, exporting) = start(exporter.clone());
        while queue.has_room() {
            queue.send(span(), Attributes::default());
        }
        // As if another thread had taken the last place in between.
        queue.send(span(), Attributes::default());
        assert_eq!(queue.lost.load(Relaxed), 2);

        let exporting = tokio::spawn(exporting);
        queue.flush(Instant::now() + FLUSH_TIMEOUT).await;
        assert_eq!(queue.lost.load(Relaxed), 0, "the log was told");
        drop(queue);
        exporting.await.expect("no panic");
        let batches = exporter.0.lock().expect("not poisoned").clone();
        assert_eq!(batches.iter().sum::<usize>(), CAPACITY);
        assert!(batches.iter().all(|&batch| batch <= BATCH_SIZE), "{batches:?}");
    }
}
