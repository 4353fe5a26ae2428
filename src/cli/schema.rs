//! `claimgate schema`: prints the JSON Schema of the config file.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use crate::config;

/// Prints the JSON Schema of the config file.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Prints the schema to stdout.
pub fn run(_: &Args) -> io::Result<ExitCode> {
    writeln!(io::stdout(), "{:#}", config::schema())?;
    Ok(ExitCode::SUCCESS)
}
