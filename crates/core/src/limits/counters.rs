//! The budgets of all callers, in a table of fixed size that no thread locks.

use std::{
    fmt,
    hash::Hash,
    sync::{OnceLock, atomic::Ordering},
    time::{Duration, Instant},
};

use ahash::RandomState;
use portable_atomic::AtomicU128;

use super::gcra::Gcra;
use crate::allowance::Key;

/// How many places a caller may have. More leave fewer callers without one
/// when the table is nearly full, and take longer to look through.
const PLACES: usize = 16;

/// The budgets of callers: for each that has used some of its own, the moment
/// at which it will be full again.
///
/// The table is divided into sets of [`PLACES`] places, and a caller belongs to
/// one set. Where a set is full, a newcomer takes the place of the caller that
/// has used the fewest requests of its budget, whatever its plan. What is
/// forgotten with a caller is given to it once more, so this gives away the
/// least, and the busiest are counted exactly as long as there are fewer of them
/// than places.
///
/// A place is one atomic number, so a caller's requests wait for nothing:
/// neither for other callers, nor for a reload, nor for a reader.
pub struct Counters {
    /// Made once this process counts: with the default of 100,000 callers they
    /// take 1.6 MB.
    places: OnceLock<Box<[AtomicU128]>>,
    /// How many sets there are.
    sets: usize,
    /// How many places a set has.
    width: usize,
    hashes: RandomState,
    /// When the time of budgets began; `None` where it stands still.
    epoch: Option<Instant>,
}

/// What a place holds.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    /// Whose budget; 0 for none.
    key: u64,
    /// The time in which it refills by one, as a power of two of nanoseconds.
    refill: u32,
    /// When it is full.
    full_at: u64,
}

/// What a caller lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lack {
    /// How long until its budget holds enough.
    pub(super) until: Duration,
    /// How many requests' worth it holds now.
    pub(super) left: u64,
}

/// The bits that a place has for [`Place::refill`]: those that no key uses.
const REFILL_BITS: u64 = 0b11_1111;

impl Counters {
    /// For at most `callers` at a time; never fewer than one.
    pub fn new(callers: usize) -> Self {
        Self::with_epoch(callers, RandomState::new(), Some(Instant::now()))
    }

    /// The same, with budgets that never refill.
    pub fn standing_still(callers: usize) -> Self {
        Self::with_epoch(callers, RandomState::new(), None)
    }

    /// A table for at most `callers`, with the budgets that this one has now.
    /// Where there are too many, those that have used the fewest requests are left out.
    pub fn resized(&self, callers: usize) -> Self {
        let resized = Self::with_epoch(callers, self.hashes.clone(), self.epoch);
        let now = self.now(None);
        for place in self.made().iter().map(|place| Place::from(place.load(Ordering::Acquire))) {
            let (at, least) = resized.find(Key(place.key), now);
            if place.key != 0 && least.used(now) < place.used(now) {
                resized.places()[at].store(place.into(), Ordering::Release);
            }
        }
        resized
    }

    fn with_epoch(callers: usize, hashes: RandomState, epoch: Option<Instant>) -> Self {
        let width = callers.clamp(1, PLACES);
        let sets = (callers / width).max(1);
        Self { places: OnceLock::new(), sets, width, hashes, epoch }
    }

    /// Makes the table, if it was not made yet.
    pub(super) fn prepare(&self) {
        self.places();
    }

    fn places(&self) -> &[AtomicU128] {
        let make = || (0..self.capacity()).map(|_| AtomicU128::new(0)).collect();
        self.places.get_or_init(make)
    }

    /// The places; none as long as nothing was counted.
    pub(super) fn made(&self) -> &[AtomicU128] {
        self.places.get().map_or(&[], |places| places)
    }

    /// The key of what hashes like `who`. Others can't find out which keys are
    /// equal: the hash has a secret.
    pub fn key(&self, who: impl Hash) -> Key {
        Key((self.hashes.hash_one(who) & !REFILL_BITS).max(REFILL_BITS + 1))
    }

    /// The most callers that it counts.
    pub fn capacity(&self) -> usize {
        self.sets * self.width
    }

    /// The time by which budgets refill, at `instant` or else now. The clock
    /// never goes back; a moment that is a little old refills that much less.
    pub(super) fn now(&self, instant: Option<Instant>) -> u64 {
        let Some(epoch) = self.epoch else { return 0 };
        let elapsed = instant.unwrap_or_else(Instant::now).saturating_duration_since(epoch);
        let seconds = elapsed.as_secs().saturating_mul(1_000_000_000);
        seconds.saturating_add(elapsed.subsec_nanos().into())
    }

