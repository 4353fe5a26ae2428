//! The executable, run as a separate process.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio},
};

use serde_json::Value;

use super::{http, wait::eventually};

/// Where the executable is.
pub(crate) const CLAIMGATE: &str = env!("CARGO_BIN_EXE_claimgate");

/// A command of `claimgate`, to be run in this folder.
pub(crate) fn claimgate(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(CLAIMGATE);
    command.args(arguments).current_dir(folder).env_remove("CLAIMGATE_CONFIG");
    command
}

/// `claimgate serve` with this file; its output is piped.
pub(crate) fn serve(config: &Path) -> Command {
    let mut command = Command::new(CLAIMGATE);
    command.args(["serve", "--config"]).arg(config).env_remove("RUST_LOG");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A command that has ended: its exit code and output.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    #[track_caller]
    pub(crate) fn of(mut command: Command) -> Self {
        command.output().expect("the program runs").into()
    }
}

impl From<Output> for Ended {
    #[track_caller]
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        let code = output.status.code().expect("it ended by itself");
        Self { code, stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// The service, its ports and its log. It is killed when this is dropped.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) grpc: String,
    pub(crate) admin: String,
    stderr: Option<BufReader<ChildStderr>>,
}

impl Process {
    /// Starts it and reads its addresses from its log.
    pub(crate) fn spawn(mut command: Command, log: &str) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.env("RUST_LOG", log).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let (grpc, admin) = loop {
            let mut line = String::new();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "it ended without listening");
            let line: Value = serde_json::from_str(&line).unwrap();
            if line["message"] == "listening" {
                let address = |name: &str| line[name].as_str().unwrap().to_owned();
                break (address("grpc"), address("admin"));
            }
        };
        Self { child, grpc, admin, stderr: Some(stderr) }
    }

    pub(crate) fn start(config: &Path, log: &str) -> Self {
        Self::spawn(serve(config), log)
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status().unwrap();
        assert!(status.success());
    }

    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("it ended", async || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap()
    }

    /// The lines of its log from here on, each a JSON object; the last comes
    /// when it ends.
    pub(crate) fn log(&mut self) -> impl Iterator<Item = Value> + Send + use<> {
        let lines = self.stderr.take().expect("the log is read once").lines();
        lines
            .map(|line| line.unwrap())
            .map(|line| serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line}")))
    }

    pub(crate) async fn metric(&self, series: &str) -> f64 {
        http::metric(&self.admin, series).await
    }

    /// A line of `/proc/PID/status`, such as the peak memory in kB.
    pub(crate) fn status(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().find_map(|word| word.parse().ok()).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
