//! Engines whose keys come over HTTP: key sets as issuers publish them, keys
//! that are replaced, and providers that share what they fetch.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use axum::response::Response;
use claimgate::{
    Engine, Reason, Request,
    issuer::signing::SigningKey,
    provider::oauth2::{
        Algorithm,
        key_source::{FetchObserver, FetchReport, FetchResult},
    },
    settings::{
        AuthSettings, KeyLocation, KeySourceSettings, OAuth2Settings, ProviderKind,
        ProviderSettings,
    },
    time::UnixTime,
    token_cache::TokenCache,
};
use claimgate_files::Contents;
use claimgate_remote::providers::{self, Source};
use serde_json::{Value, json};

use super::{
    HOUR, ISSUER, MILLI, at,
    server::{Seen, Server, jwks as other_jwks, status},
};
use crate::support::{
    mint::{self, changed, jwks},
    wait::eventually,
};

/// What the providers were told: fetches, and keys of those that came later.
#[derive(Default)]
struct Told(Mutex<BTreeMap<String, Vec<String>>>);

impl Told {
    fn to(&self, provider: &str) -> Vec<String> {
        self.0.lock().unwrap().get(provider).cloned().unwrap_or_default()
    }

    fn tell(&self, provider: &str, what: &str) {
        self.0.lock().unwrap().entry(provider.to_owned()).or_default().push(what.to_owned());
    }
}

impl FetchObserver for Told {
    fn fetched(&self, report: &FetchReport<'_>) {
        let outcome = if report.result == FetchResult::Failure { "failed" } else { "fetched" };
        report.providers.iter().for_each(|provider| self.tell(provider, outcome));
    }

    fn loaded(&self, provider: &str, keys: usize) {
        self.tell(provider, &format!("has {keys}"));
    }
}

/// A configuration in force.
struct Running {
    engine: Engine,
    sources: Vec<Source>,
    told: Arc<Told>,
}

impl Running {
    async fn start(providers: Vec<(&str, OAuth2Settings)>) -> Self {
        Self::after(providers, &[], Arc::default()).await
    }

    async fn after(
        providers: Vec<(&str, OAuth2Settings)>,
        before: &[Source],
        told: Arc<Told>,
    ) -> Self {
        let providers = providers.into_iter().map(|(name, oauth2)| ProviderSettings {
            name: name.to_owned(),
            forward_token: None,
            kind: ProviderKind::OAuth2(Box::new(oauth2)),
        });
        let settings = AuthSettings { providers: providers.collect(), ..AuthSettings::default() };
        let observer = Arc::clone(&told) as Arc<dyn FetchObserver>;
        let cache = Arc::new(TokenCache::new(100));
        let built =
            providers::build(&settings, &Contents::default(), before, &observer, &cache).unwrap();
        providers::adopt(&built.sources, &*told);
        for source in &built.sources {
            source.keys.first_fetch_done().await;
        }
        let engine = Engine::new(&settings, built.list, cache);
        Self { engine, sources: built.sources, told }
    }

    async fn reason(&self, token: &str) -> Reason {
        with_request(token, async |request| {
            self.engine.check(request, UnixTime::now()).await.reason
        })
        .await
    }

    /// The decision, if none has to be waited for.
    fn reason_now(&self, token: &str) -> Option<Reason> {
        let authorization = format!("Bearer {token}");
        let decision = self.engine.check_now(&request(&authorization), UnixTime::now());
        decision.map(|decision| decision.reason)
    }
}

fn request(authorization: &str) -> Request<'_> {
    Request {
        method: "GET",
        path: "/",
        headers: [("authorization", authorization.as_bytes())].into_iter().collect(),
        ..Request::default()
    }
}

