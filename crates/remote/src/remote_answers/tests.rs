//! Calls to a scripted service, in virtual time.

use std::{
    pin::{Pin, pin},
    sync::atomic::AtomicUsize,
    task::Poll,
};

use claimgate_core::{principal::Principal, reason::Reason, request::Request, time::UnixTime};
use tokio::time;

use super::*;

const MILLI: Duration = Duration::from_millis(1);
const LIMITS: Limits =
    Limits { cache_entries: 10, cache_bytes: 1 << 20, timeout: Duration::from_millis(100) };

/// A service that gives the answer to the call of this number, from 1, after a
/// while.
struct Service<S> {
    answers: RemoteAnswers,
    calls: Arc<AtomicUsize>,
    script: S,
}

impl<S: Fn(usize) -> (Duration, RemoteAnswer) + Copy + Send + Sync + 'static> Service<S> {
    fn new(script: S) -> Self {
        Self::with_limits(LIMITS, script)
    }

    fn with_limits(limits: Limits, script: S) -> Self {
        let answers = RemoteAnswers::new("test", "service", limits, Handle::current());
        Self { answers, calls: Arc::default(), script }
    }

    async fn ask(&self, token: &str) -> Answer {
        let request = Request::default();
        let credential = Credential::new(token, &request, UnixTime::now());
        match self.answers.answer(&credential, || self.call()) {
            Answering::Now(answer) => answer,
            Answering::Later(answer) => answer.await,
        }
    }

    fn call(&self) -> impl Future<Output = RemoteAnswer> + use<S> {
        let (calls, script) = (Arc::clone(&self.calls), self.script);
        async move {
            let (pause, answer) = script(calls.fetch_add(1, Ordering::Relaxed) + 1);
            time::sleep(pause).await;
            answer
        }
    }

    /// Asks three times at once; how many calls there were, how long they
    /// took, and how many authenticated.
    async fn ask_thrice(&self) -> (usize, Duration, usize) {
        let (calls, began) = (self.calls(), Instant::now());
        let answers = tokio::join!(self.ask("t"), self.ask("t"), self.ask("t"));
        let authenticated = [answers.0, answers.1, answers.2]
            .iter()
            .filter(|answer| matches!(answer, Answer::Authenticated(_)))
            .count();
        (self.calls() - calls, began.elapsed(), authenticated)
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

fn authenticated(until: Option<UnixTime>) -> RemoteAnswer {
    let principal = Arc::new(Principal::new(Some("subject".into())));
    RemoteAnswer { answer: Answer::Authenticated(principal), until, note: None }
}

/// An answer that holds for every request with its token.
fn holding() -> RemoteAnswer {
    authenticated(Some(UnixTime::from_seconds(4e9)))
}

async fn is_pending(future: Pin<&mut impl Future>) -> bool {
    let mut future = Some(future);
    std::future::poll_fn(|context| {
        let polled = future.take().map(|future| future.poll(context).is_pending());
        Poll::Ready(polled == Some(true))
    })
    .await
}

/// Three requests at the same time, for a service whose calls take 10 ms each.
struct Case {
    name: &'static str,
    cache_entries: usize,
    /// The answer to the call of this number.
    script: fn(usize) -> RemoteAnswer,
    calls: usize,
    /// How long the requests take together.
    millis: u32,
    authenticated: usize,
}

#[tokio::test(start_paused = true)]
async fn requests_at_the_same_time_share_what_holds_and_nothing_else() {
    let shared = Case {
        name: "holds",
        cache_entries: 10,
        script: |_| holding(),
        calls: 1,
        millis: 10,
        authenticated: 3,
    };
    let apart = Case {
        name: "for this request",
        script: |_| authenticated(None),
        calls: 3,
        millis: 20,
        ..shared
    };
    let cases = [
        Case {
            name: "ended",
            script: |_| authenticated(Some(UnixTime::from_seconds(1.0))),
            ..apart
        },
        Case {
            name: "refused",
            script: |_| Answer::Refused(Reason::Expired).into(),
            authenticated: 0,
            ..apart
        },
        Case { name: "not mine", script: |_| Answer::NotMine.into(), authenticated: 0, ..apart },
        Case {
            name: "one failure",
            script: |n| if n == 1 { Answer::Unavailable.into() } else { holding() },
            authenticated: 2,
            ..apart
        },
        Case { name: "no cache", cache_entries: 0, calls: 3, ..shared },
        shared,
        apart,
    ];
    for case in cases {
        let Case { name, script, calls, millis, authenticated, .. } = case;
        let limits = Limits { cache_entries: case.cache_entries, ..LIMITS };
        let service = Service::with_limits(limits, move |n| (10 * MILLI, script(n)));
        let (made, took, good) = service.ask_thrice().await;
        assert_eq!((made, good), (calls, authenticated), "{name}");
        assert_eq!(took, millis * MILLI, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_request_waits_longer_than_it_would_alone() {
    let service = Service::new(|_| (1000 * MILLI, holding()));
    let (calls, took, authenticated) = service.ask_thrice().await;
    assert_eq!((calls, authenticated), (1, 0));
    // Timers have a resolution of a millisecond.
    assert!((100 * MILLI..103 * MILLI).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_service_whose_answers_do_not_hold_is_not_waited_for_twice() {
    let service =
        Service::new(|n| (10 * MILLI, if n < 7 { authenticated(None) } else { holding() }));
    assert_eq!(service.ask_thrice().await.0, 3);
    let (calls, took, authenticated) = service.ask_thrice().await;
    assert_eq!((calls, authenticated), (3, 3));
    assert!(took < 15 * MILLI, "{took:?}");
    service.ask("other").await;
    assert_eq!(service.ask_thrice().await, (1, 10 * MILLI, 3));
}

#[tokio::test(start_paused = true)]
async fn a_call_goes_on_without_the_request_that_made_it() {
    let service = Service::new(|_| (10 * MILLI, holding()));
    let second = {
        let mut first = pin!(service.ask("t"));
        assert!(is_pending(first.as_mut()).await);
        let mut second = Box::pin(service.ask("t"));
        assert!(is_pending(second.as_mut()).await);
        second
    };
    assert!(matches!(second.await, Answer::Authenticated(_)));

    assert!(is_pending(pin!(service.ask("left alone"))).await);
    time::sleep(20 * MILLI).await;
    let cached = time::timeout(Duration::ZERO, service.ask("left alone")).await;
    assert!(matches!(cached, Ok(Answer::Authenticated(_))));
    assert_eq!(service.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_follower_of_a_failure_has_the_rest_of_its_own_time() {
    let failure = || Answer::Unavailable.into();
    let service = Service::new(move |n| match n {
        1 => (90 * MILLI, failure()),
        _ => (1000 * MILLI, holding()),
    });
    let began = Instant::now();
    let first = service.ask("t");
    let second = async {
        time::sleep(50 * MILLI).await;
        service.ask("t").await
    };
    let (_, second) = tokio::join!(first, second);
    assert!(matches!(second, Answer::Unavailable));
    let took = began.elapsed();
    assert!((150 * MILLI..153 * MILLI).contains(&took), "{took:?}");
    assert_eq!(service.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_panics_is_unavailable_and_the_next_is_made_anew() {
    let service = Service::new(|n| match n {
        1 => panic!("as a defect would"),
        _ => (MILLI, holding()),
    });
    let (first, second) = tokio::join!(service.ask("t"), service.ask("t"));
    assert!(matches!((first, second), (Answer::Unavailable, Answer::Authenticated(_))));
    assert!(service.answers.shared.flights.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_can_not_wait_makes_no_call() {
    let service = Service::new(|_| (MILLI, holding()));
    let request = Request::default();
    let credential = Credential::new("t", &request, UnixTime::now());
    for _ in 0..2 {
        drop(service.answers.answer(&credential, || service.call()));
    }
    time::sleep(10 * MILLI).await;
    assert_eq!(service.calls(), 0);
    assert!(service.answers.shared.flights.is_empty());
}
