//! Several texts in one allocation.

use smallvec::SmallVec;

/// Texts, stored one after the other. With a string for each, a check whose span is
/// recorded takes 5 % more CPU (`make bench ARGS=observing`, all sampled).
#[derive(Clone, Default)]
pub(crate) struct Texts {
    text: String,
    /// Where each of them ends.
    ends: SmallVec<[u32; 13]>,
}

impl Texts {
    /// Replaces the content with copies of `texts`, reusing the memory.
    pub(crate) fn fill<'t>(&mut self, texts: impl Iterator<Item = &'t str> + Clone) {
        self.text.clear();
        self.ends.clear();
        self.text.reserve_exact(texts.clone().map(str::len).sum());
        for text in texts {
            self.text.push_str(text);
            self.ends.push(u32::try_from(self.text.len()).unwrap_or(u32::MAX));
        }
    }

    /// The text at `index`; empty if there is none.
    pub(crate) fn get(&self, index: usize) -> &str {
        let Some(&end) = self.ends.get(index) else { return "" };
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.text.get(start as usize..end as usize).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_as_they_were_filled_in_last() {
        let mut texts = Texts::default();
        assert_eq!(texts.get(0), "");
        for given in [&["one", "", "zwölf"][..], &["", "two"], &["x"; 20], &[]] {
            texts.fill(given.iter().copied());
            let back: Vec<_> = (0..given.len()).map(|index| texts.get(index)).collect();
            assert_eq!(back, given);
            assert_eq!(texts.get(given.len()), "");
        }
    }
}
