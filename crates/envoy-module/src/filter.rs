//! One stream's way through the filter.

use std::{
    cell::OnceCell,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use tracing::error;

use crate::{
    abi::Stream,
    configuration::Configuration,
    decide::{self, Live},
    effects::Effects,
    options::{FilterOptions, RouteOptions},
    registry,
    request::{OwnedRequest, with_request},
};

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
        let live = config.0.live();
        let mut effects = Effects::spare();
        let waiting = with_request(stream, |request| {
            #[cfg(feature = "planted-panic")]
            planted(request, "headers");
            let is_decided = decide::now(&live, request, started, &mut effects);
            (!is_decided).then(|| OwnedRequest::of(request))
        });
        let Some(request) = waiting else {
            let outcome = effects.carry_out(stream);
            effects.give_back();
            return outcome;
        };
        self.decide_later(config, Arc::clone(&live), request, started, stream)
    }

    /// Carries out what was decided while the stream waited.
    pub(crate) fn scheduled(&self, _: &FilterConfig, stream: &mut Stream<'_>) -> Outcome {
        let Some(slot) = self.pending.get() else { return Outcome::Wait };
        let decided = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(effects) = decided else { return Outcome::Wait };
        #[cfg(feature = "planted-panic")]
        with_request(stream, |request| planted(request, "scheduled"));
        effects.carry_out(stream)
    }

    /// Answers a request whose hook panicked.
    pub(crate) fn panicked(&self, config: &FilterConfig, stream: &mut Stream<'_>) {
        let mut effects = Effects::default();
        decide::panicked(&config.0.live(), Instant::now(), &mut effects);
        effects.carry_out(stream);
    }

    fn decide_later(
        &self,
        config: &FilterConfig,
        live: Arc<Live>,
        request: OwnedRequest,
        started: Instant,
        stream: &mut Stream<'_>,
    ) -> Outcome {
        let slot = Arc::clone(self.pending.get_or_init(Slot::default));
        let wake = stream.wake();
        config.0.spawn(async move {
            let effects = decide::later(live, request, started).await;
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(effects);
            wake.wake();
        });
        Outcome::Wait
    }
}

/// Panics if the request asks for it, at `place`.
#[cfg(feature = "planted-panic")]
#[allow(clippy::panic)]
fn planted(request: &claimgate::Request<'_>, place: &str) {
    if request.headers.first("x-planted-panic") == Some(place.as_bytes()) {
        panic!("planted");
    }
}
