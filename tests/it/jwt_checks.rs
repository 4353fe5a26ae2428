//! A provider's answers to JWTs: every algorithm, every check, in order.

use std::time::Duration;

use claimgate::{
    Engine, Reason,
    claims::ClaimPath,
    decision::{CacheResult, Decision, Denial, Verdict},
    issuer::signing::SigningKey,
    provider::oauth2::{Algorithm, keys::KeySet},
    settings::{ClaimRule, KeyLocation, KeySourceSettings, OAuth2Settings},
    time::UnixTime,
};
use serde_json::{Value, json};

use crate::support::{mint, oauth2};

const ISSUER: &str = "https://issuer.example.com";
const NOW: f64 = 1_800_000_000.0;

fn settings() -> OAuth2Settings {
    let keys = KeySourceSettings::new(KeyLocation::Url(format!("{ISSUER}/jwks.json")));
    OAuth2Settings { algorithms: Algorithm::ALL.to_vec(), ..OAuth2Settings::new(ISSUER, keys) }
}

fn engine(providers: Vec<OAuth2Settings>, keys: &[&SigningKey]) -> Engine {
    oauth2::engine(providers, KeySet::parse(mint::jwks(keys).as_bytes()).unwrap().set)
}

fn check<'e>(engine: &'e Engine, token: &str, now: f64) -> Decision<'e> {
    oauth2::check(engine, token.as_bytes(), UnixTime::from_seconds(now))
}

/// Claims that every check accepts, changed by `change`; `null` removes one.
fn claims(change: Value) -> Vec<u8> {
    let claims = json!({
        "iss": ISSUER, "sub": "me", "aud": ["other", "us"], "scope": "read write",
        "iat": NOW - 100.0, "exp": NOW + 100.0, "client_id": "c1", "jti": "1",
    });
    let claims = mint::changed(claims, change);
    claims.to_string().into_bytes()
}

#[test]
fn every_algorithm_is_verified_and_only_where_it_is_allowed() {
    for algorithm in Algorithm::ALL {
        let key = SigningKey::generate(algorithm).unwrap();
        let token = key.sign(&claims(json!({}))).unwrap();
        let allowed = engine(vec![settings()], &[&key]);
        assert_eq!(check(&allowed, &token, NOW).reason, Reason::Ok, "{algorithm}");

        let others = Algorithm::ALL.into_iter().filter(|other| *other != algorithm).collect();
        let narrow = OAuth2Settings { algorithms: others, ..settings() };
        let denied = engine(vec![narrow], &[&key]);
        assert_eq!(check(&denied, &token, NOW).reason, Reason::AlgorithmNotAllowed, "{algorithm}");

        let forged = &token[..token.len() - 4];
        assert_ne!(check(&allowed, forged, NOW).reason, Reason::Ok, "{algorithm}");
        let stranger = SigningKey::generate(algorithm).unwrap();
        let header = json!({"alg": algorithm.as_str(), "kid": key.kid()});
        let forged = stranger.sign_with(&header, &claims(json!({}))).unwrap();
        assert_eq!(check(&allowed, &forged, NOW).reason, Reason::BadSignature, "{algorithm}");
    }
}

