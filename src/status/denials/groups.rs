//! Denials counted by reason, provider, route and caller, and apart from them
//! those that limits which are only tried out would have made.
//!
//! Both tables are bounded: a thread tells up to [`MAX_NEW`] groups apart
//! between two merges, and [`MAX_GROUPS`] are kept. When they are full, the
//! group with the fewest recent denials makes room, so those that a flood
//! consists of stay.

use ahash::AHashMap;

use super::record::{DenialRecord, NewDenial, cut};
use crate::time::UnixTime;

/// How many groups a thread tells apart between two merges.
const MAX_NEW: usize = 64;

/// How many groups are kept.
pub(super) const MAX_GROUPS: usize = 1000;

/// How long denials are counted, in minutes.
const MINUTES: u64 = 10;

/// Denials that have reason, provider, route, caller, plan and budget in
/// common.
#[derive(Clone)]
pub struct Group {
    /// How many in the last ten minutes.
    pub count: u64,
    /// One of the latest.
    pub last: DenialRecord,
}

/// The groups of one thread since the last merge.
#[derive(Default)]
pub(super) struct NewGroups {
    by_key: AHashMap<Box<str>, Group>,
    /// Where the key of a denial is put together.
    key: String,
}

impl NewGroups {
    /// Counts a denial, if its group or room for one is there.
    pub(super) fn count(&mut self, new: &NewDenial<'_>) {
        self.key.clear();
        self.key.push_str(new.reason.as_str());
        self.key.push(if new.would_be { '?' } else { '!' });
        let caller = [new.key, new.client_id, new.subject];
        let parts = [new.provider, new.route, new.plan, new.limit_key].into_iter().chain(caller);
        for part in parts.map(|part| cut(part.unwrap_or_default())) {
            // Its length keeps a value from going on in the next.
            self.key.extend(char::from_u32(part.len() as u32));
            self.key.push_str(part);
        }
        if let Some(group) = self.by_key.get_mut(self.key.as_str()) {
            group.count += 1;
        } else if self.by_key.len() < MAX_NEW {
            let group = Group { count: 1, last: DenialRecord::of(new) };
            self.by_key.insert(self.key.as_str().into(), group);
        }
    }
}

/// All groups of the last minutes.
#[derive(Default)]
pub(super) struct Groups(AHashMap<Box<str>, Kept>);

struct Kept {
    last: DenialRecord,
    counts: Counts,
}

impl Groups {
    /// Adds the denials of a thread.
    pub(super) fn add(&mut self, new: NewGroups, now: UnixTime) {
        for (key, Group { count, last }) in new.by_key {
            match self.0.get_mut(&key) {
                Some(kept) => {
                    kept.counts.add(now, count);
                    kept.last = last;
                }
                None => {
                    if self.0.len() >= MAX_GROUPS {
                        self.make_room(now);
                    }
                    let mut counts = Counts::default();
                    counts.add(now, count);
                    self.0.insert(key, Kept { last, counts });
                }
            }
        }
    }

    fn make_room(&mut self, now: UnixTime) {
        let fewest = self.0.iter().min_by_key(|(_, kept)| kept.counts.sum(now));
        if let Some(key) = fewest.map(|(key, _)| key.clone()) {
            self.0.remove(&key);
        }
    }

    /// The groups that have denials in the last minutes, the largest first.
    pub(super) fn recent(&mut self, now: UnixTime) -> Vec<Group> {
        self.0.retain(|_, kept| kept.counts.sum(now) > 0);
        let group = |kept: &Kept| Group { count: kept.counts.sum(now), last: kept.last.clone() };
        let mut groups: Vec<_> = self.0.values().map(group).collect();
        groups.sort_by(|a, b| {
            let latest = || b.last.at.as_seconds().total_cmp(&a.last.at.as_seconds());
            b.count.cmp(&a.count).then_with(latest)
        });
        groups
    }
}

/// Counts in each of the last minutes.
#[derive(Default)]
struct Counts {
    /// The latest minute, since 1970.
    minute: u64,
    /// By minute, modulo their number.
    counts: [u64; MINUTES as usize],
}

impl Counts {
    fn add(&mut self, now: UnixTime, count: u64) {
        let minute = minute(now);
        // A clock that was set back counts in the latest minute.
        for passed in (self.minute + 1..=minute).rev().take(MINUTES as usize) {
            self.counts[(passed % MINUTES) as usize] = 0;
        }
        self.minute = self.minute.max(minute);
        self.counts[(self.minute % MINUTES) as usize] += count;
    }

    fn sum(&self, now: UnixTime) -> u64 {
        let first = (minute(now) + 1).saturating_sub(MINUTES);
        let of_window = |minute: &u64| *minute >= first;
        let minutes = (self.minute + 1).saturating_sub(MINUTES)..=self.minute;
        minutes.filter(of_window).map(|minute| self.counts[(minute % MINUTES) as usize]).sum()
    }
}

fn minute(now: UnixTime) -> u64 {
    (now.as_seconds() / 60.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::Reason;

    fn at(minutes: u64) -> UnixTime {
        UnixTime::from_seconds(minutes as f64 * 60.0)
    }

    fn denial(subject: &str) -> NewDenial<'_> {
        NewDenial {
            at: at(0),
            reason: Reason::Expired,
            would_be: false,
            provider: Some("issuer"),
            route: Some("admin"),
            subject: Some(subject),
            client_id: None,
            key: None,
            authenticated: false,
            plan: None,
            limit_key: None,
            detail: None,
            method: "GET",
            path: "/",
            host: "h",
            request_id: None,
            trace_id: None,
        }
    }

    fn add(groups: &mut Groups, subjects: &[&str], now: UnixTime) {
        let mut new = NewGroups::default();
        subjects.iter().for_each(|subject| new.count(&denial(subject)));
        groups.add(new, now);
    }

    fn shown(groups: &mut Groups, now: UnixTime) -> Vec<(String, u64)> {
        groups.recent(now).iter().map(|it| (it.last.subject().to_owned(), it.count)).collect()
    }

    #[test]
    fn denials_are_counted_for_ten_minutes() {
        let mut groups = Groups::default();
        add(&mut groups, &["ada", "ada", "bea"], at(100));
        add(&mut groups, &["bea", "bea"], at(105));
        let both = [("bea".to_owned(), 3), ("ada".to_owned(), 2)];
        assert_eq!(shown(&mut groups, at(109)), both);
        assert_eq!(shown(&mut groups, at(110)), [("bea".to_owned(), 2)]);
        add(&mut groups, &["bea"], at(90));
        assert_eq!(shown(&mut groups, at(110)), [("bea".to_owned(), 3)], "the clock was set back");
        assert_eq!(shown(&mut groups, at(115)), []);
    }

    #[test]
    fn the_tables_are_bounded_and_frequent_callers_stay() {
        let mut groups = Groups::default();
        for round in 0..40 {
            let once: Vec<_> = (0..100).map(|number| format!("{round}-{number}")).collect();
            let mut subjects = vec!["often"; 5];
            subjects.extend(once.iter().map(String::as_str));
            add(&mut groups, &subjects, at(100));
        }
        let shown = shown(&mut groups, at(100));
        assert_eq!(shown.len(), MAX_GROUPS);
        assert_eq!(shown[0], ("often".to_owned(), 200));
    }
}
