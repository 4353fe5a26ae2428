//! The `claimgate` program.

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;

use claimgate::{
    cli::{Cli, one_line},
    telemetry,
};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let _telemetry = telemetry::start("info");
    // Somebody else's provider is as good as ours; there is nobody else here.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    cli.run().unwrap_or_else(|error| {
        tracing::error!("{}", one_line(&error));
        ExitCode::FAILURE
    })
}
