//! Caches that are bounded by the bytes of their entries as well as by their
//! number.

use std::hash::Hash;

use ahash::RandomState;
use quick_cache::{Weighter, sync::Cache};

/// A cache of all threads.
pub type BoundedCache<K, V> = Cache<K, Weighed<V>, ByBytes, RandomState>;

/// A value, and how much memory the cache takes for it, in bytes. That is
/// computed once: the weight of an entry must not change while it is cached.
#[derive(Clone, Debug)]
pub struct Weighed<V> {
    /// What is cached.
    pub value: V,
    /// How much memory the cache takes for it, the key included.
    pub bytes: usize,
}

/// What a cache itself needs for an entry, counted generously: the entry and
/// the links of its order, a place to find it by, and half as much again for
/// evicted entries that may come back.
pub const ENTRY_BYTES: usize = 160;

/// A cache is made of parts with a lock and a bound of their own, each for at
/// least 32 entries of this size: a large one must not push everything else
/// out of its part.
const ROOMY_ENTRY_BYTES: usize = 16 * 1024;

/// A cache of at most so many entries, which take at most so many bytes.
pub fn bounded<K: Hash + Eq, V: Clone>(
    entries: usize,
    bytes: usize,
    hasher: RandomState,
) -> BoundedCache<K, V> {
    let weighter = ByBytes { least: bytes as u64 / (entries as u64 + 1) + 1 };
    let expected = entries.min(bytes / ROOMY_ENTRY_BYTES).max(1);
    Cache::with(expected, bytes as u64, weighter, hasher, Default::default())
}

/// Counts an entry as what it takes, but never as so little that more entries
/// than wanted would fit.
#[derive(Clone, Copy)]
pub struct ByBytes {
    least: u64,
}

impl<K, V> Weighter<K, Weighed<V>> for ByBytes {
    fn weight(&self, _: &K, entry: &Weighed<V>) -> u64 {
        self.least.max(entry.bytes as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    /// How many of three times as many entries, of so many bytes each, stay.
    fn kept(entries: usize, bytes: usize, each: usize) -> usize {
        let cache = bounded(entries, bytes, RandomState::new());
        let count = 3 * entries.min(bytes / each).max(10);
        (0..count).for_each(|number| cache.insert(number, Weighed { value: (), bytes: each }));
        assert!(cache.weight() <= bytes as u64);
        cache.len()
    }

    #[test]
    fn both_bounds_hold_and_are_made_use_of() {
        let cases = [
            (1, MIB, 100, 1),
            (10, MIB, 100, 10),
            (1000, MIB, 100, 1000),
            (1_000_000, MIB, 100, MIB / 100),
            (10_000, MIB, 10_000, MIB / 10_000),
            (10_000, 64 * MIB, 3_000, 10_000),
            (10_000, 64 * MIB, 60_000, 64 * MIB / 60_000),
        ];
        for (entries, bytes, each, most) in cases {
            let kept = kept(entries, bytes, each);
            assert!((most * 3 / 4..=most).contains(&kept), "{entries} of {each} B: {kept}");
        }
    }

    #[test]
    fn what_has_no_room_is_not_kept() {
        assert_eq!(kept(10, 1000, 2000), 0);
    }
}
