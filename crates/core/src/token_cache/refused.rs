//! The tokens that were just refused for their signature.
//!
//! A client that sends one bad token over and over would have a signature
//! computed each time, which takes six times as much CPU with RS256
//! (`make undisturbed`, `make costs`). Each thread keeps the last few in a table of its own, so
//! that a flood of them delays no other thread. The table is of a fixed size: a
//! token is kept as its SHA-256, together with the key set that refused it.
//! With another set it is verified again, so entries need no end.

use std::{
    ptr,
    sync::{Arc, Mutex, Weak},
};

use aws_lc_rs::digest::{SHA256, digest};

use super::tail::{slot_of, tail};
use crate::{
    keys::KeySet,
    per_thread::{PerThread, free},
};

/// How many a thread keeps; a power of two.
const SLOTS: usize = 64;

pub(crate) struct RefusedTokens {
    shelves: PerThread<Mutex<Vec<Slot>>>,
}

#[derive(Default)]
struct Slot {
    /// The end of the token, compared before anything is computed.
    tail: u64,
    /// The whole token, so that no other token is refused in its place.
    digest: [u8; 32],
    /// As long as this is here, no other set can have the same address.
    keys: Weak<KeySet>,
}

impl RefusedTokens {
    pub(super) fn new() -> Self {
        Self { shelves: PerThread::new(Mutex::default) }
    }

    /// Whether this thread found lately that no key of this set verifies it.
    pub(crate) fn contains(&self, token: &str, keys: &Arc<KeySet>) -> bool {
        let Some(tail) = tail(token.as_bytes()) else { return false };
        let Some(shelf) = free(self.shelves.own()) else { return false };
        let same =
            |slot: &&Slot| slot.tail == tail && ptr::eq(slot.keys.as_ptr(), &raw const **keys);
        let slot = shelf.get(slot_of::<SLOTS>(tail)).filter(same);
        slot.is_some_and(|slot| slot.digest == sha256(token))
    }

    /// Keeps that no key of this set verifies the token, in place of the token
    /// that has the same slot.
    pub(crate) fn add(&self, token: &str, keys: &Arc<KeySet>) {
        let Some(tail) = tail(token.as_bytes()) else { return };
        let Some(mut shelf) = free(self.shelves.own()) else { return };
        if shelf.is_empty() {
            shelf.resize_with(SLOTS, Slot::default);
        }
        shelf[slot_of::<SLOTS>(tail)] =
            Slot { tail, digest: sha256(token), keys: Arc::downgrade(keys) };
    }
}

fn sha256(token: &str) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::{super::verified::tests::keys, *};

    #[test]
    fn a_token_is_known_by_the_key_set_that_refused_it_alone() {
        let (refused, one, other) = (RefusedTokens::new(), Arc::new(keys()), Arc::new(keys()));
        assert!(!refused.contains("a.b.signature", &one));
        refused.add("a.b.signature", &one);
        assert!(refused.contains("a.b.signature", &one));
        assert!(!refused.contains("a.b.signature", &other));
    }

    /// A client chooses how its token ends.
    #[test]
    fn a_token_that_ends_like_a_refused_one_is_another() {
        let (refused, keys) = (RefusedTokens::new(), Arc::new(keys()));
        refused.add("bad.token.signature", &keys);
        assert!(!refused.contains("good.token.signature", &keys));
        refused.add("worse.token.signature", &keys);
        let known = ["bad", "worse"]
            .map(|begin| refused.contains(&format!("{begin}.token.signature"), &keys));
        assert_eq!(known, [false, true], "the latest is in their place");
    }

    #[test]
    fn a_key_set_that_is_gone_is_never_mistaken_for_a_later_one() {
        let refused = RefusedTokens::new();
        for _ in 0..100 {
            let keys = Arc::new(keys());
            assert!(!refused.contains("a.b.signature", &keys));
            refused.add("a.b.signature", &keys);
        }
    }

    #[test]
    fn many_of_them_take_no_more_room() {
        let (refused, keys) = (RefusedTokens::new(), Arc::new(keys()));
        for number in 0..100 * SLOTS {
            refused.add(&format!("token-{number:08}"), &keys);
        }
        assert_eq!(refused.shelves.own().lock().unwrap().len(), SLOTS);
    }

    #[test]
    fn what_is_too_short_to_be_signed_is_not_kept() {
        let (refused, keys) = (RefusedTokens::new(), Arc::new(keys()));
        refused.add("a.b.c", &keys);
        assert!(!refused.contains("a.b.c", &keys));
    }
}
