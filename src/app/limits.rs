//! How many connections there may be, so that descriptors are left for what
//! must go on: key fetches, the config's files, the admin port.

use std::{cmp::Ordering, num::NonZeroUsize};

use tracing::{debug, warn};

/// The most connections to the admin port. Beyond them the one that is open
/// for longest makes way.
const ADMIN_CONNECTIONS: usize = 256;

/// Kept free for files, names to be looked up, and whatever else has its
/// descriptor for a moment.
const ASIDE: usize = 12;

/// What a process has open of which nothing could be learnt.
const GUESSED: usize = 32;

/// How many connections each listener may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Connections {
    pub(crate) grpc: usize,
    pub(crate) admin: usize,
}

impl Connections {
    /// What the descriptors of this process allow, once everything that stays
    /// open is open. `wanted` is `server.grpc.max_connections`; `outgoing` is
    /// how many connections the service may open itself at a time.
    pub(crate) fn allowed(wanted: NonZeroUsize, outgoing: usize) -> Self {
        let descriptors = raise_descriptors();
        let allowed = Self::of(descriptors, open_descriptors(), wanted, outgoing);
        if allowed.grpc < wanted.get() {
            warn!(
                max_connections = wanted,
                allowed = allowed.grpc,
                descriptors,
                "fewer gRPC connections than server.grpc.max_connections are accepted, raise the \
                 limit of open files (ulimit -n, LimitNOFILE) or lower the setting"
            );
        }
        allowed
    }

    /// Shares out the descriptors that are not in use: a part stays free, a
    /// quarter of the rest at most is the admin port's.
    fn of(limit: Option<u64>, used: usize, wanted: NonZeroUsize, outgoing: usize) -> Self {
        let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let left = limit.saturating_sub(used);
        let aside = (ASIDE + outgoing).min(left / 2);
        let rest = left - aside;
        let admin = (rest / 4).clamp(2, ADMIN_CONNECTIONS);
        Self { grpc: rest.saturating_sub(admin).clamp(1, wanted.get()), admin }
    }
}

/// Raises the limit of open files to as many as this process may ask for, and
/// tells how many those are; `None` is any number.
fn raise_descriptors() -> Option<u64> {
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
    std::fs::read_dir("/proc/self/fd").map_or(GUESSED, Iterator::count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_left_for_what_must_go_on() {
        // limit, used, wanted, outgoing: gRPC, admin
        let cases = [
            ((Some(1_048_576), 30, 10_000, 2), (10_000, 256)),
            ((None, 30, 10_000, 2), (10_000, 256)),
            ((Some(1_048_576), 30, 5, 2), (5, 256)),
            ((Some(1024), 24, 10_000, 8), (735, 245)),
            ((Some(64), 24, 10_000, 1), (21, 6)),
            // A thousand issuers do not take every place ...
            ((Some(1024), 24, 10_000, 1000), (375, 125)),
            // ... and there is always a place or two.
            ((Some(24), 24, 10_000, 1), (1, 2)),
        ];
        for ((limit, used, wanted, outgoing), (grpc, admin)) in cases {
            let wanted = NonZeroUsize::new(wanted).unwrap();
            let allowed = Connections::of(limit, used, wanted, outgoing);
            assert_eq!(allowed, Connections { grpc, admin }, "{limit:?} {outgoing}");
        }
    }
}
