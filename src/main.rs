//! The `claimgate` program.

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;

use claimgate::{
    cli::{Cli, Log},
    hardening, telemetry,
};

/// With the system's allocator, a check takes 6 % more CPU (`make bench
/// ARGS=grpc`, known token). Without huge pages, which would round every corner
/// of an idle heap up to 2 MB and double the memory that it takes.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    // Before any secret is in memory.
    hardening::keep_memory_private();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return not_run(&error),
    };
    let log = cli.default_log();
    let _telemetry = telemetry::start(log.filter(), log == Log::Everything);
    // Fails only if a provider is installed already; nothing before installs one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    cli.run().unwrap_or_else(|error| Cli::failed(log, &error))
}

/// Prints help, version or a usage error. A usage error exits like any other
/// error, because 2 and 3 have a meaning for some commands.
fn not_run(error: &clap::Error) -> ExitCode {
    // There is no way to report that this can't be printed.
    let _ = error.print();
    if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
