//! Everything that a check uses of one configuration, and the handle to the
//! active one.

use std::{fmt, sync::Arc, time::Duration};

use arc_swap::{ArcSwap, Guard};

use crate::{engine::Engine, metrics::CheckMeters, status::denials::DenialLog, traces::Tracer};

/// What decides and records checks, for one configuration.
pub struct Snapshot {
    /// Decides checks.
    pub engine: Engine,
    /// Counts checks.
    pub meters: CheckMeters,
    /// How long a decision may wait for I/O.
    pub check_timeout: Duration,
    /// Records denials for the status page; `None` where that is off.
    pub denials: Option<Arc<DenialLog>>,
    /// Records spans; `None` without `server.tracing`.
    pub tracer: Option<Arc<Tracer>>,
}

/// A handle to the active configuration. Clones share it: a reload through one
/// takes effect for all.
#[derive(Clone)]
pub struct ConfigHandle(Arc<ArcSwap<Snapshot>>);

impl ConfigHandle {
    /// A handle whose first configuration is `snapshot`.
    pub fn new(snapshot: impl Into<Arc<Snapshot>>) -> Self {
        Self(Arc::new(ArcSwap::new(snapshot.into())))
    }

    /// The current snapshot, without a lock. A check keeps the one that it began
    /// with.
    pub fn load(&self) -> Guard<Arc<Snapshot>> {
        self.0.load()
    }

    /// Replaces the snapshot.
    pub fn store(&self, snapshot: impl Into<Arc<Snapshot>>) {
        self.0.store(snapshot.into());
    }
}

impl fmt::Debug for ConfigHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigHandle").finish_non_exhaustive()
    }
}
