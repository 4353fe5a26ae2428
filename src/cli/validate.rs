//! `claimgate validate`: loads a config file and reports its errors.

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::Context;
use tokio::runtime::Builder;

use super::args::NamedConfigArgs;
use crate::{
    app,
    config::{self, ConfigErrors, Loaded},
};

mod summary;

use summary::Summary;

/// Check a config file as `serve` would load it, and say what is wrong.
///
/// Prints what it read and exits with 0, or prints every error, each with
/// file, line, column and key path, and exits with 1.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: NamedConfigArgs,

    /// Count warnings as errors.
    #[arg(long)]
    strict: bool,
}

/// Prints a summary to stdout and succeeds, or every error to stderr and fails.
///
/// # Errors
/// The output can't be written, or the runtime can't start.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let path = args.config.path();
    let loaded = match read(&path) {
        Ok(loaded) => loaded,
        Err(errors) => {
            writeln!(io::stderr(), "{errors}")?;
            return Ok(ExitCode::FAILURE);
        }
    };
    let label = if args.strict { "" } else { "warning: " };
    let mut stderr = io::stderr().lock();
    for warning in &loaded.warnings {
        writeln!(stderr, "{label}{warning}")?;
    }
    // Some errors only show once everything is built, such as a private key of
    // another certificate. Logging needs stderr meanwhile.
    drop(stderr);
    let runtime =
        Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    if let Err(error) = runtime.block_on(app::dry_run(&loaded)) {
        writeln!(io::stderr(), "{error}")?;
        return Ok(ExitCode::FAILURE);
    }
    if args.strict && !loaded.warnings.is_empty() {
        return Ok(ExitCode::FAILURE);
    }
    writeln!(io::stdout(), "{} is valid\n{}", path.display(), Summary(&loaded.settings))?;
    Ok(ExitCode::SUCCESS)
}

/// A config file whose own errors and those of the files it names are all
/// told at once.
fn read(path: &Path) -> Result<Loaded, ConfigErrors> {
    let loaded = config::read(path).map_err(ConfigErrors::with_those_of_files)?;
    loaded.check_files()?;
    Ok(loaded)
}
