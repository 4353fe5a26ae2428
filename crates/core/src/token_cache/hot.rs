//! The tokens that a thread keeps meeting, at hand without sharing.
//!
//! A lookup in the cache of all threads writes to what they share: a lock, a
//! mark of use, reference counts. Threads that look up the same token then
//! wait for each other's cache lines, so a token that a thread meets often
//! gets a copy for that thread alone. A copy is only made of what the shared
//! cache holds at that moment, and checked by the same rules.
//!
//! Without copies, `whole_check` takes 8 % longer on one thread and 18 % on two
//! that meet the same token (`benches/engine.rs`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{
    tail::{slot_of, tail},
    verified::{Entry, VerifiedToken},
};
use crate::{
    bounded_cache::Weighed,
    per_thread::{PerThread, free},
    time::UnixTime,
};

/// How many tokens a thread keeps copies of; a power of two.
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
    /// The slot that is emptied next when room is needed.
    hand: usize,
}

#[derive(Default)]
struct Slot {
    /// The token that was here last without being kept.
    visitor: u64,
    kept: Option<Entry>,
}

impl HotTokens {
    /// Copies that take up to so many bytes, of all threads together.
    pub(super) fn new(bytes: usize) -> Self {
        let shelves = PerThread::<Mutex<Shelf>>::new(Mutex::default);
        let room = bytes / shelves.iter().count().max(1);
        Self { shelves, room }
    }

    /// This thread's entry of a token, if it is valid; else that of `shared`,
    /// copied if the token came twice in a row.
    pub(super) fn lookup(
        &self,
        token: &[u8],
        now: UnixTime,
        shared: impl FnOnce() -> Option<Entry>,
    ) -> Option<Arc<VerifiedToken>> {
        let (Some(tail), Some(mut shelf)) = (tail(token), self.own()) else {
            return shared().map(|entry| entry.value);
        };
        if shelf.slots.is_empty() {
            shelf.slots.resize_with(SLOTS, Slot::default);
        }
        let at = slot_of::<SLOTS>(tail);
        let slot = &mut shelf.slots[at];
        if let Some(Weighed { value: verified, .. }) = &slot.kept
            && verified.is_valid_for(token, now)
        {
            slot.visitor = 0;
            return Some(Arc::clone(verified));
        }
        let Weighed { value: verified, bytes } = shared()?;
        if slot.visitor != tail || bytes > self.room / LEAST_IN_ROOM {
            slot.visitor = tail;
            return Some(verified);
        }
        let own = Arc::new(verified.copied());
        shelf.keep(at, Weighed { value: Arc::clone(&own), bytes }, self.room);
        Some(own)
    }

    /// Drops invalid entries.
    pub(super) fn tidy(&self, now: UnixTime) {
        for shelf in self.shelves.iter() {
            let mut shelf = shelf.lock().unwrap_or_else(PoisonError::into_inner);
            for at in 0..shelf.slots.len() {
                if shelf.slots[at].kept.as_ref().is_some_and(|kept| !kept.value.is_valid(now)) {
                    shelf.evict(at);
                }
            }
        }
    }

    /// The shelf of this thread, unless another thread holds it.
    fn own(&self) -> Option<MutexGuard<'_, Shelf>> {
        free(self.shelves.own())
    }
}

impl Shelf {
    /// Keeps a copy in place of the one that is there; other slots are emptied
    /// for it, one after the other, until there is room.
    fn keep(&mut self, at: usize, kept: Entry, room: usize) {
        self.evict(at);
        while self.bytes > 0 && self.bytes + kept.bytes > room {
            self.evict(self.hand);
            self.hand = (self.hand + 1) % SLOTS;
        }
        self.bytes += kept.bytes;
        self.slots[at].kept = Some(kept);
    }

