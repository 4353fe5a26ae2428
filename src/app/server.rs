//! The gRPC server: one listener that feeds the workers, until it is drained.

use std::{convert::Infallible, io, num::NonZeroUsize, time::Duration};

use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tracing::{info, warn};

use super::{
    connection::{HttpService, Tls},
    connection_age::MaxAge,
    connection_limit::ConnectionLimit,
    listen::{BoundAddress, Listener},
    workers::Workers,
};

/// The first pause after a connection could not be accepted; it doubles with
/// each failure in a row.
const MIN_BACKOFF: Duration = Duration::from_millis(10);
/// The longest such pause.
const MAX_BACKOFF: Duration = Duration::from_secs(1);

/// How long evicted connections may take to close before a new one is refused.
const EVICTION_TIMEOUT: Duration = Duration::from_millis(250);
/// How often to check whether they have closed.
const EVICTION_POLL: Duration = Duration::from_millis(1);

/// When no client has reconnected for this long during a drain, all of them know
/// that this instance is shutting down.
const QUIET_PERIOD: Duration = Duration::from_secs(1);

/// The part of the grace period that is left for the last connections once the
/// listener is closed.
const CLOSING_RESERVE: Duration = Duration::from_secs(2);

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every request got its response.
    InTime,
    /// The grace period ended with connections still open.
    Cut {
        /// How many.
        connections: usize,
    },
}

/// A listener and its workers.
#[derive(Debug)]
pub struct Server {
    listener: Listener,
    workers: Workers,
    max_connections: usize,
}

impl Server {
    /// Starts `workers` threads behind a bound listener. Nothing is accepted
    /// before [`Server::accept`] runs.
    ///
    /// # Errors
    /// The operating system gives no more threads or file descriptors.
    pub fn start<S: HttpService>(
        listener: Listener,
        workers: NonZeroUsize,
        tls: &Tls,
        max_age: MaxAge,
        service: impl FnMut() -> S,
    ) -> io::Result<Self> {
        let workers = Workers::start(workers, tls, max_age, service)?;
        Ok(Self { listener, workers, max_connections: usize::MAX / 4 })
    }

    /// The same server with a limit of connections at a time.
    #[must_use]
    pub fn with_max_connections(self, max_connections: usize) -> Self {
        Self { max_connections, ..self }
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
        let mut backoff = MIN_BACKOFF;
        let mut limit = ConnectionLimit::new(self.max_connections);
        loop {
            match self.listener.accept().await {
                Ok(connection) => {
                    backoff = MIN_BACKOFF;
                    let open = self.open_below(limit.hard_limit()).await;
                    // A refused connection is dropped, and so closed, here.
                    if let Some(handshake) = limit.admit(open) {
                        self.workers.assign(connection, handshake);
                    }
                }
                Err(error) if is_client_error(&error) => {}
                Err(error) => {
                    // Out of file descriptors, most likely: the connection
                    // stays in the queue, so retrying at once would spin.
                    if backoff == MIN_BACKOFF {
                        warn!(%error, "cannot accept connections, trying again");
                    }
                    sleep(backoff).await;
                    backoff = (backoff * 2).min(MAX_BACKOFF);
                }
            }
        }
    }

    /// How many connections are open, after waiting a moment for evicted ones to
    /// close if that is `limit` or more.
    async fn open_below(&self, limit: usize) -> usize {
        let open = || self.workers.connections().sum();
        let closing = async {
            while open() >= limit {
                sleep(EVICTION_POLL).await;
            }
        };
        let _ = timeout(EVICTION_TIMEOUT, closing).await;
        open()
    }

    /// Sends GOAWAY to every client and completes the calls in flight.
    ///
    /// Load balancers and Envoy need a moment to notice that this instance is
    /// shutting down, and until then Envoy reconnects to it. Closing the
    /// listener at once would fail those requests. So it stays open: a new
    /// connection is served and gets GOAWAY as well, until none has come for a
    /// while or the grace period nears its end.
    pub async fn drain(self, grace: Duration) -> Drained {
        let deadline = Instant::now() + grace;
        let is_in_use = self.workers.connections().any(|open| open > 0);
        self.workers.drain();
        if is_in_use {
            tokio::select! {
                never = self.accept() => match never {},
                () = wait_until_quiet(&self.workers) => {}
                () = sleep_until(deadline - CLOSING_RESERVE.min(grace / 4)) => {}
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

/// Whether the peer closed the connection before it could be accepted.
fn is_client_error(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

async fn wait_until_quiet(workers: &Workers) {
    loop {
        workers.wait_until_idle().await;
        let before = workers.assigned();
        sleep(QUIET_PERIOD).await;
        if workers.assigned() == before {
            return;
        }
    }
}
