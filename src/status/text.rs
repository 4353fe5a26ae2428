//! How values are written for readers.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::time::UnixTime;

/// A moment, written in RFC 3339 with the milliseconds, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Moment(pub UnixTime);

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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Moment {
        Moment(UnixTime::from_seconds(seconds))
    }

    #[test]
    fn moments_are_told_to_machines_() {
        assert_eq!(at(1.5).to_string(), "1970-01-01T00:00:01.500Z");
    }
}