#[test]
fn headers() {
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let rsa = SigningKey::generate(Algorithm::Rs256).unwrap();
    let engine = engine(vec![settings()], &[&key, &rsa]);
    let cases = [
        (json!({}), Reason::Ok),
        (json!({"typ": "JWT"}), Reason::Ok),
        (json!({"typ": "jwt"}), Reason::Ok),
        (json!({"typ": "at+jwt"}), Reason::Ok),
        (json!({"typ": "application/AT+JWT"}), Reason::Ok),
        (json!({"typ": "id+jwt"}), Reason::WrongTokenType),
        (json!({"typ": ""}), Reason::WrongTokenType),
        (json!({"typ": 1}), Reason::MalformedToken),
        // These mean nothing in a signed claims set.
        (json!({"cty": "JWT"}), Reason::Ok),
        (json!({"cty": "json"}), Reason::Ok),
        (json!({"cty": null}), Reason::Ok),
        (json!({"zip": "DEF"}), Reason::Ok),
        (json!({"zip": null}), Reason::Ok),
        (json!({"b64": true}), Reason::Ok),
        (json!({"zip": "DEF", "cty": "application/jwt", "b64": true}), Reason::Ok),
        // These change what was signed, or would have to be understood.
        (json!({"b64": false}), Reason::MalformedToken),
        (json!({"b64": "true"}), Reason::MalformedToken),
        (json!({"b64": 1}), Reason::MalformedToken),
        (json!({"b64": null}), Reason::MalformedToken),
        (json!({"crit": ["exp"]}), Reason::MalformedToken),
        (json!({"crit": []}), Reason::MalformedToken),
        (json!({"crit": null}), Reason::MalformedToken),
        (json!({"crit": ["b64"], "b64": true}), Reason::MalformedToken),
        (json!({"crit": ["b64"], "b64": false}), Reason::MalformedToken),
        (json!({"enc": "A128GCM"}), Reason::MalformedToken),
        (json!({"enc": null, "zip": "DEF"}), Reason::MalformedToken),
        (json!({"kid": 1}), Reason::MalformedToken),
        (json!({"kid": "unknown"}), Reason::UnknownKid),
        (json!({"kid": ""}), Reason::UnknownKid),
        (json!({"kid": null}), Reason::MalformedToken),
        (json!({"kid": rsa.kid()}), Reason::AlgorithmNotAllowed),
        (json!({"alg": "none"}), Reason::AlgorithmNotAllowed),
        (json!({"alg": "HS256"}), Reason::AlgorithmNotAllowed),
        (json!({"alg": "es256"}), Reason::AlgorithmNotAllowed),
        (json!({"alg": 1}), Reason::MalformedToken),
        (json!({"alg": "ES384"}), Reason::AlgorithmNotAllowed),
        (json!({"alg": "Ed25519"}), Reason::AlgorithmNotAllowed),
        (json!({"alg": "ed25519"}), Reason::AlgorithmNotAllowed),
        (json!({"alg": ""}), Reason::AlgorithmNotAllowed),
        (json!({"alg": null}), Reason::MalformedToken),
        (json!({"jwk": key.jwk(), "jku": "https://evil.example", "x5c": ["x"]}), Reason::Ok),
    ];
    for (change, expected) in cases {
        let mut header = json!({"alg": "ES256", "kid": key.kid()});
        header.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let token = key.sign_with(&header, &claims(json!({}))).unwrap();
        assert_eq!(check(&engine, &token, NOW).reason, expected, "{change}");
    }
    let without_kid = key.sign_with(&json!({"alg": "ES256"}), &claims(json!({}))).unwrap();
    assert_eq!(check(&engine, &without_kid, NOW).reason, Reason::Ok);
}

/// A payload that is not a claims set, however the header calls it.
#[test]
fn nested_and_compressed_tokens_are_refused() {
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let engine = engine(vec![settings()], &[&key]);
    let inner = key.sign(&claims(json!({}))).unwrap();
    // Raw DEFLATE (RFC 1951): one stored block.
    let stored = |claims: &[u8]| {
        let length = u16::try_from(claims.len()).unwrap();
        [&[1], &length.to_le_bytes()[..], &(!length).to_le_bytes(), claims].concat()
    };
    for (header, payload) in [
        (json!({"cty": "JWT"}), inner.clone().into_bytes()),
        (json!({}), inner.clone().into_bytes()),
        (json!({"cty": "JWT"}), json!(inner).to_string().into_bytes()),
        (json!({"zip": "DEF"}), stored(&claims(json!({})))),
        (json!({"b64": true}), b"text".to_vec()),
    ] {
        let header = mint::changed(mint::header(&key, "ES256"), header);
        let token = key.sign_with(&header, &payload).unwrap();
        assert_eq!(check(&engine, &token, NOW).reason, Reason::MalformedToken, "{header}");
    }
}

/// RFC 9864 names the algorithm by its curve.
#[test]
fn ed25519_is_eddsa_by_its_newer_name() {
    let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
    let named = |alg: &str| key.sign_with(&mint::header(&key, alg), &claims(json!({}))).unwrap();
    let only = OAuth2Settings { algorithms: vec![Algorithm::EdDsa], ..settings() };
    let engine_of = |settings| engine(vec![settings], &[&key]);
    for (alg, expected) in [
        ("EdDSA", Reason::Ok),
        ("Ed25519", Reason::Ok),
        ("Ed448", Reason::AlgorithmNotAllowed),
        ("ED25519", Reason::AlgorithmNotAllowed),
    ] {
        assert_eq!(check(&engine_of(only.clone()), &named(alg), NOW).reason, expected, "{alg}");
    }
    let without = OAuth2Settings { algorithms: vec![Algorithm::Es256], ..settings() };
    let reason = check(&engine_of(without), &named("Ed25519"), NOW).reason;
    assert_eq!(reason, Reason::AlgorithmNotAllowed);
}

