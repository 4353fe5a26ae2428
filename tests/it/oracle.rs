//! `jsonwebtoken`, which shares only the cryptography with this program, checks
//! the same tokens: it accepts every token that is accepted here, with the same
//! claims, and both refuse a token with one changed byte.
//!
//! The reverse does not hold: only this program refuses repeated names, `crit`
//! and more. `ES512` is left out, since `jsonwebtoken` does not know it.

use claimgate::{
    Engine, Reason,
    issuer::signing::SigningKey,
    provider::oauth2::{Algorithm, keys::KeySet},
    settings::{KeyLocation, KeySourceSettings, OAuth2Settings},
    time::UnixTime,
};
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation, jwk::Jwk};
use proptest::{
    collection, option,
    prelude::*,
    sample::select,
    test_runner::{Config, TestRunner},
};
use serde_json::{Map, Value, json};

use crate::support::{
    mint::{self, changed, jwks},
    oauth2,
};

const ISSUER: &str = "https://issuer.example.com";
const AUDIENCE: &str = "us";

/// The two read the clock at different moments.
const TICK: u64 = 2;

/// A private key, and its public half as either side reads it.
struct Pair {
    algorithm: Algorithm,
    key: SigningKey,
    theirs: DecodingKey,
}

impl Pair {
    fn new(algorithm: Algorithm) -> Self {
        let key = SigningKey::generate(algorithm).unwrap();
        let jwk: Jwk = serde_json::from_value(key.jwk().clone()).unwrap();
        Self { algorithm, theirs: DecodingKey::from_jwk(&jwk).unwrap(), key }
    }

    fn header(&self) -> Value {
        mint::header(&self.key, self.algorithm.as_str())
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        self.key.sign_with(header, claims.to_string().as_bytes()).unwrap()
    }

    /// The claims, if `jsonwebtoken` accepts the token with this key.
    fn theirs(&self, token: &[u8]) -> Option<Value> {
        let mut validation = Validation::new_for_family(self.theirs.family());
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.validate_nbf = true;
        validation.leeway = 30 + TICK;
        jsonwebtoken::decode(token, &self.theirs, &validation).ok().map(|token| token.claims)
    }
}

/// Two keys of every algorithm, and an engine that has read their JWK Set.
struct Verifiers {
    pairs: Vec<Pair>,
    engine: Engine,
}

impl Verifiers {
    fn new() -> Self {
        let known = Algorithm::ALL.into_iter().filter(|it| *it != Algorithm::Es512);
        let pairs: Vec<_> = known.flat_map(|it| [Pair::new(it), Pair::new(it)]).collect();
        let document = jwks(&pairs.iter().map(|pair| &pair.key).collect::<Vec<_>>());
        let source = KeySourceSettings::new(KeyLocation::Url(format!("{ISSUER}/jwks.json")));
        let settings = OAuth2Settings {
            algorithms: Algorithm::ALL.to_vec(),
            audience: vec![AUDIENCE.into()],
            ..OAuth2Settings::new(ISSUER, source)
        };
        let keys = KeySet::parse(document.as_bytes()).unwrap().set;
        Self { engine: oauth2::engine(vec![settings], keys), pairs }
    }

    /// A key of every algorithm.
    fn one_of_each(&self) -> impl Iterator<Item = &Pair> {
        self.pairs.iter().step_by(2)
    }

    /// The claims, if the engine accepts the token.
    fn ours(&self, token: &[u8]) -> Option<Value> {
        let decision = oauth2::check(&self.engine, token, UnixTime::now());
        if decision.reason != Reason::Ok {
            return None;
        }
        let claims = &decision.caller.as_ref().expect("a caller").principal.claims;
        let members = claims.names().map(|name| (name.to_owned(), claims[name].clone()));
        Some(Value::Object(members.collect()))
    }

    /// Neither accepts the token, which was made from one of this key's.
    #[track_caller]
    fn refuse(&self, pair: &Pair, token: &[u8], how: &str) {
        let shown = || String::from_utf8_lossy(token).into_owned();
        assert_eq!(self.ours(token), None, "{how}: {}", shown());
        assert_eq!(pair.theirs(token), None, "{how}: {}", shown());
    }
}

