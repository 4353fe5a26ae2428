//! The last denials, recorded by the threads that decide, and beside them the
//! requests that limits which are only tried out would have denied.
//!
//! Each worker has a list of its own. If a reader holds it at that moment, the
//! worker uses the next free list, since readers merge all of them: there is one
//! list more than there are workers, and readers lock one at a time, so one is
//! always free and a decision never waits.
//!
//! Readers merge every second. A flood with one reason would push out all other
//! denials, so of the most frequent reasons fewer are kept; and denials are
//! counted by what they have in common ([`groups`]).

use std::{
    fmt, mem,
    num::NonZeroUsize,
    sync::{Mutex, MutexGuard, PoisonError},
};

use claimgate_core::per_thread::{free, thread_number};

use crate::{reason::Reason, time::UnixTime};

mod groups;
mod record;

pub use groups::Group;
pub use record::{DenialRecord, NewDenial};
pub(super) use record::{MAX_VALUE_BYTES, cut};

use groups::{Groups, NewGroups};

/// How many denials are kept.
pub const CAPACITY: usize = 200;

/// A bounded log of the last denials.
pub struct DenialLog {
    lists: Box<[Mutex<List>]>,
    /// What readers have merged so far; locked by one reader at a time.
    merged: Mutex<Merged>,
}

/// The denials of one thread since the last merge.
#[derive(Default)]
struct List {
    /// In any order; never more than [`CAPACITY`].
    latest: Vec<DenialRecord>,
    /// Where a full list looks for the denial to replace.
    next: usize,
    groups: NewGroups,
}

#[derive(Default)]
struct Merged {
    /// The oldest first; never more than [`CAPACITY`].
    latest: Vec<DenialRecord>,
    groups: Groups,
}

impl DenialLog {
    /// A log for this many threads.
    pub fn new(workers: NonZeroUsize) -> Self {
        let lists = (0..=workers.get()).map(|_| Mutex::default()).collect();
        Self { lists, merged: Mutex::default() }
    }

    /// Records a denial. Runs on the decision path and never blocks.
    pub fn add(&self, new: &NewDenial<'_>) {
        let own = thread_number() % self.lists.len();
        let (before, after) = self.lists.split_at(own);
        let Some(mut list) = after.iter().chain(before).find_map(free) else { return };
        list.groups.count(new);
        list.keep(new);
    }

    /// Takes over what the threads have recorded since the last time.
    pub fn merge(&self, now: UnixTime) {
        let mut merged = lock(&self.merged);
        for list in &self.lists {
            let List { latest, groups, .. } = mem::take(&mut *lock(list));
            merged.latest.extend(latest);
            merged.groups.add(groups, now);
        }
        merged.latest.sort_by(|a, b| a.at.as_seconds().total_cmp(&b.at.as_seconds()));
        keep_some_of_each_kind(&mut merged.latest);
    }

    /// The last denials, the latest first: all of the last [`CAPACITY`], or, if
    /// some reasons are frequent, fewer of these and more of the others.
    pub fn latest(&self) -> Vec<DenialRecord> {
        self.merge(UnixTime::now());
        lock(&self.merged).latest.iter().rev().cloned().collect()
    }

    /// The denials of the last ten minutes by what they have in common, the
    /// most frequent first.
    pub fn groups(&self, now: UnixTime) -> Vec<Group> {
        self.merge(now);
        lock(&self.merged).groups.recent(now)
    }

    /// Clears the log.
    pub fn clear(&self) {
        *lock(&self.merged) = Merged::default();
        self.lists.iter().for_each(|list| *lock(list) = List::default());
    }
}

impl List {
    /// Keeps a denial; in a full list it replaces an old one of the same kind,
    /// so a flood replaces itself.
    fn keep(&mut self, new: &NewDenial<'_>) {
        if self.latest.len() < CAPACITY {
            self.latest.push(DenialRecord::of(new));
            return;
        }
        let (before, after) = self.latest.split_at(self.next);
        let is_same =
            |denial: &DenialRecord| (denial.reason, denial.would_be) == (new.reason, new.would_be);
        let found = after.iter().position(is_same).map(|at| at + self.next);
        let at = found.or_else(|| before.iter().position(is_same)).unwrap_or(self.next);
        self.latest[at].fill(new);
        self.next = (at + 1) % CAPACITY;
    }
}

fn lock<T>(list: &Mutex<T>) -> MutexGuard<'_, T> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many kinds of denials there are: the reasons, and those that only would
/// have been denied, for which there is one reason.
const KINDS: usize = Reason::ALL.len() + 1;

fn kind(denial: &DenialRecord) -> usize {
    if denial.would_be { Reason::ALL.len() } else { denial.reason as usize }
}

/// Cuts the list to [`CAPACITY`]: of every kind the latest, equally many of
/// those that have more.
fn keep_some_of_each_kind(latest: &mut Vec<DenialRecord>) {
    let mut counts = [0; KINDS];
    latest.iter().for_each(|denial| counts[kind(denial)] += 1);
    let fits =
        |most: &usize| counts.iter().map(|count| *count.min(most)).sum::<usize>() <= CAPACITY;
    let most = (1..=CAPACITY).rev().find(fits).unwrap_or(1);
    for count in &mut counts {
        *count = count.saturating_sub(most);
    }
    // What is left of the counts is how many of the oldest have to go.
    latest.retain(|denial| {
        let surplus = &mut counts[kind(denial)];
        let stays = *surplus == 0;
        *surplus = surplus.saturating_sub(1);
        stays
    });
}

