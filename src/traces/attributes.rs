//! The attributes of a queued span.

use opentelemetry::KeyValue;
use smallvec::SmallVec;

use crate::texts::Texts;

/// Attributes that are texts.
#[derive(Default)]
pub struct Attributes {
    keys: SmallVec<[&'static str; 12]>,
    values: Texts,
}

impl Attributes {
    /// Copies the pairs that have a value.
    pub fn copy(pairs: &[(&'static str, Option<&str>)]) -> Self {
        let known = pairs.iter().filter_map(|&(key, value)| Some((key, value?)));
        let mut values = Texts::default();
        values.fill(known.clone().map(|(_, value)| value));
        Self { keys: known.map(|(key, _)| key).collect(), values }
    }

    /// The attributes as OpenTelemetry's type.
    pub(super) fn key_values(&self) -> impl Iterator<Item = KeyValue> {
        let numbered = self.keys.iter().enumerate();
        numbered.map(|(index, &key)| KeyValue::new(key, self.values.get(index).to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_as_they_were() {
        let pairs = [("a", Some("one")), ("b", None), ("c", Some("")), ("d", Some("zwölf"))];
        let copy: Vec<_> = Attributes::copy(&pairs).key_values().collect();
        let whole = [("a", "one"), ("c", ""), ("d", "zwölf")].map(|(k, v)| KeyValue::new(k, v));
        assert_eq!(copy, whole);
        assert_eq!(Attributes::default().key_values().count(), 0);
    }
}
