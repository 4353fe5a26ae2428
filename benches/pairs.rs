//! Pairs of measurements whose ratio counts. The two of a pair take turns
//! within one process, so that a slow moment of the machine affects both.
//! Prints JSON: how often per second each side did its work, turn by turn.
//!
//! `pairs verify TURNS` compares the engine, with tokens that are not
//! cached, with aws-lc-rs alone; `pairs jsonwebtoken TURNS` the engine with
//! that crate, which parses the key again for every token, and a token that the
//! engine has cached with it; `pairs threads TURNS` one thread that decides
//! about known tokens with two; `pairs limits TURNS` the same where each caller
//! has a limit; `pairs plans TURNS [CALLERS]` known tokens of so many callers
//! with a limit for each and without, in nanoseconds of CPU time.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and fails as a whole"
)]

#[allow(dead_code, reason = "each benchmark uses a part of it")]
mod support {
    pub(crate) mod claims;
    pub(crate) mod fixture;
}

use std::{
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    signature::{self, ParsedPublicKey, RsaPublicKeyComponents},
};
use base64_simd::URL_SAFE_NO_PAD;
use claimgate::{Engine, provider::oauth2::Algorithm};
use jsonwebtoken::{DecodingKey, Validation, jwk::Jwk};
use mimalloc::MiMalloc;
use serde::Deserialize;
use serde_json::json;

use support::fixture::{Bench, Issuer, allow, allow_arriving, bearer};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() {
    let mut arguments = std::env::args().skip(1);
    // `cargo bench` runs every target, with an option of its own.
    let Some(which) = arguments.next().filter(|argument| !argument.starts_with('-')) else {
        return;
    };
    let turns = arguments.next().map_or(7, |turns| turns.parse().expect("a number"));
    match which.as_str() {
        "verify" => verify(turns),
        "jsonwebtoken" => jsonwebtoken(turns),
        "threads" => threads(turns, false),
        "limits" => threads(turns, true),
        "plans" => plans(turns, arguments.next().map_or(1000, |it| it.parse().expect("a number"))),
        other => panic!("no pair is called {other}"),
    }
}

/// Both sides of every turn, the order changing from turn to turn.
fn take_turns(
    turns: usize,
    mut a: impl FnMut() -> f64,
    mut b: impl FnMut() -> f64,
) -> [Vec<f64>; 2] {
    let mut rates = [Vec::new(), Vec::new()];
    for turn in 0..turns {
        let (first, second);
        if turn % 2 == 0 {
            (first, second) = (a(), b());
        } else {
            second = b();
            first = a();
        }
        rates[0].push(first);
        rates[1].push(second);
    }
    rates
}

/// Tokens repeat only after so many others that none of them is cached any more.
const TOKENS: usize = 4000;
const CACHED: usize = 16;

/// Few enough tokens that a slow moment of the machine affects both sides.
const STRIDE: usize = 20;

fn verify(turns: usize) {
    let issuer = Issuer::new();
    let tokens: Vec<_> = (0..TOKENS).map(|number| issuer.token(number)).collect();
    let engine = Bench { issuers: 1, cached: CACHED, ..Bench::default() }.engine(&issuer);
    let headers: Vec<_> = tokens.iter().map(|token| bearer(token)).collect();
    let key = parsed_key(&issuer);
    let signed: Vec<_> = tokens.iter().map(|token| split(token)).collect();
    let [engine, aws_lc_rs] = stride_by_stride(
        turns,
        |number| allow(&engine, &headers[number]),
        |number| {
            let (message, signature) = &signed[number];
            key.verify_sig(message, signature).expect("a good signature");
        },
    );
    println!("{}", json!({"engine": engine, "aws-lc-rs": aws_lc_rs}));
}

/// What each side does with every token, some tokens by one and then the same
/// by the other.
fn stride_by_stride(turns: usize, a: impl Fn(usize), b: impl Fn(usize)) -> [Vec<f64>; 2] {
    let turn = || {
        let mut seconds = [0.0; 2];
        for start in (0..TOKENS).step_by(STRIDE) {
            seconds[0] += time(|| (start..start + STRIDE).for_each(&a));
            seconds[1] += time(|| (start..start + STRIDE).for_each(&b));
        }
        seconds.map(|seconds| TOKENS as f64 / seconds)
    };
    turn();
    let turns: Vec<_> = (0..turns).map(|_| turn()).collect();
    [0, 1].map(|side| turns.iter().map(|turn| turn[side]).collect())
}

/// What a service would read of a token.
#[derive(Deserialize)]
#[allow(dead_code, reason = "reading it is what counts")]
struct Claims {
    iss: String,
    sub: Option<String>,
    client_id: Option<String>,
    scope: Option<String>,
    exp: f64,
}

