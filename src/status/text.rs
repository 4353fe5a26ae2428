//! Formats values for readers.

use std::{borrow::Cow, fmt};

use serde::{Serialize, Serializer};

use crate::time::UnixTime;

/// A moment, written in RFC 3339 with the milliseconds, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Moment(pub UnixTime);

impl Moment {
    /// How long before `now` this was, or after it: `3 min ago`, `in 2 h`.
    pub(super) fn from(self, now: Self) -> String {
        let seconds = self.0.as_seconds() - now.0.as_seconds();
        match span(seconds.abs()) {
            _ if seconds.abs() < 1.0 => "now".into(),
            span if seconds < 0.0 => format!("{span} ago"),
            span => format!("in {span}"),
        }
    }

    /// Date and time to the minute, in UTC: `2026-11-22 08:15`.
    pub(super) fn minute(self) -> String {
        let text = self.0.to_string().replacen('T', " ", 1);
        text.rsplit_once(':').map_or(text.clone(), |(minute, _)| minute.into())
    }

    /// The time of the day in UTC, `08:15:30`.
    pub(super) fn clock(self) -> String {
        let text = self.0.to_string();
        text.split_once('T').map_or(text.clone(), |(_, time)| time.trim_end_matches('Z').into())
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond((self.0.as_seconds() * 1e3) as i64) {
            Ok(timestamp) => write!(f, "{timestamp:.3}"),
            Err(_) => write!(f, "{}", self.0),
        }
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A length of time, to about two digits.
fn span(seconds: f64) -> String {
    const UNITS: [(f64, &str); 4] = [(86_400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s")];
    let (unit, name) =
        UNITS.into_iter().find(|(unit, _)| seconds >= 2.0 * unit).unwrap_or((1.0, "s"));
    format!("{:.0} {name}", (seconds / unit).floor())
}

/// A number for a reader: `0`, `0.3`, `12`, `3400`.
pub(super) fn rate(per_second: f64) -> String {
    match per_second {
        0.0 => "0".into(),
        n if n < 10.0 => format!("{n:.1}"),
        n => format!("{n:.0}"),
    }
}

/// The beginning of a value that may have any length, such as a key id of an
/// issuer's document.
pub(super) fn shortened(value: &str) -> Cow<'_, str> {
    const LONGEST: usize = 128;
    match value.floor_char_boundary(LONGEST) {
        end if end < value.len() => format!("{}…", &value[..end]).into(),
        _ => value.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Moment {
        Moment(UnixTime::from_seconds(seconds))
    }

    #[test]
    fn moments_are_told_to_machines_and_to_people() {
        assert_eq!(at(1.5).to_string(), "1970-01-01T00:00:01.500Z");
        assert_eq!(
            (at(1.5).clock(), at(61.5).minute()),
            ("00:00:01".into(), "1970-01-01 00:01".into())
        );
        let now = at(1_000_000.0);
        for (other, words) in [
            (999_999.5, "now"),
            (999_990.0, "10 s ago"),
            (999_881.0, "119 s ago"),
            (999_880.0, "2 min ago"),
            (1_007_200.0, "in 2 h"),
            (1_172_799.0, "in 47 h"),
            (1_172_800.0, "in 2 d"),
        ] {
            assert_eq!(at(other).from(now), words, "{other}");
        }
    }

    #[test]
    fn long_values_are_cut() {
        assert_eq!(shortened("short"), "short");
        assert_eq!(shortened(&"é".repeat(100)), "é".repeat(64) + "…");
    }

    #[test]
    fn rates_are_short() {
        assert_eq!([0.0, 0.04, 3.25, 12.3].map(rate), ["0", "0.0", "3.2", "12"]);
    }
}
