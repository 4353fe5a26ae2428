//! One stream's way through the filter.

use std::{
    cell::{Cell, OnceCell},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use arc_swap::Guard;
use claimgate::check::Snapshot;
use tracing::error;

use crate::{
    abi::{HeaderRoom, HttpFilter, Outcome, RouteConfig, Stream},
    configuration::Configuration,
    decide,
    effects::Effects,
    load::LoadError,
    log,
    options::{self, FilterOptions},
    registry,
    request::{BorrowedRequest, OwnedRequest},
};

thread_local! {
    /// Where Envoy lists the headers of this worker's requests.
    static ROOM: Cell<HeaderRoom> = Cell::default();
}

/// A filter in a listener's configuration.
pub(crate) struct FilterConfig(Arc<Configuration>);

/// The filter of one stream.
#[derive(Default)]
pub(crate) struct Filter {
    /// Where the decision that the stream waits for will be.
    pending: OnceCell<Slot>,
}

/// The effects of a decision that was made on another thread.
type Slot = Arc<Mutex<Option<Effects>>>;

impl HttpFilter for Filter {
    type Config = FilterConfig;

    fn loaded() {
        log::start();
    }

    fn config(text: &[u8], is_validation: bool) -> Option<FilterConfig> {
        let opened = FilterOptions::parse(text).map_err(LoadError::from);
        let opened = opened.and_then(|options| registry::open(options, is_validation));
        opened.inspect_err(LoadError::log).ok().map(FilterConfig)
    }

    fn route(text: &[u8]) -> Option<RouteConfig> {
        let read = options::route(text);
        read.inspect_err(|error| error!("{error}, on a route")).ok()
    }

    /// Decides the request, or has it decided later.
    fn request_headers(&self, config: &FilterConfig, stream: &mut Stream<'_>) -> Outcome {
        let started = Instant::now();
        let snapshot = config.0.snapshot();
        let mut room = ROOM.take();
        let decided = {
            let request = BorrowedRequest::of(stream, &mut room);
            #[cfg(feature = "planted-panic")]
            planted(&request, "headers");
            let decided = decide::now(&snapshot, &request, started);
            decided.ok_or_else(|| OwnedRequest::of(&request))
        };
        ROOM.set(room);
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
    fn scheduled(&self, _: &FilterConfig, stream: &mut Stream<'_>) -> Outcome {
        let Some(slot) = self.pending.get() else { return Outcome::Wait };
        let decided = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(effects) = decided else { return Outcome::Wait };
        #[cfg(feature = "planted-panic")]
        planted(&BorrowedRequest::of(stream, &mut HeaderRoom::default()), "scheduled");
        effects.carry_out(stream)
    }

    fn panicked(&self, config: &FilterConfig, stream: &mut Stream<'_>) {
        decide::panicked(&config.0.snapshot()).carry_out(stream);
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
        let wake = stream.wake();
        config.0.spawn(async move {
            let effects = decide::later(snapshot, request, started).await;
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(effects);
            wake.wake();
        });
        Outcome::Wait
    }
}

/// Panics if the request asks for it, at `place`.
#[cfg(feature = "planted-panic")]
#[allow(clippy::panic)]
fn planted(request: &BorrowedRequest<'_>, place: &str) {
    let request = claimgate::check::Exchange::request(request, &());
    if request.headers.first("x-planted-panic") == Some(place.as_bytes()) {
        panic!("planted");
    }
}
