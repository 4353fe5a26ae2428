//! `claimgate health`: asks a running service whether it is ready or alive.
//!
//! For container health checks in an image that has neither shell nor curl.

use std::{
    io::{self, Write},
    net::IpAddr,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail};
use reqwest::{Client, StatusCode};
use tokio::runtime::Builder;

use super::args::ConfigArgs;
use crate::config;

/// Longer responses are cut.
const LONGEST: usize = 4096;

/// Ask a running service, on its admin port, whether it is ready.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  claimgate health --config gateway.yaml
  claimgate health --address 127.0.0.1:9003 --live")]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,

    /// The admin port as `host:port`, instead of the config file's.
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,

    /// Ask whether it runs, not whether it is ready.
    #[arg(long)]
    live: bool,

    /// How long the answer may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..))]
    timeout_seconds: u64,
}

/// Prints one line if the service is ready, or alive.
///
/// # Errors
/// The service is not ready, does not answer, or the config file's `server` block
/// has no usable address.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let address = match &args.address {
        Some(address) => address.clone(),
        None => config::admin_address(&args.config.config)?,
    };
    let (page, state) = if args.live { ("livez", "alive") } else { ("readyz", "ready") };
    let url = format!("http://{}/{page}", reachable(&address));
    let limit = Duration::from_secs(args.timeout_seconds);
    let runtime =
        Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    let (status, text) = runtime.block_on(ask(&url, limit))?;
    if status != StatusCode::OK {
        bail!(
            "not {state}: {url} answered {}: {}",
            status.as_u16(),
            text.trim().replace('\n', "; ")
        );
    }
    writeln!(io::stdout(), "{state}")?;
    Ok(ExitCode::SUCCESS)
}

/// The status and text of the response.
async fn ask(url: &str, limit: Duration) -> anyhow::Result<(StatusCode, String)> {
    // No TLS is spoken here, so no root certificates are read.
    let client = Client::builder().no_proxy().timeout(limit).tls_certs_only([]).build()?;
    // The errors say the URL, too; once is enough.
    let once = reqwest::Error::without_url;
    let response = client.get(url).send().await.map_err(once);
    let response = response.with_context(|| format!("no answer from {url}"))?;
    let status = response.status();
    let text = response.text().await.map_err(once);
    let mut text = text.with_context(|| format!("{url} stopped in mid-answer"))?;
    text.truncate(text.floor_char_boundary(LONGEST));
    Ok((status, text))
}

/// The address to connect to for a service that listens on `address`: loopback
/// if it listens on every interface.
fn reachable(address: &str) -> String {
    let Some((host, port)) = address.rsplit_once(':') else { return address.to_owned() };
    match host.trim_start_matches('[').trim_end_matches(']').parse() {
        Ok(IpAddr::V4(ip)) if ip.is_unspecified() => format!("127.0.0.1:{port}"),
        Ok(IpAddr::V6(ip)) if ip.is_unspecified() => format!("[::1]:{port}"),
        _ => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everywhere_is_asked_on_the_loopback() {
        for (address, reached) in [
            ("0.0.0.0:9003", "127.0.0.1:9003"),
            ("[::]:9003", "[::1]:9003"),
            ("10.0.0.7:9003", "10.0.0.7:9003"),
            ("[fd00::1]:80", "[fd00::1]:80"),
            ("admin.internal:9003", "admin.internal:9003"),
        ] {
            assert_eq!(reachable(address), reached);
        }
    }
}
