//! The attributes of a span that waits.

use opentelemetry::KeyValue;
use smallvec::SmallVec;

/// Texts and their keys, all texts in one piece of memory. Thousands of spans
/// may wait: with a piece for each text they would take the memory at hand
/// away from the decisions.
#[derive(Debug, Default)]
pub struct Texts {
    text: String,
    /// Each key, and where its text ends.
    ends: SmallVec<[(&'static str, usize); 9]>,
}

impl Texts {
    /// A copy of these.
    pub fn copy(pairs: &[(&'static str, Option<&str>)]) -> Self {
        let known = || pairs.iter().filter_map(|&(key, text)| Some((key, text?)));
        let mut text = String::with_capacity(known().map(|(_, text)| text.len()).sum());
        let mut ends = SmallVec::new();
        for (key, part) in known() {
            text.push_str(part);
            ends.push((key, text.len()));
        }
        Self { text, ends }
    }

    /// The same as OpenTelemetry has them.
    pub(super) fn attributes(&self) -> impl Iterator<Item = KeyValue> {
        let starts = [0].into_iter().chain(self.ends.iter().map(|&(_, end)| end));
        let parts = starts.zip(&self.ends);
        parts.map(|(start, &(key, end))| KeyValue::new(key, self.text[start..end].to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_as_they_were() {
        let pairs = [("a", Some("one")), ("b", None), ("c", Some("")), ("d", Some("zwölf"))];
        let copy: Vec<_> = Texts::copy(&pairs).attributes().collect();
        let whole = [("a", "one"), ("c", ""), ("d", "zwölf")].map(|(k, v)| KeyValue::new(k, v));
        assert_eq!(copy, whole);
        assert_eq!(Texts::default().attributes().count(), 0);
    }
}
