//! Counts of allowed and denied checks over the last minutes.

use std::collections::VecDeque;

use crate::{
    metrics::{ByDuration, ByReason, Totals, checks::decision_of},
    reason::Reason,
    time::UnixTime,
};

/// How much time one bucket covers, in seconds.
pub const BUCKET_SECONDS: u64 = 10;

/// How many buckets are kept, the current one included: ten minutes.
pub const BUCKETS: usize = 60;

/// Counts over the last minutes, derived from periodic totals.
#[derive(Debug)]
pub struct History {
    /// When the history began, in seconds since 1970.
    began: f64,
    /// The totals at the last update.
    totals: Totals,
    /// One for every interval since the first, the latest last.
    buckets: VecDeque<Bucket>,
}

/// The checks of one interval.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    /// When it begins, in seconds since 1970; a multiple of [`BUCKET_SECONDS`].
    pub start: u64,
    /// The checks, by reason.
    pub counts: ByReason,
    /// The same, by how long they took.
    pub durations: ByDuration,
    /// Look-ups in the token cache: hits, misses.
    pub cache: [u64; 2],
}

/// Checks per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Allowed.
    pub allowed: f64,
    /// Denied.
    pub denied: f64,
}

impl History {
    /// A history that begins at `now` with these totals.
    pub fn new(now: UnixTime, totals: Totals) -> Self {
        Self { began: now.as_seconds(), totals, buckets: VecDeque::with_capacity(BUCKETS) }
    }

    /// Counts the checks since the last update in the bucket of `now`.
    pub fn update(&mut self, now: UnixTime, totals: Totals) {
        let start = now.as_seconds() as u64 / BUCKET_SECONDS * BUCKET_SECONDS;
        self.advance_to(start);
        let Some(bucket) = self.buckets.back_mut() else { return };
        let before = &self.totals;
        add_growth(&mut bucket.counts, &totals.reasons, &before.reasons);
        add_growth(&mut bucket.durations, &totals.durations, &before.durations);
        add_growth(&mut bucket.cache, &totals.cache, &before.cache);
        self.totals = totals;
    }

    /// Adds buckets up to the one that begins at `start`. A clock that was set
    /// back keeps using the last one; a larger jump clears the history.
    fn advance_to(&mut self, start: u64) {
        let empty = |start| Bucket { start, counts: [0; _], durations: [0; _], cache: [0; _] };
        let span = BUCKET_SECONDS * BUCKETS as u64;
        match self.buckets.back().map(|last| last.start) {
            Some(last) if start <= last && last - start <= span => {}
            Some(last) if start > last && start - last <= span => {
                for start in (last + BUCKET_SECONDS..=start).step_by(BUCKET_SECONDS as usize) {
                    self.buckets.push_back(empty(start));
                }
            }
            _ => {
                self.buckets.clear();
                self.buckets.push_back(empty(start));
            }
        }
        let surplus = self.buckets.len().saturating_sub(BUCKETS);
        self.buckets.drain(..surplus);
    }

    /// The buckets, the latest last.
    pub fn buckets(&self) -> impl DoubleEndedIterator<Item = &Bucket> {
        self.buckets.iter()
    }

    /// Checks per second in the current bucket and the one before it.
    pub fn rates(&self, now: UnixTime) -> Rates {
        let recent = || self.buckets.iter().rev().take(2);
        let start = recent().map(|bucket| bucket.start as f64).fold(f64::INFINITY, f64::min);
        let seconds = (now.as_seconds() - start.max(self.began)).max(1.0);
        let sum = |count: fn(&Bucket) -> u64| recent().map(count).sum::<u64>() as f64 / seconds;
        Rates { allowed: sum(Bucket::allowed), denied: sum(Bucket::denied) }
    }
}

fn add_growth(counts: &mut [u64], totals: &[u64], before: &[u64]) {
    for ((count, total), before) in counts.iter_mut().zip(totals).zip(before) {
        *count += total.saturating_sub(*before);
    }
}

impl Bucket {
    /// Allowed checks.
    pub fn allowed(&self) -> u64 {
        self.sum("allow")
    }

    /// Denied checks.
    pub fn denied(&self) -> u64 {
        self.sum("deny")
    }

    fn sum(&self, decision: &str) -> u64 {
        let counted = Reason::ALL.iter().zip(self.counts);
        counted.filter(|(reason, _)| decision_of(**reason) == decision).map(|(_, n)| n).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(ok: u64, expired: u64) -> Totals {
        let mut reasons = [0; _];
        reasons[Reason::Ok as usize] = ok;
        reasons[Reason::Expired as usize] = expired;
        Totals { reasons, durations: [0; _], cache: [0; _] }
    }

    fn at(seconds: f64) -> UnixTime {
        UnixTime::from_seconds(seconds)
    }

    fn shown(history: &History) -> Vec<(u64, u64, u64)> {
        history.buckets().map(|b| (b.start, b.allowed(), b.denied())).collect()
    }

    #[test]
    fn counts_land_in_the_bucket_of_their_time() {
        let mut history = History::new(at(1000.0), totals(5, 0));
        history.update(at(1001.0), totals(7, 1));
        history.update(at(1009.9), totals(8, 1));
        history.update(at(1031.0), totals(20, 4));
        assert_eq!(shown(&history), [(1000, 3, 1), (1010, 0, 0), (1020, 0, 0), (1030, 12, 3)]);
    }

    #[test]
    fn rates_are_of_the_last_seconds() {
        let mut history = History::new(at(1005.0), totals(0, 0));
        assert_eq!(history.rates(at(1005.0)), Rates::default());
        history.update(at(1007.0), totals(8, 2));
        assert_eq!(history.rates(at(1007.0)), Rates { allowed: 4.0, denied: 1.0 });
        history.update(at(1035.0), totals(38, 2));
        assert_eq!(history.rates(at(1035.0)), Rates { allowed: 2.0, denied: 0.0 });
    }

    #[test]
    fn old_buckets_go_and_clocks_may_jump() {
        let mut history = History::new(at(0.0), totals(0, 0));
        for second in 0..2000_u64 {
            history.update(at(second as f64), totals(second, 0));
        }
        assert_eq!(history.buckets().count(), BUCKETS);
        assert_eq!(history.buckets().next().map(|bucket| bucket.start), Some(1400));
        history.update(at(1980.0), totals(2005, 0));
        assert_eq!(history.buckets().last().map(|b| (b.start, b.allowed())), Some((1990, 16)));
        history.update(at(1e9), totals(2006, 0));
        assert_eq!(shown(&history), [(1_000_000_000, 1, 0)]);
        history.update(at(10.0), totals(2007, 0));
        assert_eq!(shown(&history), [(10, 1, 0)]);
    }
}
