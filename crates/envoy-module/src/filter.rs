//! One stream's way through the filter.

use std::{
    cell::{Cell, OnceCell},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::Guard;
use claimgate::check::Snapshot;
use tokio::{task::JoinHandle, time::interval};
use tracing::error;

use crate::{
    abi::{
        self, ConfigContext, HeaderRoom, HttpFilter, Outcome, RouteConfig, Statistics, Stream, Wake,
    },
    configuration::Configuration,
    decide,
    effects::Effects,
    load::LoadError,
    log,
    options::{self, FilterOptions},
    registry,
    request::{BorrowedRequest, OwnedRequest},
    stats::Stats,
};

thread_local! {
    /// Where Envoy lists the headers of this worker's requests.
    static ROOM: Cell<HeaderRoom> = Cell::default();
}

/// A filter in a listener's configuration.
pub(crate) struct FilterConfig {
    configuration: Arc<Configuration>,
    stats: Stats,
    /// Has the statistics carried over from time to time.
    ticks: Option<JoinHandle<()>>,
}

impl FilterConfig {
    /// Carries the metrics over to Envoy's statistics.
    fn carry_over(&self, to: &impl Statistics) {
        self.configuration.carry_over(&self.stats, to);
        self.stats.set_gauges(&registry::metrics(), to);
    }
}

impl Drop for FilterConfig {
    fn drop(&mut self) {
        if let Some(ticks) = &self.ticks {
            ticks.abort();
        }
    }
}

/// How often statistics are carried over to Envoy.
const TICK: Duration = Duration::from_secs(1);

/// The filter of one stream.
#[derive(Default)]
pub(crate) struct Filter {
    /// Where the decision that the stream waits for will be.
    pending: OnceCell<Slot>,
}

/// The effects of a decision that was made on another thread.
type Slot = Arc<Mutex<Option<Box<Effects>>>>;

impl HttpFilter for Filter {
    type Config = FilterConfig;

    fn loaded() {
        log::start();
    }

    fn config(text: &[u8], is_validation: bool, envoy: &ConfigContext<'_>) -> Option<FilterConfig> {
        let opened = FilterOptions::parse(text).map_err(LoadError::from);
        let opened = opened.and_then(|options| registry::open(options, is_validation));
        let configuration = opened.inspect_err(LoadError::log).ok()?;
        let stats = Stats::define(envoy);
        let ticks = configuration.spawn_with(|| {
            let wake = envoy.wake();
            async move {
                let mut ticks = interval(TICK);
                loop {
                    ticks.tick().await;
                    wake.wake();
                }
            }
        });
        Some(FilterConfig { configuration, stats, ticks })
    }

    fn config_scheduled(config: &FilterConfig, envoy: &ConfigContext<'_>) {
        log::look_at_level();
        if abi::counts_outside_of_streams() {
            config.carry_over(envoy);
        } else {
            config.stats.set_due();
        }
    }

    fn route(text: &[u8]) -> Option<RouteConfig> {
        let read = options::route(text);
        read.inspect_err(|error| error!("{error}, on a route")).ok()
    }

    /// Decides the request, or has it decided later.
    fn request_headers(&self, config: &FilterConfig, stream: &mut Stream<'_>) -> Outcome {
        let started = Instant::now();
        if config.stats.is_due() {
            config.carry_over(stream);
        }
        let snapshot = config.configuration.snapshot();
        let request = BorrowedRequest::of(stream, ROOM.take());
        #[cfg(feature = "planted-panic")]
        planted(&request, "headers");
        let decided = decide::now(&snapshot, &request, started);
        let decided = decided.ok_or_else(|| OwnedRequest::of(&request));
        ROOM.set(request.into_room());
        match decided {
            Ok(effects) => {
                let outcome = effects.carry_out(stream);
                effects.give_back();
                outcome
            }
            Err(request) => {
                self.decide_later(config, Guard::into_inner(snapshot), request, started, stream)
            }
        }
    }

    /// Carries out what was decided while the stream waited.
    fn scheduled(&self, config: &FilterConfig, stream: &mut Stream<'_>) -> Outcome {
        let Some(slot) = self.pending.get() else { return Outcome::Wait };
        let decided = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(effects) = decided else {
            // What decides catches its own panics, so that nothing is left to say.
            self.panicked(config, stream);
            return Outcome::Answered;
        };
        #[cfg(feature = "planted-panic")]
        planted(&BorrowedRequest::of(stream, HeaderRoom::default()), "scheduled");
        effects.carry_out(stream)
    }

    fn panicked(&self, config: &FilterConfig, stream: &mut Stream<'_>) {
        decide::panicked(&config.configuration.snapshot()).carry_out(stream);
    }
}

impl Filter {
    /// Has the request decided on the background thread.
    fn decide_later(
        &self,
        config: &FilterConfig,
        snapshot: Arc<Snapshot>,
        request: OwnedRequest,
        started: Instant,
        stream: &mut Stream<'_>,
    ) -> Outcome {
        let slot = Arc::clone(self.pending.get_or_init(Slot::default));
        let wake = WakeAtEnd(stream.wake());
        config.configuration.spawn_with(|| async move {
            let _wake = wake;
            #[cfg(feature = "planted-panic")]
            planted_later(&request);
            let effects = decide::later(snapshot, request, started).await;
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(effects);
        });
        Outcome::Wait
    }
}

/// Wakes a stream when the task that decides for it ends, however that is: it
/// would wait for good otherwise.
struct WakeAtEnd(Arc<Wake>);

impl Drop for WakeAtEnd {
    fn drop(&mut self) {
        self.0.wake();
    }
}

/// Panics if the request asks for it, at `place`.
#[cfg(feature = "planted-panic")]
fn planted(request: &BorrowedRequest<'_>, place: &str) {
    let path = OnceCell::new();
    panic_if_asked(&claimgate::check::Exchange::request(request, &path), place);
}

#[cfg(feature = "planted-panic")]
fn planted_later(request: &OwnedRequest) {
    panic_if_asked(&claimgate::check::Exchange::request(request, &()), "later");
}

#[cfg(feature = "planted-panic")]
#[allow(clippy::panic)]
fn panic_if_asked(request: &claimgate_core::Request<'_>, place: &str) {
    if request.headers.first("x-planted-panic") == Some(place.as_bytes()) {
        panic!("planted");
    }
}