/// The keys of an issuer, each with the `kid` that its key set gives it, and
/// which of them a token with a `kid` is by.
#[test]
fn a_token_whose_kid_no_key_has_may_be_by_a_key_without_one() {
    let keys: Vec<_> = (0..10).map(|_| SigningKey::generate(Algorithm::Es256).unwrap()).collect();
    let rsa = SigningKey::generate(Algorithm::Rs256).unwrap();
    let named =
        |key: &SigningKey, kid: Value| mint::changed(key.jwk().clone(), json!({"kid": kid}));
    let none = || Value::Null;
    let token = |number: usize, kid: &str| {
        let header = json!({"alg": "ES256", "kid": kid});
        keys[number].sign_with(&header, &claims(json!({}))).unwrap()
    };
    let all: Vec<_> = keys.iter().map(|key| named(key, none())).collect();
    let cases = [
        (vec![named(&keys[0], none())], token(0, "a"), Reason::Ok),
        (vec![named(&keys[0], none())], token(0, ""), Reason::Ok),
        (vec![named(&keys[0], json!(""))], token(0, "a"), Reason::Ok),
        (vec![named(&keys[0], none())], token(1, "a"), Reason::UnknownKid),
        (vec![named(&rsa, none())], token(0, "a"), Reason::UnknownKid),
        (vec![named(&rsa, none()), named(&keys[0], none())], token(0, "a"), Reason::Ok),
        // A key that has the token's kid is the only one asked.
        (vec![named(&keys[0], none()), named(&keys[1], json!("a"))], token(1, "a"), Reason::Ok),
        (
            vec![named(&keys[0], none()), named(&keys[1], json!("a"))],
            token(0, "a"),
            Reason::BadSignature,
        ),
        (
            vec![named(&keys[0], none()), named(&rsa, json!("a"))],
            token(0, "a"),
            Reason::AlgorithmNotAllowed,
        ),
        // A key that has another kid is not asked.
        (vec![named(&keys[0], json!("b"))], token(0, "a"), Reason::UnknownKid),
        (
            vec![named(&keys[0], json!("b")), named(&keys[1], none())],
            token(0, "a"),
            Reason::UnknownKid,
        ),
        // Numbers are their digits.
        (vec![named(&keys[0], json!(7))], token(0, "7"), Reason::Ok),
        (vec![named(&keys[0], json!(7))], token(0, "07"), Reason::UnknownKid),
        // So many are tried and no more.
        (all.clone(), token(7, "a"), Reason::Ok),
        (all, token(8, "a"), Reason::UnknownKid),
    ];
    for (number, (keys, token, expected)) in cases.into_iter().enumerate() {
        let document = json!({ "keys": keys }).to_string();
        let set = KeySet::parse(document.as_bytes()).unwrap().set;
        let engine = oauth2::engine(vec![settings()], set);
        for _ in 0..2 {
            assert_eq!(check(&engine, &token, NOW).reason, expected, "case {number}");
        }
    }
}

/// Two accounts of thirty digits must not become one.
#[test]
fn numbers_of_more_than_64_bits_equal_nothing() {
    let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    for (wanted, claim, expected) in [
        ("18446744073709551615", "18446744073709551615", Reason::Ok),
        ("18446744073709551615", "18446744073709551616", Reason::WrongClaim),
        ("18446744073709551616", "18446744073709551616", Reason::WrongClaim),
        ("9007199254740993", "9007199254740993", Reason::Ok),
        ("9007199254740993", "9007199254740992", Reason::WrongClaim),
        ("-9223372036854775808", "-9223372036854775809", Reason::WrongClaim),
        ("7", "7.0", Reason::Ok),
        ("7", "[18446744073709551616, 7]", Reason::Ok),
    ] {
        let rule = ClaimRule { claim: ClaimPath::named("account"), any_of: vec![read(wanted)] };
        let settings = OAuth2Settings { required_claims: vec![rule], ..settings() };
        let engine = engine(vec![settings], &[&key]);
        let text = String::from_utf8(claims(json!({"account": "REPLACED"}))).unwrap();
        let token = key.sign(text.replace("\"REPLACED\"", claim).as_bytes()).unwrap();
        assert_eq!(check(&engine, &token, NOW).reason, expected, "{claim} as {wanted}");
    }
}

