//! Which request waits for which fetch, without I/O.

use std::time::Duration;

use tokio::time::Instant;

/// Admits one requested fetch at a time, and then none for the cooldown.
#[derive(Debug)]
pub(super) struct Gate {
    cooldown: Duration,
    in_flight: bool,
    /// No fetch has begun yet.
    is_new: bool,
    /// A request waits for a fetch that has not begun.
    requested: bool,
    /// How many fetches have ended. The next one to end has the number after
    /// it.
    ended: u64,
    settled: Option<Settled>,
    /// Until when the server wants to be left alone.
    closed_until: Option<Instant>,
}

/// The result that holds during the cooldown.
#[derive(Clone, Copy, Debug)]
struct Settled {
    at: Instant,
    good: bool,
}

/// What a request does whose key is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It uses the result of the last requested fetch.
    Settled { good: bool },
    /// It waits until the fetch of this number has ended.
    WaitFor(u64),
    /// The same, and it must wake the task.
    Request(u64),
}

/// The cause of a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trigger {
    /// The fetch was due.
    Schedule,
    /// A request's key was missing.
    Request,
}

impl Gate {
    pub(super) fn new(cooldown: Duration) -> Self {
        Self {
            cooldown,
            in_flight: false,
            is_new: true,
            requested: false,
            ended: 0,
            settled: None,
            closed_until: None,
        }
    }

    /// What a request does whose key is missing. Without any keys a good
    /// result is not used, since it does not tell whether the key exists.
    pub(super) fn admit(&mut self, now: Instant, have_keys: bool) -> Admission {
        if let Some(settled) = self.settled
            && now.saturating_duration_since(settled.at) < self.cooldown
        {
            return Admission::Settled { good: settled.good && have_keys };
        }
        let next = self.ended + 1;
        if self.in_flight || self.requested {
            return Admission::WaitFor(next);
        }
        if self.closed_until.is_some_and(|end| now < end) {
            return Admission::Settled { good: false };
        }
        self.requested = true;
        Admission::Request(next)
    }

    /// The server wants no fetch before `end`. A fetch that ends without saying
    /// so again lifts that.
    pub(super) fn close_until(&mut self, end: Option<Instant>) {
        self.closed_until = end;
    }

    /// Whether a request waits for a fetch that has not begun.
    pub(super) fn is_requested(&self) -> bool {
        self.requested
    }

    /// A fetch begins; it serves the requests that wait. The first is due
    /// anyway, so a request that comes before it starts no cooldown: a key that
    /// is new soon after would not be looked for until that is over.
    pub(super) fn begin(&mut self) -> Trigger {
        self.in_flight = true;
        let is_first = std::mem::take(&mut self.is_new);
        let is_requested = std::mem::take(&mut self.requested);
        if is_requested && !is_first { Trigger::Request } else { Trigger::Schedule }
    }

    /// The fetch has ended.
    ///
    /// A requested fetch starts the cooldown. So does a failed one while there
    /// are no keys, since every request would cause the next. A good one on
    /// schedule overrides a failed one before it.
    pub(super) fn end(
        &mut self,
        now: Instant,
        trigger: Trigger,
        good: bool,
        have_keys: bool,
    ) -> u64 {
        self.in_flight = false;
        self.ended += 1;
        if trigger == Trigger::Request || (!good && !have_keys) {
            self.settled = Some(Settled { at: now, good });
        } else if good && let Some(settled) = &mut self.settled {
            settled.good = true;
        }
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// One whose first fetch is over.
    fn gate() -> (Gate, Instant) {
        (Gate { is_new: false, ..Gate::new(10 * SECOND) }, Instant::now())
    }

    #[test]
    fn a_request_before_the_first_fetch_starts_no_cooldown() {
        let (mut gate, now) = (Gate::new(10 * SECOND), Instant::now());
        assert_eq!(gate.admit(now, false), Admission::Request(1));
        let trigger = gate.begin();
        assert_eq!(trigger, Trigger::Schedule);
        gate.end(now, trigger, true, true);
        assert_eq!(gate.admit(now, true), Admission::Request(2));
        assert_eq!(gate.begin(), Trigger::Request);
    }

    #[test]
    fn one_request_causes_the_fetch_that_all_wait_for() {
        let (mut gate, now) = gate();
        assert_eq!(gate.admit(now, true), Admission::Request(1));
        assert_eq!(gate.admit(now, true), Admission::WaitFor(1));
        assert_eq!(gate.begin(), Trigger::Request);
        assert_eq!(gate.admit(now, true), Admission::WaitFor(1));
    }

    #[test]
    fn the_cooldown_counts_from_the_end_of_a_requested_fetch() {
        for good in [true, false] {
            let (mut gate, now) = gate();
            gate.admit(now, true);
            let trigger = gate.begin();
            let end = now + 30 * SECOND;
            gate.end(end, trigger, good, true);
            assert_eq!(gate.admit(end + 9 * SECOND, true), Admission::Settled { good });
            assert_eq!(gate.admit(end + 10 * SECOND, true), Admission::Request(2));
        }
    }

    #[test]
    fn a_fetch_on_schedule_is_waited_for_and_starts_no_cooldown() {
        for good in [true, false] {
            let (mut gate, now) = gate();
            let trigger = gate.begin();
            assert_eq!(trigger, Trigger::Schedule);
            assert_eq!(gate.admit(now, true), Admission::WaitFor(1));
            gate.end(now, trigger, good, true);
            assert_eq!(gate.admit(now, true), Admission::Request(2));
        }
    }

    #[test]
    fn without_keys_a_failed_fetch_on_schedule_starts_a_cooldown() {
        let (mut gate, now) = gate();
        let trigger = gate.begin();
        gate.end(now, trigger, false, false);
        assert_eq!(gate.admit(now + SECOND, false), Admission::Settled { good: false });
        assert_eq!(gate.admit(now + 10 * SECOND, false), Admission::Request(2));
    }

    #[test]
    fn a_good_fetch_on_schedule_overrides_a_failed_one() {
        let (mut gate, now) = gate();
        gate.admit(now, true);
        let trigger = gate.begin();
        gate.end(now, trigger, false, true);
        let trigger = gate.begin();
        gate.end(now + SECOND, trigger, true, true);
        assert_eq!(gate.admit(now + 2 * SECOND, true), Admission::Settled { good: true });
        assert_eq!(gate.admit(now + 10 * SECOND, true), Admission::Request(3));
    }

    #[test]
    fn while_the_server_wants_none_no_fetch_is_requested() {
        let (mut gate, now) = gate();
        let trigger = gate.begin();
        gate.close_until(Some(now + 30 * SECOND));
        gate.end(now, trigger, false, true);
        for after in [0, 9, 10, 29] {
            let admission = gate.admit(now + after * SECOND, true);
            assert_eq!(admission, Admission::Settled { good: false }, "{after}");
        }
        assert_eq!(gate.admit(now + 30 * SECOND, true), Admission::Request(2));
        gate.begin();
        assert_eq!(gate.admit(now, true), Admission::WaitFor(2), "of one that is under way");
        gate.close_until(None);
        gate.end(now, Trigger::Schedule, true, true);
        assert_eq!(gate.admit(now, true), Admission::Request(3));
    }

    #[test]
    fn a_good_result_is_not_used_once_the_keys_are_gone() {
        let (mut gate, now) = gate();
        gate.admit(now, true);
        let trigger = gate.begin();
        gate.end(now, trigger, true, true);
        assert_eq!(gate.admit(now, false), Admission::Settled { good: false });
    }
}
