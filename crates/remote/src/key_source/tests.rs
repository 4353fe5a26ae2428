//! The task with a scripted fetcher, in virtual time.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use serde_json::json;
use tokio::time;

use super::*;
use crate::fetch::{Cause, Document, FetchError, Fetched, Version};

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

type Outcome = Result<Fetched, FetchError>;

/// Answers the fetch of this number, from 1, after a while.
struct Scripted<S> {
    fetches: Arc<AtomicUsize>,
    script: S,
}

impl<S: Fn(usize) -> (Duration, Outcome) + Send + Sync + 'static> Fetcher for Scripted<S> {
    async fn fetch(&self, _: Option<&Version>) -> Outcome {
        let n = self.fetches.fetch_add(1, Ordering::Relaxed) + 1;
        let (pause, outcome) = (self.script)(n);
        time::sleep(pause).await;
        outcome
    }
}

/// A source with its task running, and the number of its fetches so far.
struct Running {
    source: Arc<KeySource>,
    fetches: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    fn new(script: impl Fn(usize) -> (Duration, Outcome) + Send + Sync + 'static) -> Self {
        let fetches = Arc::new(AtomicUsize::new(0));
        let fetcher = Scripted { fetches: Arc::clone(&fetches), script };
        let (source, task) = KeySource::with_fetcher(
            vec!["test".into()],
            &settings(),
            Arc::new(Unobserved),
            fetcher,
        );
        Self { source, fetches, task: tokio::spawn(task.run()) }
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::Relaxed)
    }

    fn kids(&self) -> Vec<String> {
        self.source.keys().iter().map(|key| key.kid().unwrap().to_owned()).collect()
    }

    fn settled(&self) -> Option<bool> {
        match self.source.refresh() {
            Refresh::Settled { good } => Some(good),
            Refresh::Wait(_) => None,
        }
    }

    async fn refreshed(&self) {
        match self.source.refresh() {
            Refresh::Settled { .. } => panic!("must wait"),
            Refresh::Wait(fetch) => fetch.await,
        }
    }
}

fn settings() -> KeySourceSettings {
    KeySourceSettings {
        cache: 1000 * SECOND,
        max_stale: 2000 * SECOND,
        refresh_cooldown: 10 * SECOND,
        ..KeySourceSettings::new(KeyLocation::Url("unused".into()))
    }
}

fn jwk(kid: &str) -> serde_json::Value {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[kid.as_bytes()[0]; 32]).unwrap();
    let x = base64_simd::URL_SAFE_NO_PAD.encode_to_string(pair.public_key().as_ref());
    json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x})
}

fn document(kids: &[&str]) -> Outcome {
    let keys: Vec<_> = kids.iter().map(|kid| jwk(kid)).collect();
    let body = json!({ "keys": keys }).to_string().into_bytes();
    Ok(Fetched::Document(Document { url: "test".into(), body, version: None }))
}

fn busy(pause: Duration) -> Outcome {
    let error = FetchError::new("test".into(), Cause::Status(429));
    Err(error.retry_after(Some(pause)))
}

fn failure() -> Outcome {
    Err(FetchError::new("test".into(), Cause::Status(500)))
}

#[tokio::test(start_paused = true)]
async fn at_start_requests_wait_for_the_first_fetch() {
    let run = Running::new(|_| (SECOND, document(&["a"])));
    time::sleep(MILLI).await;
    assert!(!run.source.status().ready && run.source.keys().is_empty());
    run.refreshed().await;
    assert_eq!(run.kids(), ["a"]);
    let status = run.source.status();
    assert!(status.ready && status.last_success.is_some() && status.next_refresh.is_some());
    assert_eq!(status.keys[0].kid.as_deref(), Some("a"));
    assert!(run.source.ready().await);
}

