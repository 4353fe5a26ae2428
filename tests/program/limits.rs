//! The limits during floods: connections, descriptors, memory, time. The
//! program runs as its own process, so that its resources can be measured.

use std::{
    convert::Infallible,
    fs::Permissions,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    pin::Pin,
    process::{Command, Stdio},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use envoy_types::pb::envoy::service::auth::v3::{
    CheckRequest, CheckResponse, authorization_client::AuthorizationClient,
    check_response::HttpResponse,
};
use futures_util::future::join_all;
use http_body::Frame;
use http_body_util::BodyExt;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};
use tonic::transport::Channel;

use crate::support::{
    envoy::{self, check_token},
    folder::Folder,
    issuer::Issuer,
    process::{self, CLAIMGATE},
    wait::eventually,
};

const LIMIT: Duration = Duration::from_secs(30);

/// The program, started with its own config.
struct Process {
    process: process::Process,
    config: Config,
}

struct Config(Folder);

impl Config {
    fn new(grpc: &str, auth: &str) -> Self {
        let config = Self(Folder::new(""));
        // For the test that drops root's rights.
        std::fs::set_permissions(config.0.path(), Permissions::from_mode(0o755)).unwrap();
        config.write(grpc, auth);
        config
    }

    fn write(&self, grpc: &str, auth: &str) {
        let text = format!(
            "server:\n  grpc: {{address: '127.0.0.1:0'{grpc}}}\n  admin: {{address: '127.0.0.1:0'}}\n  \
             workers: 2\n  check_timeout_ms: 60000\nauth:\n{auth}"
        );
        self.0.write("gateway.yaml", text);
    }

    /// Replaces the file with a pipe.
    fn make_a_pipe(&self) {
        let pipe = self.0.at(".pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        std::fs::rename(pipe, self.0.config()).unwrap();
    }
}

const API_KEY: &str = "  api_keys:\n    - {name: frontend, key: an-api-key-of-some-length}\n";

impl Process {
    fn start(config: Config) -> Self {
        Self::spawn(process::serve(&config.0.config()), config)
    }

    /// Starts it with a limit of open files.
    fn start_with_files(config: Config, files: usize) -> Self {
        let mut command = Command::new("bash");
        command.args(["-c", &format!("ulimit -n {files}; exec \"$@\""), "-"]);
        command.arg(CLAIMGATE).args(["serve", "--config"]).arg(config.0.config());
        Self::spawn(command, config)
    }

    fn spawn(command: Command, config: Config) -> Self {
        Self { process: process::Process::spawn(command, "info"), config }
    }

    fn grpc(&self) -> &str {
        &self.process.grpc
    }

    fn admin(&self) -> &str {
        &self.process.admin
    }

    async fn get(&self, path: &str) -> Option<String> {
        let answer = reqwest::get(format!("http://{}{path}", self.admin())).await.ok()?;
        answer.text().await.ok()
    }

    async fn metric(&self, series: &str) -> f64 {
        self.process.metric(series).await
    }

    fn status(&self, name: &str) -> u64 {
        self.process.status(name)
    }

    /// Whether a new connection's check with the API key is allowed.
    async fn allows(&self) -> bool {
        let Ok(mut envoy) = envoy(self.grpc()).await else { return false };
        is_allowed(&mut envoy).await
    }