fn jsonwebtoken(turns: usize) {
    let mut told = serde_json::Map::new();
    for (name, algorithm, theirs) in [
        ("RS256", Algorithm::Rs256, jsonwebtoken::Algorithm::RS256),
        ("ES256", Algorithm::Es256, jsonwebtoken::Algorithm::ES256),
    ] {
        let issuer = Issuer::of(algorithm);
        let tokens: Vec<_> = (0..TOKENS).map(|number| issuer.token(number)).collect();
        let headers: Vec<_> = tokens.iter().map(|token| bearer(token)).collect();
        let bench = |cached| Bench { issuers: 1, cached, ..Bench::default() };
        let (misses, hits) = (bench(CACHED).engine(&issuer), bench(100).engine(&issuer));
        let jwk: Jwk = serde_json::from_value(issuer.jwk().clone()).expect("a JWK");
        let key = DecodingKey::from_jwk(&jwk).expect("a key");
        let mut validation = Validation::new(theirs);
        validation.set_issuer(&[&issuer.url]);
        validation.validate_aud = false;
        let decode = |number: usize| {
            let decoded = jsonwebtoken::decode::<Claims>(&tokens[number], &key, &validation);
            std::hint::black_box(decoded.expect("a good token"));
        };
        let [engine, crates] =
            stride_by_stride(turns, |number| allow(&misses, &headers[number]), decode);
        let [known, _] = stride_by_stride(turns, |_| allow(&hits, &headers[0]), decode);
        told.insert(
            name.into(),
            json!({"engine": engine, "engine, known token": known, "jsonwebtoken": crates}),
        );
    }
    println!("{}", serde_json::Value::Object(told));
}

fn parsed_key(issuer: &Issuer) -> ParsedPublicKey {
    let member = |name: &str| {
        let text = issuer.jwk()[name].as_str().expect("a member");
        URL_SAFE_NO_PAD.decode_to_vec(text).expect("base64url")
    };
    let key = RsaPublicKeyComponents { n: member("n"), e: member("e") };
    let der: PublicKeyX509Der<'_> = key.as_der().expect("a key");
    ParsedPublicKey::new(&signature::RSA_PKCS1_2048_8192_SHA256, der.as_ref()).expect("a key")
}

/// What is signed, and the signature.
fn split(token: &str) -> (&[u8], Vec<u8>) {
    let (message, signature) = token.rsplit_once('.').expect("a token");
    (message.as_bytes(), URL_SAFE_NO_PAD.decode_to_vec(signature).expect("base64url"))
}

fn time(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn threads(turns: usize, limited: bool) {
    let issuer = Issuer::new();
    let engine = Bench { issuers: 1, cached: 1000, limited, ..Bench::default() }.engine(&issuer);
    let [one, other] = [0, 1].map(|number| bearer(&issuer.token(number)));
    // Limits need the moment of arrival.
    let allow = if limited { allow_arriving } else { allow };
    let run = |headers: &[&str]| hits_per_second(headers, |header| allow(&engine, header));
    run(&[&one, &other]);
    let [alone, apart] = take_turns(turns, || run(&[&one]), || run(&[&one, &other]));
    let [alone_again, together] = take_turns(turns, || run(&[&one]), || run(&[&one, &one]));
    println!(
        "{}",
        json!({
            "different tokens": {"one thread": alone, "two threads": apart},
            "the same token": {"one thread": alone_again, "two threads": together},
        })
    );
}

/// Nanoseconds of CPU time for each check, with limits and without; and without
/// them twice, which shows what a difference of nothing looks like.
fn plans(turns: usize, callers: usize) {
    let issuer = Issuer::of(Algorithm::Es256);
    let headers: Vec<_> = (0..callers).map(|number| bearer(&issuer.token(number))).collect();
    // The cache starts to evict a little before it is full.
    let cached = 2 * callers.max(1000);
    let engine =
        |limited| Bench { issuers: 1, cached, limited, ..Bench::default() }.engine(&issuer);
    let (limited, unlimited) = (engine(true), engine(false));
    for engine in [&limited, &unlimited] {
        (0..3).for_each(|_| headers.iter().for_each(|header| allow(engine, header)));
    }
    let counted = limited.budgets().expect("limits").callers();
    assert!(counted * 100 >= callers * 99, "{counted} of {callers} callers are counted");
    let nanoseconds = |engine: &Engine| {
        let (start, mut checks) = (CpuTime::now(), 0);
        while start.nanoseconds() < TURN_NANOSECONDS {
            headers
                .iter()
                .cycle()
                .take(callers.max(1000))
                .for_each(|it| allow_arriving(engine, it));
            checks += callers.max(1000);
        }
        start.nanoseconds() / checks as f64
    };
    let [with, without] = take_turns(turns, || nanoseconds(&limited), || nanoseconds(&unlimited));
    let [same, again] = take_turns(turns, || nanoseconds(&unlimited), || nanoseconds(&unlimited));
    println!(
        "{}",
        json!({"limited": with, "unlimited": without, "unlimited twice": [same, again]})
    );
}

/// How long one side of a turn of `plans` lasts at least.
const TURN_NANOSECONDS: f64 = 2e8;

/// The CPU time that this thread had used.
struct CpuTime(rustix::time::Timespec);

impl CpuTime {
    fn now() -> Self {
        Self(rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime))
    }

    /// Since then.
    fn nanoseconds(&self) -> f64 {
        let Self(now) = Self::now();
        (now.tv_sec - self.0.tv_sec) as f64 * 1e9 + (now.tv_nsec - self.0.tv_nsec) as f64
    }
}

/// How long one side of a turn lasts.
const TURN: Duration = Duration::from_millis(300);

/// Decides about each header on a thread of its own, all at the same time.
fn hits_per_second(headers: &[&str], decide: impl Fn(&str) + Sync) -> f64 {
    let start = Barrier::new(headers.len());
    let run = |header: &str| {
        start.wait();
        let start = Instant::now();
        let mut count = 0;
        while start.elapsed() < TURN {
            (0..100).for_each(|_| decide(header));
            count += 100;
        }
        f64::from(count) / start.elapsed().as_secs_f64()
    };
    thread::scope(|scope| {
        let threads: Vec<_> = headers.iter().map(|header| scope.spawn(|| run(header))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    })
}
