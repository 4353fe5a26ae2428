//! Counts the heap allocations of one check, from the bytes of Envoy's message
//! to the bytes of the response. Prints JSON.

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
    alloc::{GlobalAlloc, Layout},
    cell::Cell,
    hint::black_box,
};

use claimgate::{
    Engine,
    envoy::{
        decode::{Names, check_request},
        response,
    },
};
use mimalloc::MiMalloc;
use serde_json::{Value, json};

use support::fixture::{Bench, Issuer, bearer, decide, message};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The allocator of the service, counting the allocations of this thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    ALLOCATIONS.set(ALLOCATIONS.get() + 1);
}

#[expect(unsafe_code, reason = "an allocator can't be written without")]
// SAFETY: forwards every call unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        unsafe { MiMalloc.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { MiMalloc.dealloc(pointer, layout) }
    }
}

fn main() {
    let issuer = Issuer::new();
    let tokens = Bench { issuers: 1, cached: 10, ..Bench::default() }.engine(&issuer);
    let keys = Bench { api_keys: 10, ..Bench::default() }.engine(&issuer);
    let counts = json!({
        "known token": allocations(&tokens, &bearer(&issuer.token(0))),
        "API key": allocations(&keys, &bearer("api-key-7")),
        "denial": allocations(&keys, &bearer("no-such-key")),
    });
    println!("{counts}");
}

/// How many allocations each step makes once everything is warm.
fn allocations(engine: &Engine, authorization: &str) -> Value {
    let message = message(authorization);
    let mut steps = [0; 3];
    for _ in 0..10 {
        steps = check(engine, &message);
    }
    let [decode, decide, encode] = steps;
    json!({"decode": decode, "decide": decide, "encode": encode})
}

fn check(engine: &Engine, message: &[u8]) -> [u64; 3] {
    let start = ALLOCATIONS.get();
    let names = Names::new();
    let request = check_request(message, &names).expect("a message");
    let decoded = ALLOCATIONS.get();
    let decision = decide(engine, &request);
    let decided = ALLOCATIONS.get();
    black_box(response::encode(engine, &request, &decision));
    [decoded - start, decided - decoded, ALLOCATIONS.get() - decided]
}
