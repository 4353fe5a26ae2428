//! `claimgate serve`: runs the service.

use std::process::ExitCode;

use anyhow::Context;
use tokio::{runtime::Builder, sync::mpsc};

use super::args::ConfigArgs;
use crate::app::{App, Ended, signals::Signals};

/// The exit status of a program killed by SIGTERM, as shells report it.
const INTERRUPTED: u8 = 143;

/// Run the service.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  claimgate serve --config gateway.yaml
  RUST_LOG=info,claimgate::check=debug claimgate serve   # logs allowed requests")]
pub struct ServeArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

/// Runs the service until a signal stops it.
///
/// # Errors
/// It could not start; one line says why.
pub fn run(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let runtime =
        Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    let ended = runtime.block_on(async {
        let (sender, commands) = mpsc::channel(8);
        let signals = Signals::install().context("cannot install signal handlers")?;
        tokio::spawn(signals.forward(sender));
        let app = App::build(&args.config.config).await?;
        Ok::<_, anyhow::Error>(app.run(commands).await)
    })?;
    // A DNS look-up may still block one of its threads.
    runtime.shutdown_background();
    Ok(match ended {
        Ended::Drained(_) => ExitCode::SUCCESS,
        Ended::Interrupted => ExitCode::from(INTERRUPTED),
    })
}
