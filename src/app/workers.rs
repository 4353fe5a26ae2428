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
    connection::{self, Answers, Tls},
    doorway::Opening,
    listen::Accepted,
};

/// The running workers.
#[derive(Debug)]
pub struct Workers {
    workers: Vec<Worker>,
    assigned: AtomicU64,
    draining: watch::Sender<bool>,
    left: Arc<Notify>,
}

#[derive(Debug)]
struct Worker {
    inbox: mpsc::UnboundedSender<(Accepted, Arc<Opening>, Seat)>,
    /// Connections handed over and not ended yet.
    live: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

/// A connection's place on its worker, given up when dropped.
#[derive(Debug)]
struct Seat {
    live: Arc<AtomicUsize>,
    left: Arc<Notify>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.live.fetch_sub(1, Ordering::Release);
        self.left.notify_one();
    }
}

impl Workers {
    /// Starts `count` workers, each answering with a service of its own.
    ///
    /// # Errors
    /// The operating system gives no more threads or file descriptors.
    pub fn start<S: Answers>(
        count: NonZeroUsize,
        tls: &Tls,
        mut service: impl FnMut() -> S,
    ) -> io::Result<Self> {
        let draining = watch::Sender::new(false);
        let start = |index| Worker::start(index, service(), Arc::clone(tls), draining.subscribe());
        let workers = (0..count.get()).map(start).collect::<io::Result<_>>()?;
        Ok(Self { workers, assigned: AtomicU64::new(0), draining, left: Arc::default() })
    }

    /// Hands a connection to the worker with the fewest.
    ///
    /// Only the acceptor adds connections, so the worker chosen here ends up
    /// with at most one more than any other.
    pub(crate) fn assign(&self, accepted: Accepted, opening: Arc<Opening>) {
        let fewest = self.workers.iter().min_by_key(|worker| worker.live.load(Ordering::Acquire));
        let Some(worker) = fewest else { return };
        self.assigned.fetch_add(1, Ordering::Relaxed);
        worker.live.fetch_add(1, Ordering::AcqRel);
        let seat = Seat { live: Arc::clone(&worker.live), left: Arc::clone(&self.left) };
        if worker.inbox.send((accepted, opening, seat)).is_err() {
            error!("a worker has stopped, its connections are refused");
        }
    }

    /// How many connections each worker holds.
    pub fn connections(&self) -> impl ExactSizeIterator<Item = usize> {
        self.workers.iter().map(|worker| worker.live.load(Ordering::Acquire))
    }

    /// How many connections there have ever been.
    pub fn assigned(&self) -> u64 {
        self.assigned.load(Ordering::Relaxed)
    }

    /// Asks every client, present and future, to go elsewhere (GOAWAY) once
    /// it has the answers to what it sent.
    pub fn drain(&self) {
        self.draining.send_replace(true);
    }

    /// Waits until no connection is left.
    pub async fn wait_until_idle(&self) {
        while self.connections().any(|live| live > 0) {
            self.left.notified().await;
        }
    }

    /// Ends all workers, and the connections that are left.
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
    fn start<S: Answers>(
        index: usize,
        service: S,
        tls: Tls,
        draining: watch::Receiver<bool>,
    ) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (inbox, accepted) = mpsc::unbounded_channel();
        let thread = thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(move || work(&runtime, accepted, service, tls, draining))?;
        Ok(Self { inbox, live: Arc::default(), thread })
    }
}

fn work<S: Answers>(
    runtime: &Runtime,
    mut accepted: mpsc::UnboundedReceiver<(Accepted, Arc<Opening>, Seat)>,
    service: S,
    tls: Tls,
    draining: watch::Receiver<bool>,
) {
    runtime.block_on(async {
        while let Some((connection, opening, seat)) = accepted.recv().await {
            let (tls, service, draining) = (Arc::clone(&tls), service.clone(), draining.clone());
            let served = connection::serve(connection, opening, tls, service, draining);
            tokio::spawn(async move {
                served.await;
                drop(seat);
            });
        }
    });
}
