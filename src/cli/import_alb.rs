//! `claimgate import-alb`: turns the rules of an AWS Application Load
//! Balancer into a config file, or lists what is unsafe about them.

use std::{
    fs,
    io::{self, Read, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context;

use crate::import_alb::{LoadBalancer, write_findings};

/// The exit status of `--lint` if there are findings.
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
#[command(after_help = "\
Examples:
  aws elbv2 describe-rules --listener-arn ARN > rules.json
  claimgate import-alb rules.json > gateway.yaml
  claimgate import-alb --lint rules.json")]
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
/// The document can't be read or imported, or checks no tokens.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let name = args.file.display();
    let text = read(args)?;
    let load_balancer =
        LoadBalancer::read(&text).with_context(|| format!("{name} can't be imported"))?;
    let chosen = args.listener.as_deref();
    let mut stdout = io::stdout().lock();
    if args.lint {
        let findings = load_balancer.findings(chosen)?;
        write_findings(&mut stdout, &findings).context("cannot write to stdout")?;
        let is_clean = findings.is_empty();
        return Ok(if is_clean { ExitCode::SUCCESS } else { ExitCode::from(FINDINGS) });
    }
    let config = load_balancer
        .config(load_balancer.listener(chosen)?)
        .with_context(|| format!("{name} can't be imported"))?;
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
