//! What the operating system asks for: SIGTERM, SIGINT and SIGHUP.

use std::io;

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};
use tracing::info;

/// What the running service is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Read the configuration again, changed or not.
    Reload,
    /// Finish what is in flight and end; given twice, end at once.
    Stop,
}

/// The signals that this process has taken over.
#[derive(Debug)]
pub struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Takes them over: from now on none of them ends the process by itself.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn take() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Passes them on as orders for as long as somebody takes these.
    pub async fn forward(mut self, orders: mpsc::Sender<Order>) {
        loop {
            let (name, order) = self.next().await;
            info!(signal = name, "signal received");
            if orders.send(order).await.is_err() {
                return;
            }
        }
    }

    async fn next(&mut self) -> (&'static str, Order) {
        tokio::select! {
            _ = self.hangup.recv() => ("SIGHUP", Order::Reload),
            _ = self.interrupt.recv() => ("SIGINT", Order::Stop),
            _ = self.terminate.recv() => ("SIGTERM", Order::Stop),
        }
    }
}
