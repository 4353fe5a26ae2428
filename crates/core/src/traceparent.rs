//! The W3C `traceparent` header: where in which trace a request stands.

/// A valid `traceparent` (W3C Trace Context, section 3.2):
/// `version-traceid-parentid-flags`, lower-case hex.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traceparent<'h> {
    /// 32 hex digits, not all zero.
    pub trace_id: &'h str,
    /// 16 hex digits, not all zero.
    pub parent_id: &'h str,
    /// Whether the caller keeps this trace.
    pub sampled: bool,
}

impl<'h> Traceparent<'h> {
    /// Reads the header; `None` if it is not valid.
    pub fn parse(header: &'h [u8]) -> Option<Self> {
        let header = str::from_utf8(header).ok()?;
        let mut parts = header.split('-');
        let (version, trace_id, parent_id, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let future_version = version != "00";
        let valid = hex(version, 2)
            && version != "ff"
            && hex(trace_id, 32)
            && trace_id.bytes().any(|b| b != b'0')
            && hex(parent_id, 16)
            && parent_id.bytes().any(|b| b != b'0')
            && hex(flags, 2)
            // Later versions may append further parts, this one has none.
            && (future_version || parts.next().is_none());
        let sampled = u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1);
        valid.then_some(Self { trace_id, parent_id, sampled })
    }
}

fn hex(part: &str, length: usize) -> bool {
    part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_valid_header_names_a_trace() {
        const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
        let cases = [
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true),
            ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", true),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", false),
            ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false),
            ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", false),
            ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0", false),
            ("", false),
            ("00-\n", false),
        ];
        for (header, valid) in cases {
            let found = Traceparent::parse(header.as_bytes());
            assert_eq!(found.map(|it| it.trace_id), valid.then_some(TRACE), "{header}");
        }
        assert_eq!(Traceparent::parse(b"\xff"), None);
    }

    #[test]
    fn the_lowest_flag_says_whether_the_trace_is_kept() {
        for (flags, sampled) in [("00", false), ("01", true), ("02", false), ("ff", true)] {
            let header = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
            let found = Traceparent::parse(header.as_bytes()).expect("valid");
            assert_eq!((found.sampled, found.parent_id), (sampled, "00f067aa0ba902b7"), "{flags}");
        }
    }
}
