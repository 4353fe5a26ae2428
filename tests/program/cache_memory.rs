//! How much memory the program needs after many tokens: as its own process,
//! over real gRPC.

#![cfg(target_os = "linux")]
#![allow(clippy::print_stdout, reason = "what was measured helps where it was too much")]

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use claimgate::{issuer::signing::SigningKey, provider::oauth2::Algorithm};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{
    envoy::{Client, check_token, code, connect},
    folder::Folder,
    process::Process,
};

const ISSUER: &str = "https://issuer.example.com";

/// Requests under way at a time, over two connections: one for each worker.
const CONNECTIONS: usize = 2;
const AT_A_TIME: usize = 16;

/// The default of `auth.token_cache_bytes`, in KiB, and the limit of everything
/// else: 30 MiB in a release build. About 10 MiB of that is mapped from the
/// executable, and several times as much in a debug build, so the limit of its
/// own memory is 20.
const CACHE_KIB: usize = 64 * 1024;
const REST_KIB: usize = 30 * 1024;
const OWN_REST_KIB: usize = 20 * 1024;

/// Memory that the allocator can't reuse at once when the kind of tokens
/// changes: holes of entries of one size don't fit another.
const HOLES_KIB: usize = 48 * 1024;

/// A kind of token, by the claims that make it large.
struct Kind {
    name: &'static str,
    count: usize,
    claims: fn() -> Value,
}

/// More of each than the cache has room for.
const KINDS: [Kind; 3] = [
    Kind { name: "plain", count: 10_500, claims: || json!({"padding": "x".repeat(200)}) },
    Kind { name: "100 groups", count: 10_500, claims: || json!({"groups": groups(100, 36)}) },
    Kind { name: "440 elements", count: 3_000, claims: || json!({"groups": groups(440, 20)}) },
];

fn groups(count: usize, length: usize) -> Vec<String> {
    (0..count).map(|number| format!("{number:0length$}")).collect()
}

/// The program, and the key that its issuer signs with.
struct Service {
    process: Process,
    key: SigningKey,
    _folder: Folder,
}

impl Service {
    fn start() -> Self {
        let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
        let settings = json!({
            "server": {
                "grpc": {"address": "127.0.0.1:0"},
                "admin": {"address": "127.0.0.1:0"},
                "workers": CONNECTIONS,
            },
            "auth": {
                "providers": [{
                    "name": "machines", "type": "oauth2", "issuer": ISSUER, "audience": "api",
                    "algorithms": ["EdDSA"], "jwks_file": "JWKS",
                }],
                "headers": {"claims": {"client_id": "x-auth-client-id", "groups": "x-auth-groups"}},
            },
        });
        let folder = Folder::with_keys(&settings.to_string(), &[&key]);
        let mut process = Process::start(&folder.config(), "info");
        let log = process.log();
        // Nothing may wait for a reader of the log.
        std::thread::spawn(move || log.for_each(drop));
        Self { process, key, _folder: folder }
    }

    /// Resident memory, with and without mapped files, in KiB.
    fn resident_kib(&self) -> [usize; 2] {
        ["VmRSS:", "RssAnon:"].map(|name| self.process.status(name) as usize)
    }

    /// It needs at most its limit, plus `more`.
    async fn must_be_small(&self, what: &str, more: usize) {
        let [resident, own] = self.resident_kib();
        let cached = self.process.metric("claimgate_token_cache_entries ").await;
        println!("{what}: {resident} KiB, {own} KiB of its own, {cached} cached");
        assert!(cached > 200.0, "{what}: only {cached} are cached");
        assert!(own < CACHE_KIB + OWN_REST_KIB + more, "{what}: {own} KiB");
        assert!(
            cfg!(debug_assertions) || resident < CACHE_KIB + REST_KIB + more,
            "{what}: {resident} KiB"
        );
    }

    /// Sends so many tokens of a kind, each of them twice, so that the cache
    /// evicts others for it; all of them are valid.
    async fn send(&self, kind: &Kind, count: usize) {
        let mut claims = (kind.claims)();
        let issued = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() - 60;
        claims["iss"] = ISSUER.into();
        claims["aud"] = "api".into();
        claims["sub"] = "3j9b0v7u1q2w4e5r6t7y8u9i0o".into();
        claims["client_id"] = "3j9b0v7u1q2w4e5r6t7y8u9i0o".into();
        claims["iat"] = issued.into();
        claims["exp"] = (issued + 7200).into();
        claims["jti"] = "NUMBER".into();
        let claims = claims.to_string();
        let token = |number: usize| {
            let number = format!("{}-{number:08}", kind.name);
            self.key.sign(claims.replace("NUMBER", &number).as_bytes()).unwrap()
        };
        let sent = AtomicUsize::new(0);
        let flow = async |mut client: Client| {
            loop {
                let number = sent.fetch_add(1, Ordering::Relaxed);
                if number >= 2 * count {
                    break;
                }
                let answer = client.check(check_token(&token(number / 2))).await.unwrap();
                assert_eq!(code(&answer.into_inner()), 0, "{} {number}", kind.name);
            }
        };
        let mut flows = Vec::new();
        for _ in 0..CONNECTIONS {
            let client = connect(&self.process.grpc).await;
            flows.extend((0..AT_A_TIME / CONNECTIONS).map(|_| flow(client.clone())));
        }
        join_all(flows).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_kind_of_token_takes_more_memory_than_it_may() {
    let mut service = Service::start();
    println!("idle: {:?} KiB", service.resident_kib());
    for kind in &KINDS {
        service = Service::start();
        service.send(kind, kind.count).await;
        service.must_be_small(kind.name, 0).await;
    }
    // Another kind must be able to use the memory of the first.
    for kind in KINDS.iter().rev().chain(&KINDS) {
        service.send(kind, kind.count / 3).await;
        service.must_be_small(&format!("then {}", kind.name), HOLES_KIB).await;
    }
}
