//! Keeps the configuration in force up to date with its files.

use std::{mem, path::PathBuf, sync::Arc};

use claimgate_files::Lane;
use tokio::sync::mpsc;
use tracing::{error, info};

use super::{
    signals::Order,
    site::{LoadError, Plan, Site},
    watch::{Change, Watch},
};
use crate::{
    metrics::Metrics,
    readiness::{Follower, Readiness},
    status::Board,
    time::UnixTime,
};

/// Puts every good change of the configuration in force.
pub(crate) struct Reloader {
    pub(crate) path: PathBuf,
    pub(crate) watch: Watch,
    /// Where the files are read.
    pub(crate) lane: Lane,
    pub(crate) site: Site,
    pub(crate) metrics: Metrics,
    pub(crate) readiness: Readiness,
    pub(crate) follower: Follower,
    /// What is wrong with the files, if something is.
    pub(crate) failure: Option<String>,
    pub(crate) board: Arc<Board>,
}

/// Why a reload is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// Somebody asked for it.
    Order,
    /// A file has changed.
    Change,
    /// The last one failed, and some time has passed: it may have been a file
    /// that nobody knew to watch.
    Retry,
}

impl Reloader {
    /// Runs until the order to stop.
    pub(crate) async fn run(&mut self, orders: &mut mpsc::Receiver<Order>) {
        let mut again = false;
        loop {
            let cause = if mem::take(&mut again) {
                Cause::Order
            } else {
                let Some(cause) = self.cause(orders).await else { return };
                cause
            };
            tokio::select! {
                () = self.reload(cause) => {}
                () = stop(orders, &mut again) => return,
            }
        }
    }

    /// Waits for a reason to reload; `None` is the order to stop.
    async fn cause(&mut self, orders: &mut mpsc::Receiver<Order>) -> Option<Cause> {
        loop {
            tokio::select! {
                order = orders.recv() => return match order {
                    Some(Order::Reload) => Some(Cause::Order),
                    Some(Order::Stop) | None => None,
                },
                change = self.watch.changed() => match change {
                    Change::Content => return Some(Cause::Change),
                    Change::Nothing if self.failure.is_some() => return Some(Cause::Retry),
                    Change::Nothing => {}
                },
            }
        }
    }

    /// Cancelling this leaves the old configuration in force.
    async fn reload(&mut self, cause: Cause) {
        let kept = &self.site.sources;
        let instruments = &self.site.instruments;
        match Plan::read(&self.path, &mut self.watch, kept, instruments, &self.lane).await {
            Ok(plan) => {
                plan.settle(kept).await;
                self.site.install(plan);
                self.follower = self.readiness.follow(self.site.key_sources());
                self.failure = None;
                self.metrics.config_reloaded(true, UnixTime::now());
            }
            Err(error) => self.failed(&error, cause),
        }
    }

    fn failed(&mut self, error: &LoadError, cause: Cause) {
        let failure = error.to_string();
        if cause == Cause::Retry && self.failure.as_ref() == Some(&failure) {
            return;
        }
        error!(error = failure, "configuration not reloaded, the old one stays in force");
        self.board.reload_failed(&failure);
        self.failure = Some(failure);
        self.metrics.config_reloaded(false, UnixTime::now());
    }
}

/// Waits for the order to stop; notes if there was one to reload before it.
async fn stop(orders: &mut mpsc::Receiver<Order>, again: &mut bool) {
    while let Some(Order::Reload) = orders.recv().await {
        info!("a reload is under way, another will follow");
        *again = true;
    }
}
