//! The worker threads that serve gRPC.
//!
//! Each is a thread with a single-threaded runtime of its own, so a check
//! never moves between cores. Envoy opens few connections, one per thread of
//! its own, and keeps them for hours: left to chance, most might sit on one
//! core. So one acceptor hands each connection to the worker that holds the
//! fewest.

use std::{
    io,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

use tokio::{
    runtime::{Builder, Runtime},
    sync::{Notify, mpsc, watch},
};
use tracing::error;

use super::{
    connection::{self, HttpService, Tls},
    connection_age::MaxAge,
    connection_limit::Handshake,
    listen::Accepted,
};

/// The running workers.
#[derive(Debug)]
pub struct Workers {
    workers: Vec<Worker>,
    assigned: AtomicU64,
    draining: watch::Sender<bool>,
    closed: Arc<Notify>,
}

#[derive(Debug)]
struct Worker {
    inbox: mpsc::UnboundedSender<(Accepted, Arc<Handshake>, ConnectionGuard)>,
    /// Connections assigned to it that have not closed yet.
    open: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

/// Counts a connection as open on its worker until dropped.
#[derive(Debug)]
struct ConnectionGuard {
    open: Arc<AtomicUsize>,
    closed: Arc<Notify>,
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Release);
        self.closed.notify_one();
    }
}

impl Workers {
    /// Starts `count` workers, each with a service of its own.
    ///
    /// # Errors
    /// The operating system gives no more threads or file descriptors.
    pub fn start<S: HttpService>(
        count: NonZeroUsize,
        tls: &Tls,
        max_age: MaxAge,
        mut service: impl FnMut() -> S,
    ) -> io::Result<Self> {
        let draining = watch::Sender::new(false);
        let start =
            |index| Worker::start(index, service(), Arc::clone(tls), max_age, draining.subscribe());
        let workers = (0..count.get()).map(start).collect::<io::Result<_>>()?;
        Ok(Self { workers, assigned: AtomicU64::new(0), draining, closed: Arc::default() })
    }

    /// Assigns a connection to the worker with the fewest.
    ///
    /// Only the acceptor adds connections, so the worker chosen here ends up
    /// with at most one more than any other.
    pub(crate) fn assign(&self, accepted: Accepted, handshake: Arc<Handshake>) {
        let fewest = self.workers.iter().min_by_key(|worker| worker.open.load(Ordering::Acquire));
        let Some(worker) = fewest else { return };
        self.assigned.fetch_add(1, Ordering::Relaxed);
        worker.open.fetch_add(1, Ordering::AcqRel);
        let guard =
            ConnectionGuard { open: Arc::clone(&worker.open), closed: Arc::clone(&self.closed) };
        if worker.inbox.send((accepted, handshake, guard)).is_err() {
            error!("a worker has stopped, its connections are refused");
        }
    }

    /// How many open connections each worker has.
    pub fn connections(&self) -> impl ExactSizeIterator<Item = usize> {
        self.workers.iter().map(|worker| worker.open.load(Ordering::Acquire))
    }

    /// How many connections have been assigned since the start.
    pub fn assigned(&self) -> u64 {
        self.assigned.load(Ordering::Relaxed)
    }

    /// Sends GOAWAY over every connection, also over those still to come; calls
    /// in flight are completed.
    pub fn drain(&self) {
        self.draining.send_replace(true);
    }

    /// Waits until no connection is open.
    pub async fn wait_until_idle(&self) {
        while self.connections().any(|open| open > 0) {
            self.closed.notified().await;
        }
    }

    /// Stops all workers and closes the remaining connections.
    pub fn stop(self) {
        for Worker { inbox, thread, .. } in self.workers {
            drop(inbox);
            if thread.join().is_err() {
                error!("a worker had panicked");
            }
        }
    }
}

impl Worker {
    fn start<S: HttpService>(
        index: usize,
        service: S,
        tls: Tls,
        max_age: MaxAge,
        draining: watch::Receiver<bool>,
    ) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (inbox, accepted) = mpsc::unbounded_channel();
        let thread = thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(move || run(&runtime, accepted, service, tls, max_age, draining))?;
        Ok(Self { inbox, open: Arc::default(), thread })
    }
}

fn run<S: HttpService>(
    runtime: &Runtime,
    mut accepted: mpsc::UnboundedReceiver<(Accepted, Arc<Handshake>, ConnectionGuard)>,
    service: S,
    tls: Tls,
    max_age: MaxAge,
    draining: watch::Receiver<bool>,
) {
    runtime.block_on(async {
        while let Some((connection, handshake, guard)) = accepted.recv().await {
            let (tls, service, draining) = (Arc::clone(&tls), service.clone(), draining.clone());
            let served = connection::serve(connection, handshake, tls, max_age, service, draining);
            tokio::spawn(async move {
                served.await;
                drop(guard);
            });
        }
    });
}
