//! The `claimgate` program.

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;

use claimgate::{
    cli::{Cli, one_line},
    hardening, telemetry,
};

/// With the system's allocator, a check takes 6 % more CPU (`make bench
/// ARGS=grpc`, known token). Without huge pages, which would round every corner
/// of an idle heap up to 2 MB and double the memory that it takes.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    // Before there is anything to be read.
    hardening::keep_memory_private();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return not_run(&error),
    };
    let _telemetry = telemetry::start("info");
    // Somebody else's provider is as good as ours; there is nobody else here.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    cli.run().unwrap_or_else(|error| {
        tracing::error!("{}", one_line(&error));
        ExitCode::FAILURE
    })
}

/// Help and version were asked for; anything else is an error like others,
/// for 2 and 3 mean something to some commands.
fn not_run(error: &clap::Error) -> ExitCode {
    // Nobody is left to tell if this can't be printed.
    let _ = error.print();
    if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
