//! The one thread beside Envoy's own: it fetches keys, watches files and makes
//! the decisions that wait.

use std::{io, thread, time::Duration};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};

/// How long the end waits for a file read that hangs.
const PATIENCE: Duration = Duration::from_millis(100);

/// The thread, which ends when this is dropped.
pub(crate) struct Background {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Background {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// The system has no threads or file descriptors left.
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let run = move || {
            // An error means that its owner is gone.
            let _ = runtime.block_on(stopped);
            runtime.shutdown_timeout(PATIENCE);
        };
        let thread = thread::Builder::new().name("claimgate".into()).spawn(run)?;
        Ok(Self { handle, stop: Some(stop), thread: Some(thread) })
    }

    /// By which tasks are started on it.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

/// Envoy drops its last configuration before it ends, and nothing of ours may
/// run after that.
impl Drop for Background {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been logged.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_run_on_it_and_it_ends() {
        let background = Background::start().unwrap();
        let task = background.handle().spawn(async { thread::current().name().map(str::to_owned) });
        let wait = Builder::new_current_thread().build().unwrap();
        assert_eq!(wait.block_on(task).unwrap().as_deref(), Some("claimgate"));
        let endless = background.handle().spawn(std::future::pending::<()>());
        drop(background);
        assert!(wait.block_on(endless).unwrap_err().is_cancelled());
    }
}