    /// Ends it and returns its log.
    fn log(mut self) -> Vec<Value> {
        self.process.signal("TERM");
        self.process.log().collect()
    }
}

fn count(log: &[Value], message: &str) -> usize {
    log.iter().filter(|line| line["message"] == message).count()
}

async fn envoy(address: &str) -> Result<AuthorizationClient<Channel>, tonic::transport::Error> {
    let endpoint = Channel::from_shared(format!("http://{address}")).unwrap().timeout(LIMIT);
    Ok(AuthorizationClient::new(endpoint.connect().await?))
}

/// A check with the API key and a body of this size.
fn check_request(body: usize) -> CheckRequest {
    let mut request = check_token("an-api-key-of-some-length");
    envoy::http_of(&mut request).raw_body = vec![0; body];
    request
}

async fn is_allowed(envoy: &mut AuthorizationClient<Channel>) -> bool {
    let answer = envoy.check(check_request(0)).await;
    answer.is_ok_and(|answer| envoy::code(answer.get_ref()) == 0)
}

/// Silent connections.
async fn silent(address: &str, connections: usize) -> Vec<TcpStream> {
    join_all((0..connections).map(|_| async { TcpStream::connect(address).await.unwrap() })).await
}

#[tokio::test]
async fn silent_connections_leave_descriptors_for_what_must_go_on() {
    let issuer = Issuer::start().await;
    let auth = format!(
        "  mode: composite\n{API_KEY}  oauth2:\n    issuer: {}\n    audience: a\n    \
         jwks_cache_seconds: 1\n",
        issuer.url
    );
    let process = Process::start_with_files(Config::new("", &auth), 64);
    let mut early = envoy(process.grpc()).await.unwrap();
    assert!(is_allowed(&mut early).await);

    let admin = silent(process.admin(), 80).await;
    let grpc = silent(process.grpc(), 80).await;
    assert!(process.allows().await, "a new connection is served");
    assert!(is_allowed(&mut early).await, "and so is an old one");
    assert_eq!(process.get("/livez").await.as_deref(), Some("ok\n"));
    let before = issuer.fetches();
    eventually("keys are fetched", async || issuer.fetches() > before + 1).await;
    assert!(process.metric("process_open_fds").await < 60.0);

    process.config.write("", &format!("{auth}  required_scopes: [never]\n"));
    eventually("the configuration is reloaded", async || {
        process.metric("claimgate_config_reloads_total{result=\"success\"}").await > 0.0
    })
    .await;
    drop((admin, grpc));
    let log = process.log();
    assert_eq!(count(&log, "the limit of gRPC connections is reached"), 1);
    assert_eq!(count(&log, "cannot accept connections, trying again"), 0);
}

/// The time of a probe: by default Kubernetes waits a second.
#[tokio::test]
async fn a_probe_is_answered_behind_many_silent_connections() {
    let process = Process::start_with_files(Config::new("", API_KEY), 64);
    for _ in 0..3 {
        let silent = silent(process.admin(), 120).await;
        let answer = timeout(Duration::from_millis(900), process.get("/livez")).await;
        assert_eq!(answer.expect("in time").as_deref(), Some("ok\n"));
        drop(silent);
    }
}

#[tokio::test]
async fn connections_that_speak_are_kept_and_one_too_many_is_closed() {
    let process = Process::start(Config::new(", max_connections: 2", API_KEY));
    let mut clients = [envoy(process.grpc()).await.unwrap(), envoy(process.grpc()).await.unwrap()];
    for client in &mut clients {
        assert!(is_allowed(client).await);
    }
    for _ in 0..10 {
        let mut late = TcpStream::connect(process.grpc()).await.unwrap();
        let read = timeout(LIMIT, late.read(&mut [0; 100])).await.expect("closed at once");
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    }
    for client in &mut clients {
        assert!(is_allowed(client).await);
    }
    drop(clients);
    eventually("there are places again", async || process.allows().await).await;
    assert_eq!(count(&process.log(), "the limit of gRPC connections is reached"), 1);
}

#[tokio::test]
async fn an_admin_request_has_a_limit_for_its_headers() {
    let process = Process::start(Config::new("", API_KEY));
    let mut slow = TcpStream::connect(process.admin()).await.unwrap();
    slow.write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\n").await.unwrap();
    let start = Instant::now();
    let mut answer = Vec::new();
    timeout(LIMIT, slow.read_to_end(&mut answer)).await.expect("closed").unwrap();
    assert!(start.elapsed() >= Duration::from_secs(5), "{:?}", start.elapsed());
}

/// Sends a part of a longer message, and then nothing.
struct Unfinished {
    announced: u32,
    left: usize,
    is_begun: bool,
}

/// The size of the frames that [`Unfinished`] sends.
const FRAME: usize = 16 << 10;

impl Unfinished {
    fn new(announced: u32, sent: usize) -> Self {
        Self { announced, left: sent, is_begun: false }
    }
}

impl http_body::Body for Unfinished {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        static ZEROS: [u8; FRAME] = [0; FRAME];
        if !self.is_begun {
            self.is_begun = true;
            let prefix = [&[0], &self.announced.to_be_bytes()[..]].concat();
            return Poll::Ready(Some(Ok(Frame::data(prefix.into()))));
        }
        let size = self.left.min(FRAME);
        self.left -= size;
        match size {
            0 => Poll::Pending,
            _ => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&ZEROS[..size]))))),
        }
    }
}

