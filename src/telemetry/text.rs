//! Log lines for people: short enough for a terminal, without the place in the
//! code, and without the field that repeats the message.

use std::fmt::{self, Write as _};

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use textwrap::{Options, WordSeparator, WordSplitter};
use tracing::{Event, Level, Subscriber, field};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

use crate::check::LOG_TARGET;
use claimgate_core::text::visible;

/// The longest line, in columns.
const COLUMNS: usize = 160;

/// How long a value of a line about a request may be: the first at which the
/// line fits. Clients choose such values.
const LENGTHS: [usize; 6] = [120, 80, 60, 40, 24, 12];

/// Formats an event as `TIME LEVEL message name=value …`.
#[derive(Debug)]
pub(super) struct Text;

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let time = Timestamp::now().strftime("%Y-%m-%d %H:%M:%SZ");
        let begin = format!("{time} {:>5}", metadata.level().as_str());
        // Of the program's own lines it would say nothing new.
        let of_library = !metadata.target().starts_with("claimgate");
        let source = if of_library { format!(" {}:", metadata.target()) } else { String::new() };
        let text = match metadata.target() == LOG_TARGET {
            true => fields.in_one_line(COLUMNS - begin.len()),
            false => fields.wrapped(COLUMNS - begin.len() - source.len()),
        };
        if writer.has_ansi_escapes() {
            let style = style(*metadata.level());
            write!(writer, "{time} {style}{:>5}{style:#}", metadata.level().as_str())?;
        } else {
            writer.write_str(&begin)?;
        }
        writeln!(writer, "{source}{text}")
    }
}

fn style(level: Level) -> Style {
    match level {
        Level::ERROR => AnsiColor::Red.on_default().bold(),
        Level::WARN => AnsiColor::Yellow.on_default().bold(),
        Level::INFO => AnsiColor::Green.on_default(),
        Level::DEBUG | Level::TRACE => AnsiColor::Blue.on_default(),
    }
}

/// The message and the other fields, in order, each as it is shown.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, String)>,
}

impl field::Visit for Fields {
    fn record_str(&mut self, field: &field::Field, value: &str) {
        match field.name() {
            "message" => self.message = visible(value).into_owned(),
            // "request denied" says it.
            "decision" => {}
            name if is_plain(value) => self.others.push((name, value.into())),
            name => self.others.push((name, visible(&format!("{value:?}")).into_owned())),
        }
    }

    fn record_debug(&mut self, field: &field::Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        match field.name() {
            "message" => self.message = visible(&text).into_owned(),
            "decision" => {}
            name => self.others.push((name, visible(&text).into_owned())),
        }
    }
}

/// Whether a value is told from what stands around it without quotes.
fn is_plain(value: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"\\=".contains(&byte);
    !value.is_empty() && value.bytes().all(is_plain)
}

impl Fields {
    /// All of it, each value cut to this many characters.
    fn cut(&self, longest: usize) -> String {
        let mut text = format!(" {}", shortened(&self.message, longest.max(60)));
        for (name, value) in &self.others {
            // Writing to a string can't fail.
            let _ = write!(text, " {name}={}", shortened(value, longest));
        }
        text
    }

    /// In one line of at most `room` columns.
    fn in_one_line(&self, room: usize) -> String {
        let mut lines = LENGTHS.iter().map(|longest| self.cut(*longest));
        let fits = |line: &String| line.chars().count() <= room;
        lines.find(fits).unwrap_or_else(|| shortened(&self.cut(LENGTHS[5]), room))
    }

    /// Whole, in as many lines as it takes.
    fn wrapped(&self, room: usize) -> String {
        let text = self.cut(usize::MAX);
        if text.chars().count() <= room {
            return text;
        }
        // One more, for the space in front.
        let begin = " ".repeat(COLUMNS.saturating_sub(room) + 1);
        let options = Options::new(COLUMNS)
            .initial_indent(&begin)
            .subsequent_indent("    ")
            .word_separator(WordSeparator::AsciiSpace)
            .word_splitter(WordSplitter::NoHyphenation);
        let wrapped = textwrap::fill(text.trim_start(), options);
        format!(" {}", wrapped.trim_start())
    }
}

/// The text with `…` for what is over this many characters.
fn shortened(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        None => text.to_owned(),
        Some(_) => text.chars().take(longest - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::{layer::SubscriberExt, registry};

    use super::*;
    use crate::telemetry::tests::Sink;

    fn logged(log: impl FnOnce()) -> String {
        let sink = Sink::default();
        let lines = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(sink.clone())
            .event_format(Text);
        tracing::subscriber::with_default(registry().with(lines), log);
        sink.text()
    }

    #[test]
    fn a_denial_is_one_line_that_fits_whatever_the_client_sent() {
        for length in [1, 30, 1000] {
            let long = "é\n".repeat(length);
            let text = logged(|| {
                tracing::info!(
                    target: LOG_TARGET, decision = "deny", reason = "expired", provider = "cognito",
                    subject = long, method = "GET", path = long, host = long, request_id = long,
                    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736", latency_us = 42, "request denied"
                );
            });
            assert_eq!(text.lines().count(), 1, "{text}");
            assert!(text.trim_end().chars().count() <= COLUMNS, "{text}");
            let begin = &text[21..];
            assert!(
                begin.starts_with(" INFO request denied reason=expired provider=cognito"),
                "{text}"
            );
            assert!(!text.contains("claimgate::") && !text.contains("\"deny\""), "{text}");
        }
    }

    #[test]
    fn other_lines_are_wrapped_and_complete() {
        let error = "word ".repeat(100);
        let text = logged(|| tracing::error!(error = error.trim_end(), "not reloaded"));
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS), "{text}");
        assert_eq!(text.matches("word").count(), 100, "{text}");
        assert!(text.lines().skip(1).all(|line| line.starts_with("    word")), "{text}");
        let short = logged(|| tracing::warn!(a = 1, b = %"x y", c = "x y", d = "\u{1b}", "short"));
        assert_eq!(short[21..], *" WARN short a=1 b=x y c=\"x y\" d=\"\\u{1b}\"\n");
    }
}
