//! Log lines for programs: one JSON object each.

use std::fmt;

use claimgate_core::text::visible_json;
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{self, Format, Writer},
        time::FormatTime,
    },
    registry::LookupSpan,
};

/// What most lines take, in bytes.
const USUAL_BYTES: usize = 1024;

/// Formats an event as one JSON object with its fields beside `timestamp`,
/// `level` and `target`, and without a character that a terminal would obey or
/// a reader could not see: some lines quote what others sent.
#[derive(Debug)]
pub struct Json<T>(Format<format::Json, T>);

impl<T> Json<T> {
    /// With the time as this format has it.
    pub fn new<F>(format: Format<F, T>) -> Self {
        let lines = format.json().flatten_event(true);
        Self(lines.with_current_span(false).with_span_list(false))
    }
}

impl<S, N, T> FormatEvent<S, N> for Json<T>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'w> FormatFields<'w> + 'static,
    T: FormatTime,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::with_capacity(USUAL_BYTES);
        self.0.format_event(context, Writer::new(&mut line), event)?;
        writer.write_str(&visible_json(&line))
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::{fmt::format::JsonFields, layer::SubscriberExt, registry};

    use super::*;
    use crate::telemetry::tests::Sink;

    #[test]
    fn a_line_holds_no_unseen_character_and_the_value_as_it_is() {
        let sink = Sink::default();
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(sink.clone())
            .fmt_fields(JsonFields::new())
            .event_format(Json::new(format::format()));
        let error = "\u{9b}2Kan\u{202e}error\n\u{7f}";
        tracing::subscriber::with_default(registry().with(lines), || {
            tracing::warn!(error, "not {error}");
        });
        let text = sink.text();
        let line = text.strip_suffix('\n').expect("a line");
        assert!(!line.contains(|char: char| char.is_control() || char == '\u{202e}'), "{line}");
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(line["error"], error);
        assert_eq!(
            (&line["level"], &line["message"]),
            (&"WARN".into(), &format!("not {error}").into())
        );
    }
}
