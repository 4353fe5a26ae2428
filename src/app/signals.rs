//! Signals of the operating system: SIGTERM, SIGINT and SIGHUP.

use std::io;

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};
use tracing::info;

/// A command to the running service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Reload the configuration, changed or not.
    Reload,
    /// Finish what is in flight and end; a second one ends at once.
    Stop,
}

/// Handlers for the signals of this process.
#[derive(Debug)]
pub struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Installs the handlers: from now on no signal ends the process by itself.
    ///
    /// # Errors
    /// The operating system refuses a handler.
    pub fn install() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Sends them as commands until the receiver is dropped.
    pub async fn forward(mut self, commands: mpsc::Sender<Command>) {
        loop {
            let (name, command) = self.next().await;
            info!(signal = name, "signal received");
            if commands.send(command).await.is_err() {
                return;
            }
        }
    }

    async fn next(&mut self) -> (&'static str, Command) {
        tokio::select! {
            _ = self.hangup.recv() => ("SIGHUP", Command::Reload),
            _ = self.interrupt.recv() => ("SIGINT", Command::Stop),
            _ = self.terminate.recv() => ("SIGTERM", Command::Stop),
        }
    }
}
