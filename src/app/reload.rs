//! Reloads the configuration when its files change.

use std::{mem, path::PathBuf, sync::Arc};

use claimgate_files::Lane;
use tokio::sync::mpsc;
use tracing::{error, info};

use super::{
    active::ActiveConfig,
    candidate::{Candidate, LoadError},
    signals::Command,
    watch::{Change, FileWatch},
};
use crate::{
    metrics::Metrics,
    readiness::{Readiness, ReadinessTask},
    status::StatusPage,
    time::UnixTime,
};

/// Activates every valid change of the configuration.
pub(crate) struct Reloader {
    pub(crate) path: PathBuf,
    pub(crate) watch: FileWatch,
    /// Where the files are read.
    pub(crate) lane: Lane,
    pub(crate) active: ActiveConfig,
    pub(crate) metrics: Metrics,
    pub(crate) readiness: Readiness,
    pub(crate) readiness_task: ReadinessTask,
    /// The error of the last reload, if it failed.
    pub(crate) failure: Option<String>,
    pub(crate) status_page: Arc<StatusPage>,
}

/// What triggers a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trigger {
    /// A command.
    Command,
    /// A changed file.
    Change,
    /// The last reload failed, and some time has passed: the cause may be a file
    /// that is not watched.
    Retry,
}

impl Reloader {
    /// Runs until the command to stop.
    pub(crate) async fn run(&mut self, commands: &mut mpsc::Receiver<Command>) {
        let mut again = false;
        loop {
            let trigger = if mem::take(&mut again) {
                Trigger::Command
            } else {
                let Some(trigger) = self.trigger(commands).await else { return };
                trigger
            };
            tokio::select! {
                () = self.reload(trigger) => {}
                () = wait_for_stop(commands, &mut again) => return,
            }
        }
    }

    /// Waits for a trigger; `None` is the command to stop.
    async fn trigger(&mut self, commands: &mut mpsc::Receiver<Command>) -> Option<Trigger> {
        loop {
            tokio::select! {
                command = commands.recv() => return match command {
                    Some(Command::Reload) => Some(Trigger::Command),
                    Some(Command::Stop) | None => None,
                },
                change = self.watch.changed() => match change {
                    Change::Content => return Some(Trigger::Change),
                    Change::Nothing if self.failure.is_some() => return Some(Trigger::Retry),
                    Change::Nothing => {}
                },
            }
        }
    }

    /// Cancelling this leaves the old configuration in force.
    async fn reload(&mut self, trigger: Trigger) {
        let existing = &self.active.sources;
        let instruments = &self.active.instruments;
        let (watch, lane) = (&mut self.watch, &self.lane);
        match Candidate::read(&self.path, watch, existing, instruments, lane).await {
            Ok(candidate) => {
                candidate.wait_for_keys(existing).await;
                self.active.activate(candidate);
                self.readiness_task = self.readiness.track(self.active.key_sources());
                self.failure = None;
                self.metrics.config_reloaded(true, UnixTime::now());
            }
            Err(error) => self.failed(&error, trigger),
        }
    }

    fn failed(&mut self, error: &LoadError, trigger: Trigger) {
        let failure = error.to_string();
        if trigger == Trigger::Retry && self.failure.as_ref() == Some(&failure) {
            return;
        }
        error!(error = failure, "configuration not reloaded, the old one stays in force");
        self.status_page.reload_failed(&failure);
        self.failure = Some(failure);
        self.metrics.config_reloaded(false, UnixTime::now());
    }
}

/// Waits for the command to stop; sets `again` if one to reload came before it.
async fn wait_for_stop(commands: &mut mpsc::Receiver<Command>, again: &mut bool) {
    while let Some(Command::Reload) = commands.recv().await {
        info!("a reload is under way, another will follow");
        *again = true;
    }
}
