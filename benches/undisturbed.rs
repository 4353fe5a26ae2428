//! How long honest callers wait while one bad token is sent over and over.
//!
//! Starts the program, with a worker on each of two threads, and sends known
//! tokens at a steady rate: undisturbed, during a flood of requests without a
//! token, the cheapest kind, and during a flood of one token with a bad
//! signature, of the most expensive kind: ES512 without a `kid`, so that four
//! keys are tried. A flood has four connections and sends as fast as it is
//! answered, from a process with low priority: a real one would not use the
//! service's cores. The phases take turns. Prints JSON.
//!
//! `undisturbed measure [TURNS]`

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and fails as a whole"
)]

mod support {
    pub(crate) mod claims;
}

use std::{
    cell::{Cell, RefCell},
    error::Error,
    fs,
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, Stdio},
    rc::Rc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use claimgate::{issuer::signing::SigningKey, provider::oauth2::Algorithm};
use envoy_types::{
    ext_authz::v3::pb::CheckRequest,
    pb::envoy::service::auth::v3::{AttributeContext, attribute_context},
};
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use serde_json::{Value, json};
use tokio::{net::TcpStream, runtime, task::LocalSet, time};

use support::claims::claims;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const ISSUER: &str = "https://issuer-0000.example.com";

/// Honest callers: two connections, so that each worker has one.
const HONEST_CONNECTIONS: usize = 2;
const HONEST_INTERVAL: Duration = Duration::from_micros(2500);
const HONEST_TOKENS: usize = 16;

const FLOOD_CONNECTIONS: usize = 4;
const FLOOD_STREAMS: usize = 8;

const PHASE: Duration = Duration::from_secs(2);

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    match arguments[..] {
        ["flood", address, message] => {
            LocalSet::new().block_on(&runtime, flood(address, fs::read(message)?.into()))
        }
        ["measure"] => LocalSet::new().block_on(&runtime, measure(5)),
        ["measure", turns] => LocalSet::new().block_on(&runtime, measure(turns.parse()?)),
        // `cargo bench` runs every target, with an option of its own.
        _ => Ok(()),
    }
}

/// The phases, named after the flood.
const PHASES: [&str; 3] = ["undisturbed", "no token", "bad token"];

async fn measure(turns: usize) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let key = SigningKey::generate(Algorithm::Rs256)?;
    let mut jwks = vec![key.jwk().clone()];
    for _ in 0..4 {
        jwks.push(SigningKey::generate(Algorithm::Es512)?.jwk().clone());
    }
    let service = Service::start(folder.path(), &json!({"keys": jwks}))?;
    let issued = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() - 60;
    let token = |number| key.sign(&claims(Algorithm::Rs256, ISSUER, issued, number));
    let mut honest = Vec::new();
    for number in 0..HONEST_TOKENS {
        honest.push(message(Some(&token(number)?)));
    }
    let bad = SigningKey::generate(Algorithm::Es512)?.sign_with(
        &json!({"alg": "ES512"}),
        &claims(Algorithm::Es512, ISSUER, issued, HONEST_TOKENS),
    )?;
    let floods = [None, Some(message(None)), Some(message(Some(&bad)))];

    honest_callers(&service.grpc, &honest, Duration::from_millis(500)).await?;
    let mut latencies: [Vec<Latency>; PHASES.len()] = Default::default();
    let mut rates: [Vec<f64>; PHASES.len()] = Default::default();
    for turn in 0..turns {
        for step in 0..PHASES.len() {
            let phase = if turn % 2 == 0 { step } else { PHASES.len() - 1 - step };
            let flood = floods[phase].as_ref().map(|message| {
                let file = folder.path().join("flood");
                fs::write(&file, message)?;
                Flood::start(&service.grpc, &file)
            });
            let flood = flood.transpose()?;
            latencies[phase].push(honest_callers(&service.grpc, &honest, PHASE).await?);
            if let Some(flood) = flood {
                rates[phase].push(flood.stop()?);
            }
        }
    }
    let shown = |phase: usize| {
        let p99 = |latency: &Latency| latency.p99;
        let ratios = latencies[phase].iter().zip(&latencies[0]);
        let ratios: Vec<f64> = ratios.map(|(ours, alone)| p99(ours) / p99(alone)).collect();
        json!({
            "p50_us": median(latencies[phase].iter().map(|latency| latency.p50)),
            "p99_us": median(latencies[phase].iter().map(p99)),
            "p99_ratio": median(ratios.into_iter()),
            "flood_per_second": median(rates[phase].iter().copied()),
        })
    };
    let shown: serde_json::Map<String, Value> =
        PHASES.iter().enumerate().map(|(at, name)| ((*name).to_owned(), shown(at))).collect();
    println!("{}", Value::Object(shown));
    Ok(())
}

/// A gRPC message that asks about a token.
fn message(token: Option<&str>) -> Bytes {
    let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    headers.extend(token.map(|token| ("authorization".into(), format!("Bearer {token}"))));
    let http = attribute_context::HttpRequest {
        method: "POST".into(),
        host: "gateway.internal".into(),
        path: "/v1/chat/completions".into(),
        headers: headers.into_iter().collect(),
        ..Default::default()
    };
    let request = attribute_context::Request { http: Some(http), ..Default::default() };
    let attributes = AttributeContext { request: Some(request), ..Default::default() };
    let message = CheckRequest { attributes: Some(attributes) }.encode_to_vec();
    let length = u32::try_from(message.len()).expect("a length").to_be_bytes();
    [&[0][..], &length, &message].concat().into()
}

