//! Wall-clock time as tokens count it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds since 1970-01-01T00:00:00Z, possibly fractional: the NumericDate
/// of RFC 7519, section 2.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct UnixTime(f64);

impl UnixTime {
    /// The operating system's clock.
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// From seconds since the epoch.
    pub const fn from_seconds(seconds: f64) -> Self {
        Self(seconds)
    }

    /// Seconds since the epoch.
    pub const fn as_seconds(self) -> f64 {
        self.0
    }
}

/// Anything before 1970 is 1970.
impl From<SystemTime> for UnixTime {
    fn from(time: SystemTime) -> Self {
        Self(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64())
    }
}

/// A text that is not a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write a time such as 2027-01-31T00:00:00Z, or seconds since 1970")]
pub struct NoTime;

/// The end of the year 9999: what looks like more are milliseconds.
const LAST: f64 = 253_402_300_800.0;

/// RFC 3339, or seconds since the epoch, fractions allowed.
impl std::str::FromStr for UnixTime {
    type Err = NoTime;

    fn from_str(text: &str) -> Result<Self, NoTime> {
        if let Some(seconds) = text.parse().ok().filter(|seconds| (0.0..LAST).contains(seconds)) {
            return Ok(Self(seconds));
        }
        let time: jiff::Timestamp = text.parse().map_err(|_| NoTime)?;
        #[allow(clippy::cast_precision_loss, reason = "sub-microsecond digits don't matter")]
        Ok(Self(time.as_nanosecond() as f64 / 1e9))
    }
}

impl std::ops::Add<Duration> for UnixTime {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(self.0 + later.as_secs_f64())
    }
}

impl std::ops::Sub<Duration> for UnixTime {
    type Output = Self;

    fn sub(self, earlier: Duration) -> Self {
        Self(self.0 - earlier.as_secs_f64())
    }
}

/// RFC 3339 in UTC, or plain seconds for what no calendar holds.
impl std::fmt::Display for UnixTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Calendar times have no fractions worth reading here.
        match jiff::Timestamp::from_second(self.0 as i64) {
            Ok(timestamp) => write!(f, "{timestamp}"),
            Err(_) => write!(f, "{} s after 1970", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read() {
        let cases = [
            ("2027-01-31T00:00:00Z", 1_801_353_600.0),
            ("2027-01-31T01:00:00.5+01:00", 1_801_353_600.5),
            ("1801353600", 1_801_353_600.0),
            ("0.5", 0.5),
        ];
        for (text, seconds) in cases {
            assert_eq!(text.parse(), Ok(UnixTime(seconds)), "{text}");
        }
        for wrong in ["", "now", "2027-01-31", "2027-01-31T00:00:00", "1801353600000", "-1", "nan"]
        {
            assert_eq!(wrong.parse::<UnixTime>(), Err(NoTime), "{wrong}");
        }
    }
}
