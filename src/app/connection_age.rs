//! How long a connection may last.

use std::{future::pending, time::Duration};

use tokio::time::sleep;

/// The longest difference from the age that is set, as a share of it.
const JITTER: f64 = 0.1;

/// The age at which a client is told to open another connection; by default
/// there is none.
///
/// A client keeps its connections for hours, and a balancer of connections (a
/// ClusterIP Service) chooses an instance once for each: without an age, a new
/// instance would stay idle.
#[derive(Clone, Copy, Debug, Default)]
pub struct MaxAge(Option<Duration>);

impl MaxAge {
    /// About `age`; `None` sets no limit.
    pub fn new(age: Option<Duration>) -> Self {
        Self(age)
    }

    /// Waits until a connection that was opened now is too old. The age differs
    /// by up to a tenth in either direction, so that connections opened at one
    /// moment do not all come back at one moment.
    pub(crate) async fn reached(self) {
        match self.0 {
            Some(age) => sleep(age.mul_f64(1.0 + JITTER * (2.0 * fastrand::f64() - 1.0))).await,
            None => pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ages_differ_by_a_tenth_at_most() {
        let mut ages = Vec::new();
        for _ in 0..200 {
            let start = Instant::now();
            MaxAge::new(Some(Duration::from_secs(100))).reached().await;
            ages.push(start.elapsed().as_secs_f64());
        }
        let (least, most) = ages.iter().fold((f64::MAX, 0.0), |(a, b), &x| (x.min(a), x.max(b)));
        assert!((90.0..95.0).contains(&least) && (105.0..110.1).contains(&most), "{least} {most}");
    }
}
