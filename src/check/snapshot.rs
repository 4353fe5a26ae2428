//! Everything made of one configuration, and the handle to the one in force.

use std::{fmt, sync::Arc, time::Duration};

use arc_swap::{ArcSwap, Guard};

use crate::{engine::Engine, metrics::CheckMeters, status::denials::Denials, traces::Tracer};

/// What checks are decided with and recorded in, for one configuration.
pub struct Snapshot {
    /// Decides.
    pub engine: Engine,
    /// Counts.
    pub meters: CheckMeters,
    /// How long a decision may wait for I/O.
    pub check_timeout: Duration,
    /// Keeps denials for the status page; `None` where that is off.
    pub denials: Option<Arc<Denials>>,
    /// Records spans; `None` without `server.tracing`.
    pub tracer: Option<Arc<Tracer>>,
}

/// The configuration in force. Clones share it: a reload through one is seen
/// by all.
#[derive(Clone)]
pub struct ConfigHandle(Arc<ArcSwap<Snapshot>>);

impl ConfigHandle {
    /// Begins with `snapshot` in force.
    pub fn new(snapshot: impl Into<Arc<Snapshot>>) -> Self {
        Self(Arc::new(ArcSwap::new(snapshot.into())))
    }

    /// The snapshot in force now, without a lock. A check keeps the one that
    /// it began with.
    pub fn load(&self) -> Guard<Arc<Snapshot>> {
        self.0.load()
    }

    /// Puts another snapshot in force.
    pub fn store(&self, snapshot: impl Into<Arc<Snapshot>>) {
        self.0.store(snapshot.into());
    }
}

impl fmt::Debug for ConfigHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigHandle").finish_non_exhaustive()
    }
}