#[tokio::test(start_paused = true)]
async fn a_start_during_an_outage_heals_by_itself() {
    let run = Running::new(|n| (MILLI, if n < 20 { failure() } else { document(&["a"]) }));
    run.source.first_fetch_done().await;
    assert_eq!(run.settled(), Some(false), "503 at once");
    let status = run.source.status();
    assert!(!status.ready);
    assert_eq!(status.last_error.as_deref(), Some("test: the answer has status 500"));

    let began = Instant::now();
    assert!(run.source.ready().await);
    // 19 failures: 250 ms doubling up to 5 s, the jitter included.
    let took = began.elapsed();
    assert!((40 * SECOND..90 * SECOND).contains(&took), "{took:?}");
    assert_eq!(run.kids(), ["a"]);
    assert_eq!(run.source.status().last_error, None);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_unknown_keys_cause_one_fetch_per_cooldown() {
    let run = Running::new(|_| (100 * MILLI, document(&["a"])));
    assert!(run.source.ready().await);
    let waiting: Vec<_> = (0..10_000)
        .map(|_| match run.source.refresh() {
            Refresh::Wait(fetch) => tokio::spawn(fetch),
            Refresh::Settled { .. } => panic!("must wait"),
        })
        .collect();
    for waiter in waiting {
        waiter.await.unwrap();
    }
    assert_eq!(run.fetches(), 2);
    for _ in 0..9 {
        assert!((0..1000).all(|_| run.settled() == Some(true)));
        time::sleep(SECOND).await;
    }
    assert_eq!(run.fetches(), 2);
    time::sleep(SECOND).await;
    run.refreshed().await;
    assert_eq!(run.fetches(), 3);
}

#[tokio::test(start_paused = true)]
async fn unknown_keys_set_no_faster_pace_while_the_endpoint_is_down() {
    let run = Running::new(|n| (MILLI, if n == 1 { document(&["a"]) } else { failure() }));
    assert!(run.source.ready().await);
    let end = Instant::now() + 100 * SECOND;
    while Instant::now() < end {
        match run.source.refresh() {
            Refresh::Settled { good } => assert!(!good),
            Refresh::Wait(fetch) => fetch.await,
        }
        time::sleep(50 * MILLI).await;
    }
    assert!((10..=11).contains(&(run.fetches() - 1)), "{}", run.fetches());
    assert_eq!(run.kids(), ["a"], "the last good keys still serve");
}

/// Whatever wants a fetch: the first one, the schedule, a request.
#[tokio::test(start_paused = true)]
async fn a_server_that_wants_to_be_left_alone_is() {
    // At most as long as keys are cached.
    for (pause, expected) in [(100, 100), (600, 600), (86_400, 1000)] {
        let run = Running::new(move |n| match n {
            1 => (MILLI, busy(pause * SECOND)),
            _ => (MILLI, document(&["a"])),
        });
        run.source.first_fetch_done().await;
        let began = Instant::now();
        for _ in 1..expected {
            assert_eq!(run.settled(), Some(false), "503, and no fetch");
            time::sleep(SECOND).await;
        }
        assert_eq!(run.fetches(), 1);
        assert!(run.source.ready().await);
        let took = began.elapsed().as_secs();
        assert!((expected - 1..=expected + 2).contains(&took), "{pause}: {took}");
    }
}

#[tokio::test(start_paused = true)]
async fn known_keys_serve_while_a_server_is_left_alone() {
    let run = Running::new(|n| match n {
        1 => (MILLI, document(&["a"])),
        2 => (MILLI, busy(60 * SECOND)),
        _ => (MILLI, document(&["a", "b"])),
    });
    assert!(run.source.ready().await);
    run.refreshed().await;
    for _ in 0..59 {
        assert_eq!((run.settled(), run.fetches()), (Some(false), 2));
        time::sleep(SECOND).await;
    }
    assert_eq!(run.kids(), ["a"]);
    time::sleep(2 * SECOND).await;
    run.refreshed().await;
    assert_eq!(run.kids(), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_document_of_the_same_keys_changes_nothing() {
    let run = Running::new(|n| (MILLI, document(if n < 3 { &["a"] } else { &["a", "b"] })));
    assert!(run.source.ready().await);
    let before = Arc::clone(&run.source.keys());
    run.refreshed().await;
    assert!(Arc::ptr_eq(&before, &run.source.keys()), "what they refused stays refused");
    time::sleep(10 * SECOND).await;
    run.refreshed().await;
    assert!(!Arc::ptr_eq(&before, &run.source.keys()));
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_leaves_does_not_stop_the_fetch() {
    let run = Running::new(|n| (SECOND, document(if n == 1 { &["a"] } else { &["a", "b"] })));
    assert!(run.source.ready().await);
    let Refresh::Wait(fetch) = run.source.refresh() else { panic!("must wait") };
    assert!(time::timeout(150 * MILLI, fetch).await.is_err());
    run.refreshed().await;
    assert_eq!(run.kids(), ["a", "b"]);
    assert_eq!(run.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn keys_are_refreshed_before_they_are_due() {
    let run = Running::new(|_| (MILLI, document(&["a"])));
    assert!(run.source.ready().await);
    for n in 1..20 {
        assert_eq!(run.fetches(), n);
        let began = Instant::now();
        while run.fetches() == n {
            time::sleep(SECOND).await;
        }
        assert!((749 * SECOND..=951 * SECOND).contains(&began.elapsed()), "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_stays_is_the_same_and_one_that_goes_is_retired() {
    let run = Running::new(|n| (MILLI, document(if n == 1 { &["a", "b"] } else { &["b", "c"] })));
    assert!(run.source.ready().await);
    let old: Vec<_> = run.source.keys().iter().cloned().collect();
    run.refreshed().await;
    assert_eq!(run.kids(), ["b", "c"]);
    assert!(!old[0].is_live() && old[1].is_live());
    assert!(Arc::ptr_eq(&old[1], run.source.keys().iter().next().unwrap()));
}

#[tokio::test(start_paused = true)]
async fn in_an_outage_old_keys_serve_until_they_are_too_old() {
    let run = Running::new(|n| (MILLI, if n == 1 { document(&["a"]) } else { failure() }));
    assert!(run.source.ready().await);
    let key = Arc::clone(run.source.keys().iter().next().unwrap());
    time::sleep(2999 * SECOND).await;
    assert!(key.is_live());
    assert_eq!(run.kids(), ["a"]);
    time::sleep(2 * SECOND).await;
    assert!(!key.is_live() && run.source.keys().is_empty());
    // The next failure, at most five seconds away, settles it for every request.
    time::sleep(5 * SECOND).await;
    assert_eq!(run.settled(), Some(false));
    assert!(run.source.status().ready, "an outage does not take readiness back");
}

#[tokio::test(start_paused = true)]
async fn a_bad_document_never_replaces_good_keys() {
    let bad = |body: &str| {
        let body = body.as_bytes().to_vec();
        Ok(Fetched::Document(Document {
            url: "https://a.example/jwks".into(),
            body,
            version: None,
        }))
    };
    let run = Running::new(move |n| match n {
        1 => (MILLI, document(&["a"])),
        2 => (MILLI, bad("<html>")),
        _ => (MILLI, bad(r#"{"keys": []}"#)),
    });
    assert!(run.source.ready().await);
    for message in ["not a JWK Set: not JSON", "no usable key in it"] {
        run.refreshed().await;
        assert_eq!(run.settled(), Some(false));
        let error = run.source.status().last_error.unwrap();
        assert!(error.starts_with(&format!("https://a.example/jwks: {message}")), "{error}");
        assert_eq!(run.kids(), ["a"]);
        time::sleep(10 * SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_hangs_does_not_keep_old_keys_alive() {
    let unchanged = || Ok(Fetched::NotModified { url: "test".into() });
    let run = Running::new(move |n| match n {
        1 => (MILLI, document(&["a"])),
        2 => (5000 * SECOND, unchanged()),
        _ => (MILLI, document(&["a"])),
    });
    assert!(run.source.ready().await);
    let key = Arc::clone(run.source.keys().iter().next().unwrap());
    time::sleep(3001 * SECOND).await;
    assert!(!key.is_live() && run.source.keys().is_empty());
    assert_eq!(run.fetches(), 2, "still under way");
    // "Unchanged" is too late by then: the document is fetched again.
    while run.source.keys().is_empty() {
        time::sleep(SECOND).await;
    }
    assert_eq!(run.fetches(), 3);
    assert!(!key.is_live() && run.source.keys().iter().all(|key| key.is_live()));
}

#[tokio::test(start_paused = true)]
async fn an_unchanged_document_renews_the_keys() {
    let run = Running::new(|n| match n {
        1 => (MILLI, document(&["a"])),
        _ => (MILLI, Ok(Fetched::NotModified { url: "test".into() })),
    });
    assert!(run.source.ready().await);
    let key = Arc::clone(run.source.keys().iter().next().unwrap());
    time::sleep(10_000 * SECOND).await;
    assert!(key.is_live() && run.kids() == ["a"]);
    assert!((11..=14).contains(&run.fetches()), "{}", run.fetches());
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_with_its_source_and_no_request_waits_for_a_task_that_is_gone() {
    let Running { source, task, .. } = Running::new(|_| (MILLI, document(&["a"])));
    assert!(source.ready().await);
    drop(source);
    task.await.unwrap();

    let run = Running::new(|_| (1000 * SECOND, document(&["a"])));
    time::sleep(MILLI).await;
    let Refresh::Wait(fetch) = run.source.refresh() else { panic!("must wait") };
    run.task.abort();
    fetch.await;
    assert_eq!(run.settled(), Some(false));
    assert!(!run.source.ready().await);
}

#[test]
fn fixed_keys_need_no_runtime_and_are_always_settled() {
    let Ok(Fetched::Document(Document { body, .. })) = document(&["a"]) else { panic!() };
    let source = KeySource::fixed(vec![], KeySet::parse(&body).unwrap().set);
    assert!(matches!(source.refresh(), Refresh::Settled { good: true }));
    assert_eq!(source.keys().len(), 1);
    assert!(source.status().ready);
}
