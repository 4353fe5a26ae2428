//! The tokens that a thread keeps meeting, at hand without sharing.
//!
//! Whoever recalls a token from the memory of all threads writes to what they
//! share: a lock, a mark of use, reference counts. Threads that recall the
//! same token then wait for each other's caches, so a token that a thread
//! meets often gets a copy for that thread alone. A copy is only of what the
//! shared memory holds at that moment, and judged by the same rules.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Known;
use crate::{
    per_thread::{PerThread, free},
    time::UnixTime,
};

/// How many tokens a thread keeps at hand; a power of two.
const SLOTS: usize = 128;

pub(super) struct HotTokens {
    shelves: PerThread<Mutex<Vec<Slot>>>,
}

#[derive(Default)]
struct Slot {
    /// The token that was here last without being kept.
    visitor: u64,
    kept: Option<Arc<Known>>,
}

impl HotTokens {
    pub(super) fn new() -> Self {
        Self { shelves: PerThread::new(Mutex::default) }
    }

    /// What this thread keeps of a token, if that still holds; else what
    /// `shared` knows, kept if the token came twice in a row.
    pub(super) fn recall(
        &self,
        token: &str,
        now: UnixTime,
        shared: impl FnOnce() -> Option<Arc<Known>>,
    ) -> Option<Arc<Known>> {
        let (Some(tail), Some(mut shelf)) = (tail(token), self.own()) else { return shared() };
        if shelf.is_empty() {
            shelf.resize_with(SLOTS, Slot::default);
        }
        let slot = &mut shelf[slot_of(tail)];
        if let Some(known) = &slot.kept
            && known.holds_for(token, now)
        {
            slot.visitor = 0;
            return Some(Arc::clone(known));
        }
        let known = shared()?;
        if slot.visitor != tail {
            slot.visitor = tail;
            return Some(known);
        }
        let own = Arc::new(known.copied());
        slot.kept = Some(Arc::clone(&own));
        Some(own)
    }

    /// Drops what can't be used any more.
    pub(super) fn tidy(&self, now: UnixTime) {
        for shelf in self.shelves.iter() {
            let mut shelf = shelf.lock().unwrap_or_else(PoisonError::into_inner);
            for slot in shelf.iter_mut() {
                slot.kept.take_if(|known| !known.holds(now));
            }
        }
    }

    /// The shelf of this thread, unless another one is at it.
    fn own(&self) -> Option<MutexGuard<'_, Vec<Slot>>> {
        free(self.shelves.own())
    }
}

/// The end of a token, which is the end of its signature: as good as random
/// for a token that was verified, and nobody else's is kept. Never 0.
fn tail(token: &str) -> Option<u64> {
    token.as_bytes().last_chunk().map(|tail| u64::from_le_bytes(*tail)).filter(|tail| *tail != 0)
}

/// Spreads tails over the slots: the product's upper bits depend on all of
/// them (Knuth, The Art of Computer Programming, volume 3, section 6.4).
fn slot_of(tail: u64) -> usize {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    (tail.wrapping_mul(GOLDEN) >> (u64::BITS - SLOTS.trailing_zeros())) as usize
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::{
        super::tests::{END, NOW, first, keys, known},
        *,
    };
    use crate::provider::oauth2::keys::{KeySet, VerifyingKey};

    /// A memory, and one of all threads that knows every token.
    struct Memories {
        hot: HotTokens,
        key: Arc<VerifyingKey>,
        asked: Cell<usize>,
    }

    impl Memories {
        fn new(key: Arc<VerifyingKey>) -> Self {
            Self { hot: HotTokens::new(), key, asked: Cell::new(0) }
        }

        /// The token's subject and whether the memory of all threads was asked.
        fn recall(&self, token: &str, now: UnixTime) -> (Option<String>, bool) {
            let before = self.asked.get();
            let known = self.hot.recall(token, now, || {
                self.asked.set(before + 1);
                Some(Arc::new(known(token, &self.key))).filter(|known| known.holds(now))
            });
            let subject = known.and_then(|known| known.principal.subject.clone());
            (subject, self.asked.get() > before)
        }
    }

    #[test]
    fn a_token_that_comes_twice_in_a_row_is_kept() {
        let memories = Memories::new(first(&keys()));
        let asked: Vec<_> = (0..4).map(|_| memories.recall("token-of-one", NOW)).collect();
        let subject = Some("subject of token-of-one".to_owned());
        let expected = [true, true, false, false].map(|asked| (subject.clone(), asked));
        assert_eq!(asked, expected);
    }

    /// Every token meets another that ends like it, so in the same place.
    #[test]
    fn tokens_that_end_alike_are_told_apart() {
        let memories = Memories::new(first(&keys()));
        for _ in 0..4 {
            for token in ["one-12345678", "other-12345678"] {
                let (subject, _) = memories.recall(token, NOW);
                assert_eq!(subject, Some(format!("subject of {token}")));
            }
        }
    }

    #[test]
    fn many_tokens_in_turn_are_not_kept() {
        let memories = Memories::new(first(&keys()));
        for _ in 0..2 {
            for number in 0..10 * SLOTS {
                let (subject, asked) = memories.recall(&format!("token-{number:08}"), NOW);
                assert!(subject.is_some() && asked, "{number}");
            }
        }
    }

    #[test]
    fn what_is_kept_ends_with_the_token_and_with_its_key() {
        let keys = keys();
        let memories = Memories::new(first(&keys));
        for _ in 0..4 {
            memories.recall("token-of-one", NOW);
        }
        assert_eq!(memories.recall("token-of-one", END), (None, true));
        assert!(!memories.recall("token-of-one", NOW).1);
        keys.retire_all_but(&KeySet::default());
        assert_eq!(memories.recall("token-of-one", NOW), (None, true));
    }

    #[test]
    fn tidying_lets_go_of_what_ended() {
        let memories = Memories::new(first(&keys()));
        for _ in 0..3 {
            memories.recall("token-of-one", NOW);
        }
        let kept = || {
            let shelf = memories.hot.own().unwrap();
            shelf.iter().filter(|slot| slot.kept.is_some()).count()
        };
        memories.hot.tidy(NOW);
        assert_eq!(kept(), 1);
        memories.hot.tidy(END);
        assert_eq!(kept(), 0);
    }

    #[test]
    fn a_copy_shares_nothing_that_is_counted() {
        let memories = Memories::new(first(&keys()));
        let shared = Arc::new(known("token-of-one", &memories.key));
        let recall = || memories.hot.recall("token-of-one", NOW, || Some(Arc::clone(&shared)));
        recall();
        let own = recall().unwrap();
        assert!(!Arc::ptr_eq(&own, &shared));
        assert!(!Arc::ptr_eq(&own.principal, &shared.principal));
    }
}