/// The program.
struct Service {
    program: Child,
    grpc: String,
}

impl Service {
    fn start(folder: &Path, keys: &Value) -> Result<Self> {
        let (jwks, config) = (folder.join("jwks.json"), folder.join("gateway.yaml"));
        fs::write(&jwks, keys.to_string())?;
        let address = json!({"address": "127.0.0.1:0"});
        let settings = json!({
            "server": {"grpc": address, "admin": address, "workers": 2},
            "auth": {"providers": [{
                "name": "machines", "type": "oauth2", "issuer": ISSUER, "jwks_file": jwks,
                "require_audience": false, "algorithms": ["RS256", "ES512"],
            }]},
        });
        fs::write(&config, settings.to_string())?;
        let mut program = Command::new(env!("CARGO_BIN_EXE_claimgate"))
            .args(["serve", "--config"])
            .arg(&config)
            .env("RUST_LOG", "claimgate::app=info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut log = BufReader::new(program.stderr.take().ok_or("no log")?).lines();
        let grpc = loop {
            let line: Value = serde_json::from_str(&log.next().ok_or("it ended")??)?;
            if line["message"] == "listening" {
                break line["grpc"].as_str().ok_or("no address")?.to_owned();
            }
        };
        std::thread::spawn(move || log.for_each(drop));
        Ok(Self { program, grpc })
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// How long honest callers waited, in microseconds.
struct Latency {
    p50: f64,
    p99: f64,
}

/// Sends known tokens at a steady rate, whatever the answers take.
async fn honest_callers(address: &str, messages: &[Bytes], how_long: Duration) -> Result<Latency> {
    let mut connections = Vec::new();
    for _ in 0..HONEST_CONNECTIONS {
        connections.push(connect(address).await?);
    }
    let waited = Rc::new(RefCell::new(Vec::new()));
    let mut ticks = time::interval(HONEST_INTERVAL);
    let mut tasks = tokio::task::JoinSet::new();
    let start = Instant::now();
    for number in 0.. {
        ticks.tick().await;
        if start.elapsed() > how_long {
            break;
        }
        let mut connection = connections[number % connections.len()].clone();
        let (message, waited) = (messages[number % messages.len()].clone(), Rc::clone(&waited));
        let address = address.to_owned();
        tasks.spawn_local(async move {
            let sent = Instant::now();
            let answer = ask(&mut connection, &address, message).await.expect("an answer");
            waited.borrow_mut().push(sent.elapsed().as_secs_f64() * 1e6);
            assert!(answer.starts_with(&ALLOWED), "an honest caller was denied");
        });
    }
    while let Some(done) = tasks.join_next().await {
        done?;
    }
    let mut waited = waited.take();
    waited.sort_by(f64::total_cmp);
    let at = |part: f64| waited[((waited.len() - 1) as f64 * part) as usize];
    Ok(Latency { p50: at(0.5), p99: at(0.99) })
}

/// The beginning of a message whose first field is an empty status.
const ALLOWED: [u8; 2] = [0x0a, 0];

async fn connect(address: &str) -> Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::task::spawn_local(connection);
    Ok(sender)
}

/// The message that answers `message`.
async fn ask(
    connection: &mut SendRequest<Full<Bytes>>,
    address: &str,
    message: Bytes,
) -> Result<Bytes> {
    let request =
        Request::post(format!("http://{address}/envoy.service.auth.v3.Authorization/Check"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(message))?;
    connection.ready().await?;
    let answer = connection.send_request(request).await?;
    let body = answer.into_body().collect().await?.to_bytes();
    Ok(body.slice(5.min(body.len())..))
}

/// A process that sends one message over and over.
struct Flood(Child, Instant);

impl Flood {
    fn start(address: &str, message: &Path) -> Result<Self> {
        let child = Command::new("nice")
            .args(["-n", "19"])
            .arg(std::env::current_exe()?)
            .args(["flood", address])
            .arg(message)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        Ok(Self(child, Instant::now()))
    }

    /// Ends it; how many answers it got in a second.
    fn stop(mut self) -> Result<f64> {
        drop(self.0.stdin.take());
        let mut answers = String::new();
        self.0.stdout.take().ok_or("no output")?.read_to_string(&mut answers)?;
        self.0.wait()?;
        Ok(answers.trim().parse::<f64>()? / self.1.elapsed().as_secs_f64())
    }
}

/// Asks as fast as it is answered until its standard input ends.
async fn flood(address: &str, message: Bytes) -> Result<()> {
    let answers = Rc::new(Cell::new(0_u64));
    for _ in 0..FLOOD_CONNECTIONS {
        let connection = connect(address).await?;
        for _ in 0..FLOOD_STREAMS {
            let (mut connection, message) = (connection.clone(), message.clone());
            let (answers, address) = (Rc::clone(&answers), address.to_owned());
            tokio::task::spawn_local(async move {
                while let Ok(answer) = ask(&mut connection, &address, message.clone()).await {
                    assert!(!answer.starts_with(&ALLOWED), "the flood was let through");
                    answers.set(answers.get() + 1);
                }
            });
        }
    }
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    println!("{}", answers.get());
    // The connections end with the process.
    std::process::exit(0);
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
