//! The log: one JSON line for each event, written to Envoy's logger
//! `dynamic_modules`, whose level decides what is logged.

use std::{
    io,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use claimgate::telemetry::Json;
use tracing::{Level, Metadata, error, level_filters::LevelFilter};
use tracing_subscriber::{
    filter::dynamic_filter_fn,
    fmt::{
        MakeWriter,
        format::{JsonFields, format},
        layer,
    },
    layer::SubscriberExt,
    registry,
};

use crate::abi::{self, LogLevel};

/// The lowest level that Envoy's logger shows. To ask Envoy takes 24 ns, and it
/// would be asked about a line for every request.
static LOWEST: AtomicU32 = AtomicU32::new(LogLevel::Info as u32);

/// Finds out what Envoy's logger shows by now: an administrator can change it.
pub(crate) fn look_at_level() {
    const LEVELS: [LogLevel; 5] =
        [LogLevel::Trace, LogLevel::Debug, LogLevel::Info, LogLevel::Warn, LogLevel::Error];
    let shown = LEVELS.into_iter().find(|level| abi::log_enabled(*level));
    LOWEST.store(shown.map_or(u32::MAX, |level| level as u32), Relaxed);
}

/// Starts logging, for this module's part of the process.
pub(crate) fn start() {
    let wanted = dynamic_filter_fn(|metadata, _| {
        // Of libraries, only what an operator of Envoy can act on.
        (is_ours(metadata) || *metadata.level() <= LevelFilter::WARN)
            && envoy_level(*metadata.level()) as u32 >= LOWEST.load(Relaxed)
    });
    look_at_level();
    // Envoy writes the time before each line.
    let format = Json::new(format().without_time());
    let lines = layer().with_writer(Lines).fmt_fields(JsonFields::new()).event_format(format);
    // Loaded a second time, the module has its subscriber already.
    let _ = tracing::subscriber::set_global_default(registry().with(wanted).with(lines));
    std::panic::set_hook(Box::new(|panic| {
        // By its place only: the message may quote a request.
        let place = panic.location().map(ToString::to_string);
        error!(place, "panicked, please report this");
    }));
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("claimgate")
}

fn envoy_level(level: Level) -> LogLevel {
    match level {
        Level::TRACE => LogLevel::Trace,
        Level::DEBUG => LogLevel::Debug,
        Level::INFO => LogLevel::Info,
        Level::WARN => LogLevel::Warn,
        Level::ERROR => LogLevel::Error,
    }
}

/// Makes the writer of each line.
struct Lines;

/// Writes a line of this level.
struct Line(LogLevel);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line(LogLevel::Info)
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Line {
        Line(envoy_level(*metadata.level()))
    }
}

impl io::Write for Line {
    /// A line comes in one piece.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        abi::log(self.0, line.strip_suffix(b"\n").unwrap_or(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
