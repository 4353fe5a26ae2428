//! The background task of a key source: it makes every fetch.

use std::{
    future,
    sync::{Arc, Weak},
    time::{Duration, SystemTime},
};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use claimgate_core::{
    keys::{KeySet, Parsed, Skipped},
    settings::KeySourceSettings,
};
use tokio::{
    sync::{mpsc, watch},
    time::{self, Instant},
};

use super::{
    KeySource, Progress, State,
    gate::Trigger,
    observe::{self, FetchObserver, FetchReport, FetchResult},
};
use crate::fetch::{Cause, Document, FetchError, Fetched, Fetcher, Version};

/// The pause after a first failed fetch.
const RETRY_MIN: Duration = Duration::from_millis(250);
/// The longest pause; the cooldown bounds it too.
const RETRY_MAX: Duration = Duration::from_secs(5);
/// Longer durations are cut to this, so that adding them to a clock can't
/// overflow.
const FAR: Duration = Duration::from_secs(10 * 365 * 86_400);

pub(super) struct Task<F> {
    fetcher: F,
    observer: Arc<dyn FetchObserver>,
    source: Weak<KeySource>,
    woken: mpsc::Receiver<()>,
    progress: watch::Sender<Progress>,
    timing: Timing,
    /// When a fetch is due.
    next: Instant,
    /// When the keys get too old to be used; `None` without keys.
    expires: Option<Instant>,
    /// The version of the document that the keys come from.
    version: Option<Version>,
    retries: ExponentialBackoff,
    /// What has been logged, so that an outage is not one line per retry.
    logged: Logged,
}

/// When a refresh is due, and when keys are too old.
#[derive(Clone, Copy)]
struct Timing {
    cache: Duration,
    lifetime: Duration,
    retry_cap: Duration,
}

#[derive(Default)]
struct Logged {
    fetched: bool,
    error: Option<String>,
    skipped: Vec<Skipped>,
}

/// What a fetch that succeeded changes.
enum Update {
    Unchanged,
    Keys { set: KeySet, skipped: Vec<Skipped>, version: Option<Version> },
}

impl<F: Fetcher> Task<F> {
    pub(super) fn new(
        settings: &KeySourceSettings,
        observer: Arc<dyn FetchObserver>,
        fetcher: F,
        source: &Arc<KeySource>,
        woken: mpsc::Receiver<()>,
        progress: watch::Sender<Progress>,
    ) -> Self {
        let timing = Timing {
            cache: settings.cache.min(FAR),
            lifetime: settings.cache.saturating_add(settings.max_stale).min(FAR),
            retry_cap: settings.refresh_cooldown.clamp(RETRY_MIN, RETRY_MAX),
        };
        Self {
            fetcher,
            observer,
            source: Arc::downgrade(source),
            woken,
            progress,
            timing,
            next: Instant::now(),
            expires: None,
            version: None,
            retries: timing.retries(),
            logged: Logged::default(),
        }
    }

    /// Runs until the source is dropped.
    pub(super) async fn run(mut self) {
        while self.fetch_due().await {
            let Some(trigger) = self.begin() else { return };
            let began = Instant::now();
            let outcome = self.fetch_or_withdraw().await;
            if self.conclude(trigger, began, outcome).is_none() {
                return;
            }
        }
    }

    /// Waits until a fetch is due or requested; false once the source is
    /// dropped.
    async fn fetch_due(&mut self) -> bool {
        loop {
            tokio::select! {
                biased;
                () = reached(self.expires) => self.withdraw(),
                request = self.woken.recv() => match request {
                    None => return false,
                    Some(()) if self.is_requested() => return true,
                    // A fetch on schedule has served the request meanwhile.
                    Some(()) => {}
                },
                () = time::sleep_until(self.next) => return true,
            }
        }
    }

    fn is_requested(&self) -> bool {
        self.with_state(|state| state.gate.is_requested()).unwrap_or(false)
    }