#[test]
fn claims_are_checked_by_type_time_audience_client_and_rule() {
    let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
    let rule =
        |name: &str, value: Value| ClaimRule { claim: ClaimPath::named(name), any_of: vec![value] };
    let strict = OAuth2Settings {
        audience: vec!["us".into(), "them".into()],
        client_ids: vec!["c1".into(), "c2".into()],
        required_claims: vec![rule("use", json!("access"))],
        max_token_lifetime: Some(Duration::from_secs(300)),
        ..settings()
    };
    let engine = engine(vec![strict], &[&key]);
    let cases = [
        (json!({}), Reason::Ok),
        (json!({"iss": "https://issuer.example.com/"}), Reason::UnknownIssuer),
        (json!({"iss": "HTTPS://issuer.example.com"}), Reason::UnknownIssuer),
        (json!({"iss": null}), Reason::UnknownIssuer),
        (json!({"iss": ["x"]}), Reason::MalformedToken),
        // Types, needed or not.
        (json!({"sub": 1}), Reason::MalformedToken),
        (json!({"jti": 1}), Reason::MalformedToken),
        (json!({"aud": 1}), Reason::MalformedToken),
        (json!({"aud": ["us", 1]}), Reason::MalformedToken),
        (json!({"exp": "soon"}), Reason::MalformedToken),
        (json!({"exp": -1}), Reason::MalformedToken),
        (json!({"exp": 9_007_199_254_740_992_u64}), Reason::MalformedToken),
        (json!({"nbf": true}), Reason::MalformedToken),
        (json!({"iat": "x"}), Reason::MalformedToken),
        (json!({"scope": 1}), Reason::MalformedToken),
        (json!({"scope": ["a", 1]}), Reason::MalformedToken),
        // Times, with 30 s of tolerance.
        (json!({"exp": null}), Reason::MissingClaim),
        (json!({"exp": null, "scope": 1}), Reason::MalformedToken),
        (json!({"exp": NOW - 29.5}), Reason::Ok),
        (json!({"exp": NOW - 30.0}), Reason::Expired),
        (json!({"nbf": NOW + 30.0}), Reason::Ok),
        (json!({"nbf": NOW + 30.5}), Reason::NotYetValid),
        (json!({"iat": NOW + 30.0}), Reason::Ok),
        (json!({"iat": NOW + 31.0}), Reason::IssuedInFuture),
        (json!({"iat": null}), Reason::MissingClaim),
        (json!({"iat": NOW - 200.0}), Reason::Ok),
        (json!({"iat": NOW - 201.0}), Reason::LifetimeTooLong),
        // Audience.
        (json!({"aud": "them"}), Reason::Ok),
        (json!({"aud": "other"}), Reason::WrongAudience),
        (json!({"aud": []}), Reason::WrongAudience),
        (json!({"aud": null}), Reason::MissingClaim),
        // Client.
        (json!({"client_id": null, "azp": "c2"}), Reason::Ok),
        (json!({"client_id": null, "appid": "c2"}), Reason::Ok),
        (json!({"client_id": null, "cid": "c2"}), Reason::Ok),
        (json!({"client_id": "c3"}), Reason::WrongClient),
        (json!({"client_id": null}), Reason::MissingClaim),
        (json!({"client_id": 7}), Reason::MissingClaim),
        // Rules.
        (json!({"use": "id"}), Reason::WrongClaim),
        (json!({"use": null}), Reason::MissingClaim),
        (json!({"cnf": {"jkt": "x"}}), Reason::WrongTokenType),
        // The order: the first that fails is the reason.
        (json!({"exp": 1, "aud": "other"}), Reason::Expired),
        (json!({"exp": 1, "sub": 1}), Reason::MalformedToken),
        (json!({"aud": "other", "client_id": "c3"}), Reason::WrongAudience),
        (json!({"client_id": "c3", "use": null}), Reason::WrongClient),
    ];
    for (change, expected) in cases {
        let mut change = change;
        if change.get("use").is_none() {
            change["use"] = json!("access");
        }
        let token = key.sign(&claims(change.clone())).unwrap();
        for _ in 0..2 {
            let decision = check(&engine, &token, NOW);
            assert_eq!(decision.reason, expected, "{change}");
            let denied = decision.verdict == Verdict::Deny(Denial::InvalidToken);
            assert_eq!(denied, expected != Reason::Ok, "{change}");
        }
    }
    // `null` is a wrong type too.
    for name in ["sub", "jti", "aud", "exp", "nbf", "iat", "scope"] {
        let text = String::from_utf8(claims(json!({"use": "access", name: "REPLACED"}))).unwrap();
        let token = key.sign(text.replace("\"REPLACED\"", "null").as_bytes()).unwrap();
        assert_eq!(check(&engine, &token, NOW).reason, Reason::MalformedToken, "{name}");
    }
}

