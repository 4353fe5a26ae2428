//! `claimgate schema`: prints the JSON Schema of the config file.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use crate::config;

/// Print the JSON Schema of the config file.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  claimgate schema > claimgate.schema.json")]
pub struct Args {}

/// Prints the schema to stdout.
pub fn run(_: &Args) -> io::Result<ExitCode> {
    writeln!(io::stdout(), "{:#}", config::schema())?;
    Ok(ExitCode::SUCCESS)
}