    fn evict(&mut self, at: usize) {
        if let Some(kept) = self.slots[at].kept.take() {
            self.bytes -= kept.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::{
        super::verified::tests::{END, NOW, first, keys, verified},
        *,
    };
    use crate::keys::{KeySet, VerifyingKey};

    fn entry(token: &str, key: &Arc<VerifyingKey>) -> Entry {
        let verified = verified(token, key);
        Weighed { bytes: verified.heap_bytes(), value: Arc::new(verified) }
    }

    /// The copies of threads, and a shared cache that has every token.
    struct Caches {
        hot: HotTokens,
        key: Arc<VerifyingKey>,
        asked: Cell<usize>,
    }

    impl Caches {
        fn new(key: Arc<VerifyingKey>) -> Self {
            Self::with_room(key, 1 << 30)
        }

        fn with_room(key: Arc<VerifyingKey>, bytes: usize) -> Self {
            Self { hot: HotTokens::new(bytes), key, asked: Cell::new(0) }
        }

        /// The token's subject and whether the shared cache was asked.
        fn lookup(&self, token: &str, now: UnixTime) -> (Option<String>, bool) {
            let before = self.asked.get();
            let found = self.hot.lookup(token.as_bytes(), now, || {
                self.asked.set(before + 1);
                Some(entry(token, &self.key)).filter(|entry| entry.value.is_valid(now))
            });
            let subject = found.and_then(|verified| verified.principal.subject.clone());
            (subject, self.asked.get() > before)
        }
    }

    #[test]
    fn a_token_that_comes_twice_in_a_row_is_kept() {
        let caches = Caches::new(first(&keys()));
        let asked: Vec<_> = (0..4).map(|_| caches.lookup("token-of-one", NOW)).collect();
        let subject = Some("subject of token-of-one".to_owned());
        let expected = [true, true, false, false].map(|asked| (subject.clone(), asked));
        assert_eq!(asked, expected);
    }

    /// Every token meets another that ends like it, so in the same place.
    #[test]
    fn tokens_that_end_alike_are_told_apart() {
        let caches = Caches::new(first(&keys()));
        for _ in 0..4 {
            for token in ["one-12345678", "other-12345678"] {
                let (subject, _) = caches.lookup(token, NOW);
                assert_eq!(subject, Some(format!("subject of {token}")));
            }
        }
    }

    #[test]
    fn many_tokens_in_turn_are_not_kept() {
        let caches = Caches::new(first(&keys()));
        for _ in 0..2 {
            for number in 0..10 * SLOTS {
                let (subject, asked) = caches.lookup(&format!("token-{number:08}"), NOW);
                assert!(subject.is_some() && asked, "{number}");
            }
        }
    }

    #[test]
    fn what_is_kept_ends_with_the_token_and_with_its_key() {
        let keys = keys();
        let caches = Caches::new(first(&keys));
        for _ in 0..4 {
            caches.lookup("token-of-one", NOW);
        }
        assert_eq!(caches.lookup("token-of-one", END), (None, true));
        assert!(!caches.lookup("token-of-one", NOW).1);
        keys.retire_all_but(&KeySet::default());
        assert_eq!(caches.lookup("token-of-one", NOW), (None, true));
    }

    #[test]
    fn tidying_lets_go_of_what_ended() {
        let caches = Caches::new(first(&keys()));
        for _ in 0..3 {
            caches.lookup("token-of-one", NOW);
        }
        let kept = || {
            let shelf = caches.hot.own().unwrap();
            let kept = shelf.slots.iter().filter(|slot| slot.kept.is_some()).count();
            assert_eq!(shelf.bytes > 0, kept > 0);
            kept
        };
        caches.hot.tidy(NOW);
        assert_eq!(kept(), 1);
        caches.hot.tidy(END);
        assert_eq!(kept(), 0);
    }

    #[test]
    fn a_copy_shares_nothing_that_is_counted() {
        let caches = Caches::new(first(&keys()));
        let shared = entry("token-of-one", &caches.key);
        let lookup = || caches.hot.lookup(b"token-of-one", NOW, || Some(shared.clone()));
        lookup();
        let own = lookup().unwrap();
        assert!(!Arc::ptr_eq(&own, &shared.value));
        assert!(!Arc::ptr_eq(&own.principal, &shared.value.principal));
    }

    #[test]
    fn the_copies_of_a_thread_have_a_bound() {
        let key = first(&keys());
        let one = entry("token-00000000", &key).bytes;
        let caches = Caches::with_room(key, 20 * one * threads());
        for number in 0..SLOTS {
            (0..3).for_each(|_| drop(caches.lookup(&format!("token-{number:08}"), NOW)));
            assert!(caches.hot.own().unwrap().bytes <= 20 * one);
        }
        let latest = format!("token-{:08}", SLOTS - 1);
        assert!(!caches.lookup(&latest, NOW).1, "the latest is at hand");
        assert!(caches.hot.own().unwrap().bytes > 10 * one);
    }

    #[test]
    fn a_token_that_is_too_large_is_not_copied() {
        let key = first(&keys());
        let token = "token-of-one";
        let room = 15 * entry(token, &key).bytes * threads();
        let caches = Caches::with_room(key, room);
        for _ in 0..4 {
            let (subject, asked) = caches.lookup(token, NOW);
            assert!(subject.is_some() && asked);
        }
        assert_eq!(caches.hot.own().unwrap().bytes, 0);
    }

    fn threads() -> usize {
        PerThread::new(|| ()).iter().count()
    }
}
