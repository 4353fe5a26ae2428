//! How much memory the program takes when it has met many tokens: as a
//! process of its own, asked over real gRPC.

#![cfg(target_os = "linux")]
#![allow(clippy::print_stdout, reason = "what was measured helps where it was too much")]

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use claimgate::{issuer::signing::SigningKey, provider::oauth2::Algorithm};
use envoy_types::pb::envoy::service::auth::v3::{
    AttributeContext, CheckRequest,
    attribute_context::{HttpRequest, Request as AttributeRequest},
    authorization_client::AuthorizationClient,
};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tempfile::TempDir;
use tonic::transport::Channel;

const ISSUER: &str = "https://issuer.example.com";

/// Requests under way at a time, over two connections: one for each worker.
const CONNECTIONS: usize = 2;
const AT_A_TIME: usize = 16;

/// The default of `auth.token_cache_bytes`, in KiB, and what everything else
/// may take: 30 MiB as the program is released. What it maps of its own file
/// is some 10 MiB of that, and several times as much in a debug build, so
/// memory of its own has to do with 20.
const CACHE_KIB: usize = 64 * 1024;
const REST_KIB: usize = 30 * 1024;
const OWN_REST_KIB: usize = 20 * 1024;

/// What the allocator can't use again at once when tokens of another kind
/// come: holes that entries of one size leave are of no use for another.
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
    program: Child,
    grpc: String,
    admin: String,
    key: SigningKey,
    _folder: TempDir,
}

impl Service {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
        let (jwks, config) = (folder.path().join("jwks.json"), folder.path().join("gateway.yaml"));
        fs::write(&jwks, json!({"keys": [key.jwk()]}).to_string()).unwrap();
        let settings = json!({
            "server": {
                "grpc": {"address": "127.0.0.1:0"},
                "admin": {"address": "127.0.0.1:0"},
                "workers": CONNECTIONS,
            },
            "auth": {
                "providers": [{
                    "name": "machines", "type": "oauth2", "issuer": ISSUER, "audience": "api",
                    "algorithms": ["EdDSA"], "jwks_file": jwks,
                }],
                "headers": {"claims": {"client_id": "x-auth-client-id", "groups": "x-auth-groups"}},
            },
        });
        fs::write(&config, settings.to_string()).unwrap();
        let mut program = Command::new(env!("CARGO_BIN_EXE_claimgate"))
            .args(["serve", "--config"])
            .arg(&config)
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(program.stderr.take().unwrap()).lines();
        let listening =
            log.by_ref().map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
        let listening = listening.into_iter().find(|line| line["message"] == "listening").unwrap();
        // Nothing may ever wait for a reader of the log.
        std::thread::spawn(move || log.for_each(drop));
        let address = |name: &str| listening[name].as_str().unwrap().to_owned();
        let (grpc, admin) = (address("grpc"), address("admin"));
        Self { program, grpc, admin, key, _folder: folder }
    }

    /// Resident memory, and that without what is mapped of files, in KiB.
    fn resident_kib(&self) -> [usize; 2] {
        let status = fs::read_to_string(format!("/proc/{}/status", self.program.id())).unwrap();
        ["VmRSS:", "RssAnon:"].map(|name| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches(" kB").parse().unwrap()
        })
    }

    /// It takes no more than it may, and `more` on top.
    async fn must_be_small(&self, what: &str, more: usize) {
        let [resident, own] = self.resident_kib();
        let remembered = self.metric("claimgate_token_cache_entries ").await;
        println!("{what}: {resident} KiB, {own} KiB of its own, {remembered} remembered");
        assert!(remembered > 200, "{what}: only {remembered} are remembered");
        assert!(own < CACHE_KIB + OWN_REST_KIB + more, "{what}: {own} KiB");
        assert!(
            cfg!(debug_assertions) || resident < CACHE_KIB + REST_KIB + more,
            "{what}: {resident} KiB"
        );
    }

    async fn metric(&self, series: &str) -> usize {
        let url = format!("http://{}/metrics", self.admin);
        let metrics = reqwest::get(url).await.unwrap().text().await.unwrap();
        let value = metrics.lines().find_map(|line| line.strip_prefix(series)).unwrap();
        value.trim().parse().unwrap()
    }

    /// Sends so many tokens of a kind, each of them twice, so that the cache
    /// lets go of others for it; all of them are good.
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
        let flow = async |channel: Channel| {
            let mut client = AuthorizationClient::new(channel);
            loop {
                let number = sent.fetch_add(1, Ordering::Relaxed);
                if number >= 2 * count {
                    break;
                }
                let answer = client.check(request(&token(number / 2))).await.unwrap();
                let answer = answer.into_inner();
                assert_eq!(answer.status.unwrap().code, 0, "{} {number}", kind.name);
            }
        };
        let mut flows = Vec::new();
        for _ in 0..CONNECTIONS {
            let address = format!("http://{}", self.grpc);
            let channel = Channel::from_shared(address).unwrap().connect().await.unwrap();
            flows.extend((0..AT_A_TIME / CONNECTIONS).map(|_| flow(channel.clone())));
        }
        join_all(flows).await;
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

fn request(token: &str) -> CheckRequest {
    let headers = [("authorization".to_owned(), format!("Bearer {token}"))].into();
    let http = HttpRequest {
        method: "GET".into(),
        host: "api.example.com".into(),
        path: "/v1/models".into(),
        headers,
        ..HttpRequest::default()
    };
    let request = Some(AttributeRequest { http: Some(http), time: None });
    let attributes = AttributeContext { request, ..AttributeContext::default() };
    CheckRequest { attributes: Some(attributes) }
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
    // What one kind leaves behind must do for another.
    for kind in KINDS.iter().rev().chain(&KINDS) {
        service.send(kind, kind.count / 3).await;
        service.must_be_small(&format!("then {}", kind.name), HOLES_KIB).await;
    }
}
