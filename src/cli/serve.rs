//! `claimgate serve`: runs the service.

use std::process::ExitCode;

use super::ConfigArgs;

/// Arguments of `claimgate serve`.
#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

/// Runs the service until it is told to stop.
///
/// # Errors
/// It could not start; one line says why.
pub fn run(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let _ = &args.config;
    anyhow::bail!("not wired yet")
}