fn good_claims() -> Value {
    let now = UnixTime::now().as_seconds().floor();
    json!({"iss": ISSUER, "aud": ["them", AUDIENCE], "sub": "me", "exp": now + 600.0})
}

/// A token that may be wrong in any way.
#[derive(Clone, Debug)]
struct Shape {
    /// Which key signs.
    by: usize,
    /// Which key and which algorithm the header names instead of its own.
    kid: Option<Option<usize>>,
    alg: Option<&'static str>,
    header: Map<String, Value>,
    claims: Map<String, Value>,
    /// `exp`, `nbf` and `iat`, in seconds from now.
    times: [Option<i32>; 3],
}

fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            collection::hash_map(".{0,6}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Members that are usually absent: one of these, or any value under a name
/// without meaning.
fn members(known: Vec<(&'static str, Value)>) -> impl Strategy<Value = Map<String, Value>> {
    let known = select(known).prop_map(|(name, value)| (name.to_owned(), value));
    let member = prop_oneof![1 => known, 3 => ("x-[a-z]{1,4}", anything())];
    collection::vec(member, 0..3).prop_map(|members| members.into_iter().collect())
}

fn shape(keys: usize) -> impl Strategy<Value = Shape> {
    // Members that are ignored here have the type that RFC 7515 gives
    // them: `jsonwebtoken` reads them all.
    let header = members(vec![
        ("typ", json!("JWT")),
        ("typ", json!("at+jwt")),
        ("typ", json!("dpop+jwt")),
        ("typ", json!(7)),
        ("cty", json!("json")),
        ("cty", json!("JWT")),
        ("jku", json!("https://elsewhere.example/jwks")),
        ("x5c", json!(["MIIB"])),
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("kid", json!(7)),
        ("alg", json!(7)),
    ]);
    let claims = members(vec![
        ("iss", json!("https://other.example.com")),
        ("iss", json!([ISSUER])),
        ("aud", json!(AUDIENCE)),
        ("aud", json!("them")),
        ("aud", json!(["them"])),
        ("aud", json!([])),
        ("aud", json!(1)),
        ("sub", json!("\u{202e}\0")),
        ("sub", json!(1)),
        ("scope", json!("read write")),
        ("client_id", json!("c1")),
        ("exp", json!("soon")),
        ("exp", json!(-1)),
        ("exp", json!(1e300)),
        ("exp", json!(4e9 + 0.5)),
        ("nbf", json!(true)),
        ("iat", json!({})),
    ]);
    let alg = select(vec!["RS256", "PS256", "RS512", "ES256", "ES384", "EdDSA", "HS256", "none"]);
    let kid = option::of(0..keys);
    let around = || prop_oneof![4 => 1..7200, 1 => -60..60, 1 => -7200..0];
    let times = (
        option::weighted(0.95, around()),
        option::of(prop_oneof![4 => -7200..1, 1 => -60..60]),
        option::of(-7200..1),
    );
    (0..keys, option::weighted(0.2, kid), option::weighted(0.1, alg), header, claims, times)
        .prop_map(|(by, kid, alg, header, claims, (exp, nbf, iat))| Shape {
            by,
            kid,
            alg,
            header,
            claims,
            times: [exp, nbf, iat],
        })
}

impl Shape {
    fn token(&self, pairs: &[Pair]) -> String {
        let pair = &pairs[self.by];
        let mut header = pair.header();
        if let Some(alg) = self.alg {
            header["alg"] = alg.into();
        }
        if let Some(kid) = self.kid {
            let kid = kid.map_or(Value::Null, |other| pairs[other].key.kid().into());
            header = changed(header, json!({"kid": kid}));
        }
        header.as_object_mut().unwrap().extend(self.header.clone());
        let now = UnixTime::now().as_seconds().floor();
        let times = ["exp", "nbf", "iat"].into_iter().zip(self.times);
        let times: Map<_, _> = times
            .map(|(name, time)| (name.to_owned(), json!(time.map(|time| now + f64::from(time)))))
            .collect();
        let mut claims = changed(good_claims(), Value::Object(times));
        claims.as_object_mut().unwrap().extend(self.claims.clone());
        pair.sign(&header, &claims)
    }
}

#[test]
fn what_is_accepted_here_is_accepted_there_with_the_same_claims() {
    let verifiers = Verifiers::new();
    let accepted = std::cell::Cell::new(0);
    let mut runner =
        TestRunner::new(Config { cases: 1000, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&shape(verifiers.pairs.len()), |shape| {
        let token = shape.token(&verifiers.pairs);
        if let Some(claims) = verifiers.ours(token.as_bytes()) {
            let theirs = verifiers.pairs[shape.by].theirs(token.as_bytes());
            prop_assert_eq!(theirs, Some(claims), "{}", token);
            accepted.set(accepted.get() + 1);
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    let accepted = accepted.get();
    assert!((200..800).contains(&accepted), "{accepted} of 1000 say little");
}

/// The replacement of a byte: neighbours of base64url, so that one bit of the
/// encoded data changes, and invalid characters.
fn instead_of(byte: u8, position: usize) -> [u8; 4] {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let neighbour = |bit: usize| match ALPHABET.iter().position(|it| *it == byte) {
        Some(index) => ALPHABET[index ^ bit],
        None => ALPHABET[bit],
    };
    let odd = b"=+/.~\x80"[position % 6];
    [
        neighbour(1),
        neighbour(32),
        neighbour(1 << (position % 6)),
        if odd == byte { b'A' } else { odd },
    ]
}

#[test]
fn a_token_of_which_one_byte_differs_is_refused() {
    let verifiers = Verifiers::new();
    for pair in verifiers.one_of_each() {
        let token = pair.sign(&pair.header(), &good_claims()).into_bytes();
        assert!(verifiers.ours(&token).is_some() && pair.theirs(&token).is_some(), "it is good");
        for (position, byte) in token.iter().enumerate() {
            for other in instead_of(*byte, position) {
                let mut token = token.clone();
                token[position] = other;
                verifiers.refuse(pair, &token, pair.algorithm.as_str());
            }
        }
    }
}

#[test]
fn a_token_that_was_cut_or_has_more_is_refused() {
    let verifiers = Verifiers::new();
    for pair in verifiers.one_of_each() {
        let token = pair.sign(&pair.header(), &good_claims()).into_bytes();
        for end in 0..token.len() {
            verifiers.refuse(pair, &token[..end], "an end is missing");
            verifiers.refuse(pair, &token[end + 1..], "a beginning is missing");
        }
        for more in ["A", "AA", "AAAA", "=", ".", ".AA"] {
            verifiers.refuse(pair, &[&token, more.as_bytes()].concat(), "more at the end");
            verifiers.refuse(pair, &[more.as_bytes(), &token].concat(), "more at the beginning");
        }
    }
}

#[test]
fn a_token_that_names_another_algorithm_is_refused() {
    let verifiers = Verifiers::new();
    let others = ["none", "None", "", "HS256", "HS384", "HS512", "ES256K"];
    let names: Vec<_> = Algorithm::ALL.iter().map(|it| it.as_str()).chain(others).collect();
    for pair in verifiers.one_of_each() {
        let claims = good_claims();
        let token = pair.sign(&pair.header(), &claims);
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let (_, payload) = signed.split_once('.').unwrap();
        for name in names.iter().filter(|name| **name != pair.algorithm.as_str()) {
            let header = changed(pair.header(), json!({"alg": name}));
            verifiers.refuse(pair, pair.sign(&header, &claims).as_bytes(), "signed with another");
            let header = base64_simd::URL_SAFE_NO_PAD.encode_to_string(header.to_string());
            for signature in [signature, ""] {
                let token = format!("{header}.{payload}.{signature}");
                verifiers.refuse(pair, token.as_bytes(), "names another");
            }
        }
        // The public key as a shared secret.
        let jwk = pair.key.jwk();
        let secrets = ["n", "x"].into_iter().filter_map(|name| jwk[name].as_str());
        for secret in secrets.chain([jwk.to_string().as_str()]) {
            let header = Header { kid: Some(pair.key.kid().into()), ..Header::default() };
            let secret = EncodingKey::from_secret(secret.as_bytes());
            let token = jsonwebtoken::encode(&header, &claims, &secret).unwrap();
            verifiers.refuse(pair, token.as_bytes(), "HMAC with the public key");
        }
    }
}
