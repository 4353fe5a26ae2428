//! The last denials, recorded by the threads that decide.
//!
//! Each worker has a list of its own. If a reader holds it at that moment, the
//! worker uses the next free list, since readers merge all of them: there is one
//! list more than there are workers, and readers lock one at a time, so one is
//! always free and a decision never waits.

use std::{
    collections::VecDeque,
    fmt, mem,
    num::NonZeroUsize,
    sync::{Mutex, MutexGuard, PoisonError},
};

use claimgate_core::per_thread::{free, thread_number};

use crate::{reason::Reason, texts::Texts, time::UnixTime};

/// How many denials are kept.
pub const CAPACITY: usize = 200;

/// The longest that any one value is kept, in bytes.
pub(super) const MAX_VALUE_BYTES: usize = 256;

/// A bounded log of the last denials.
pub struct DenialLog {
    lists: Box<[Mutex<List>]>,
    /// What readers have merged so far; locked by one reader at a time.
    merged: Mutex<List>,
}

/// Denials, the oldest first; never more than [`CAPACITY`].
type List = VecDeque<DenialRecord>;

/// A denied request, to be recorded.
#[derive(Clone, Copy, Debug)]
pub struct NewDenial<'a> {
    /// When.
    pub at: UnixTime,
    /// Why.
    pub reason: Reason,
    /// The provider that decided.
    pub provider: Option<&'a str>,
    /// The route that the request matched, or that Envoy named.
    pub route: Option<&'a str>,
    /// Who sent it, where that is verified.
    pub subject: Option<&'a str>,
    /// The OAuth 2.0 client, likewise.
    pub client_id: Option<&'a str>,
    /// The name of the API key.
    pub key: Option<&'a str>,
    /// Whether the token was accepted, and only the route's rules were not met.
    pub authenticated: bool,
    /// What the reason rests on, in one sentence.
    pub detail: Option<&'a str>,
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

/// A recorded denial; absent values are empty, long ones are cut.
#[derive(Clone)]
pub struct DenialRecord {
    /// When.
    pub at: UnixTime,
    /// Why.
    pub reason: Reason,
    /// Whether the token was accepted, and only the route's rules were not met.
    pub authenticated: bool,
    values: Texts,
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
        let is_full = list.len() >= CAPACITY;
        match list.pop_front_if(|_| is_full) {
            Some(mut oldest) => {
                oldest.fill(new);
                list.push_back(oldest);
            }
            None => list.push_back(DenialRecord::of(new)),
        }
    }

    /// The last [`CAPACITY`] denials, the latest first.
    pub fn latest(&self) -> Vec<DenialRecord> {
        let mut merged = lock(&self.merged);
        for list in &self.lists {
            merged.extend(mem::take(&mut *lock(list)));
        }
        merged.make_contiguous().sort_by(|a, b| a.at.as_seconds().total_cmp(&b.at.as_seconds()));
        let surplus = merged.len().saturating_sub(CAPACITY);
        merged.drain(..surplus);
        merged.iter().rev().cloned().collect()
    }

    /// Clears the log.
    pub fn clear(&self) {
        lock(&self.merged).clear();
        self.lists.iter().for_each(|list| lock(list).clear());
    }
}

fn lock(list: &Mutex<List>) -> MutexGuard<'_, List> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

impl DenialRecord {
    fn of(new: &NewDenial<'_>) -> Self {
        let mut record = Self {
            at: new.at,
            reason: new.reason,
            authenticated: new.authenticated,
            values: Texts::default(),
        };
        record.fill(new);
        record
    }

    /// Replaces everything, reusing the memory.
    fn fill(&mut self, new: &NewDenial<'_>) {
        (self.at, self.reason, self.authenticated) = (new.at, new.reason, new.authenticated);
        let known = Option::<&str>::unwrap_or_default;
        // In the order of the methods below.
        let values = [
            known(new.provider),
            known(new.route),
            known(new.subject),
            known(new.client_id),
            known(new.key),
            known(new.detail),
            new.method,
            new.path,
            new.host,
            known(new.request_id),
            known(new.trace_id),
        ];
        self.values.fill(values.into_iter().map(cut));
    }

    /// The provider that decided.
    pub fn provider(&self) -> &str {
        self.values.get(0)
    }

    /// The route that the request matched, or that Envoy named.
    pub fn route(&self) -> &str {
        self.values.get(1)
    }

    /// Who sent it, where that is verified.
    pub fn subject(&self) -> &str {
        self.values.get(2)
    }

    /// The OAuth 2.0 client, likewise.
    pub fn client_id(&self) -> &str {
        self.values.get(3)
    }

    /// The name of the API key.
    pub fn key(&self) -> &str {
        self.values.get(4)
    }

    /// What the reason rests on, in one sentence.
    pub fn detail(&self) -> &str {
        self.values.get(5)
    }

    /// The request's method.
    pub fn method(&self) -> &str {
        self.values.get(6)
    }

    /// Its path without the query.
    pub fn path(&self) -> &str {
        self.values.get(7)
    }

    /// Its host.
    pub fn host(&self) -> &str {
        self.values.get(8)
    }

    /// Its `x-request-id`.
    pub fn request_id(&self) -> &str {
        self.values.get(9)
    }

    /// The trace it belongs to.
    pub fn trace_id(&self) -> &str {
        self.values.get(10)
    }
}

/// Cuts a value to the recorded length.
pub(super) fn cut(value: &str) -> &str {
    &value[..value.floor_char_boundary(MAX_VALUE_BYTES)]
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
            provider: Some("issuer"),
            route: None,
            subject: None,
            client_id: None,
            key: None,
            authenticated: false,
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
        denials.add(&NewDenial { subject: Some("me"), route: Some("admin"), ..denial(1.0, &long) });
        let [denial] = &denials.latest()[..] else { panic!("one") };
        assert_eq!(denial.path(), "é".repeat(128));
        let rest = [denial.provider(), denial.route(), denial.subject(), denial.method()];
        assert_eq!(rest, ["issuer", "admin", "me", "GET"]);
        assert_eq!([denial.host(), denial.request_id(), denial.trace_id()], ["h", "r-1", "t-1"]);
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
