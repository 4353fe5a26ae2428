//! The command line: arguments in, an exit code out.
//!
//! Results go to stdout, logs and errors to stderr.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub mod args;
pub mod explain;
pub mod hash_key;
pub mod health;
pub mod import_alb;
pub mod issuer;
pub mod schema;
pub mod serve;
pub mod test;
pub mod token;
pub mod validate;

/// Checks bearer tokens for Envoy's external authorization.
#[derive(Debug, Parser)]
#[command(name = "claimgate", version, arg_required_else_help = true)]
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
    Health(health::Args),
    ImportAlb(import_alb::Args),
    Schema(schema::Args),
    Issuer(issuer::IssuerArgs),
    Token(token::TokenArgs),
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
            Command::Health(args) => health::run(&args),
            Command::ImportAlb(args) => import_alb::run(&args),
            Command::Schema(args) => Ok(schema::run(&args)?),
            Command::Issuer(args) => issuer::run(&args),
            Command::Token(args) => token::run(&args),
        }
    }
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
