//! Keys over real HTTP: what is fetched, when, and how bad responses are handled.

use std::{
    fs,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::body::Body;
use claimgate::{
    keys::{KeyStore, Refresh},
    provider::oauth2::key_source::{FetchObserver, FetchReport, FetchResult, KeySource, OpenError},
    settings::{KeyLocation, KeySourceSettings},
};
use futures_util::{StreamExt, stream};
use http::header;
use tokio::task::JoinHandle;

use self::server::{Seen, Server, jwks, redirect, status};
use crate::support::{ports::Reserved, wait::eventually};

mod certificates;
mod documents;
mod engine;
mod server;

const ISSUER: &str = "https://issuer.example";
const MILLI: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);

/// A source with its task running and everything it reported.
struct Opened {
    source: Arc<KeySource>,
    reports: Arc<Reports>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Reports(Mutex<Vec<(FetchResult, usize, String)>>);

impl FetchObserver for Reports {
    fn fetched(&self, report: &FetchReport<'_>) {
        assert_eq!(report.providers, ["test"]);
        let error = report.error.unwrap_or_default().to_owned();
        self.0.lock().unwrap().push((report.result, report.keys, error));
    }
}

impl Opened {
    fn new(settings: &KeySourceSettings) -> Self {
        let reports = Arc::new(Reports::default());
        let observer = Arc::clone(&reports) as Arc<dyn FetchObserver>;
        let (source, task) =
            KeySource::open(vec!["test".into()], ISSUER, settings, observer).unwrap();
        Self { source, reports, task: tokio::spawn(task) }
    }

    /// Waits for the first fetch to end.
    async fn first(settings: &KeySourceSettings) -> Self {
        let opened = Self::new(settings);
        opened.source.first_fetch_done().await;
        opened
    }

    fn kids(&self) -> Vec<String> {
        self.source.keys().iter().map(|key| key.kid().unwrap().to_owned()).collect()
    }

    fn results(&self) -> Vec<FetchResult> {
        self.reports.0.lock().unwrap().iter().map(|(result, ..)| *result).collect()
    }

    fn last_error(&self) -> String {
        self.source.status().last_error.unwrap_or_default()
    }

