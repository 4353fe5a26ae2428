//! Logs: JSON lines on stderr, or readable text where a person is watching.

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

/// Lines that may wait for a slow reader of stderr; what comes on top of
/// these is dropped. At some 300 bytes each they take about 5 MB.
const WAITING_LINES: usize = 16_384;

/// Keeps the log flowing; dropping it writes out what is left.
#[derive(Debug)]
pub struct Telemetry {
    _writer: WorkerGuard,
}

/// Starts logging, for the whole process.
///
/// `RUST_LOG` sets what is logged (`debug`, `claimgate=debug,info`, …),
/// `default` where it doesn't or can't be read. Lines are handed to a thread
/// of their own, so that a reader who stops reading never holds up a decision.
pub fn start(default: &str) -> Telemetry {
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(WAITING_LINES)
        .thread_name("log")
        .finish(io::stderr());
    // An empty variable is one that nobody filled in, not an order to be silent.
    let wanted = std::env::var("RUST_LOG").ok().filter(|wanted| !wanted.trim().is_empty());
    let filter = EnvFilter::try_new(wanted.as_deref().unwrap_or(default));
    let unreadable = filter.as_ref().err().map(ToString::to_string);
    let filter = filter.unwrap_or_else(|_| EnvFilter::new(default));

    let lines = tracing_subscriber::fmt::layer().with_timer(SystemTime).with_writer(writer);
    let installed = if io::stderr().is_terminal() {
        tracing::subscriber::set_global_default(registry().with(filter).with(lines))
    } else {
        let lines = lines.json().flatten_event(true).with_current_span(false).with_span_list(false);
        tracing::subscriber::set_global_default(registry().with(filter).with(lines))
    };
    // Somebody else's subscriber is as good as ours.
    drop(installed);
    if let Some(error) = unreadable {
        tracing::warn!(error, default, "RUST_LOG can't be read, using the default");
    }
    log_panics();
    Telemetry { _writer: guard }
}

/// Keeps what strangers can bring about again and again from filling the log.
#[derive(Debug)]
pub(crate) struct Seldom {
    /// Seconds since the first use of any, until which the log has heard
    /// enough.
    quiet_until: AtomicU64,
}

impl Seldom {
    /// How long the log says nothing more, in seconds.
    const SILENCE: u64 = 60;

    pub(crate) const fn new() -> Self {
        Self { quiet_until: AtomicU64::new(0) }
    }

    /// Whether the log should hear of it again.
    pub(crate) fn is_due(&self) -> bool {
        static FIRST_USE: LazyLock<Instant> = LazyLock::new(Instant::now);
        let now = FIRST_USE.elapsed().as_secs();
        let is_over = |until| (now >= until).then_some(now + Self::SILENCE);
        self.quiet_until.try_update(Relaxed, Relaxed, is_over).is_ok()
    }
}

/// A panic is a defect; it is logged like everything else, by its place only,
/// since its message may quote what was being worked on.
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
    fn the_log_hears_once_of_what_comes_often() {
        let (one, other) = (Seldom::new(), Seldom::new());
        let heard: Vec<_> = (0..3).map(|_| one.is_due()).collect();
        assert_eq!(heard, [true, false, false]);
        assert!(other.is_due(), "each thing by itself");
    }
}
