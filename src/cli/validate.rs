//! `claimgate validate`: loads a config file and says what is wrong with it.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use super::ConfigArgs;
use crate::config;

/// Check a config file as `serve` would load it, and say what is wrong.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
}

/// Prints one line to stdout and succeeds, or every error to stderr and fails.
pub fn run(args: &Args) -> io::Result<ExitCode> {
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
    writeln!(io::stdout(), "{} is valid", args.config.config.display())?;
    Ok(ExitCode::SUCCESS)
}
