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
    abi::{HeaderRoom, Stream},
    configuration::Configuration,
    decide,
    effects::Effects,
    options::{FilterOptions, RouteOptions},
    registry,
    request::{BorrowedRequest, OwnedRequest},
};

thread_local! {
    /// Where Envoy lists the headers of this worker's requests.
    static ROOM: Cell<HeaderRoom> = Cell::default();
}

/// What a hook has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The request goes on.
    Continue,
    /// It waits for its decision.
    Wait,
    /// The client has its answer.
    Answered,
}

/// A filter in a listener's configuration.
pub(crate) struct FilterConfig(Arc<Configuration>);

impl FilterConfig {
    /// Reads `filter_config`; what is wrong with it goes to the log. Where
    /// Envoy only validates, nothing is started and nothing fetched.
    pub(crate) fn new(text: &[u8], validating: bool) -> Option<Self> {
        let opened = FilterOptions::parse(text).map_err(registry::OpenError::from);
        let opened = opened.and_then(|options| registry::open(options, validating));
        opened.inspect_err(registry::OpenError::log).ok().map(Self)
    }
}

/// The filter's configuration on a route.
pub(crate) struct RouteConfig {
    /// The name of the Claimgate route whose rules apply.
    pub(crate) route: String,
}

impl RouteConfig {
    /// Reads a route's `filter_config`; what is wrong with it goes to the log.
    pub(crate) fn new(text: &[u8]) -> Option<Self> {
        match RouteOptions::parse(text) {
            Ok(RouteOptions { route }) => Some(Self { route }),
            Err(error) => {
                error!(%error, "the filter's configuration of a route can't be used");
                None
            }
        }
    }
}

/// The filter of one stream.
#[derive(Default)]
pub(crate) struct Filter {
    /// Where the decision that the stream waits for will be.
    pending: OnceCell<Slot>,
}

/// The effects of a decision that was made on another thread.
type Slot = Arc<Mutex<Option<Effects>>>;

impl Filter {
    /// Decides the request, or has it decided later.
    pub(crate) fn request_headers(
        &self,
        config: &FilterConfig,
        stream: &mut Stream<'_>,
    ) -> Outcome {
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
    pub(crate) fn scheduled(&self, _: &FilterConfig, stream: &mut Stream<'_>) -> Outcome {
        let Some(slot) = self.pending.get() else { return Outcome::Wait };
        let decided = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(effects) = decided else { return Outcome::Wait };
        #[cfg(feature = "planted-panic")]
        planted(&BorrowedRequest::of(stream, &mut HeaderRoom::default()), "scheduled");
        effects.carry_out(stream)
    }

    /// Answers a request whose hook panicked.
    pub(crate) fn panicked(&self, config: &FilterConfig, stream: &mut Stream<'_>) {
        decide::panicked(&config.0.snapshot()).carry_out(stream);
    }

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