    fn begin(&self) -> Option<Trigger> {
        self.with_state(|state| {
            state.status.last_attempt = Some(SystemTime::now());
            state.gate.begin()
        })
    }

    /// Fetches, and withdraws the keys if they get too old meanwhile.
    async fn fetch_or_withdraw(&mut self) -> Result<Fetched, FetchError> {
        let (outcome, withdrawn) = {
            let fetch = self.fetcher.fetch(self.version.as_ref());
            tokio::pin!(fetch);
            tokio::select! {
                biased;
                outcome = &mut fetch => (outcome, false),
                () = reached(self.expires) => {
                    withdraw(&self.source, self.observer.as_ref());
                    (fetch.await, true)
                }
            }
        };
        if withdrawn {
            self.forget();
            if let Ok(Fetched::NotModified { url }) = outcome {
                return Err(FetchError::new(url, Cause::NothingToRenew));
            }
        }
        outcome
    }

    /// Publishes the result of a fetch and wakes the requests that wait for it;
    /// `None` if the source is dropped.
    fn conclude(
        &mut self,
        trigger: Trigger,
        began: Instant,
        outcome: Result<Fetched, FetchError>,
    ) -> Option<()> {
        let source = self.source.upgrade()?;
        let update = outcome.and_then(read);
        let now = Instant::now();
        let pause = update.as_ref().err().and_then(FetchError::wanted_pause);
        let closed_until = pause.map(|pause| now + pause.min(self.timing.cache));
        self.schedule(now, trigger, update.is_ok(), closed_until);
        let providers = source.providers();
        let mut report = FetchReport {
            providers: &providers,
            result: FetchResult::Failure,
            duration: now - began,
            keys: 0,
            error: None,
            skipped: &[],
        };
        let error = match update {
            Ok(Update::Unchanged) => {
                report.result = FetchResult::NotModified;
                None
            }
            Ok(Update::Keys { set, skipped, version }) => {
                report.result = FetchResult::Success;
                self.version = version;
                publish(&source, set);
                self.logged.skips(&providers, skipped);
                report.skipped = &self.logged.skipped;
                None
            }
            Err(error) => Some(error.to_string()),
        };
        let keys = source.keys.load().len();
        report.keys = keys;
        report.error = error.as_deref();
        self.observer.fetched(&report);
        self.logged.outcome(&providers, keys, error.as_deref());
        self.with_state(|state| state.gate.close_until(closed_until));
        self.release(&source, now, trigger, error);
        Some(())
    }

    /// Decides when the next fetch is due and how long the keys may serve.
    ///
    /// A requested fetch that failed does not bring the next one forward:
    /// clients with invented key ids must not set the pace. Whatever the trigger,
    /// none is due before the server wants one.
    fn schedule(
        &mut self,
        now: Instant,
        trigger: Trigger,
        good: bool,
        closed_until: Option<Instant>,
    ) {
        if good {
            self.next = now + self.timing.refresh_after();
            self.expires = Some(now + self.timing.lifetime);
            self.retries = self.timing.retries();
        } else if trigger == Trigger::Schedule || self.next <= now {
            self.next = now + self.retries.next().unwrap_or(RETRY_MAX);
        }
        self.next = closed_until.map_or(self.next, |end| self.next.max(end));
    }

    /// Wakes every request that waits for the fetch. The keys are published
    /// before, so the requests see them.
    fn release(&self, source: &KeySource, now: Instant, trigger: Trigger, error: Option<String>) {
        let good = error.is_none();
        let have_keys = !source.keys.load().is_empty();
        let next = SystemTime::now().checked_add(self.next - now);
        let ended = self.with_state(|state| {
            state.status.ready |= good;
            state.status.next_refresh = next;
            state.status.last_error = error;
            if good {
                state.status.last_success = Some(SystemTime::now());
            }
            state.gate.end(now, trigger, good, have_keys)
        });
        self.progress.send_modify(|progress| {
            progress.ended = ended.unwrap_or(progress.ended);
            progress.ready |= good;
        });
    }