    /// Takes `cost` requests' worth from the budget of `key`; when it is full
    /// again then.
    ///
    /// # Errors
    ///
    /// What it lacks; nothing is taken then.
    pub(super) fn take(&self, key: Key, gcra: Gcra, cost: u32, now: u64) -> Result<u64, Lack> {
        loop {
            let (at, held) = self.find(key, now);
            let is_known = held.key == key.0;
            let full_at = if is_known { held.full_at } else { 0 };
            let full_at = gcra
                .take(full_at, cost, now)
                .map_err(|until| Lack { until, left: gcra.left(full_at, now) })?;
            let taken = Place { key: key.0, refill: gcra.refill(), full_at };
            if !self.swap(at, held, taken) {
                continue;
            }
            // Another thread may have given the same newcomer another place
            // at the same moment. At least one of the two sees it.
            if is_known || !self.is_elsewhere(key, at) {
                return Ok(full_at);
            }
            self.swap(at, taken, Place::EMPTY);
        }
    }

    /// When the budget of `key` is full again; 0 if it is.
    #[cfg(test)]
    pub(super) fn full_at(&self, key: Key) -> u64 {
        let (_, held) = self.find(key, 0);
        if held.key == key.0 { held.full_at } else { 0 }
    }

    /// How many callers have used some of their budget that has not refilled
    /// yet. It looks through the whole table.
    pub fn callers(&self) -> usize {
        let now = self.now(None);
        let is_used =
            |place: &&AtomicU128| Place::from(place.load(Ordering::Relaxed)).full_at > now;
        self.made().iter().filter(is_used).count()
    }

    /// The place of `key`, or else the place in its set of which the least is
    /// used at `now`: of several, the first from where the search begins, so that
    /// most callers are where they are looked for first.
    fn find(&self, key: Key, now: u64) -> (usize, Place) {
        let begin = self.begin_of(key);
        let place = self.place(begin);
        if place.key == key.0 { (begin, place) } else { self.search(key, now) }
    }

    fn search(&self, key: Key, now: u64) -> (usize, Place) {
        let (first, begin) = (self.first_of(key), self.begin_of(key));
        let mut least = (u128::MAX, begin, Place::EMPTY);
        for at in (begin..first + self.width).chain(first..begin) {
            let place = self.place(at);
            if place.key == key.0 {
                return (at, place);
            }
            let used = place.used(now);
            if used < least.0 {
                least = (used, at, place);
            }
        }
        let (_, at, place) = least;
        (at, place)
    }

    fn is_elsewhere(&self, key: Key, here: usize) -> bool {
        let first = self.first_of(key);
        (first..first + self.width).any(|at| at != here && self.place(at).key == key.0)
    }

    fn place(&self, at: usize) -> Place {
        self.places()[at].load(Ordering::SeqCst).into()
    }

    fn swap(&self, at: usize, old: Place, new: Place) -> bool {
        let (old, new) = (old.into(), new.into());
        self.places()[at].compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// The first place of the key's set.
    fn first_of(&self, key: Key) -> usize {
        share_of(key.0, self.sets) * self.width
    }

    /// The place in the key's set where it is looked for first.
    fn begin_of(&self, key: Key) -> usize {
        self.first_of(key) + share_of(key.0 << 32, self.width)
    }
}

/// One of `shares`, for a number that may be anything: the product of a 64-bit
/// number and the number of shares, divided by 2^64, is below that number.
fn share_of(number: u64, shares: usize) -> usize {
    ((u128::from(number) * shares as u128) >> 64) as usize
}

impl Place {
    const EMPTY: Self = Self { key: 0, refill: 0, full_at: 0 };

    /// How many requests' worth of its budget are used, to compare it with
    /// others: to within a factor of two, which is the same for one plan.
    fn used(self, now: u64) -> u128 {
        u128::from(self.full_at.saturating_sub(now)) << (REFILL_BITS as u32 - self.refill)
    }
}

impl From<u128> for Place {
    fn from(bits: u128) -> Self {
        let upper = (bits >> 64) as u64;
        let refill = (upper & REFILL_BITS) as u32;
        Self { key: upper & !REFILL_BITS, refill, full_at: bits as u64 }
    }
}

impl From<Place> for u128 {
    fn from(place: Place) -> Self {
        let upper = place.key | u64::from(place.refill);
        Self::from(upper) << 64 | Self::from(place.full_at)
    }
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counters").field("capacity", &self.capacity()).finish_non_exhaustive()
    }
}
