//! `claimgate man`: writes manual pages.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::CommandFactory;

use super::Cli;

/// Write manual pages into a folder, one for each command.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  claimgate man ~/.local/share/man/man1
  man claimgate-explain")]
pub struct Args {
    /// The folder; made if it is missing.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Writes the pages.
///
/// # Errors
/// The folder can't be written to.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let folder = &args.folder;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // A page about `help` for each command would say nothing.
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    clap_mangen::generate_to(command, folder)
        .with_context(|| format!("cannot write into {}", folder.display()))?;
    Ok(ExitCode::SUCCESS)
}
