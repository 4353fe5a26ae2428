//! Where the keys of one provider come from.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use arc_swap::{ArcSwap, Guard};

use super::KeySet;

/// The keys of one provider: always at hand, refreshed in the background.
pub trait KeyStore: fmt::Debug + Send + Sync {
    /// The keys to use right now, without waiting; empty when none is usable.
    fn keys(&self) -> Guard<Arc<KeySet>>;

    /// Asks for keys that the current set does not have, since a token names
    /// one that is not in it, or is not signed by the one it names, which may
    /// have been replaced. Must not block.
    fn refresh(&self) -> Refresh;

    /// Why the keys could not be refreshed last time, if they could not.
    fn last_error(&self) -> Option<String>;
}

/// What to do about a key that the current set does not have.
pub enum Refresh {
    /// A refresh has just settled it: after a good one the key does not exist,
    /// after a failed one that is unknown.
    ///
    /// That refresh may have ended since the caller last looked, so look once
    /// more at [`KeyStore::keys`] before acting on this.
    Settled {
        /// Whether that refresh succeeded.
        good: bool,
    },
    /// A refresh that all requests share is under way; look again when this
    /// ends.
    Wait(Pin<Box<dyn Future<Output = ()> + Send>>),
}

/// Keys that never change.
#[derive(Debug)]
pub struct FixedKeys {
    /// Never swapped; hands out the same guards as a store that is refreshed.
    keys: ArcSwap<KeySet>,
}

impl FixedKeys {
    /// A store of these keys.
    pub fn new(keys: KeySet) -> Self {
        Self { keys: ArcSwap::from_pointee(keys) }
    }
}

impl KeyStore for FixedKeys {
    fn keys(&self) -> Guard<Arc<KeySet>> {
        self.keys.load()
    }

    fn refresh(&self) -> Refresh {
        Refresh::Settled { good: true }
    }

    fn last_error(&self) -> Option<String> {
        None
    }
}
