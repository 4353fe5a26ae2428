//! How long a server wants to be left alone (RFC 9110, section 10.2.3).

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, header};

/// What `retry-after` of an answer with this status says, in seconds or as a
/// date; nothing for what can't be read or is over.
///
/// Only two statuses mean that the server is busy (RFC 6585, section 4; RFC
/// 9110, section 15.6.4).
pub(super) fn wanted(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    if !matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        return None;
    }
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let pause = match is_number {
        // More digits than fit are as long as it gets.
        true => Duration::from_secs(text.parse().unwrap_or(u64::MAX)),
        false => httpdate::parse_http_date(text).ok()?.duration_since(now).ok()?,
    };
    (!pause.is_zero()).then_some(pause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_are_read() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        for (status, text, expected) in [
            (429, "120", seconds(120)),
            (503, "120", seconds(120)),
            (503, " 7 ", seconds(7)),
            (429, "Sun, 06 Nov 1994 08:50:37 GMT", seconds(60)),
            // The two older forms (RFC 9110, section 5.6.7).
            (429, "Sunday, 06-Nov-94 08:50:37 GMT", seconds(60)),
            (429, "Sun Nov  6 08:50:37 1994", seconds(60)),
            (429, "99999999999999999999999", seconds(u64::MAX)),
            (429, "0", None),
            (429, "Sun, 06 Nov 1994 08:49:37 GMT", None),
            (429, "Sun, 06 Nov 1994 08:49:36 GMT", None),
            (429, "-1", None),
            (429, "+1", None),
            (429, "1.5", None),
            (429, "soon", None),
            (429, "", None),
            (500, "120", None),
            (404, "120", None),
            (502, "120", None),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let headers = HeaderMap::from_iter([(header::RETRY_AFTER, text.parse().unwrap())]);
            assert_eq!(wanted(status, &headers, now), expected, "{status} {text}");
        }
        assert_eq!(wanted(StatusCode::TOO_MANY_REQUESTS, &HeaderMap::new(), now), None);
    }
}