    fn withdraw(&mut self) {
        withdraw(&self.source, self.observer.as_ref());
        self.forget();
    }

    /// Without keys, the next fetch must bring the whole document.
    fn forget(&mut self) {
        self.expires = None;
        self.version = None;
    }

    fn with_state<T>(&self, act: impl FnOnce(&mut State) -> T) -> Option<T> {
        let source = self.source.upgrade()?;
        let remote = source.remote.as_ref()?;
        Some(act(&mut remote.state()))
    }
}

impl Timing {
    /// From 75 to 95 percent of `cache`: early enough for retries, and spread
    /// so that instances started together do not fetch together.
    fn refresh_after(&self) -> Duration {
        let spread = self.cache / 5;
        let jittered =
            ExponentialBuilder::new().with_min_delay(spread).with_jitter().build().next();
        self.cache / 4 * 3 + jittered.unwrap_or(spread).saturating_sub(spread)
    }

    /// Growing pauses; the jitter at most doubles one.
    fn retries(&self) -> ExponentialBackoff {
        let longest = self.retry_cap / 2;
        ExponentialBuilder::new()
            .with_min_delay(RETRY_MIN.min(longest))
            .with_max_delay(longest)
            .with_jitter()
            .without_max_times()
            .build()
    }
}

impl Logged {
    /// Warns of skipped keys, once while they stay the same.
    fn skips(&mut self, providers: &[String], skipped: Vec<Skipped>) {
        if skipped != self.skipped {
            observe::warn_of_skipped(providers, &skipped);
            self.skipped = skipped;
        }
    }

    /// Logs the outcome of a fetch, above debug level only if it is new.
    fn outcome(&mut self, providers: &[String], keys: usize, error: Option<&str>) {
        let provider = providers.join(", ");
        match error {
            Some(error) if self.error.as_deref() == Some(error) => {
                tracing::debug!(provider, keys, error, "keys still can't be fetched");
            }
            Some(error) => tracing::warn!(provider, keys, error, "keys can't be fetched"),
            None if self.error.is_some() || !self.fetched => {
                tracing::info!(provider, keys, "keys fetched");
            }
            None => tracing::debug!(provider, keys, "keys refreshed"),
        }
        self.fetched |= error.is_none();
        self.error = error.map(str::to_owned);
    }
}

fn read(fetched: Fetched) -> Result<Update, FetchError> {
    match fetched {
        Fetched::NotModified { .. } => Ok(Update::Unchanged),
        Fetched::Document(Document { url, body, version }) => match KeySet::parse(&body) {
            Ok(Parsed { set, skipped }) => Ok(Update::Keys { set, skipped, version }),
            Err(error) => Err(FetchError::new(url, Cause::Keys(error))),
        },
    }
}

/// Replaces the keys, and retires those that the new set lacks. A set of the
/// same keys changes nothing, so that tokens that were refused by it need not be
/// verified again.
fn publish(source: &KeySource, set: KeySet) {
    let old = source.keys.load_full();
    let set = Arc::new(set.succeeding(&old));
    if set.is_as(&old) {
        return;
    }
    source.keys.store(Arc::clone(&set));
    old.retire_all_but(&set);
}

/// Withdraws the keys: they are too old to be trusted.
fn withdraw(source: &Weak<KeySource>, observer: &dyn FetchObserver) {
    let Some(source) = source.upgrade() else { return };
    publish(&source, KeySet::default());
    let providers = source.providers();
    let provider = providers.join(", ");
    tracing::error!(provider, "keys are too old and no longer used; its tokens can't be checked");
    providers.iter().for_each(|provider| observer.withdrawn(provider));
}

async fn reached(moment: Option<Instant>) {
    match moment {
        Some(moment) => time::sleep_until(moment).await,
        None => future::pending().await,
    }
}
