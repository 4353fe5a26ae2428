//! The geometry of the small charts: bars in a box of 600 by 100, which the
//! page stretches to its place.

use super::report::ChecksReport;

const WIDTH: usize = 600;
const HEIGHT: f64 = 100.0;

/// A bar that is not 0 must be visible.
const MIN_HEIGHT: f64 = 3.0;

/// One bar.
#[derive(Debug, PartialEq)]
pub(super) struct Bar {
    pub(super) x: usize,
    pub(super) y: f64,
    pub(super) height: f64,
}

/// Allowed checks with the denied ones on top.
#[derive(Debug)]
pub(super) struct Stacked {
    /// The most checks per second in any bucket.
    pub(super) peak: f64,
    pub(super) bars: Vec<StackedBar>,
}

#[derive(Debug)]
pub(super) struct StackedBar {
    pub(super) x: usize,
    pub(super) allowed_y: f64,
    pub(super) allowed: f64,
    pub(super) denied_y: f64,
    pub(super) denied: f64,
    pub(super) title: String,
}

/// A bar for each count that is not 0. The last of `slots` places is now.
pub(super) fn bars(counts: &[u64], slots: usize) -> Vec<Bar> {
    let most = counts.iter().copied().max().unwrap_or_default();
    let bar = |(index, count): (usize, &u64)| {
        let height = height(*count, most);
        Bar { x: x(index, counts.len(), slots), y: HEIGHT - height, height }
    };
    counts.iter().enumerate().filter(|(_, count)| **count > 0).map(bar).collect()
}

/// The chart of all checks.
pub(super) fn stacked(checks: &ChecksReport) -> Stacked {
    let buckets = &checks.buckets;
    let most = buckets.iter().map(|bucket| bucket.allowed + bucket.denied).max();
    let most = most.unwrap_or_default();
    let bars = buckets.iter().enumerate().map(|(index, bucket)| {
        let denied = height(bucket.denied, most);
        let allowed = height(bucket.allowed, most).min(HEIGHT - denied);
        StackedBar {
            x: x(index, buckets.len(), checks.max_buckets),
            allowed_y: HEIGHT - allowed,
            allowed,
            denied_y: HEIGHT - allowed - denied,
            denied,
            title: format!(
                "{} UTC: {} allowed, {} denied",
                bucket.start.clock(),
                bucket.allowed,
                bucket.denied
            ),
        }
    });
    Stacked { peak: most as f64 / checks.bucket_seconds as f64, bars: bars.collect() }
}

/// To a tenth, which is less than a pixel.
fn height(count: u64, most: u64) -> f64 {
    match count {
        0 => 0.0,
        _ => ((count as f64 / most as f64 * HEIGHT).max(MIN_HEIGHT) * 10.0).round() / 10.0,
    }
}

fn x(index: usize, count: usize, slots: usize) -> usize {
    (slots.saturating_sub(count) + index) * WIDTH / slots.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_end_now_and_are_never_too_small_to_see() {
        let bar = |x, height| Bar { x, y: HEIGHT - height, height };
        assert_eq!(bars(&[0, 1, 1000], 60), [bar(580, 3.0), bar(590, 100.0)]);
        assert_eq!(bars(&[0, 0], 60), []);
        assert_eq!(bars(&[], 60), []);
    }
}
