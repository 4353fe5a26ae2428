//! How many connections the file descriptors of the process allow, with enough
//! left for key fetches, the config's files and the admin port.

use std::{cmp::Ordering, num::NonZeroUsize};

use tracing::{debug, warn};

/// The most connections to the admin port. Beyond them a new one evicts the
/// oldest.
const MAX_ADMIN_CONNECTIONS: usize = 256;

/// Reserved for files, DNS look-ups and other short-lived descriptors.
const RESERVED: usize = 12;

/// How many descriptors are assumed to be open where they can't be counted.
const ASSUMED_OPEN: usize = 32;

/// How many connections each listener may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionLimits {
    pub(crate) grpc: usize,
    pub(crate) admin: usize,
}

impl ConnectionLimits {
    /// The limits that the descriptors of this process allow; to be called once
    /// every long-lived descriptor is open. `max_grpc` is
    /// `server.grpc.max_connections`; `outgoing` is how many connections the
    /// service may open itself at a time.
    pub(crate) fn allowed(max_grpc: NonZeroUsize, outgoing: usize) -> Self {
        let descriptors = raise_descriptor_limit();
        let allowed = Self::of(descriptors, open_descriptors(), max_grpc, outgoing);
        if allowed.grpc < max_grpc.get() {
            warn!(
                max_connections = max_grpc,
                allowed = allowed.grpc,
                descriptors,
                "fewer gRPC connections than server.grpc.max_connections are accepted, raise the \
                 limit of open files (ulimit -n, LimitNOFILE) or lower the setting"
            );
        }
        allowed
    }

    /// Divides the free descriptors: some are reserved, and at most a quarter of
    /// the rest goes to the admin port.
    fn of(limit: Option<u64>, used: usize, max_grpc: NonZeroUsize, outgoing: usize) -> Self {
        let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let free = limit.saturating_sub(used);
        let reserved = (RESERVED + outgoing).min(free / 2);
        let rest = free - reserved;
        let admin = (rest / 4).clamp(2, MAX_ADMIN_CONNECTIONS);
        Self { grpc: rest.saturating_sub(admin).clamp(1, max_grpc.get()), admin }
    }
}

/// Raises the soft limit of open files to the hard limit and returns it; `None`
/// is unlimited.
fn raise_descriptor_limit() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let is_lower = match (limit.current, limit.maximum) {
        (None, _) => return None,
        (Some(_), None) => true,
        (Some(current), Some(maximum)) => current.cmp(&maximum) == Ordering::Less,
    };
    if is_lower {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        match setrlimit(Resource::Nofile, raised) {
            Ok(()) => return limit.maximum,
            Err(error) => debug!(%error, "the limit of open files can't be raised"),
        }
    }
    limit.current
}

/// How many descriptors are in use.
fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(ASSUMED_OPEN, Iterator::count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_reserved_for_everything_else() {
        // limit, used, max_grpc, outgoing: gRPC, admin
        let cases = [
            ((Some(1_048_576), 30, 10_000, 2), (10_000, 256)),
            ((None, 30, 10_000, 2), (10_000, 256)),
            ((Some(1_048_576), 30, 5, 2), (5, 256)),
            ((Some(1024), 24, 10_000, 8), (735, 245)),
            ((Some(64), 24, 10_000, 1), (21, 6)),
            // A thousand issuers do not take every descriptor ...
            ((Some(1024), 24, 10_000, 1000), (375, 125)),
            // ... and there is always room for one or two connections.
            ((Some(24), 24, 10_000, 1), (1, 2)),
        ];
        for ((limit, used, max_grpc, outgoing), (grpc, admin)) in cases {
            let max_grpc = NonZeroUsize::new(max_grpc).unwrap();
            let allowed = ConnectionLimits::of(limit, used, max_grpc, outgoing);
            assert_eq!(allowed, ConnectionLimits { grpc, admin }, "{limit:?} {outgoing}");
        }
    }
}