impl fmt::Debug for DenialLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DenialLog").field("lists", &self.lists.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicBool, Ordering},
        thread,
    };

    use super::*;

    fn denial(at: f64, path: &str) -> NewDenial<'_> {
        NewDenial {
            at: UnixTime::from_seconds(at),
            reason: Reason::Expired,
            would_be: false,
            provider: Some("issuer"),
            route: None,
            subject: None,
            client_id: None,
            key: None,
            authenticated: false,
            plan: None,
            limit_key: None,
            detail: Some("expired 7 s ago"),
            method: "GET",
            path,
            host: "h",
            request_id: Some("r-1"),
            trace_id: Some("t-1"),
        }
    }

    fn log(workers: usize) -> DenialLog {
        DenialLog::new(NonZeroUsize::new(workers).unwrap())
    }

    #[test]
    fn the_last_ones_are_kept_latest_first() {
        let denials = log(1);
        for number in 0..CAPACITY + 50 {
            denials.add(&denial(number as f64, &format!("/{number}")));
            if number == 100 {
                assert_eq!(denials.latest().len(), 101, "what was merged stays");
            }
        }
        let latest = denials.latest();
        assert_eq!(latest.len(), CAPACITY);
        assert_eq!((latest[0].path(), latest[CAPACITY - 1].path()), ("/249", "/50"));
        denials.clear();
        assert_eq!(denials.latest().len(), 0);
    }

    #[test]
    fn every_value_comes_back_and_long_ones_are_cut_between_characters() {
        let denials = log(1);
        let long = "é".repeat(200);
        denials.add(&NewDenial {
            subject: Some("me"),
            route: Some("admin"),
            plan: Some("free"),
            limit_key: Some("issuer/me"),
            ..denial(1.0, &long)
        });
        let [denial] = &denials.latest()[..] else { panic!("one") };
        assert_eq!(denial.path(), "é".repeat(128));
        let rest = [denial.provider(), denial.route(), denial.subject(), denial.method()];
        assert_eq!(rest, ["issuer", "admin", "me", "GET"]);
        assert_eq!([denial.plan(), denial.limit_key()], ["free", "issuer/me"]);
        assert_eq!([denial.host(), denial.request_id(), denial.trace_id()], ["h", "r-1", "t-1"]);
    }

    #[test]
    fn a_flood_of_one_reason_leaves_the_others() {
        let denials = log(1);
        for number in 0..10 {
            denials.add(&NewDenial {
                reason: Reason::WrongAudience,
                ..denial(f64::from(number), "/rare")
            });
        }
        for second in 0..20 {
            for number in 0..1000 {
                denials.add(&denial(100.0 + f64::from(second), &format!("/{number}")));
            }
            denials.merge(UnixTime::from_seconds(120.0));
        }
        let latest = denials.latest();
        assert_eq!(latest.len(), CAPACITY);
        assert_eq!(latest.iter().filter(|denial| denial.path() == "/rare").count(), 10);
    }

    /// What only would have been denied takes no place of what was.
    #[test]
    fn a_flood_that_was_allowed_leaves_the_denials() {
        let denials = log(1);
        for number in 0..10 {
            let reason = Reason::RateLimited;
            denials.add(&NewDenial { reason, ..denial(f64::from(number), "/denied") });
        }
        for number in 0..1000 {
            let reason = Reason::RateLimited;
            let would_be = NewDenial { reason, would_be: true, ..denial(100.0, "/allowed") };
            denials.add(&would_be);
            if number % 300 == 0 {
                denials.merge(UnixTime::now());
            }
        }
        let latest = denials.latest();
        let (allowed, denied): (Vec<_>, Vec<_>) = latest.iter().partition(|it| it.would_be);
        assert_eq!((allowed.len(), denied.len()), (CAPACITY - 10, 10));
        let counts = denials.groups(UnixTime::now());
        let counts: Vec<_> = counts.iter().map(|it| (it.last.would_be, it.count)).collect();
        assert_eq!(counts, [(true, 1000), (false, 10)]);
    }

    /// No denial is lost and no thread waits while others read.
    #[test]
    fn threads_fill_it_while_others_read() {
        let (denials, done) = (log(3), AtomicBool::new(false));
        thread::scope(|scope| {
            let writers: Vec<_> = (0..3)
                .map(|thread| {
                    let denials = &denials;
                    scope.spawn(move || {
                        for number in 0..60 {
                            denials.add(&denial(f64::from(number), &format!("/{thread}/{number}")));
                        }
                    })
                })
                .collect();
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(Ordering::Acquire) {
                        denials.latest();
                    }
                });
            }
            for writer in writers {
                writer.join().unwrap();
            }
            done.store(true, Ordering::Release);
        });
        assert_eq!(denials.latest().len(), 180);
    }
}
