//! Micro-benchmarks of the engine: the cost of each part of a decision, in
//! time and in heap allocations.

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
    pub(crate) mod paths;
}

use claimgate::{
    Request,
    envoy::{
        decode::{Names, check_request},
        response,
    },
    policy::routes::Routes,
    provider::oauth2::jwt::Unverified,
    settings::AuthSettings,
};
use divan::{AllocProfiler, Bencher, counter::ItemsCount};
use mimalloc::MiMalloc;

use support::{
    fixture::{Bench, Issuer, allow, bearer, decide, message},
    paths,
};

#[global_allocator]
static ALLOCATOR: AllocProfiler<MiMalloc> = AllocProfiler::new(MiMalloc);

fn main() {
    divan::main();
}

#[divan::bench(threads = [1, 2])]
fn known_token(bencher: Bencher) {
    let issuer = Issuer::new();
    let engine = Bench { issuers: 1, cached: 1000, ..Bench::default() }.engine(&issuer);
    let authorization = bearer(&issuer.token(0));
    bencher.counter(ItemsCount::new(1_usize)).bench(|| allow(&engine, &authorization));
}

#[divan::bench(threads = [1, 2])]
fn known_token_with_a_limit(bencher: Bencher) {
    let issuer = Issuer::new();
    let bench = Bench { issuers: 1, cached: 1000, limited: true, ..Bench::default() };
    let engine = bench.engine(&issuer);
    let authorization = bearer(&issuer.token(0));
    bencher.counter(ItemsCount::new(1_usize)).bench(|| allow(&engine, &authorization));
}

/// From the bytes of Envoy's message to the bytes of the response.
#[divan::bench(threads = [1, 2])]
fn whole_check(bencher: Bencher) {
    let issuer = Issuer::new();
    let engine = Bench { issuers: 1, cached: 1000, ..Bench::default() }.engine(&issuer);
    let message = message(&bearer(&issuer.token(0)));
    bencher.counter(ItemsCount::new(1_usize)).bench(|| {
        let names = Names::new();
        let request = check_request(divan::black_box(&message), &names).expect("a message");
        let decision = decide(&engine, &request);
        response::encode(&engine, &request, &decision)
    });
}

#[divan::bench(threads = [1, 2])]
fn api_key_of_many(bencher: Bencher) {
    let engine = Bench { api_keys: 10_000, ..Bench::default() }.engine(&Issuer::new());
    bencher.counter(ItemsCount::new(1_usize)).bench(|| allow(&engine, "Bearer api-key-77"));
}

#[divan::bench]
fn ever_new_token(bencher: Bencher) {
    let issuer = Issuer::new();
    let engine = Bench { issuers: 1, cached: 100, ..Bench::default() }.engine(&issuer);
    let tokens: Vec<_> = (0..2000).map(|number| bearer(&issuer.token(number))).collect();
    let mut next = 0;
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        next = (next + 1) % tokens.len();
        allow(&engine, &tokens[next]);
    });
}

#[divan::bench]
fn read_jwt(bencher: Bencher) {
    let token = Issuer::new().token(0);
    bencher.bench(|| Unverified::read(divan::black_box(&token)).is_some());
}

#[divan::bench]
fn read_claims(bencher: Bencher) {
    let token = Issuer::new().token(0);
    bencher
        .bench(|| Unverified::read(divan::black_box(&token)).map(|jwt| jwt.claims().names().len()));
}

#[divan::bench(args = [10, 100_000])]
fn known_tokens(bencher: Bencher, count: usize) {
    let issuer = Issuer::new();
    let engine = Bench { issuers: 1, cached: 200_000, ..Bench::default() }.engine(&issuer);
    let tokens: Vec<_> = (0..count).map(|number| bearer(&issuer.token(number))).collect();
    tokens.iter().for_each(|token| allow(&engine, token));
    let mut next = 0;
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        next = (next + 7919) % tokens.len();
        allow(&engine, &tokens[next]);
    });
}

#[divan::bench(args = [1, 1000])]
fn issuers(bencher: Bencher, issuers: usize) {
    let issuer = Issuer::new();
    let engine = Bench { issuers, cached: 1000, ..Bench::default() }.engine(&issuer);
    let authorization = bearer(&issuer.token(0));
    bencher.bench(|| allow(&engine, &authorization));
}

#[divan::bench(args = [10, 1000])]
fn routes(bencher: Bencher, routes: usize) {
    let issuer = Issuer::new();
    let engine = Bench { issuers: 1, routes, cached: 1000, ..Bench::default() }.engine(&issuer);
    let authorization = bearer(&issuer.token(0));
    bencher.bench(|| allow(&engine, &authorization));
}

#[divan::bench(args = [
    "/v1/chat/completions",
    "/v1/admin/users/7",
    "/v1/Users/Ab3",
    "/v1/models/meta%2Fllama",
    "/v1//models",
])]
fn find_route(bencher: Bencher, path: &str) {
    find(bencher, path);
}

#[divan::bench(args = paths::worst().into_iter().map(|(kind, _)| kind))]
fn find_route_of_worst_path(bencher: Bencher, kind: &str) {
    let worst = paths::worst();
    let (_, path) = worst.iter().find(|(other, _)| *other == kind).expect("one of them");
    find(bencher, path);
}

fn find(bencher: Bencher, path: &str) {
    let settings = AuthSettings { routes: paths::routes(), ..AuthSettings::default() };
    let routes = Routes::new(&settings);
    bencher.bench(|| {
        let request = Request { method: "GET", path: divan::black_box(path), ..Request::default() };
        routes.find(&request).is_ok()
    });
}