type Raw = SendRequest<Unfinished>;

async fn raw(address: &str) -> Raw {
    let stream = TcpStream::connect(address).await.unwrap();
    let io = TokioIo::new(stream);
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// Calls with a body of this kind; the HTTP status in the answer's message.
async fn call(sender: &mut Raw, path: &str, body: Unfinished) -> hyper::Result<Option<i32>> {
    let request = http::Request::post(format!("http://localhost{path}"))
        .header("content-type", "application/grpc")
        .body(body)
        .unwrap();
    let answer = sender.send_request(request);
    let answer = answer.await?.into_body().collect().await?.to_bytes();
    let Some(message) = answer.get(5..) else { return Ok(None) };
    let answer = CheckResponse::decode(message).unwrap();
    Ok(match answer.http_response {
        Some(HttpResponse::DeniedResponse(denied)) => denied.status.map(|status| status.code),
        _ => Some(200),
    })
}

const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

#[tokio::test]
async fn unfinished_messages_are_bounded_in_memory_and_time() {
    const MIB: u32 = 1 << 20;
    const CALLS: usize = 1024;
    let process = Process::start(Config::new("", API_KEY));
    let mut honest = envoy(process.grpc()).await.unwrap();
    assert!(is_allowed(&mut honest).await);
    let idle = process.status("VmRSS");

    let sender = raw(process.grpc()).await;
    let start = Instant::now();
    let flood: Vec<_> = (0..CALLS)
        .map(|_| {
            let mut sender = sender.clone();
            let body = Unfinished::new(MIB, MIB as usize - 1);
            tokio::spawn(async move { call(&mut sender, CHECK, body).await })
        })
        .collect();
    let mut answered = 0;
    while !flood.iter().all(tokio::task::JoinHandle::is_finished) {
        let answer = honest.check(check_request(0)).await.expect("an honest check is answered");
        assert_eq!(envoy::code(answer.get_ref()), 0);
        answered += 1;
        assert!(start.elapsed() < LIMIT);
        sleep(Duration::from_millis(5)).await;
    }
    assert!(start.elapsed() >= Duration::from_secs(5), "those with room had their time");
    assert!(answered > 10, "{answered}");
    for call in flood {
        let status = call.await.unwrap();
        // Envoy would read the response; a client that keeps sending may miss it.
        assert!(matches!(status, Ok(Some(400)) | Err(_)), "{status:?}");
    }
    let most = process.status("VmHWM");
    assert!(most - idle < 350 << 10, "{idle} kB idle, {most} kB at most");

    let whole = honest.check(check_request(4 << 20)).await.unwrap().into_inner();
    assert_eq!(envoy::code(&whole), 0, "there is room again");
    let log = process.log();
    assert_eq!(count(&log, "check messages can't be received"), 1);
}

#[tokio::test]
async fn other_services_hold_little() {
    let process = Process::start(Config::new("", API_KEY));
    let idle = process.status("VmRSS");
    let sender = raw(process.grpc()).await;
    let flood: Vec<_> = (0..1024)
        .map(|_| {
            let mut sender = sender.clone();
            // Each announces 4 MiB, which the server reserves.
            let body = Unfinished::new(4 << 20, 1 << 20);
            let path = "/grpc.health.v1.Health/Check";
            tokio::spawn(async move { call(&mut sender, path, body).await })
        })
        .collect();
    for call in flood {
        timeout(LIMIT, call).await.expect("refused").unwrap().ok();
    }
    let most = process.status("VmHWM");
    assert!(most - idle < 100 << 10, "{idle} kB idle, {most} kB at most");
}

#[tokio::test]
async fn a_call_that_is_reset_is_not_a_decision() {
    // An issuer that accepts and never answers makes a check wait.
    let hangs = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let auth = format!(
        "  mode: composite\n{API_KEY}  oauth2:\n    issuer: http://{}\n    audience: a\n",
        hangs.local_addr().unwrap()
    );
    let process = Process::start(Config::new("", &auth));

    // In the middle of the message, and before its first byte but the prefix.
    let sender = raw(process.grpc()).await;
    for sent in [0, 1000] {
        let body = Unfinished::new(2000, sent);
        let mut sender = sender.clone();
        let cut = tokio::spawn(async move { call(&mut sender, CHECK, body).await });
        sleep(Duration::from_millis(100)).await;
        cut.abort();
        assert!(cut.await.unwrap_err().is_cancelled());
    }
    let mut envoy = envoy(process.grpc()).await.unwrap();
    assert!(is_allowed(&mut envoy).await, "the call behind them is answered");

    // While it waits for a key.
    let issuer = format!(r#"{{"iss":"http://{}"}}"#, hangs.local_addr().unwrap());
    let part = |text: &str| base64_simd::URL_SAFE_NO_PAD.encode_to_string(text);
    let token = format!("{}.{}.AAAA", part(r#"{"alg":"RS256","kid":"x"}"#), part(&issuer));
    let mut waiting = envoy.clone();
    let waits = tokio::spawn(async move { waiting.check(check_token(&token)).await });
    eventually("it waits", async || process.metric("claimgate_in_flight_checks").await == 1.0)
        .await;
    waits.abort();
    eventually("it is gone", async || process.metric("claimgate_in_flight_checks").await == 0.0)
        .await;

    let metrics = process.get("/metrics").await.unwrap();
    let denied = metrics.lines().filter(|line| {
        line.starts_with("claimgate_checks_total{decision=\"deny\"") && !line.ends_with(" 0")
    });
    assert_eq!(denied.count(), 0, "{metrics}");
    let log = process.log();
    for message in ["request denied", "check messages can't be received"] {
        assert_eq!(count(&log, message), 0, "{message}");
    }
}

#[tokio::test]
async fn a_pipe_in_the_configs_place_holds_up_nothing() {
    let process = Process::start(Config::new("", API_KEY));
    process.config.make_a_pipe();
    eventually("the failure is counted", async || {
        process.metric("claimgate_config_reloads_total{result=\"failure\"}").await == 1.0
    })
    .await;
    assert!(process.allows().await, "the old configuration stays in force");
    assert_eq!(process.get("/livez").await.as_deref(), Some("ok\n"));

    process.config.write("", API_KEY);
    eventually("the next good file is read", async || {
        process.metric("claimgate_config_reloads_total{result=\"success\"}").await == 1.0
    })
    .await;
    let log = process.log();
    let failure = "configuration not reloaded, the old one stays in force";
    let line = log.iter().find(|line| line["message"] == failure).expect("logged");
    assert!(line["error"].as_str().unwrap().contains("not a regular file"), "{line}");
}

#[tokio::test]
async fn a_start_with_a_pipe_ends_with_one_line() {
    let config = Config::new("", API_KEY);
    config.make_a_pipe();
    let validate = {
        let mut command = Command::new(CLAIMGATE);
        command.args(["validate", "--config"]).arg(config.0.config());
        command
    };
    for mut command in [process::serve(&config.0.config()), validate] {
        command.stdin(Stdio::null());
        let run = tokio::task::spawn_blocking(move || process::Ended::of(command));
        let ended = timeout(LIMIT, run).await.expect("it ends").unwrap();
        assert_eq!(ended.code, 1);
        let text = ended.stdout + &ended.stderr;
        assert!(text.contains("not a regular file"), "{text}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn other_processes_cannot_read_its_memory() {
    let config = Config::new("", API_KEY);
    // Only root may have access to the build's folder. Another process copies
    // it: a file that this one has open for writing could not be run.
    let program = config.0.at("claimgate");
    let copied = Command::new("cp").arg(CLAIMGATE).arg(&program).status();
    assert!(copied.unwrap().success());
    let mut command = Command::new(&program);
    command.args(["serve", "--config"]).arg(config.0.config());
    let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    if is_root {
        // An unprivileged user: root may read everything.
        command.uid(65534).gid(65534);
    }
    let process = Process::spawn(command, config);
    assert_ne!(process.status("Uid:"), 0);
    // A process that is not dumpable belongs to root.
    let memory = std::fs::metadata(format!("/proc/{}/mem", process.process.child.id())).unwrap();
    assert_eq!(memory.uid(), 0);
    // It still sees itself.
    let metrics = process.get("/metrics").await.unwrap();
    assert!(metrics.lines().any(|line| line.starts_with("process_cpu_seconds_total ")));
    for family in ["open_fds", "max_fds", "resident_memory_bytes", "start_time_seconds"] {
        let value = process.metric(&format!("process_{family} ")).await;
        assert!(value > 0.0, "{family}: {value}");
    }
}