async fn with_request<T>(token: &str, act: impl AsyncFnOnce(&Request<'_>) -> T) -> T {
    let authorization = format!("Bearer {token}");
    act(&request(&authorization)).await
}

fn provider(keys: KeySourceSettings) -> OAuth2Settings {
    OAuth2Settings { algorithms: Algorithm::ALL.to_vec(), ..OAuth2Settings::new(ISSUER, keys) }
}

fn claims(number: usize) -> Vec<u8> {
    let exp = UnixTime::now().as_seconds() + 600.0;
    json!({"iss": ISSUER, "sub": "me", "exp": exp, "jti": number.to_string()})
        .to_string()
        .into_bytes()
}

fn key(algorithm: Algorithm) -> SigningKey {
    SigningKey::generate(algorithm).unwrap()
}

/// A token by this key that names another one, or none.
fn token(key: &SigningKey, alg: &str, kid: Option<&str>, number: usize) -> String {
    let header = changed(json!({ "alg": alg }), json!({ "kid": kid }));
    key.sign_with(&header, &claims(number)).unwrap()
}

/// The key set of these keys, all under this `kid` if there is one.
fn published(keys: &[&SigningKey], kid: Option<&str>) -> String {
    let named = |key: &&SigningKey| changed(key.jwk().clone(), json!({ "kid": kid }));
    json!({"keys": keys.iter().map(named).collect::<Vec<_>>()}).to_string()
}

#[tokio::test]
async fn tokens_pass_with_key_sets_that_envoy_accepts() {
    let ec = key(Algorithm::Es256);
    let padded = |name: &str| format!("{}=", ec.jwk()[name].as_str().unwrap());
    let zero = |name: &str| {
        let bytes = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(ec.jwk()[name].as_str().unwrap());
        base64_simd::URL_SAFE_NO_PAD.encode_to_string([&[0], bytes.unwrap().as_slice()].concat())
    };
    let members = [
        json!({"key_ops": []}),
        json!({"key_ops": null}),
        json!({"use": null}),
        json!({"use": ""}),
        json!({"alg": null}),
        json!({"alg": ""}),
        json!({"kid": null}),
        json!({"kid": ""}),
        json!({"kid": 7}),
        json!({"x": padded("x"), "y": padded("y")}),
        json!({"x": zero("x"), "y": zero("y")}),
        json!({"use": "", "alg": null, "key_ops": [], "kid": null}),
    ];
    for members in members {
        let mut jwk = ec.jwk().clone();
        jwk.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        let document = json!({ "keys": [jwk] }).to_string();
        let server = Server::new(move |_| status(200, document.clone())).await;
        let running = Running::start(vec![("p", provider(at(server.url("/"))))]).await;
        let kid = members.get("kid").map_or(ec.kid(), |kid| if kid == 7 { "7" } else { "any" });
        let token = token(&ec, "ES256", Some(kid), 0);
        assert_eq!(running.reason(&token).await, Reason::Ok, "{members}");
        assert_eq!(server.seen().len(), 1, "{members}");
    }
}

/// One key in place of another: under the same `kid`, or both without, of the
/// same type or not.
#[tokio::test]
async fn a_key_that_was_replaced_is_fetched_when_a_signature_is_bad() {
    for (kid, algorithm) in [
        (Some("1"), Algorithm::Es256),
        (None, Algorithm::Es256),
        (Some("1"), Algorithm::EdDsa),
        (None, Algorithm::EdDsa),
    ] {
        let (old, new) = (key(Algorithm::Es256), key(algorithm));
        let before = published(&[&old], kid);
        let server = Server::new(move |_| status(200, before.clone())).await;
        let running = Running::start(vec![("p", provider(at(server.url("/"))))]).await;
        let old_token = token(&old, "ES256", kid, 0);
        assert_eq!(running.reason(&old_token).await, Reason::Ok);

        let after = published(&[&new], kid);
        server.now(move |_| status(200, after.clone()));
        let new_token = token(&new, algorithm.as_str(), kid, 1);
        assert_eq!(running.reason(&new_token).await, Reason::Ok, "{kid:?} {algorithm}");
        assert_eq!(server.seen().len(), 2);
        // The old key is gone, and no fetch tells otherwise for an hour.
        assert_ne!(running.reason(&old_token).await, Reason::Ok, "{kid:?} {algorithm}");
        assert_eq!(server.seen().len(), 2);
    }
}

#[tokio::test]
async fn bad_signatures_cost_one_fetch_for_each_cooldown_and_delay_no_one_else() {
    let (own, stranger) = (key(Algorithm::Es256), key(Algorithm::Es256));
    let document = published(&[&own], Some("1"));
    let server = Server::new(move |_| status(200, document.clone())).await;
    let running = Arc::new(Running::start(vec![("p", provider(at(server.url("/"))))]).await);

    server.hold();
    let forged = |number| token(&stranger, "ES256", Some("1"), number);
    let waiting: Vec<_> = (0..100)
        .map(|number| {
            let (running, token) = (Arc::clone(&running), forged(number));
            tokio::spawn(async move { running.reason(&token).await })
        })
        .collect();
    eventually("the fetch is under way", async || server.seen().len() == 2).await;
    for number in 0..100 {
        let good = token(&own, "ES256", Some("1"), number);
        assert_eq!(running.reason_now(&good), Some(Reason::Ok), "no request waits for it");
    }
    server.release();
    for forged in waiting {
        assert_eq!(forged.await.unwrap(), Reason::BadSignature);
    }
    for number in 0..1000 {
        let forged = token(&stranger, "ES256", Some("1").filter(|_| number % 2 == 0), number);
        assert_eq!(running.reason_now(&forged), Some(Reason::BadSignature), "at once");
    }
    assert_eq!(server.seen().len(), 2);
}

/// The memory of bad signatures is one of the keys that refused them.
#[tokio::test]
async fn a_token_that_was_refused_is_checked_anew_with_new_keys() {
    let (old, new) = (key(Algorithm::Es256), key(Algorithm::Es256));
    let before = published(&[&old], Some("1"));
    let server = Server::new(move |_| status(200, before.clone())).await;
    let quick = KeySourceSettings { refresh_cooldown: 50 * MILLI, ..at(server.url("/")) };
    let running = Running::start(vec![("p", provider(quick))]).await;
    let token = token(&new, "ES256", Some("1"), 0);
    for _ in 0..10 {
        assert_eq!(running.reason(&token).await, Reason::BadSignature);
    }
    let after = published(&[&old, &new], Some("1"));
    server.now(move |_| status(200, after.clone()));
    eventually("the new key", async || running.reason(&token).await == Reason::Ok).await;
}

#[tokio::test]
async fn a_bad_signature_stays_one_while_the_issuer_is_down() {
    let (own, stranger) = (key(Algorithm::Es256), key(Algorithm::Es256));
    let document = published(&[&own], Some("1"));
    let server = Server::new(move |_| status(200, document.clone())).await;
    let running = Running::start(vec![("p", provider(at(server.url("/"))))]).await;
    server.now(|_| status(500, ""));
    for number in 0..3 {
        let forged = token(&stranger, "ES256", Some("1"), number);
        assert_eq!(running.reason(&forged).await, Reason::BadSignature);
        let unknown = token(&stranger, "ES256", Some("2"), number);
        assert_eq!(running.reason(&unknown).await, Reason::ProviderUnavailable);
    }
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_key_without_kid_is_tried_before_an_unknown_one_is_asked_for() {
    let (own, stranger) = (key(Algorithm::Es256), key(Algorithm::Es256));
    let document = published(&[&own], None);
    let server = Server::new(move |_| status(200, document.clone())).await;
    let running = Running::start(vec![("p", provider(at(server.url("/"))))]).await;
    let named = token(&own, "ES256", Some("any"), 0);
    assert_eq!(running.reason_now(&named), Some(Reason::Ok));
    assert_eq!(server.seen().len(), 1);
    let forged = token(&stranger, "ES256", Some("any"), 0);
    assert_eq!(running.reason(&forged).await, Reason::UnknownKid);
    assert_eq!(server.seen().len(), 2);
}

fn busy(code: u16, retry_after: &str) -> Response {
    let mut response = status(code, "");
    response.headers_mut().insert(http::header::RETRY_AFTER, retry_after.parse().unwrap());
    response
}

#[tokio::test]
async fn retry_after_is_kept_to_whatever_wants_a_fetch() {
    let own = key(Algorithm::Es256);
    let unknown = token(&own, "ES256", None, 0);
    // A date has no fractions, so it may be up to a second less.
    for (code, retry_after, least) in [(429, "1", 1000), (503, "1", 1000), (429, "date", 900)] {
        let retry_after = match retry_after {
            "date" => httpdate(SystemTime::now() + Duration::from_secs(2)),
            seconds => seconds.to_owned(),
        };
        let server = Server::new(move |_| busy(code, &retry_after)).await;
        let quick = KeySourceSettings { refresh_cooldown: MILLI, ..at(server.url("/")) };
        let began = Instant::now();
        let running = Running::start(vec![("p", provider(quick))]).await;
        let document = published(&[&own], None);
        server.now(move |_| status(200, document.clone()));
        eventually("the keys are there", async || {
            let reason = running.reason(&unknown).await;
            if server.seen().len() == 1 {
                assert_eq!(reason, Reason::ProviderUnavailable);
            }
            reason == Reason::Ok
        })
        .await;
        let took = began.elapsed().as_millis();
        assert!(took >= least, "{code}: {took} ms");
        assert_eq!(server.seen().len(), 2);
    }
}

/// As servers write it (RFC 9110, section 5.6.7).
fn httpdate(time: SystemTime) -> String {
    let time = jiff::Timestamp::try_from(time).unwrap();
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[tokio::test]
async fn other_failures_and_other_headers_wait_for_nothing() {
    let own = key(Algorithm::Es256);
    let good = token(&own, "ES256", None, 0);
    for (code, retry_after) in [(500, "3600"), (404, "3600"), (429, "soon"), (429, "-1")] {
        let server = Server::new(move |_| busy(code, retry_after)).await;
        let quick = KeySourceSettings { refresh_cooldown: MILLI, ..at(server.url("/")) };
        let running = Running::start(vec![("p", provider(quick))]).await;
        let document = published(&[&own], None);
        server.now(move |_| status(200, document.clone()));
        eventually("the keys", async || running.reason(&good).await == Reason::Ok).await;
    }
}

/// The Entra set-up of the docs: two rules for the tokens of one issuer.
#[tokio::test]
async fn providers_that_would_fetch_the_same_share_one_fetch() {
    let own = key(Algorithm::Es256);
    let document = jwks(&[&own]);
    let answer = move |seen: &Seen| match seen.target.as_str() {
        "/discovery" => {
            let keys = format!("http://{}/jwks", seen.header("host"));
            status(200, json!({"issuer": ISSUER, "jwks_uri": keys}).to_string())
        }
        _ => status(200, document.clone()),
    };
    let server = Server::new(answer).await;
    let discovery = |_| KeySourceSettings {
        location: KeyLocation::Discovery { url: server.url("/discovery"), otherwise: None },
        ..at(String::new())
    };
    let direct = |_| at(server.url("/jwks"));
    let kinds: [(&dyn Fn(()) -> KeySourceSettings, usize); 2] = [(&discovery, 2), (&direct, 1)];
    for (keys, requests) in kinds {
        let before = server.seen().len();
        let wanting = |audience: &str, keys| OAuth2Settings {
            audience: vec![audience.into()],
            ..provider(keys)
        };
        // Their times may differ.
        let slower = KeySourceSettings { cache: 24 * HOUR, ..keys(()) };
        let running =
            Running::start(vec![("one", wanting("a", keys(()))), ("two", wanting("b", slower))])
                .await;
        for audience in ["a", "b"] {
            let claims = serde_json::from_slice::<Value>(&claims(0)).unwrap();
            let claims = changed(claims, json!({ "aud": audience }));
            let header = mint::header(&own, "ES256");
            let token = own.sign_with(&header, claims.to_string().as_bytes()).unwrap();
            assert_eq!(running.reason(&token).await, Reason::Ok);
        }
        assert_eq!(server.seen().len() - before, requests);
        for name in ["one", "two"] {
            assert_eq!(running.told.to(name), ["fetched"], "each has its own metrics");
        }
        assert!(running.sources[0].is(&running.sources[1]));

        // One fetch for unknown keys of both, and it tells both.
        let unknown = token(&key(Algorithm::Es256), "ES256", Some("new"), 0);
        assert_eq!(running.reason(&unknown).await, Reason::UnknownKid);
        assert_eq!(server.seen().len() - before, 2 * requests);
        assert_eq!(running.told.to("two"), ["fetched"; 2]);
    }
}

/// A cooldown is there for the issuer, which does not care whose tokens name
/// keys that it does not have.
#[tokio::test]
async fn the_longest_cooldown_of_providers_that_share_a_fetch_counts() {
    let server = Server::new(|_| status(200, other_jwks(&["a"]))).await;
    let quick = KeySourceSettings { refresh_cooldown: MILLI, ..at(server.url("/")) };
    let patient = KeySourceSettings { refresh_cooldown: HOUR, ..quick.clone() };
    for keys in [[&quick, &patient], [&patient, &quick]] {
        let before = server.seen().len();
        let [one, two] = keys.map(|keys| provider(keys.clone()));
        let running = Running::start(vec![("one", one), ("two", two)]).await;
        for number in 0..20 {
            let unknown = token(&key(Algorithm::Es256), "ES256", Some("new"), number);
            assert_eq!(running.reason(&unknown).await, Reason::UnknownKid);
        }
        assert_eq!(server.seen().len() - before, 2, "the first, and one for all of them");
    }
}

#[tokio::test]
async fn what_is_fetched_otherwise_is_fetched_apart() {
    let server = Server::new(|_| status(200, other_jwks(&["a"]))).await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        Some(path)
    };
    let same = at(server.url("/"));
    let authority = crate::support::authority::Authority::new().pem();
    for other in [
        at(server.url("/?")),
        KeySourceSettings { ca_file: file("ca.pem", &authority), ..same.clone() },
        KeySourceSettings { fetch_token_file: file("token", "t"), ..same.clone() },
        KeySourceSettings {
            location: KeyLocation::Discovery { url: server.url("/"), otherwise: None },
            ..same.clone()
        },
    ] {
        let providers = vec![("one", provider(same.clone())), ("two", provider(other))];
        let running = Running::start(providers).await;
        assert!(!running.sources[0].is(&running.sources[1]));
    }
    // A discovery document is held to the issuer, which may differ.
    let discovery = KeySourceSettings {
        location: KeyLocation::Discovery { url: server.url("/"), otherwise: None },
        ..same
    };
    let other =
        OAuth2Settings { issuer: "https://other.example".into(), ..provider(discovery.clone()) };
    let running = Running::start(vec![("one", provider(discovery)), ("two", other)]).await;
    assert!(!running.sources[0].is(&running.sources[1]));
}

#[tokio::test]
async fn a_reload_keeps_shared_keys_for_providers_that_come_and_go() {
    let server = Server::new(|_| status(200, other_jwks(&["a"]))).await;
    let named = |name: &'static str| (name, provider(at(server.url("/"))));
    let first = Running::start(vec![named("one")]).await;
    let told = Arc::clone(&first.told);
    // The issuer is down by now, which must not cost those who have its keys.
    server.now(|_| status(500, ""));
    let second =
        Running::after(vec![named("one"), named("two")], &first.sources, Arc::clone(&told)).await;
    assert!(second.sources.iter().all(|source| source.is(&first.sources[0])));
    assert_eq!(told.to("one"), ["fetched"]);
    assert_eq!(told.to("two"), ["has 1"]);

    let third = Running::after(vec![named("two")], &second.sources, Arc::clone(&told)).await;
    assert!(third.sources[0].is(&first.sources[0]));
    let unknown = token(&key(Algorithm::EdDsa), "EdDSA", Some("b"), 0);
    assert_eq!(third.reason(&unknown).await, Reason::ProviderUnavailable);
    assert_eq!(told.to("one"), ["fetched"], "it is no longer there");
    assert_eq!(told.to("two"), ["has 1", "failed"]);
    assert_eq!(server.seen().len(), 2);
}
