//! The limit of gRPC connections, and which one is closed when it is reached.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use tokio::sync::Notify;
use tracing::{debug, warn};

use crate::telemetry::LogThrottle;

/// The handshake of a connection: TLS and the preface of HTTP/2. The connection
/// and the acceptor share it.
#[derive(Debug, Default)]
pub(crate) struct Handshake {
    completed: AtomicBool,
    eviction: Notify,
}

impl Handshake {
    /// The client has sent HTTP/2's preface: from now on it is not evicted.
    pub(crate) fn complete(&self) {
        self.completed.store(true, Relaxed);
    }

    /// Whether the client has sent the preface.
    pub(crate) fn is_complete(&self) -> bool {
        self.completed.load(Relaxed)
    }

    /// Waits until the connection is evicted in favour of a new one.
    pub(crate) async fn evicted(&self) {
        self.eviction.notified().await;
    }
}

/// Limits the connections of a listener.
///
/// At the limit, a new connection evicts the one whose handshake has been
/// pending for longest. If all handshakes are complete, the new one is closed
/// at once: if it were left waiting, the requests that Envoy has sent over it
/// would wait too; this way they fail at once or go to another instance.
#[derive(Debug)]
pub(crate) struct ConnectionLimit {
    max: usize,
    /// Handshakes that were pending when last checked, the oldest first.
    pending: VecDeque<Weak<Handshake>>,
    is_full: bool,
    refused: u64,
    throttle: LogThrottle,
}

impl ConnectionLimit {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            pending: VecDeque::new(),
            is_full: false,
            refused: 0,
            throttle: LogThrottle::new(),
        }
    }

    /// The number of connections that is never exceeded, not even while evicted
    /// ones are still closing.
    pub(crate) fn hard_limit(&self) -> usize {
        self.max + self.max.div_ceil(8)
    }

    /// Admits a connection beside `open` others; `None` refuses it.
    pub(crate) fn admit(&mut self, open: usize) -> Option<Arc<Handshake>> {
        if open < self.max {
            self.below_limit(open);
        } else if !self.evict_pending(open) {
            self.refused += 1;
            return None;
        }
        if self.pending.len() > 2 * self.max {
            self.pending.retain(|it| it.upgrade().is_some_and(|it| !it.is_complete()));
        }
        let handshake = Arc::default();
        self.pending.push_back(Arc::downgrade(&handshake));
        Some(handshake)
    }

    fn below_limit(&mut self, open: usize) {
        // Not at the first connection below the limit: the next may reach it again.
        if self.is_full && open <= self.max - self.max.div_ceil(8) {
            self.is_full = false;
            let refused = std::mem::take(&mut self.refused);
            debug!(refused, "the number of gRPC connections is below the limit again");
        }
    }

    /// Evicts the connection whose handshake has been pending for longest;
    /// false if there is none.
    fn evict_pending(&mut self, open: usize) -> bool {
        if !self.is_full {
            self.is_full = true;
            if self.throttle.is_due() {
                warn!(limit = self.max, "the limit of gRPC connections is reached");
            }
        }
        if open >= self.hard_limit() {
            return false;
        }
        while let Some(oldest) = self.pending.pop_front() {
            if let Some(pending) = oldest.upgrade().filter(|it| !it.is_complete()) {
                pending.eviction.notify_one();
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
    fn pending_handshakes_are_evicted_and_complete_ones_stay() {
        let is_evicted = |it: &Arc<Handshake>| it.evicted().now_or_never().is_some();
        let mut limit = ConnectionLimit::new(3);
        let first: Vec<_> = (0..3).map(|open| limit.admit(open).unwrap()).collect();
        first[0].complete();

        let fourth = limit.admit(3).expect("evicts another");
        let evicted: Vec<_> = first.iter().map(is_evicted).collect();
        assert_eq!(evicted, [false, true, false], "the one that is pending for longest");
        assert!(limit.admit(4).is_none(), "not before it has closed");

        first[2].complete();
        fourth.complete();
        assert!(limit.admit(3).is_none(), "all are complete");
        assert_eq!((limit.refused, limit.is_full), (2, true));
        let fifth = limit.admit(2).expect("one has closed");
        assert_eq!((limit.refused, limit.is_full), (0, false));
        assert!(limit.admit(3).is_some());
        assert!(is_evicted(&fifth), "its handshake was pending");
    }

    #[test]
    fn closed_connections_take_no_memory() {
        let mut limit = ConnectionLimit::new(4);
        for _ in 0..1000 {
            drop(limit.admit(0));
        }
        assert!(limit.pending.len() <= 9);
    }
}
