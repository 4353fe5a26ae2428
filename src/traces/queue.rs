//! Spans on their way out.

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

/// How many spans wait at the most; what comes on top of these is lost. At
/// about a kilobyte each they take some 4 MB.
const WAITING: usize = 4096;

/// How many spans are sent at once.
const BATCH: usize = 512;

/// How long spans are gathered before they are sent. With [`BATCH`] it bounds
/// what tracing takes from a core that is busy deciding.
const GATHERING: Duration = Duration::from_millis(200);

/// How long a collector may take to accept a batch.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest that the end of the process waits for the collector.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// A warning about lost spans comes once in this time at the most.
const SILENCE: Duration = Duration::from_secs(60);

/// Takes spans, and never makes anybody wait.
pub(super) struct Queue {
    sender: mpsc::Sender<Parcel>,
    lost: Arc<AtomicU64>,
    hurry: Arc<Notify>,
}

enum Parcel {
    Span(Box<(SpanData, Attributes)>),
    /// Everything before this is to be sent now.
    Flush(oneshot::Sender<()>),
}

/// A queue, and the task that empties it until the queue is dropped.
pub(super) fn start<E: SpanExporter + 'static>(
    exporter: E,
) -> (Queue, impl Future<Output = ()> + Send + use<E>) {
    let (sender, inbox) = mpsc::channel(WAITING);
    let (lost, hurry) = (Arc::default(), Arc::default());
    let queue = Queue { sender, lost: Arc::clone(&lost), hurry: Arc::clone(&hurry) };
    (queue, export(exporter, inbox, lost, hurry))
}

impl Queue {
    /// Whether a span would be taken. One that would not is lost here and now,
    /// so that nobody need make it.
    pub(super) fn takes_more(&self) -> bool {
        let takes_more = self.sender.capacity() > 0;
        if !takes_more {
            self.lost.fetch_add(1, Relaxed);
        }
        takes_more
    }

    /// Takes a span, and attributes to be added to it; it is lost if too many
    /// wait.
    pub(super) fn send(&self, span: SpanData, attributes: Attributes) {
        if self.sender.try_send(Parcel::Span(Box::new((span, attributes)))).is_err() {
            self.lost.fetch_add(1, Relaxed);
        }
    }

    /// Waits until all spans so far were sent, but not for long.
    pub(super) async fn flush(&self, deadline: Instant) {
        let deadline = deadline.min(Instant::now() + LAST_WAIT);
        let (done, is_done) = oneshot::channel();
        self.hurry.notify_one();
        let flushed = timeout_at(deadline, async {
            if self.sender.send(Parcel::Flush(done)).await.is_ok() {
                // An end without an answer is one too.
                let _ = is_done.await;
            }
        });
        if flushed.await.is_err() {
            warn!("the collector did not take the last spans in time");
        }
    }
}

/// Sends what comes in, and looks into the queue from time to time only. With
/// a wake-up per span, a check takes 50 % more CPU at 2,000 checks/s, and 66 %
/// more under full load, where it also sends every span it can; with the SDK's
/// `BatchSpanProcessor` 8 % and 61 % more (`make bench ARGS=observing`, all
/// sampled). A flush gets everything that is there without a pause.
async fn export<E: SpanExporter>(
    exporter: E,
    mut inbox: mpsc::Receiver<Parcel>,
    lost: Arc<AtomicU64>,
    hurry: Arc<Notify>,
) {
    let mut outage = Outage::default();
    let mut is_hurried = false;
    let mut parcels = Vec::new();
    while inbox.recv_many(&mut parcels, BATCH).await > 0 {
        let mut spans = Vec::with_capacity(parcels.len());
        let mut flushes = Vec::new();
        for parcel in parcels.drain(..) {
            match parcel {
                Parcel::Span(waiting) => {
                    let (mut span, attributes) = *waiting;
                    span.attributes.extend(attributes.key_values());
                    spans.push(span);
                }
                Parcel::Flush(done) => flushes.push(done),
            }
        }
        outage.note(lost.swap(0, Relaxed), "more spans than can be sent");
        if !spans.is_empty() {
            let count = spans.len() as u64;
            match timeout(PATIENCE, exporter.export(spans)).await {
                Ok(Ok(())) => outage.is_over(),
                Ok(Err(error)) => outage.note(count, &error.to_string()),
                Err(_) => outage.note(count, "the collector does not answer"),
            }
        }
        // Whoever gave up waiting does not need to know.
        for done in flushes {
            let _ = done.send(());
        }
        is_hurried &= !inbox.is_empty();
        if !is_hurried {
            select! {
                () = sleep(GATHERING) => {}
                () = hurry.notified() => is_hurried = true,
            }
        }
    }
}

/// What the log is told about lost spans: not every one.
#[derive(Default)]
struct Outage {
    lost: u64,
    warned: Option<Instant>,
    failing: bool,
}

impl Outage {
    fn note(&mut self, lost: u64, error: &str) {
        if lost == 0 {
            return;
        }
        self.lost += lost;
        self.failing = true;
        if self.warned.is_none_or(|at| at.elapsed() >= SILENCE) {
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

    /// Takes everything, and counts.
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
        while queue.takes_more() {
            queue.send(span(), Attributes::default());
        }
        // Room was seen, and somebody else took it.
        queue.send(span(), Attributes::default());
        assert_eq!(queue.lost.load(Relaxed), 2);

        let exporting = tokio::spawn(exporting);
        queue.flush(Instant::now() + LAST_WAIT).await;
        assert_eq!(queue.lost.load(Relaxed), 0, "the log was told");
        drop(queue);
        exporting.await.expect("no panic");
        let batches = exporter.0.lock().expect("not poisoned").clone();
        assert_eq!(batches.iter().sum::<usize>(), WAITING);
        assert!(batches.iter().all(|&batch| batch <= BATCH), "{batches:?}");
    }
}
