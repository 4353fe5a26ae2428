//! What the most expensive requests without a valid token cost, as multiples
//! of a plain denial (`missing_token`). Prints a table and fails if a row is
//! over its bar: a request must not cost much more than it takes to send it.
//!
//! `costs [FILTER]` measures the rows whose name holds `FILTER`.
//!
//! Everything is measured in CPU time of this thread, from the bytes of
//! Envoy's message to the bytes of the response, the log line included. Rows and
//! the plain denial take turns, so that a slow moment of the machine affects
//! both.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and fails as a whole"
)]

use std::{
    hint::black_box,
    io,
    pin::pin,
    process::ExitCode,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use claimgate::{Reason, check::ConfigHandle, envoy::service::AuthorizationServer};
use http_body_util::Full;
use mimalloc::MiMalloc;
use rustix::time::{ClockId, clock_gettime};
use tonic::codegen::Service;
use tracing_subscriber::{EnvFilter, layer::SubscriberExt, registry};

#[path = "costs/attacks.rs"]
mod attacks;
#[path = "costs/case.rs"]
mod case;
#[path = "support/paths.rs"]
mod support;

use attacks::attacks;
use case::{Case, Signatures};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The bar of a request that computes no signature.
const BAR: f64 = 20.0;

/// How many turns each row has.
const ROUNDS: usize = 41;

/// About how long a turn lasts, in seconds.
const TURN: f64 = 0.001;

/// One request and its bar.
struct Row {
    name: String,
    /// The reason of the decision, where the name promises another.
    wrong: Option<Reason>,
    call: Call,
    /// The signatures whose cost is added to the bar.
    signatures: Option<Signatures>,
}

fn main() -> ExitCode {
    let filter = std::env::args().nth(1).filter(|argument| !argument.starts_with('-'));
    log_as_in_production();
    let plain = Call::new(&Case::plain());
    let rows: Vec<_> = attacks()
        .into_iter()
        .filter(|attack| filter.as_ref().is_none_or(|wanted| attack.name.contains(wanted)))
        .map(|attack| {
            let wrong = attack.reason.and_then(|reason| attack.case.decided_otherwise(reason));
            Row {
                name: attack.name,
                wrong,
                call: Call::new(&attack.case),
                signatures: attack.signatures,
            }
        })
        .collect();
    println!("{:<58} {:>8} {:>8} {:>10}", "request", "times", "bar", "µs");
    println!(
        "{:<58} {:>8} {:>8} {:>10.2}",
        "missing_token",
        1,
        "",
        time(&mut || plain.check()) * 1e6
    );
    let failed: Vec<_> = rows.iter().filter_map(|row| measure(&plain, row)).collect();
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("not as they should be: {}", failed.join(", "));
    ExitCode::FAILURE
}

/// Prints a row; its name if it is over its bar, also when measured again.
fn measure(plain: &Call, row: &Row) -> Option<String> {
    let once = || {
        let (mut times, mut bars, mut costs) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let unit = time(&mut || plain.check());
            let cost = time(&mut || row.call.check());
            let signatures =
                row.signatures.as_ref().map_or(0.0, |signatures| time(&mut || signatures.verify()));
            times.push(cost / unit);
            bars.push(BAR + signatures / unit);
            costs.push(cost);
        }
        (median(times), median(bars), median(costs))
    };
    let (mut times, mut bar, mut cost) = once();
    if times > bar {
        (times, bar, cost) = once();
    }
    let verdict = match (row.wrong, times > bar) {
        (Some(reason), _) => format!("  decided as {reason}"),
        (None, true) => "  over".into(),
        (None, false) => String::new(),
    };
    println!("{:<58} {times:>8.1} {bar:>8.1} {:>10.2}{verdict}", row.name, cost * 1e6);
    (times > bar || row.wrong.is_some()).then(|| row.name.clone())
}

/// The CPU time of one run, in seconds.
fn time(work: &mut dyn FnMut()) -> f64 {
    let start = cpu_time();
    work();
    let first = cpu_time() - start;
    let runs = (TURN / first.max(1e-7)).clamp(1.0, 10_000.0) as u32;
    let start = cpu_time();
    (0..runs).for_each(|_| work());
    (cpu_time() - start) / f64::from(runs)
}

fn cpu_time() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The service with one configuration, and a call for it as Envoy makes it.
struct Call {
    server: AuthorizationServer,
    frame: Bytes,
}

impl Call {
    fn new(case: &Case) -> Self {
        let config = ConfigHandle::new(Arc::clone(&case.snapshot));
        let length = u32::try_from(case.message.len()).expect("a short message");
        let frame = [&[0][..], &length.to_be_bytes(), &case.message].concat();
        Self { server: AuthorizationServer::new(config), frame: frame.into() }
    }

    fn check(&self) {
        let mut request = http::Request::new(Full::new(self.frame.clone()));
        *request.uri_mut() = http::Uri::from_static("/envoy.service.auth.v3.Authorization/Check");
        let response = pin!(self.server.clone().call(request));
        match response.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(response) => drop(black_box(response)),
            Poll::Pending => panic!("no check here waits for anything"),
        }
    }
}

/// Makes log lines in JSON and discards them.
fn log_as_in_production() {
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true);
    let lines = lines.with_current_span(false).with_span_list(false).with_writer(io::sink);
    let subscriber = registry().with(EnvFilter::new("info")).with(lines);
    tracing::subscriber::set_global_default(subscriber).expect("the only one");
}