#[test]
fn scopes_and_subjects_of_real_issuers() {
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let scopes = |scope: Value, change: fn(&mut OAuth2Settings)| {
        let mut settings = settings();
        change(&mut settings);
        let engine = engine(vec![settings], &[&key]);
        let token = key.sign(&claims(json!({"scope": scope}))).unwrap();
        let decision = check(&engine, &token, NOW);
        let caller = decision.caller.expect("authenticated");
        (caller.principal.scopes.names.clone(), caller.principal.scopes.grant("anything"))
    };
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        scopes(json!("https://gateway.internal/invoke  b"), |_| {}),
        (names(&["https://gateway.internal/invoke", "b"]), false)
    );
    assert_eq!(scopes(json!(["a b", "c"]), |_| {}), (names(&["a b", "c"]), false));
    assert_eq!(scopes(json!(["", "a", ""]), |_| {}), (names(&["a"]), false));
    assert_eq!(scopes(json!(""), |_| {}), (names(&[]), false));
    assert_eq!(scopes(json!("*"), |_| {}), (names(&["*"]), false));
    assert_eq!(
        scopes(json!("*"), |settings| settings.wildcard_scope = true),
        (names(&["*"]), true)
    );

    let mut by_email = settings();
    by_email.subject_claim = ClaimPath::named("profile.email");
    let engine = engine(vec![by_email], &[&key]);
    let subject = |profile: Value| {
        let token = key.sign(&claims(json!({"profile": profile}))).unwrap();
        let decision = check(&engine, &token, NOW);
        (decision.reason, decision.caller.and_then(|caller| caller.principal.subject.clone()))
    };
    assert_eq!(subject(json!({"email": "a@b"})), (Reason::Ok, Some("a@b".into())));
    assert_eq!(subject(json!({})), (Reason::Ok, None));
    assert_eq!(subject(json!({"email": 1})), (Reason::MalformedToken, None));
}

/// A token's cost is that of its signatures, so they are counted.
#[test]
fn so_many_keys_are_tried_and_no_more() {
    let keys: Vec<_> = (0..9).map(|_| SigningKey::generate(Algorithm::EdDsa).unwrap()).collect();
    let engine = engine(vec![settings()], &keys.iter().collect::<Vec<_>>());
    let anonymous = json!({"alg": "EdDSA"});
    for (number, expected) in [(0, Reason::Ok), (7, Reason::Ok), (8, Reason::BadSignature)] {
        let token = keys[number].sign_with(&anonymous, &claims(json!({}))).unwrap();
        assert_eq!(check(&engine, &token, NOW).reason, expected, "key {number}");
    }
    let token = keys[8].sign(&claims(json!({}))).unwrap();
    assert_eq!(check(&engine, &token, NOW).reason, Reason::Ok, "found by its kid");
}

/// Several times the size of the largest honest tokens.
#[test]
fn tokens_of_many_claims_are_read() {
    let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
    let engine = engine(vec![settings()], &[&key]);
    let groups: Vec<_> = (0..200).map(|n| format!("5f0f8d3c-6a36-4c1e-8f52-{n:012}")).collect();
    let clients: serde_json::Map<_, _> =
        (0..250).map(|n| (format!("client-{n}"), json!({"roles": ["view", "manage"]}))).collect();
    let many: serde_json::Map<_, _> = (0..440).map(|n| (format!("c{n}"), json!(n))).collect();
    for change in [
        json!({"groups": groups}),
        json!({"resource_access": clients}),
        json!({"ids": (0..1500).collect::<Vec<_>>()}),
        json!({"permissions": many}),
        Value::Object(many),
    ] {
        let token = key.sign(&claims(change)).unwrap();
        assert!(token.len() < 16_384, "{}", token.len());
        assert_eq!(check(&engine, &token, NOW).reason, Reason::Ok);
    }
}

