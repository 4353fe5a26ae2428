//! The gRPC server: one listener that feeds the workers, until it is drained.

use std::{convert::Infallible, io, num::NonZeroUsize, time::Duration};

use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tracing::{info, warn};

use super::{
    connection::{Answers, Tls},
    doorway::Doorway,
    listen::{BoundAddress, Listener},
    workers::Workers,
};

/// Pause after a connection could not be accepted; doubled each time in a row.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long clients that were sent away may take to leave, before one that
/// comes is refused.
const LEAVING_LIMIT: Duration = Duration::from_millis(250);
/// How often to look whether they have.
const LEAVING_LOOK: Duration = Duration::from_millis(1);

/// When no client has come back for this long during a drain, all have
/// understood that this instance is going away.
const QUIET: Duration = Duration::from_secs(1);

/// The part of the grace period that is kept for those who came last.
const LAST_ORDERS: Duration = Duration::from_secs(2);

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every request was answered.
    InTime,
    /// The grace period ended with connections still open.
    Cut {
        /// How many.
        connections: usize,
    },
}

/// A listener and the workers behind it.
#[derive(Debug)]
pub struct Server {
    listener: Listener,
    workers: Workers,
    most: usize,
}

impl Server {
    /// Starts `workers` threads behind a bound listener. Nothing is accepted
    /// before [`Server::accept`] runs.
    ///
    /// # Errors
    /// The operating system gives no more threads or file descriptors.
    pub fn start<S: Answers>(
        listener: Listener,
        workers: NonZeroUsize,
        tls: &Tls,
        service: impl FnMut() -> S,
    ) -> io::Result<Self> {
        Ok(Self { listener, workers: Workers::start(workers, tls, service)?, most: usize::MAX / 4 })
    }

    /// Lets in at most so many connections at a time.
    #[must_use]
    pub fn bounded(self, connections: usize) -> Self {
        Self { most: connections, ..self }
    }

    /// Where it listens.
    pub fn address(&self) -> &BoundAddress {
        self.listener.address()
    }

    /// The workers.
    pub fn workers(&self) -> &Workers {
        &self.workers
    }

    /// Accepts connections until dropped.
    pub async fn accept(&self) -> Infallible {
        let mut pause = FIRST_PAUSE;
        let mut door = Doorway::new(self.most);
        loop {
            match self.listener.accept().await {
                Ok(connection) => {
                    pause = FIRST_PAUSE;
                    let live = self.live_below(door.crowd()).await;
                    // One that is not let in is closed here.
                    if let Some(opening) = door.let_in(live) {
                        self.workers.assign(connection, opening);
                    }
                }
                Err(error) if is_the_clients(&error) => {}
                Err(error) => {
                    // Out of file descriptors, most likely: the connection
                    // stays in the queue, so asking again at once would spin.
                    if pause == FIRST_PAUSE {
                        warn!(%error, "cannot accept connections, trying again");
                    }
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// How many connections there are, once they are fewer than a `crowd`: the
    /// silent ones that were sent away may need a moment to leave.
    async fn live_below(&self, crowd: usize) -> usize {
        let live = || self.workers.connections().sum();
        let leaving = async {
            while live() >= crowd {
                sleep(LEAVING_LOOK).await;
            }
        };
        let _ = timeout(LEAVING_LIMIT, leaving).await;
        live()
    }

    /// Sends every client away and answers what they sent before they knew.
    ///
    /// Whoever decides where requests go needs a moment to see that this
    /// instance is leaving, and until then Envoy reconnects to it. Closing
    /// the listener at once would fail those requests. So it stays open:
    /// a new connection is answered and told to go away as well, until none
    /// has come for a while or the grace period nears its end.
    pub async fn drain(self, grace: Duration) -> Drained {
        let deadline = Instant::now() + grace;
        let is_in_use = self.workers.connections().any(|live| live > 0);
        self.workers.drain();
        if is_in_use {
            tokio::select! {
                never = self.accept() => match never {},
                () = quiet(&self.workers) => {}
                () = sleep_until(deadline - LAST_ORDERS.min(grace / 4)) => {}
            }
        }
        let Self { listener, workers, .. } = self;
        drop(listener);
        let idle = timeout_at(deadline, workers.wait_until_idle()).await;
        let connections = workers.connections().sum();
        workers.stop();
        if idle.is_ok() {
            info!("drained");
            return Drained::InTime;
        }
        warn!(connections, "grace period is over, closing the connections that are left");
        Drained::Cut { connections }
    }
}

/// The peer was gone before its connection could be accepted.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

async fn quiet(workers: &Workers) {
    loop {
        workers.wait_until_idle().await;
        let before = workers.assigned();
        sleep(QUIET).await;
        if workers.assigned() == before {
            return;
        }
    }
}
