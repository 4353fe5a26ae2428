//! The command line: arguments in, an exit code out.
//!
//! Results go to stdout, logs and errors to stderr.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use crate::build;

pub mod args;
pub mod completions;
pub mod explain;
pub mod hash_key;
pub mod health;
pub mod import_alb;
pub mod issuer;
pub mod man;
pub mod new_key;
mod paint;
pub mod schema;
pub mod serve;
pub mod test;
pub mod token;
pub mod validate;
mod waiting;

/// Checks bearer tokens for Envoy's external authorization.
#[derive(Debug, Parser)]
#[command(
    name = "claimgate",
    version = build::DESCRIPTION,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = "\
Examples:
  claimgate validate --config gateway.yaml
  claimgate serve --config gateway.yaml
  claimgate explain --config gateway.yaml --path /v1/models --token-file token"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::ServeArgs),
    Validate(validate::Args),
    Explain(explain::ExplainArgs),
    Test(test::TestArgs),
    HashKey(hash_key::Args),
    NewKey(new_key::Args),
    Health(health::Args),
    ImportAlb(import_alb::Args),
    Schema(schema::Args),
    Issuer(issuer::IssuerArgs),
    Token(token::TokenArgs),
    Completions(completions::Args),
    Man(man::Args),
}

impl Cli {
    /// Runs the command that the arguments name.
    ///
    /// # Errors
    /// The command failed; the error says why and what to do about it.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Serve(args) => serve::run(&args),
            Command::Validate(args) => validate::run(&args),
            Command::Explain(args) => explain::run(args),
            Command::Test(args) => test::run(&args),
            Command::HashKey(args) => Ok(hash_key::run(&args)?),
            Command::NewKey(args) => new_key::run(&args),
            Command::Health(args) => health::run(&args),
            Command::ImportAlb(args) => import_alb::run(&args),
            Command::Schema(args) => Ok(schema::run(&args)?),
            Command::Issuer(args) => issuer::run(&args),
            Command::Token(args) => token::run(&args),
            Command::Completions(args) => Ok(completions::run(&args)?),
            Command::Man(args) => man::run(&args),
        }
    }

    /// What is logged unless `RUST_LOG` says otherwise: of a command that
    /// prints a result only warnings, and nothing between the lines of one that
    /// people read on a terminal.
    pub fn default_log(&self) -> Log {
        match &self.command {
            Command::Serve(_) | Command::Issuer(_) => Log::Everything,
            Command::Explain(_) if io::stderr().is_terminal() => Log::Nothing,
            _ => Log::Warnings,
        }
    }

    /// Tells an error: a service in its log, the other commands as plain text.
    /// Silent if the output is a closed pipe, for there is no reader.
    pub fn failed(log: Log, error: &anyhow::Error) -> ExitCode {
        if is_closed_pipe(error) {
            return ExitCode::from(CLOSED_PIPE);
        }
        match log {
            Log::Everything => tracing::error!("{}", one_line(error)),
            Log::Warnings | Log::Nothing => {
                let mut stderr = anstream::stderr();
                let red = anstyle::AnsiColor::Red.on_default().bold();
                // There is no way to report that this can't be printed.
                let _ = writeln!(stderr, "{red}error:{red:#} {}", one_line(error));
            }
        }
        ExitCode::FAILURE
    }
}

/// How much a command logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Log {
    /// As services do.
    Everything,
    /// Warnings and errors.
    Warnings,
    /// Nothing.
    Nothing,
}

impl Log {
    /// The filter, as `RUST_LOG` has it.
    pub const fn filter(self) -> &'static str {
        match self {
            Self::Everything => "info",
            Self::Warnings => "warn",
            Self::Nothing => "off",
        }
    }
}

/// The exit status of a program killed by SIGPIPE, as shells report it.
const CLOSED_PIPE: u8 = 141;

/// Whether the reader of the output has gone.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|it| it.kind() == io::ErrorKind::BrokenPipe)
    })
}

/// An error and its causes on one line. A cause that its error quotes already is
/// left out.
pub fn one_line(error: &anyhow::Error) -> String {
    let mut line = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use anyhow::Context;
    use clap::CommandFactory;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer: {0}")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn no_cause_is_repeated() {
        let error = anyhow::Error::from(Outer(std::io::Error::other("inner")));
        assert_eq!(one_line(&error), "outer: inner");
        let error = anyhow::Error::from(std::io::Error::other("inner")).context("outer");
        assert_eq!(one_line(&error), "outer: inner");
        let error = Err::<(), _>(Outer(std::io::Error::other("inner"))).context("start");
        assert_eq!(one_line(&error.unwrap_err()), "start: outer: inner");
    }

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}
