//! Logs: JSON lines on stderr, or readable text on a terminal.

use std::{
    io::{self, IsTerminal},
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use tracing::error;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{EnvFilter, fmt::time::SystemTime, layer::SubscriberExt, registry};

/// How many lines are buffered for a slow reader of stderr; further ones are
/// dropped. At some 300 bytes each they take about 5 MB.
const BUFFERED_LINES: usize = 16_384;

/// Keeps the log flowing; dropping it writes out what is left.
#[derive(Debug)]
pub struct Telemetry {
    _writer: WorkerGuard,
}

/// Starts logging, for the whole process.
///
/// `RUST_LOG` sets the filter (`debug`, `claimgate=debug,info`, …); `default`
/// applies where it is unset or invalid. A thread of its own writes the lines,
/// so a reader that stops reading never blocks a decision.
pub fn start(default: &str) -> Telemetry {
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(BUFFERED_LINES)
        .thread_name("log")
        .finish(io::stderr());
    // An empty variable counts as unset, not as a filter that drops everything.
    let directives = std::env::var("RUST_LOG").ok().filter(|text| !text.trim().is_empty());
    let filter = EnvFilter::try_new(directives.as_deref().unwrap_or(default));
    let invalid = filter.as_ref().err().map(ToString::to_string);
    let filter = filter.unwrap_or_else(|_| EnvFilter::new(default));

    let lines = tracing_subscriber::fmt::layer().with_timer(SystemTime).with_writer(writer);
    let installed = if io::stderr().is_terminal() {
        tracing::subscriber::set_global_default(registry().with(filter).with(lines))
    } else {
        let lines = lines.json().flatten_event(true).with_current_span(false).with_span_list(false);
        tracing::subscriber::set_global_default(registry().with(filter).with(lines))
    };
    // A subscriber is already installed; keep it.
    drop(installed);
    if let Some(error) = invalid {
        tracing::warn!(error, default, "RUST_LOG can't be read, using the default");
    }
    log_panics();
    Telemetry { _writer: guard }
}

/// Limits how often one message is logged, so that clients can't fill the log.
#[derive(Debug)]
pub(crate) struct LogThrottle {
    /// Until when the message is suppressed, in seconds since the first use of
    /// any throttle.
    quiet_until: AtomicU64,
}

impl LogThrottle {
    /// The shortest time between two messages, in seconds.
    const INTERVAL: u64 = 60;

    pub(crate) const fn new() -> Self {
        Self { quiet_until: AtomicU64::new(0) }
    }

    /// Whether the message may be logged now.
    pub(crate) fn is_due(&self) -> bool {
        static FIRST_USE: LazyLock<Instant> = LazyLock::new(Instant::now);
        let now = FIRST_USE.elapsed().as_secs();
        let is_over = |until| (now >= until).then_some(now + Self::INTERVAL);
        self.quiet_until.try_update(Relaxed, Relaxed, is_over).is_ok()
    }
}

/// Logs panics, which are defects, by their location only: the message may
/// quote a request.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        error!(place, "panicked, please report this");
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_message_is_logged_once() {
        let (one, other) = (LogThrottle::new(), LogThrottle::new());
        let logged: Vec<_> = (0..3).map(|_| one.is_due()).collect();
        assert_eq!(logged, [true, false, false]);
        assert!(other.is_due(), "each message has its own throttle");
    }
}