#[test]
fn a_known_token_is_judged_by_the_clock_at_every_use() {
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let engine = engine(vec![settings()], &[&key]);
    let token = key.sign(&claims(json!({"nbf": NOW - 10.0}))).unwrap();
    let steps = [
        (NOW, Reason::Ok, Some(CacheResult::Miss), 1),
        (NOW, Reason::Ok, Some(CacheResult::Hit), 1),
        (NOW - 50.0, Reason::NotYetValid, Some(CacheResult::Hit), 1),
        (NOW + 99.0, Reason::Ok, Some(CacheResult::Hit), 1),
        // After `exp` nothing is cached, though the skew still allows the token.
        (NOW + 100.0, Reason::Ok, Some(CacheResult::Miss), 0),
        (NOW + 101.0, Reason::Ok, Some(CacheResult::Miss), 0),
        (NOW + 130.0, Reason::Expired, Some(CacheResult::Miss), 0),
    ];
    for (now, reason, result, cached) in steps {
        let decision = check(&engine, &token, now);
        assert_eq!((decision.reason, decision.cache), (reason, result), "{now}");
        assert_eq!(engine.token_cache().len(), cached, "{now}");
    }
}

#[test]
fn providers_of_one_issuer_judge_the_same_token_each_in_their_way() {
    let key = SigningKey::generate(Algorithm::Rs256).unwrap();
    let wanting = |audience: &str| OAuth2Settings { audience: vec![audience.into()], ..settings() };
    let engine = engine(vec![wanting("others"), wanting("us")], &[&key]);
    let token = key.sign(&claims(json!({}))).unwrap();
    for _ in 0..3 {
        let decision = check(&engine, &token, NOW);
        assert_eq!(decision.reason, Reason::Ok);
        assert_eq!(decision.provider.map(|id| id.0), Some(1));
    }
    let other = key.sign(&claims(json!({"aud": "else"}))).unwrap();
    let decision = check(&engine, &other, NOW);
    assert_eq!(
        (decision.reason, decision.provider.map(|id| id.0)),
        (Reason::WrongAudience, Some(0))
    );
}

/// The decisions of four threads on one token at the same time.
fn at_once<T: Send>(engine: &Engine, token: &str, look: fn(&Decision<'_>) -> T) -> Vec<T> {
    let barrier = std::sync::Barrier::new(4);
    let decide = || {
        barrier.wait();
        look(&check(engine, token, NOW))
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(decide)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn a_token_of_many_threads_at_once_is_cached_once() {
    let key = SigningKey::generate(Algorithm::Rs256).unwrap();
    let engine = engine(vec![settings()], &[&key]);
    for round in 1..=20 {
        let token = key.sign(&claims(json!({"jti": round.to_string()}))).unwrap();
        let decided = at_once(&engine, &token, |decision| (decision.reason, decision.cache));
        for (reason, result) in decided {
            assert_eq!(reason, Reason::Ok);
            assert!(matches!(result, Some(CacheResult::Miss | CacheResult::Hit)), "nothing waits");
        }
        assert_eq!(engine.token_cache().len(), round);
        assert_eq!(check(&engine, &token, NOW).cache, Some(CacheResult::Hit));
    }
}

/// The token differs from a valid one only in its signature, at the beginning
/// or at the end, and comes before and after it.
#[test]
fn a_bad_signature_is_refused_however_often_it_comes_and_no_other_token_for_it() {
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let other = SigningKey::generate(Algorithm::Es256).unwrap();
    let engine = engine(vec![settings()], &[&key]);
    let header = json!({"alg": "ES256", "kid": key.kid()});
    let claims = claims(json!({}));
    let good = key.sign_with(&header, &claims).unwrap();
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let bad = [
        other.sign_with(&header, &claims).unwrap(),
        format!(
            "{signed}.{}{}",
            if signature.starts_with('A') { 'B' } else { 'A' },
            &signature[1..]
        ),
    ];
    for _ in 0..3 {
        for token in &bad {
            let reasons = at_once(&engine, token, |decision| decision.reason);
            assert_eq!(reasons, [Reason::BadSignature; 4]);
        }
        assert_eq!(at_once(&engine, &good, |decision| decision.reason), [Reason::Ok; 4]);
    }
    assert_eq!(engine.token_cache().len(), 1);
}
