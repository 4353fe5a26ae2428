//! The generic cell rate algorithm (ITU-T I.371): a budget that refills
//! steadily, kept as one moment.

use std::time::Duration;

use crate::settings::Amount;

/// One amount, in the algorithm's terms. Times are nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gcra {
    /// What one request takes: the time in which the budget refills by one.
    each: u64,
    /// What a full budget holds.
    full: u64,
    /// What is used of a budget that holds less than a fifth.
    nearly_all: u64,
}

/// The smallest burst of which a part can be left: of a smaller one, each
/// request would leave less than a fifth.
const SMALLEST_BURST: u32 = 5;

impl Gcra {
    pub(super) fn new(amount: &Amount) -> Self {
        let unit = u64::try_from(amount.unit.duration().as_nanos()).unwrap_or(u64::MAX);
        // Rounded up, so that no second holds a request too many.
        let each = unit.div_ceil(amount.number.get().into()).max(1);
        let burst = amount.burst().get();
        let full = each.saturating_mul(burst.into());
        let nearly_all = if burst < SMALLEST_BURST { u64::MAX } else { full - full / 5 };
        Self { each, full, nearly_all }
    }

    /// The moment at which a budget will be full again that will be full at
    /// `full_at`, once `cost` requests took from it at `now`.
    ///
    /// # Errors
    ///
    /// How long until it holds enough.
    pub(super) fn take(self, full_at: u64, cost: u32, now: u64) -> Result<u64, Duration> {
        let next = full_at.max(now).saturating_add(self.each.saturating_mul(cost.into()));
        let latest = now.saturating_add(self.full);
        match next.checked_sub(latest) {
            None | Some(0) => Ok(next),
            Some(over) => Err(Duration::from_nanos(over)),
        }
    }

    /// The time in which a budget refills by one, rounded down to a power of two
    /// of nanoseconds, as its exponent.
    pub(super) fn refill(self) -> u32 {
        self.each.ilog2()
    }

    /// Whether a budget that will be full at `full_at` holds less than a fifth of
    /// its burst at `now`.
    pub(super) fn is_nearly_used(self, full_at: u64, now: u64) -> bool {
        full_at.saturating_sub(now) > self.nearly_all
    }

    /// How many requests a budget holds at `now` that will be full at
    /// `full_at`.
    pub(super) fn left(self, full_at: u64, now: u64) -> u64 {
        self.full.saturating_sub(full_at.saturating_sub(now)) / self.each
    }
}
