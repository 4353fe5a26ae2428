//! Where an issuer's keys come from and how they stay fresh.

use std::{future::Future, pin::Pin, sync::Arc};

use super::keys::KeySet;

/// The keys of one provider: always at hand, replaced in the background.
#[derive(Debug)]
pub struct KeySource {
    _todo: (),
}

/// What to do about a key that the current set does not have.
pub enum Refresh {
    /// A fetch has just settled it: after a good one the key does not exist,
    /// after a failed one nobody can tell.
    Settled {
        /// Whether that fetch succeeded.
        good: bool,
    },
    /// A fetch shared by everybody is under way; look again when this ends.
    Wait(Pin<Box<dyn Future<Output = ()> + Send>>),
}

impl KeySource {
    /// The keys to use right now, without waiting; empty when none is usable.
    pub fn keys(&self) -> arc_swap::Guard<Arc<KeySet>> {
        todo!()
    }

    /// Asks for keys that the current set does not have.
    pub fn refresh(&self) -> Refresh {
        todo!()
    }
}