    /// Asks for an unknown key and waits as a request would.
    async fn refreshed(&self) -> bool {
        loop {
            match self.source.refresh() {
                Refresh::Settled { good } => return good,
                Refresh::Wait(fetch) => fetch.await,
            }
        }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn at(url: String) -> KeySourceSettings {
    KeySourceSettings {
        cache: HOUR,
        refresh_cooldown: HOUR,
        ..KeySourceSettings::new(KeyLocation::Url(url))
    }
}

fn discovered(url: String) -> KeySourceSettings {
    KeySourceSettings {
        location: KeyLocation::Discovery { url, otherwise: None },
        ..at(String::new())
    }
}

/// Why a source does not open.
fn refusal(settings: &KeySourceSettings) -> OpenError {
    let opened =
        KeySource::open(vec!["test".into()], ISSUER, settings, Arc::new(Reports::default()));
    opened.map(drop).unwrap_err()
}

#[tokio::test]
async fn the_document_is_fetched_from_the_url_exactly_as_written() {
    let server = Server::new(|_| status(200, jwks(&["a"]))).await;
    for target in
        ["/jwks.json", "//api//jwks/", "/%6Awks/%2F;v=1?a=b//c&d=/../%20", "/?", "/realms/x/certs"]
    {
        let opened = Opened::first(&at(server.url(target))).await;
        assert_eq!(opened.kids(), ["a"], "{target}: {}", opened.last_error());
        assert_eq!(server.targets().last().unwrap(), target);
    }
    let seen = server.seen().remove(0);
    assert_eq!(seen.header("user-agent"), concat!("claimgate/", env!("CARGO_PKG_VERSION")));
    assert_eq!(seen.header("authorization"), "");
    assert_eq!(seen.header("host"), server.address.to_string());
}

#[tokio::test]
async fn a_url_that_cannot_be_sent_as_written_does_not_open() {
    for (url, message) in [
        ("https://a.example/x/../jwks?secret", "its path would be sent as \"/jwks\""),
        ("ftp://a.example/secret", "not an absolute http or https URL"),
        ("secret", "not an absolute http or https URL"),
    ] {
        let error = refusal(&at(url.into())).to_string();
        assert!(error.contains(message) && !error.contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn an_etag_saves_the_document() {
    fn versioned(seen: &Seen, etag: &str, kids: &[&str]) -> axum::response::Response {
        if seen.header("if-none-match") == etag {
            return status(304, "");
        }
        let mut response = status(200, jwks(kids));
        response.headers_mut().insert(header::ETAG, etag.parse().unwrap());
        response
    }
    let server = Server::new(|seen| versioned(seen, "\"one\"", &["a"])).await;
    let opened =
        Opened::first(&KeySourceSettings { cache: 100 * MILLI, ..at(server.url("/")) }).await;
    let key = Arc::clone(opened.source.keys().iter().next().unwrap());
    eventually("two fetches without a change", async || {
        opened.results().starts_with(&[
            FetchResult::Success,
            FetchResult::NotModified,
            FetchResult::NotModified,
        ])
    })
    .await;
    assert!(key.is_live());

    server.now(|seen| versioned(seen, "\"two\"", &["a", "b"]));
    eventually("the new document", async || opened.kids() == ["a", "b"]).await;
    assert!(key.is_live(), "it is in the new document too");
    eventually("no change again", async || {
        opened.results().last() == Some(&FetchResult::NotModified)
    })
    .await;

    server.now(|_| status(200, jwks(&["b"])));
    eventually("the key is gone", async || opened.kids() == ["b"]).await;
    assert!(!key.is_live());
    let fetches = server.seen().len();
    eventually("one more fetch", async || server.seen().len() > fetches).await;
    assert_eq!(server.seen().last().unwrap().header("if-none-match"), "");
}

#[tokio::test]
async fn a_bad_document_with_an_etag_is_not_called_unchanged_later() {
    let server = Server::new(|seen| {
        assert_eq!(seen.header("if-none-match"), "");
        let mut response = status(200, "<html>");
        response.headers_mut().insert(header::ETAG, "\"bad\"".parse().unwrap());
        response
    })
    .await;
    let opened = Opened::first(&at(server.url("/"))).await;
    eventually("a second try", async || opened.results().len() > 1).await;
    assert!(opened.results().iter().all(|result| *result == FetchResult::Failure));
}

#[tokio::test]
async fn redirects_are_followed_within_the_origin_only() {
    let elsewhere = Server::new(|_| status(200, jwks(&["evil"]))).await;
    let away = elsewhere.url("/jwks");
    let server = Server::new(move |seen| match seen.target.as_str() {
        "/away" => redirect(&away),
        "/there" => redirect("//127.0.0.1:1/jwks"),
        "/scheme" => redirect(&format!("https://{}/jwks", seen.header("host"))),
        "/absolute" => redirect(&format!("http://{}//jwks?x", seen.header("host"))),
        "/3" => redirect("2"),
        "/2" => redirect("/1"),
        "/1" => redirect("?0"),
        "/4" => redirect("3"),
        "/loop" => redirect("/loop"),
        "/nowhere" => status(302, ""),
        _ => status(200, jwks(&["a"])),
    })
    .await;

    for target in ["/1", "/3", "/absolute"] {
        let opened = Opened::first(&at(server.url(target))).await;
        assert_eq!(opened.kids(), ["a"], "{target}: {}", opened.last_error());
    }
    assert!(server.targets().contains(&"//jwks?x".to_owned()));
    for (target, message) in [
        ("/4", "more than 3 redirects"),
        ("/loop", "more than 3 redirects"),
        ("/away", "redirects to another origin"),
        ("/there", "redirects to another origin (http://127.0.0.1:1)"),
        ("/scheme", "redirects to another origin (https://127.0.0.1"),
        ("/nowhere", "the answer has status 302"),
    ] {
        let opened = Opened::first(&at(server.url(target))).await;
        assert!(opened.kids().is_empty());
        let error = opened.last_error();
        assert!(error.starts_with(&format!("{}: {message}", server.url(target))), "{error}");
    }
    assert!(elsewhere.seen().is_empty());
}

#[tokio::test]
async fn bad_answers_are_failures_and_name_their_cause() {
    let server = Server::new(|seen| match seen.target.split('?').next().unwrap() {
        "/html" => status(200, "<!doctype html><title>log in</title>"),
        "/array" => status(200, "[]"),
        "/empty" => status(200, r#"{"keys": []}"#),
        "/oct" => status(200, r#"{"keys": [{"kty": "oct", "kid": "s", "k": "c2VjcmV0"}]}"#),
        "/nothing" => status(204, ""),
        "/unasked" => status(304, ""),
        "/partial" => status(206, jwks(&["a"])),
        "/denied" => status(401, jwks(&["a"])),
        "/down" => status(503, "secret"),
        _ => status(404, ""),
    })
    .await;
    for (path, message) in [
        ("/html", "not a JWK Set: not JSON (expected value at line 1 column 1)"),
        ("/array", "not a JWK Set: not a JSON object with a member \"keys\""),
        ("/empty", "no usable key in it"),
        ("/oct", "no usable key in it: keys[0] (kid \"s\"): `kty` is \"oct\", a shared secret"),
        ("/nothing", "the answer has status 204"),
        ("/unasked", "the answer has status 304"),
        ("/partial", "the answer has status 206"),
        ("/denied", "the answer has status 401"),
        ("/down", "the answer has status 503"),
        ("/missing", "the answer has status 404"),
    ] {
        let url = server.url(path).replace("http://", "http://user:secret@") + "?key=secret";
        let opened = Opened::first(&at(url)).await;
        let error = opened.last_error();
        assert_eq!(error, format!("{}: {message}", server.url(path)));
        assert_eq!(opened.results()[0], FetchResult::Failure);
        assert!(!opened.refreshed().await && opened.kids().is_empty());
        assert!(!opened.source.status().ready);
    }
}

#[tokio::test]
async fn any_content_type_will_do_and_a_bad_key_costs_only_itself() {
    let server = Server::new(|_| {
        let bad = r#"{"keys": [{"kty": "RSA", "n": "AQ", "e": "AQAB"}, "#;
        let mut response = status(200, jwks(&["a"]).replace("{\"keys\":[", bad));
        response.headers_mut().insert(header::CONTENT_TYPE, "text/plain".parse().unwrap());
        response
    })
    .await;
    assert_eq!(Opened::first(&at(server.url("/"))).await.kids(), ["a"]);
}

#[tokio::test]
async fn a_body_over_one_mebibyte_is_given_up_on() {
    fn padded(size: usize) -> String {
        let document = jwks(&["a"]);
        let padding = " ".repeat(size - document.len());
        document + &padding
    }
    const MEBIBYTE: usize = 1 << 20;
    let server = Server::new(|seen| match seen.target.as_str() {
        "/just" => status(200, padded(MEBIBYTE)),
        "/over" => status(200, padded(MEBIBYTE + 1)),
        // Neither a length nor an end.
        _ => {
            let chunk = stream::repeat("  ".repeat(1000)).map(Ok::<_, std::io::Error>);
            status(200, Body::from_stream(chunk))
        }
    })
    .await;
    assert_eq!(Opened::first(&at(server.url("/just"))).await.kids(), ["a"]);
    for target in ["/over", "/endless"] {
        let opened = Opened::first(&at(server.url(target))).await;
        let message = format!("{}: the answer is larger than 1 MiB", server.url(target));
        assert_eq!(opened.last_error(), message);
        assert!(opened.kids().is_empty());
    }
}

#[tokio::test]
async fn a_fetch_is_bounded_from_the_first_to_the_last_byte() {
    let server = Server::new(|seen| match seen.target.as_str() {
        "/drip" => {
            let drip = stream::once(async { Ok::<_, std::io::Error>("{") });
            status(200, Body::from_stream(drip.chain(stream::pending())))
        }
        _ => status(200, jwks(&["a"])),
    })
    .await;
    let quick = |target| KeySourceSettings { timeout: 100 * MILLI, ..at(server.url(target)) };
    let opened = Opened::first(&quick("/drip")).await;
    assert!(opened.last_error().ends_with(": no complete answer within 100ms"));
    server.hold();
    let opened = Opened::first(&quick("/late")).await;
    assert!(opened.last_error().ends_with(": no complete answer within 100ms"));
    server.release();
    assert!(opened.source.ready().await);
}

#[tokio::test]
async fn last_good_keys_serve_in_an_outage_and_bad_answers_do_not_replace_them() {
    let server = Server::new(|_| status(200, jwks(&["a"]))).await;
    let settings = KeySourceSettings {
        cache: 50 * MILLI,
        // Bounds the pauses between retries.
        refresh_cooldown: 50 * MILLI,
        ..at(server.url("/"))
    };
    let opened = Opened::first(&settings).await;
    let key = Arc::clone(opened.source.keys().iter().next().unwrap());
    let bad: [(u16, &str); 3] = [(503, ""), (200, "<html>"), (200, r#"{"keys": []}"#)];
    for (code, body) in bad {
        let seen = server.seen().len();
        server.now(move |_| status(code, body));
        eventually("two more tries", async || server.seen().len() > seen + 2).await;
        assert!(key.is_live() && opened.kids() == ["a"]);
    }
    server.now(|_| status(200, jwks(&["b"])));
    eventually("the issuer is back", async || opened.kids() == ["b"]).await;
    assert!(!key.is_live());
}

#[tokio::test]
async fn keys_are_withdrawn_when_they_are_too_old() {
    let server = Server::new(|_| status(200, jwks(&["a"]))).await;
    let settings = KeySourceSettings {
        cache: 100 * MILLI,
        max_stale: 200 * MILLI,
        refresh_cooldown: 10 * MILLI,
        ..at(server.url("/"))
    };
    let opened = Opened::first(&settings).await;
    let key = Arc::clone(opened.source.keys().iter().next().unwrap());
    server.now(|_| status(500, ""));
    eventually("the keys are too old", async || opened.kids().is_empty()).await;
    assert!(!key.is_live());
    assert!(!opened.refreshed().await, "the issuer can't be reached");
    assert!(opened.source.status().ready, "it has been ready");

    server.now(|_| status(200, jwks(&["a"])));
    eventually("the issuer is back", async || opened.kids() == ["a"]).await;
    assert!(!key.is_live(), "what was withdrawn stays so");
}

#[tokio::test]
async fn ten_thousand_unknown_keys_cause_one_fetch() {
    let server = Server::new(|_| status(200, jwks(&["a"]))).await;
    let opened = Opened::first(&at(server.url("/"))).await;
    server.hold();
    let waiting: Vec<_> = (0..10_000)
        .map(|_| match opened.source.refresh() {
            Refresh::Wait(fetch) => tokio::spawn(fetch),
            Refresh::Settled { .. } => panic!("settled before the fetch"),
        })
        .collect();
    eventually("the fetch is under way", async || server.seen().len() == 2).await;
    assert_eq!(opened.kids(), ["a"], "known keys are at hand meanwhile");
    server.now(|_| status(200, jwks(&["a", "b"])));
    server.release();
    for waiter in waiting {
        waiter.await.unwrap();
    }
    assert_eq!(opened.kids(), ["a", "b"]);
    for _ in 0..10_000 {
        assert!(matches!(opened.source.refresh(), Refresh::Settled { good: true }));
    }
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn after_the_cooldown_an_unknown_key_is_asked_for_again() {
    let server = Server::new(|_| status(200, jwks(&["a"]))).await;
    let settings = KeySourceSettings { refresh_cooldown: 200 * MILLI, ..at(server.url("/")) };
    let opened = Opened::first(&settings).await;
    assert!(opened.refreshed().await);
    server.now(|_| status(500, ""));
    eventually("an unknown key is not settled as good", async || {
        !matches!(opened.source.refresh(), Refresh::Settled { good: true })
    })
    .await;
    assert!(!opened.refreshed().await);
    assert_eq!(opened.kids(), ["a"]);
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn a_request_that_gives_up_does_not_stop_the_fetch() {
    let server = Server::new(|_| status(200, jwks(&["a"]))).await;
    let opened = Opened::first(&at(server.url("/"))).await;
    server.hold();
    let Refresh::Wait(fetch) = opened.source.refresh() else { panic!("settled too early") };
    assert!(tokio::time::timeout(50 * MILLI, fetch).await.is_err());
    eventually("the fetch is under way", async || server.seen().len() == 2).await;
    server.now(|_| status(200, jwks(&["b"])));
    server.release();
    eventually("its answer is used", async || opened.kids() == ["b"]).await;
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_start_before_the_issuer_heals_by_itself() {
    let later = Reserved::new();
    let address = later.address;
    let opened = Opened::first(&at(format!("http://{address}/jwks"))).await;
    let error = opened.last_error();
    let message = format!("http://{address}/jwks: can't connect: ");
    assert!(error.starts_with(&message) && error.contains("refused"), "{error}");
    assert!(!opened.source.status().ready);
    assert!(matches!(opened.source.refresh(), Refresh::Settled { good: false }));

    let _server = Server::on(later.listen(), |_| status(200, jwks(&["a"])));
    assert!(opened.source.ready().await);
    assert_eq!(opened.kids(), ["a"]);
    assert_eq!(opened.last_error(), "");
}

#[tokio::test]
async fn discovery_leads_to_the_keys_wherever_they_move() {
    let keys = Server::new(|seen| match seen.target.as_str() {
        "//keys/1" => status(200, jwks(&["a"])),
        _ => status(200, jwks(&["b"])),
    })
    .await;
    let pointing_to = |jwks_uri: String| {
        let metadata = serde_json::json!({"issuer": ISSUER, "jwks_uri": jwks_uri, "x": [1]});
        move |_: &Seen| status(200, metadata.to_string())
    };
    let server = Server::new(pointing_to(keys.url("//keys/1"))).await;
    let document = server.url("/.well-known/openid-configuration");
    let opened = Opened::first(&discovered(document.clone())).await;
    assert_eq!(opened.kids(), ["a"], "{}", opened.last_error());

    server.now(pointing_to(keys.url("/keys/2")));
    assert!(opened.refreshed().await);
    assert_eq!(opened.kids(), ["b"]);
    assert_eq!(keys.targets(), ["//keys/1", "/keys/2"]);
    assert_eq!(server.targets(), [""; 2].map(|_| "/.well-known/openid-configuration"));
}

#[tokio::test]
async fn a_discovery_document_that_does_not_fit_is_a_failed_fetch() {
    let keys = Server::new(|_| status(200, jwks(&["evil"]))).await;
    let metadata = |issuer: &str, jwks_uri: &str| {
        serde_json::json!({"issuer": issuer, "jwks_uri": jwks_uri}).to_string()
    };
    for (document, message) in [
        (
            metadata("https://issuer.example/", &keys.url("/")),
            "its issuer is \"https://issuer.example/\", the configured one is \
             \"https://issuer.example\"; write the slash at its end, too",
        ),
        (
            metadata("https://evil.example", &keys.url("/")),
            "its issuer is \"https://evil.example\", the configured one is",
        ),
        (metadata(ISSUER, "http://keys.example/"), "its jwks_uri is not https"),
        (metadata(ISSUER, "/jwks"), "its jwks_uri is not a URL"),
        (jwks(&["a"]), "it names no issuer"),
        ("<html>".to_owned(), "it is not a discovery document"),
        (" ".repeat((1 << 20) + 1), "the answer is larger than 1 MiB"),
    ] {
        let server = Server::new(move |_| status(200, document.clone())).await;
        let opened = Opened::first(&discovered(server.url("/d"))).await;
        let error = opened.last_error();
        assert!(error.starts_with(&format!("{}: {message}", server.url("/d"))), "{error}");
        assert!(opened.kids().is_empty());
    }
    assert!(keys.seen().is_empty());
}

#[tokio::test]
async fn the_fetch_token_is_read_anew_each_time_and_never_told() {
    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("token");
    fs::write(&token_file, "secret-1\n").unwrap();
    let server = Server::new(|_| status(200, jwks(&["a"]))).await;
    let settings = KeySourceSettings {
        fetch_token_file: Some(token_file.clone()),
        refresh_cooldown: MILLI,
        ..at(server.url("/"))
    };
    let opened = Opened::first(&settings).await;
    fs::write(&token_file, "secret-2").unwrap();
    eventually("a fetch with the new token", async || {
        drop(opened.source.refresh());
        server.seen().last().unwrap().header("authorization") == "Bearer secret-2"
    })
    .await;
    assert_eq!(server.seen()[0].header("authorization"), "Bearer secret-1");

    for (content, cause) in [
        (Some("secret\nsecret"), "it does not hold one line with a token"),
        (Some(" \n"), "it is empty"),
        (None, "No such file or directory"),
    ] {
        match content {
            Some(content) => fs::write(&token_file, content).unwrap(),
            None => fs::remove_file(&token_file).unwrap(),
        }
        eventually(cause, async || {
            drop(opened.source.refresh());
            opened.last_error().contains(cause)
        })
        .await;
        let error = opened.last_error();
        let prefix = format!("fetch_token_file {}: ", token_file.display());
        assert!(error.starts_with(&prefix) && !error.contains("secret"), "{error}");
        assert_eq!(opened.kids(), ["a"]);
    }
}

#[tokio::test]
async fn a_private_authority_is_trusted_where_ca_file_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    let server = Server::tls(&ca_file, |_| status(200, jwks(&["a"]))).await;
    let trusting = KeySourceSettings { ca_file: Some(ca_file.clone()), ..at(server.url("//jwks")) };
    let opened = Opened::first(&trusting).await;
    assert_eq!(opened.kids(), ["a"], "{}", opened.last_error());
    assert_eq!(server.targets(), ["//jwks"]);

    // Another authority is not trusted for it.
    let other = folder.path().join("other.pem");
    let _other = Server::tls(&other, |_| status(200, "")).await;
    let opened = Opened::first(&KeySourceSettings { ca_file: Some(other), ..trusting }).await;
    let error = opened.last_error();
    assert!(error.contains("/jwks: can't connect: ") && error.contains("certificate"), "{error}");
    assert_eq!(server.targets().len(), 1);
}

#[tokio::test]
async fn a_bad_ca_file_does_not_open() {
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    for (content, cause) in [
        (None, "No such file or directory"),
        (Some("no certificate"), "it holds no PEM certificate"),
        (
            Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            "certificate 1 can't be a trust root",
        ),
    ] {
        if let Some(content) = content {
            fs::write(&ca_file, content).unwrap();
        }
        let settings = KeySourceSettings {
            ca_file: Some(ca_file.clone()),
            ..at("https://localhost/jwks".into())
        };
        let error = refusal(&settings).to_string();
        let prefix = format!("ca_file {}: {cause}", ca_file.display());
        assert!(error.starts_with(&prefix), "{error}");
    }
}

#[tokio::test]
async fn a_local_file_is_read_at_once_or_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jwks.json");
    let settings =
        KeySourceSettings { location: KeyLocation::File(file.clone()), ..at(String::new()) };

    let missing = refusal(&settings);
    assert!(matches!(missing, OpenError::Unreadable { .. }), "{missing}");
    assert!(missing.to_string().starts_with(&format!("{}: ", file.display())));
    fs::write(&file, "{}").unwrap();
    let bad = format!("{}: not a JWK Set: no member \"keys\"", file.display());
    assert_eq!(refusal(&settings).to_string(), bad);

    fs::write(&file, jwks(&["a"])).unwrap();
    let (source, task) =
        KeySource::open(vec!["test".into()], ISSUER, &settings, Arc::new(Reports::default()))
            .unwrap();
    task.await;
    assert_eq!(source.keys().len(), 1);
    assert!(source.ready().await && source.status().ready);
    assert!(matches!(source.refresh(), Refresh::Settled { good: true }));
}
