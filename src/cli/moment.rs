//! A moment as an argument or a test file gives it.

use jiff::Timestamp;

use crate::time::UnixTime;

/// When something is decided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum At {
    /// At this moment.
    Moment(UnixTime),
    /// When the captured request was made.
    OfTheRequest,
}

/// Reads RFC 3339, seconds since 1970, or `request`.
pub(super) fn parse_at(text: &str) -> Result<At, String> {
    match text {
        "request" => Ok(At::OfTheRequest),
        text => parse(text).map(At::Moment),
    }
}

/// Reads RFC 3339 or seconds since 1970, fractions allowed.
pub(crate) fn parse(text: &str) -> Result<UnixTime, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.0..LAST).contains(seconds));
    if let Some(seconds) = seconds {
        return Ok(UnixTime::from_seconds(seconds));
    }
    match text.parse::<Timestamp>() {
        #[allow(clippy::cast_precision_loss, reason = "sub-microsecond digits don't matter")]
        Ok(time) => Ok(UnixTime::from_seconds(time.as_nanosecond() as f64 / 1e9)),
        Err(_) => Err("write a time such as 2027-01-31T00:00:00Z, or seconds since 1970".into()),
    }
}

/// The end of the year 9999: what looks like more are milliseconds.
const LAST: f64 = 253_402_300_800.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read() {
        let moment = |seconds| Ok(At::Moment(UnixTime::from_seconds(seconds)));
        assert_eq!(parse_at("2027-01-31T00:00:00Z"), moment(1_801_353_600.0));
        assert_eq!(parse_at("2027-01-31T01:00:00.5+01:00"), moment(1_801_353_600.5));
        assert_eq!(parse_at("1801353600"), moment(1_801_353_600.0));
        assert_eq!(parse_at("0.5"), moment(0.5));
        assert_eq!(parse_at("request"), Ok(At::OfTheRequest));
        for wrong in ["", "now", "2027-01-31", "2027-01-31T00:00:00", "1801353600000", "-1", "nan"]
        {
            assert!(parse_at(wrong).is_err(), "{wrong}");
        }
    }
}
