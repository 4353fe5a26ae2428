//! Who is let in when connections are many.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use tokio::sync::Notify;
use tracing::{debug, warn};

use crate::telemetry::Seldom;

/// What a connection and the acceptor share for as long as it opens.
#[derive(Debug, Default)]
pub(crate) struct Opening {
    spoken: AtomicBool,
    dismissed: Notify,
}

impl Opening {
    /// The client has spoken HTTP/2: from now on it stays.
    pub(crate) fn has_spoken(&self) {
        self.spoken.store(true, Relaxed);
    }

    /// Whether it has.
    pub(crate) fn is_spoken(&self) -> bool {
        self.spoken.load(Relaxed)
    }

    /// Waits until the connection must make way for another.
    pub(crate) async fn dismissed(&self) {
        self.dismissed.notified().await;
    }
}

/// Bounds the connections of a listener.
///
/// When all places are taken, the client that has been silent for longest
/// makes way for a new one. If all have spoken, the new one is closed at
/// once: left waiting it would hold up the requests that Envoy has sent over
/// it, which so fail at once or go elsewhere.
#[derive(Debug)]
pub(crate) struct Doorway {
    most: usize,
    /// Those that have not spoken when last looked at, in the order in which
    /// they came.
    opening: VecDeque<Weak<Opening>>,
    is_full: bool,
    refused: u64,
    seldom: Seldom,
}

impl Doorway {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, opening: VecDeque::new(), is_full: false, refused: 0, seldom: Seldom::new() }
    }

    /// So many connections are all that may be there while some leave.
    pub(crate) fn crowd(&self) -> usize {
        self.most + self.most.div_ceil(8)
    }

    /// Lets a connection in beside `live` others; `None` refuses it.
    pub(crate) fn let_in(&mut self, live: usize) -> Option<Arc<Opening>> {
        if live < self.most {
            self.has_room(live);
        } else if !self.make_room(live) {
            self.refused += 1;
            return None;
        }
        if self.opening.len() > 2 * self.most {
            self.opening.retain(|it| it.upgrade().is_some_and(|it| !it.is_spoken()));
        }
        let opening = Arc::default();
        self.opening.push_back(Arc::downgrade(&opening));
        Some(opening)
    }

    fn has_room(&mut self, live: usize) {
        // Not at the first place that is free: it may be taken at once.
        if self.is_full && live <= self.most - self.most.div_ceil(8) {
            self.is_full = false;
            let refused = std::mem::take(&mut self.refused);
            debug!(refused, "there is room for connections again");
        }
    }

    /// Sends the client away that has been silent for longest.
    fn make_room(&mut self, live: usize) -> bool {
        if !self.is_full {
            self.is_full = true;
            if self.seldom.is_due() {
                warn!(limit = self.most, "the limit of gRPC connections is reached");
            }
        }
        if live >= self.crowd() {
            return false;
        }
        while let Some(longest) = self.opening.pop_front() {
            if let Some(silent) = longest.upgrade().filter(|it| !it.is_spoken()) {
                silent.dismissed.notify_one();
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn the_silent_make_way_and_the_others_stay() {
        let is_dismissed = |it: &Arc<Opening>| it.dismissed().now_or_never().is_some();
        let mut door = Doorway::new(3);
        let first: Vec<_> = (0..3).map(|live| door.let_in(live).unwrap()).collect();
        first[0].has_spoken();

        let fourth = door.let_in(3).expect("a place");
        let dismissed: Vec<_> = first.iter().map(is_dismissed).collect();
        assert_eq!(dismissed, [false, true, false], "the one that is silent for longest");
        assert!(door.let_in(4).is_none(), "not before it has left");

        first[2].has_spoken();
        fourth.has_spoken();
        assert!(door.let_in(3).is_none(), "all have spoken");
        assert_eq!((door.refused, door.is_full), (2, true));
        let fifth = door.let_in(2).expect("one has left");
        assert_eq!((door.refused, door.is_full), (0, false));
        assert!(door.let_in(3).is_some());
        assert!(is_dismissed(&fifth), "it was silent");
    }

    #[test]
    fn those_who_have_left_take_no_memory() {
        let mut door = Doorway::new(4);
        for _ in 0..1000 {
            drop(door.let_in(0));
        }
        assert!(door.opening.len() <= 9);
    }
}
