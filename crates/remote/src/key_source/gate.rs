//! Who waits for which fetch: the bookkeeping, free of I/O.

use std::time::Duration;

use tokio::time::Instant;

/// Lets one fetch at a time be asked for, and then none for a while.
#[derive(Debug)]
pub(super) struct Gate {
    cooldown: Duration,
    in_flight: bool,
    /// Somebody wants a fetch that has not begun.
    asked: bool,
    /// How many fetches have ended; the next to end has the next number.
    ended: u64,
    settled: Option<Settled>,
}

/// The result that answers during the cooldown.
#[derive(Clone, Copy, Debug)]
struct Settled {
    at: Instant,
    good: bool,
}

/// What becomes of somebody who lacks a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// The last fetch that was asked for answers.
    Settled { good: bool },
    /// Wait until the fetch of this number has ended.
    WaitFor(u64),
    /// The same, and the task must be woken for it.
    Ask(u64),
}

/// Why there is a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trigger {
    /// It was due.
    Schedule,
    /// Somebody lacked a key.
    Request,
}

impl Gate {
    pub(super) fn new(cooldown: Duration) -> Self {
        Self { cooldown, in_flight: false, asked: false, ended: 0, settled: None }
    }

    /// Somebody lacks a key. Without any keys a good result means nothing:
    /// whether the key exists can't be told.
    pub(super) fn admit(&mut self, now: Instant, have_keys: bool) -> Admission {
        if let Some(settled) = self.settled
            && now.saturating_duration_since(settled.at) < self.cooldown
        {
            return Admission::Settled { good: settled.good && have_keys };
        }
        let next = self.ended + 1;
        if self.in_flight || self.asked {
            return Admission::WaitFor(next);
        }
        self.asked = true;
        Admission::Ask(next)
    }

    /// Whether somebody wants a fetch.
    pub(super) fn is_asked(&self) -> bool {
        self.asked
    }

    /// A fetch begins, for whoever asked.
    pub(super) fn begin(&mut self) -> Trigger {
        self.in_flight = true;
        if std::mem::take(&mut self.asked) { Trigger::Request } else { Trigger::Schedule }
    }

    /// The fetch has ended.
    ///
    /// One that was asked for starts the cooldown. So does a failed one while
    /// there are no keys, as everybody would ask at once. A good one on
    /// schedule knows better than a failed one before it.
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

    fn gate() -> (Gate, Instant) {
        (Gate::new(10 * SECOND), Instant::now())
    }

    #[test]
    fn one_asks_and_everybody_waits_for_the_same_fetch() {
        let (mut gate, now) = gate();
        assert_eq!(gate.admit(now, true), Admission::Ask(1));
        assert_eq!(gate.admit(now, true), Admission::WaitFor(1));
        assert_eq!(gate.begin(), Trigger::Request);
        assert_eq!(gate.admit(now, true), Admission::WaitFor(1));
    }

    #[test]
    fn the_cooldown_counts_from_the_end_of_a_fetch_that_was_asked_for() {
        for good in [true, false] {
            let (mut gate, now) = gate();
            gate.admit(now, true);
            let trigger = gate.begin();
            let end = now + 30 * SECOND;
            gate.end(end, trigger, good, true);
            assert_eq!(gate.admit(end + 9 * SECOND, true), Admission::Settled { good });
            assert_eq!(gate.admit(end + 10 * SECOND, true), Admission::Ask(2));
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
            assert_eq!(gate.admit(now, true), Admission::Ask(2));
        }
    }

    #[test]
    fn without_keys_a_failed_fetch_on_schedule_answers_for_a_while() {
        let (mut gate, now) = gate();
        let trigger = gate.begin();
        gate.end(now, trigger, false, false);
        assert_eq!(gate.admit(now + SECOND, false), Admission::Settled { good: false });
        assert_eq!(gate.admit(now + 10 * SECOND, false), Admission::Ask(2));
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
        assert_eq!(gate.admit(now + 10 * SECOND, true), Admission::Ask(3));
    }

    #[test]
    fn a_good_result_means_nothing_once_the_keys_are_gone() {
        let (mut gate, now) = gate();
        gate.admit(now, true);
        let trigger = gate.begin();
        gate.end(now, trigger, true, true);
        assert_eq!(gate.admit(now, false), Admission::Settled { good: false });
    }
}
