//! Runs work that may hang on a thread of its own.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::Semaphore,
    task::spawn_blocking,
    time::{error::Elapsed, timeout},
};

/// How long files may take to be read.
pub const READ_LIMIT: Duration = Duration::from_secs(5);

/// Runs work that may hang: on threads where it may block, one piece at a time.
///
/// Work that hangs can't be ended. It holds its thread, and the lane, until it
/// returns, so retries never take more than one thread.
#[derive(Clone, Debug)]
pub struct Lane(Arc<Semaphore>);

/// Work in a [`Lane`] did not end in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("reading files takes more than 5 seconds, look at their mounts")]
pub struct Hung;

impl From<Elapsed> for Hung {
    fn from(_: Elapsed) -> Self {
        Self
    }
}

impl Default for Lane {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl Lane {
    /// Runs `work` once the work before it has ended.
    ///
    /// # Errors
    /// It did not end within [`READ_LIMIT`]; a later result is dropped.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> std::result::Result<T, Hung> {
        let lane = Arc::clone(&self.0);
        let done = async move {
            let place = lane.acquire_owned().await.map_err(|_| Hung)?;
            let work = move || {
                let done = work();
                drop(place);
                done
            };
            // It panicked, or the runtime ends.
            spawn_blocking(work).await.map_err(|_| Hung)
        };
        timeout(READ_LIMIT, done).await?
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Instant};

    use super::*;

    #[tokio::test]
    async fn work_that_hangs_times_out_and_holds_one_thread() {
        let lane = Lane::default();
        let (release, hangs) = mpsc::channel::<()>();
        let (begun, begins) = mpsc::channel();
        let stuck = tokio::spawn({
            let (lane, begun) = (lane.clone(), begun.clone());
            async move {
                lane.run(move || {
                    begun.send(1).unwrap();
                    let _ = hangs.recv();
                })
                .await
            }
        });
        let first = tokio::task::spawn_blocking(move || (begins.recv(), begins)).await.unwrap();
        assert_eq!(first.0, Ok(1));
        let start = Instant::now();
        let next = lane.run(move || begun.send(2).unwrap()).await;
        assert_eq!(next, Err(Hung));
        assert!(start.elapsed() >= READ_LIMIT);
        assert_eq!(stuck.await.unwrap(), Err(Hung));
        assert!(first.1.try_recv().is_err(), "nothing began beside the work that hangs");

        drop(release);
        assert_eq!(lane.run(|| 3).await, Ok(3), "it goes on once the first has returned");
    }
}
