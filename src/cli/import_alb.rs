//! `claimgate import-alb`: turns the rules of an AWS Application Load
//! Balancer into a config file, or says what is unsafe about them.
//!
//! [`document`] finds the listeners in any of the documents that AWS and
//! Terraform print, [`matcher`] and [`routes`] turn rules into routes that ask
//! no less, [`produce`] writes the file, and [`lint`] judges the listeners.

use std::{
    fs,
    io::{self, Read, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, bail};

mod alb;
mod aws;
mod document;
mod lint;
mod matcher;
mod node;
mod notes;
mod outcome;
mod pattern;
mod produce;
mod providers;
mod region;
mod routes;
mod terraform;
mod yaml;

use alb::Listener;

/// What `--lint` ends the program with if it found something.
const FINDINGS: u8 = 3;

/// Turn the JSON of an AWS Application Load Balancer's rules into a config
/// file.
///
/// Reads a jwt-validation action, what `aws elbv2 describe-rules` or `aws
/// elbv2 describe-listeners` prints, or `terraform show -json`. The file goes
/// to stdout, with a comment for everything that ALB did not check and
/// everything that could not be carried over. It never asks less of a request
/// than ALB did. Exits with 0, or 1 for an error; with --lint 0 if nothing is
/// unsafe and 3 otherwise.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The document; `-` reads stdin.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Print what is unsafe about the load balancer's setup instead.
    #[arg(long)]
    lint: bool,

    /// Which listener to import, where several check tokens: its port, ARN or
    /// Terraform address.
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
}

/// Prints the config file, or the findings.
///
/// # Errors
/// The document can't be read, makes no sense, or checks no tokens.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let name = args.file.display();
    let text = read(args)?;
    let listeners = document::read(&text).with_context(|| format!("{name} can't be imported"))?;
    let chosen = args.listener.as_deref();
    let mut stdout = io::stdout().lock();
    if args.lint {
        let findings = lint::findings(&called(&listeners, chosen)?);
        lint::write(&mut stdout, &findings).context("cannot write to stdout")?;
        let is_clean = findings.is_empty();
        return Ok(if is_clean { ExitCode::SUCCESS } else { ExitCode::from(FINDINGS) });
    }
    let listener = choose(&listeners, chosen)?;
    let others: Vec<_> = listeners.iter().filter(|other| !std::ptr::eq(*other, listener)).collect();
    let config =
        produce::config(listener, &others).with_context(|| format!("{name} can't be imported"))?;
    stdout.write_all(config.as_bytes()).context("cannot write to stdout")?;
    Ok(ExitCode::SUCCESS)
}

fn read(args: &Args) -> anyhow::Result<String> {
    let text = match args.file.as_os_str() == "-" {
        true => {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text).map(|_| text)
        }
        false => fs::read_to_string(&args.file),
    };
    text.with_context(|| format!("cannot read {}", args.file.display()))
}

/// The listeners that are meant.
fn called<'l>(
    listeners: &'l [Listener],
    chosen: Option<&str>,
) -> anyhow::Result<Vec<&'l Listener>> {
    let Some(name) = chosen else { return Ok(listeners.iter().collect()) };
    let called: Vec<_> = listeners.iter().filter(|listener| listener.is_called(name)).collect();
    if called.is_empty() {
        bail!("no listener is called {name:?}; there are {}", names(listeners.iter()));
    }
    Ok(called)
}

/// The one listener to import: the one that checks tokens.
fn choose<'l>(listeners: &'l [Listener], chosen: Option<&str>) -> anyhow::Result<&'l Listener> {
    let called = called(listeners, chosen)?;
    let checking: Vec<_> = called.iter().copied().filter(|listener| listener.validates()).collect();
    match checking.as_slice() {
        [] => bail!(
            "no listener checks tokens: none of {} has a jwt-validation action, so there is \
             nothing for Claimgate to take over",
            names(called.into_iter())
        ),
        [listener] => Ok(listener),
        // Claimgate sees no ports, so one file can't tell two listeners apart.
        [first, others @ ..] if others.iter().all(|other| other.rules == first.rules) => Ok(first),
        several => bail!(
            "several listeners check tokens: choose one of {} with --listener",
            names(several.iter().copied())
        ),
    }
}

fn names<'l>(listeners: impl Iterator<Item = &'l Listener>) -> String {
    let names: Vec<_> =
        listeners.map(|listener| listener.label.escape_debug().to_string()).collect();
    names.join(", ")
}
