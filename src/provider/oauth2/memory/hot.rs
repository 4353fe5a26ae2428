//! The tokens that a thread keeps meeting, at hand without sharing.
//!
//! Whoever recalls a token from the memory of all threads writes to what they
//! share: a lock, a mark of use, reference counts. Threads that recall the
//! same token then wait for each other's caches, so a token that a thread
//! meets often gets a copy for that thread alone. A copy is only of what the
//! shared memory holds at that moment, and judged by the same rules.
//!
//! Without copies, `whole_check` takes 8 % longer on one thread and 18 % on two
//! that meet the same token (`benches/engine.rs`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{
    Kept, Known,
    tail::{slot_of, tail},
};
use crate::{
    cache::Weighed,
    per_thread::{PerThread, free},
    time::UnixTime,
};

/// How many tokens a thread keeps at hand; a power of two.
const SLOTS: usize = 128;

/// A token that would take a larger part of a thread's room than one in so
/// many is left where it is: others would have to be copied again for it.
const LEAST_IN_ROOM: usize = 16;

pub(super) struct HotTokens {
    shelves: PerThread<Mutex<Shelf>>,
    /// How much memory the copies of one thread may take.
    room: usize,
}

#[derive(Default)]
struct Shelf {
    slots: Vec<Slot>,
    /// What all of them take.
    bytes: usize,
    /// The slot that makes room next.
    hand: usize,
}

#[derive(Default)]
struct Slot {
    /// The token that was here last without being kept.
    visitor: u64,
    kept: Option<Kept>,
}

impl HotTokens {
    /// Copies that take up to so many bytes, of all threads together.
    pub(super) fn new(bytes: usize) -> Self {
        let shelves = PerThread::<Mutex<Shelf>>::new(Mutex::default);
        let room = bytes / shelves.iter().count().max(1);
        Self { shelves, room }
    }

    /// What this thread keeps of a token, if that still holds; else what
    /// `shared` knows, kept if the token came twice in a row.
    pub(super) fn recall(
        &self,
        token: &str,
        now: UnixTime,
        shared: impl FnOnce() -> Option<Kept>,
    ) -> Option<Arc<Known>> {
        let (Some(tail), Some(mut shelf)) = (tail(token), self.own()) else {
            return shared().map(|kept| kept.value);
        };
        if shelf.slots.is_empty() {
            shelf.slots.resize_with(SLOTS, Slot::default);
        }
        let at = slot_of::<SLOTS>(tail);
        let slot = &mut shelf.slots[at];
        if let Some(Weighed { value: known, .. }) = &slot.kept
            && known.holds_for(token, now)
        {
            slot.visitor = 0;
            return Some(Arc::clone(known));
        }
        let Weighed { value: known, bytes } = shared()?;
        if slot.visitor != tail || bytes > self.room / LEAST_IN_ROOM {
            slot.visitor = tail;
            return Some(known);
        }
        let own = Arc::new(known.copied());
        shelf.keep(at, Weighed { value: Arc::clone(&own), bytes }, self.room);
        Some(own)
    }

    /// Drops what can't be used any more.
    pub(super) fn tidy(&self, now: UnixTime) {
        for shelf in self.shelves.iter() {
            let mut shelf = shelf.lock().unwrap_or_else(PoisonError::into_inner);
            for at in 0..shelf.slots.len() {
                if shelf.slots[at].kept.as_ref().is_some_and(|kept| !kept.value.holds(now)) {
                    shelf.let_go(at);
                }
            }
        }
    }

    /// The shelf of this thread, unless another one is at it.
    fn own(&self) -> Option<MutexGuard<'_, Shelf>> {
        free(self.shelves.own())
    }
}

impl Shelf {
    /// Keeps a copy in place of the one that is there; others make room for
    /// it, one slot after the other.
    fn keep(&mut self, at: usize, kept: Kept, room: usize) {
        self.let_go(at);
        while self.bytes > 0 && self.bytes + kept.bytes > room {
            self.let_go(self.hand);
            self.hand = (self.hand + 1) % SLOTS;
        }
        self.bytes += kept.bytes;
        self.slots[at].kept = Some(kept);
    }

    fn let_go(&mut self, at: usize) {
        if let Some(kept) = self.slots[at].kept.take() {
            self.bytes -= kept.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::{
        super::tests::{END, NOW, first, keys, known},
        *,
    };
    use crate::provider::oauth2::keys::{KeySet, VerifyingKey};

    fn kept(token: &str, key: &Arc<VerifyingKey>) -> Kept {
        let known = known(token, key);
        Weighed { bytes: known.heap_bytes(), value: Arc::new(known) }
    }

    /// A memory, and one of all threads that knows every token.
    struct Memories {
        hot: HotTokens,
        key: Arc<VerifyingKey>,
        asked: Cell<usize>,
    }

    impl Memories {
        fn new(key: Arc<VerifyingKey>) -> Self {
            Self::with_room(key, 1 << 30)
        }

        fn with_room(key: Arc<VerifyingKey>, bytes: usize) -> Self {
            Self { hot: HotTokens::new(bytes), key, asked: Cell::new(0) }
        }

        /// The token's subject and whether the memory of all threads was asked.
        fn recall(&self, token: &str, now: UnixTime) -> (Option<String>, bool) {
            let before = self.asked.get();
            let known = self.hot.recall(token, now, || {
                self.asked.set(before + 1);
                Some(kept(token, &self.key)).filter(|kept| kept.value.holds(now))
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
            let kept = shelf.slots.iter().filter(|slot| slot.kept.is_some()).count();
            assert_eq!(shelf.bytes > 0, kept > 0);
            kept
        };
        memories.hot.tidy(NOW);
        assert_eq!(kept(), 1);
        memories.hot.tidy(END);
        assert_eq!(kept(), 0);
    }

    #[test]
    fn a_copy_shares_nothing_that_is_counted() {
        let memories = Memories::new(first(&keys()));
        let shared = kept("token-of-one", &memories.key);
        let recall = || memories.hot.recall("token-of-one", NOW, || Some(shared.clone()));
        recall();
        let own = recall().unwrap();
        assert!(!Arc::ptr_eq(&own, &shared.value));
        assert!(!Arc::ptr_eq(&own.principal, &shared.value.principal));
    }

    #[test]
    fn the_copies_of_a_thread_have_a_bound() {
        let key = first(&keys());
        let one = kept("token-00000000", &key).bytes;
        let memories = Memories::with_room(key, 20 * one * threads());
        for number in 0..SLOTS {
            (0..3).for_each(|_| drop(memories.recall(&format!("token-{number:08}"), NOW)));
            assert!(memories.hot.own().unwrap().bytes <= 20 * one);
        }
        let latest = format!("token-{:08}", SLOTS - 1);
        assert!(!memories.recall(&latest, NOW).1, "the latest is at hand");
        assert!(memories.hot.own().unwrap().bytes > 10 * one);
    }

    #[test]
    fn a_token_that_is_too_large_is_not_copied() {
        let key = first(&keys());
        let token = "token-of-one";
        let room = 15 * kept(token, &key).bytes * threads();
        let memories = Memories::with_room(key, room);
        for _ in 0..4 {
            let (subject, asked) = memories.recall(token, NOW);
            assert!(subject.is_some() && asked);
        }
        assert_eq!(memories.hot.own().unwrap().bytes, 0);
    }

    fn threads() -> usize {
        PerThread::new(|| ()).iter().count()
    }
}
