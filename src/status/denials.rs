//! The last denials, kept by the threads that decide.
//!
//! Each worker has a list of its own. Should somebody read it at that very
//! moment, the next list that nobody holds will do, since readers merge them
//! all: there is one list more than there are workers, and readers hold one at
//! a time, so there is always one, and a decision never waits.

use std::{
    collections::VecDeque,
    fmt, mem,
    num::NonZeroUsize,
    sync::{Mutex, MutexGuard, PoisonError},
};

use claimgate_core::per_thread::{free, thread_number};

use crate::{reason::Reason, time::UnixTime};

/// How many denials are kept.
pub const KEPT: usize = 200;

/// The longest that any one value is kept, in bytes.
pub(super) const MAX_VALUE_BYTES: usize = 256;

/// The memory of the last denials.
pub struct Denials {
    lists: Box<[Mutex<List>]>,
    /// What was read so far; held by one reader at a time.
    read: Mutex<List>,
}

/// Denials, the oldest first; never more than [`KEPT`].
type List = VecDeque<Denial>;

/// A denied request, as whoever denied it knows it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// When.
    pub at: UnixTime,
    /// Why.
    pub reason: Reason,
    /// The provider that decided.
    pub provider: Option<&'a str>,
    /// The route that the request matched, or that Envoy named.
    pub route: Option<&'a str>,
    /// Who asked, if that is known.
    pub subject: Option<&'a str>,
    /// The request's method.
    pub method: &'a str,
    /// Its path without the query, which may hold a token.
    pub path: &'a str,
    /// Its host.
    pub host: &'a str,
    /// Its `x-request-id`.
    pub request_id: Option<&'a str>,
    /// The trace it belongs to.
    pub trace_id: Option<&'a str>,
}

/// A remembered denial; values that were absent are empty, long ones cut.
#[derive(Clone)]
pub struct Denial {
    /// When.
    pub at: UnixTime,
    /// Why.
    pub reason: Reason,
    provider: String,
    route: String,
    subject: String,
    method: String,
    path: String,
    host: String,
    request_id: String,
    trace_id: String,
}

impl Denials {
    /// A memory that so many threads fill.
    pub fn new(workers: NonZeroUsize) -> Self {
        let lists = (0..=workers.get()).map(|_| Mutex::default()).collect();
        Self { lists, read: Mutex::default() }
    }

    /// Remembers a denial. Runs on the decision path: it waits for nobody.
    pub fn add(&self, seen: &Seen<'_>) {
        let own = thread_number() % self.lists.len();
        let (before, after) = self.lists.split_at(own);
        let Some(mut list) = after.iter().chain(before).find_map(free) else { return };
        if list.len() >= KEPT {
            list.pop_front();
        }
        list.push_back(Denial::from(seen));
    }

    /// The last [`KEPT`] denials, the latest first.
    pub fn latest(&self) -> Vec<Denial> {
        let mut read = held(&self.read);
        for list in &self.lists {
            read.extend(mem::take(&mut *held(list)));
        }
        read.make_contiguous().sort_by(|a, b| a.at.as_seconds().total_cmp(&b.at.as_seconds()));
        let surplus = read.len().saturating_sub(KEPT);
        read.drain(..surplus);
        read.iter().rev().cloned().collect()
    }

    /// Forgets all of them.
    pub fn clear(&self) {
        held(&self.read).clear();
        self.lists.iter().for_each(|list| held(list).clear());
    }
}

fn held(list: &Mutex<List>) -> MutexGuard<'_, List> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

impl From<&Seen<'_>> for Denial {
    fn from(seen: &Seen<'_>) -> Self {
        let known = |value: Option<&str>| cut(value.unwrap_or_default()).to_owned();
        Self {
            at: seen.at,
            reason: seen.reason,
            provider: known(seen.provider),
            route: known(seen.route),
            subject: known(seen.subject),
            method: cut(seen.method).to_owned(),
            path: cut(seen.path).to_owned(),
            host: cut(seen.host).to_owned(),
            request_id: known(seen.request_id),
            trace_id: known(seen.trace_id),
        }
    }
}

impl Denial {
    /// The provider that decided.
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// The route that the request matched, or that Envoy named.
    pub fn route(&self) -> &str {
        &self.route
    }

    /// Who asked.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The request's method.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// Its path without the query.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Its host.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its `x-request-id`.
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// The trace it belongs to.
    pub fn trace_id(&self) -> &str {
        &self.trace_id
    }
}

/// What is kept of a value.
pub(super) fn cut(value: &str) -> &str {
    &value[..value.floor_char_boundary(MAX_VALUE_BYTES)]
}

impl fmt::Debug for Denials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Denials").field("lists", &self.lists.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicBool, Ordering},
        thread,
    };

    use super::*;

    fn seen(at: f64, path: &str) -> Seen<'_> {
        Seen {
            at: UnixTime::from_seconds(at),
            reason: Reason::Expired,
            provider: Some("issuer"),
            route: None,
            subject: None,
            method: "GET",
            path,
            host: "h",
            request_id: Some("r-1"),
            trace_id: Some("t-1"),
        }
    }

    fn memory(workers: usize) -> Denials {
        Denials::new(NonZeroUsize::new(workers).unwrap())
    }

    #[test]
    fn the_last_ones_are_kept_latest_first() {
        let denials = memory(1);
        for number in 0..KEPT + 50 {
            denials.add(&seen(number as f64, &format!("/{number}")));
            if number == 100 {
                assert_eq!(denials.latest().len(), 101, "what was read stays");
            }
        }
        let latest = denials.latest();
        assert_eq!(latest.len(), KEPT);
        assert_eq!((latest[0].path(), latest[KEPT - 1].path()), ("/249", "/50"));
        denials.clear();
        assert_eq!(denials.latest().len(), 0);
    }

    #[test]
    fn every_value_comes_back_and_long_ones_are_cut_between_characters() {
        let denials = memory(1);
        let long = "é".repeat(200);
        denials.add(&Seen { subject: Some("me"), route: Some("admin"), ..seen(1.0, &long) });
        let [denial] = &denials.latest()[..] else { panic!("one") };
        assert_eq!(denial.path(), "é".repeat(128));
        let rest = [denial.provider(), denial.route(), denial.subject(), denial.method()];
        assert_eq!(rest, ["issuer", "admin", "me", "GET"]);
        assert_eq!([denial.host(), denial.request_id(), denial.trace_id()], ["h", "r-1", "t-1"]);
    }

    /// Nothing is lost and nobody waits, whoever reads at the same time.
    #[test]
    fn threads_fill_it_while_others_read() {
        let (denials, done) = (memory(3), AtomicBool::new(false));
        thread::scope(|scope| {
            let writers: Vec<_> = (0..3)
                .map(|thread| {
                    let denials = &denials;
                    scope.spawn(move || {
                        for number in 0..60 {
                            denials.add(&seen(f64::from(number), &format!("/{thread}/{number}")));
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
