//! `claimgate validate`: loads a config file and reports its errors.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Context;
use tokio::runtime::Builder;

use super::args::ConfigArgs;
use crate::{app, config};

/// Check a config file as `serve` would load it, and say what is wrong.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
}

/// Prints one line to stdout and succeeds, or every error to stderr and fails.
///
/// # Errors
/// The output can't be written, or the runtime can't start.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut stderr = io::stderr().lock();
    let loaded = match config::read(&args.config.config) {
        Ok(loaded) => loaded,
        Err(errors) => {
            writeln!(stderr, "{errors}")?;
            return Ok(ExitCode::FAILURE);
        }
    };
    for warning in &loaded.warnings {
        writeln!(stderr, "warning: {warning}")?;
    }
    if let Err(errors) = loaded.check_files() {
        writeln!(stderr, "{errors}")?;
        return Ok(ExitCode::FAILURE);
    }
    // Some errors only show once everything is built, such as a private key of
    // another certificate. Logging needs stderr meanwhile.
    drop(stderr);
    let runtime =
        Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    if let Err(error) = runtime.block_on(app::dry_run(loaded.settings)) {
        writeln!(io::stderr(), "{error}")?;
        return Ok(ExitCode::FAILURE);
    }
    writeln!(io::stdout(), "{} is valid", args.config.config.display())?;
    Ok(ExitCode::SUCCESS)
}
