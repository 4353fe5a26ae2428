//! Logs: JSON lines on stderr, or readable text on a terminal.

use std::{
    io::{self, IsTerminal, Write},
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use tracing::error;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    EnvFilter,
    fmt::{
        MakeWriter,
        format::{self, JsonFields},
        writer::BoxMakeWriter,
    },
    layer::SubscriberExt,
    registry,
};

mod json;
mod text;

pub use json::Json;

/// How many lines are buffered for a slow reader of stderr; further ones are
/// dropped. At some 300 bytes each they take about 5 MB.
const BUFFERED_LINES: usize = 16_384;

/// Keeps the log flowing; dropping it writes out what is left.
#[derive(Debug)]
pub struct Telemetry {
    _writer: Option<WorkerGuard>,
}

/// Starts logging, for the whole process.
///
/// `RUST_LOG` sets the filter (`debug`, `claimgate=debug,info`, …); `default`
/// applies where it is unset or invalid. Of a service, a thread of its own
/// writes the lines, so a reader that stops reading never blocks a decision; of
/// another command they are written at once, so that they precede its result.
pub fn start(default: &str, is_service: bool) -> Telemetry {
    let (writer, guard) = match is_service {
        true => {
            let (writer, guard) = NonBlockingBuilder::default()
                .buffered_lines_limit(BUFFERED_LINES)
                .thread_name("log")
                .finish(io::stderr());
            (BoxMakeWriter::new(writer), Some(guard))
        }
        false => (BoxMakeWriter::new(Patient), None),
    };
    // An empty variable counts as unset, not as a filter that drops everything.
    let directives = std::env::var("RUST_LOG").ok().filter(|text| !text.trim().is_empty());
    let filter = EnvFilter::try_new(directives.as_deref().unwrap_or(default));
    let invalid = filter.as_ref().err().map(ToString::to_string);
    let filter = filter.unwrap_or_else(|_| EnvFilter::new(default));

    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let installed = if io::stderr().is_terminal() {
        // Of the variables, `NO_COLOR` and `TERM=dumb` turn colour off.
        let has_colour =
            anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never;
        let lines = lines.with_ansi(has_colour).event_format(text::Text);
        tracing::subscriber::set_global_default(registry().with(filter).with(lines))
    } else {
        let lines = lines.fmt_fields(JsonFields::new()).event_format(Json::new(format::format()));
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

/// Writes to stderr at once; a reader that has gone is not an error.
struct Patient;

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match io::stderr().write_all(bytes) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Patient {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
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
pub(crate) mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Keeps what is logged.
    #[derive(Clone, Default)]
    pub(crate) struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Sink {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().expect("not poisoned").clone()).expect("UTF-8")
        }
    }

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Sink {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn a_repeated_message_is_logged_once() {
        let (one, other) = (LogThrottle::new(), LogThrottle::new());
        let logged: Vec<_> = (0..3).map(|_| one.is_due()).collect();
        assert_eq!(logged, [true, false, false]);
        assert!(other.is_due(), "each message has its own throttle");
    }
}
