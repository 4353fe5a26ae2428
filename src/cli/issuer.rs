//! `claimgate issuer`: runs the development issuer.

use std::{io::Write, net::SocketAddr, process::ExitCode, time::Duration};

use anyhow::Context;
use serde_json::json;

use crate::{
    issuer::{self, Client, IssuerSettings},
    keys::Algorithm,
};

/// The client that is registered when none is named.
const DEMO_CLIENT: &str =
    "demo:demo-secret:https://gateway.internal/invoke https://gateway.internal/admin";

/// Run a development OAuth 2.0 issuer. Not for production.
///
/// Grants client credentials at /oauth2/token and publishes its keys at
/// /.well-known/jwks.json. Prints one JSON line with its URLs on stdout when
/// it listens. POST /rotate replaces the signing key; GET /stats counts
/// requests. A token request may ask for its own `lifetime` (seconds, also
/// negative), `resource` and `audience`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  claimgate issuer
  claimgate issuer --address 127.0.0.1:0 --client 'app:secret:read write'")]
pub struct IssuerArgs {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9010")]
    pub address: String,

    /// The `iss` of every token [default: http://ADDRESS].
    #[arg(long, value_name = "URL")]
    pub issuer: Option<String>,

    /// A client and the scopes it may ask for; repeatable [default: demo with
    /// the secret demo-secret and the scopes https://gateway.internal/invoke
    /// and https://gateway.internal/admin].
    #[arg(long = "client", value_name = "ID:SECRET[:SCOPE SCOPE…]")]
    pub clients: Vec<Client>,

    /// What tokens are signed with: RS256, RS384, RS512, PS256, PS384, PS512,
    /// ES256, ES384, ES512 or EdDSA.
    #[arg(long, default_value = "RS256")]
    pub algorithm: Algorithm,

    /// How long tokens live; negative for tokens that are expired when issued.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, allow_negative_numbers = true,
          value_parser = clap::value_parser!(i64).range(-315_360_000..=315_360_000))]
    pub lifetime: i64,

    /// The `aud` of tokens whose request names none; repeatable.
    #[arg(long)]
    pub audience: Vec<String>,

    /// Replace the signing key again and again.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub rotate_every: Option<u64>,

    /// Withdraw an old key at once, not when the tokens it signed have ended.
    #[arg(long)]
    pub drop_old_keys: bool,
}

/// Serves until SIGINT or SIGTERM.
///
/// # Errors
/// The issuer can't start, or its listener fails.
pub fn run(args: &IssuerArgs) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("can't start the runtime")?
        .block_on(serve(args))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(args: &IssuerArgs) -> anyhow::Result<()> {
    let bound = issuer::bind(settings(args)?).await?;
    tracing::warn!(
        issuer = bound.url(),
        address = %bound.address(),
        "development issuer: not for production"
    );
    warn_if_reachable(bound.address());
    let line = json!({
        "issuer": bound.url(),
        "address": bound.address().to_string(),
        "token_endpoint": bound.token_endpoint(),
        "jwks_uri": bound.jwks_uri(),
    });
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).context("can't write to stdout")?;
    drop(stdout);
    bound.run(terminated()?).await.context("the listener failed")
}

fn settings(args: &IssuerArgs) -> anyhow::Result<IssuerSettings> {
    let mut clients = args.clients.clone();
    if clients.is_empty() {
        let demo: Client = DEMO_CLIENT.parse()?;
        tracing::warn!(
            client = demo.id,
            "no --client given: serving the demo client whose secret is public: --help prints it"
        );
        clients.push(demo);
    }
    Ok(IssuerSettings {
        address: args.address.clone(),
        issuer: args.issuer.clone(),
        clients,
        algorithm: args.algorithm,
        lifetime: args.lifetime,
        audience: args.audience.clone(),
        drop_old_keys: args.drop_old_keys,
        rotate_every: args.rotate_every.map(Duration::from_secs),
    })
}

fn warn_if_reachable(address: SocketAddr) {
    if !address.ip().is_loopback() {
        tracing::warn!(%address, "other machines can get tokens and rotate keys here");
    }
}

/// Resolves at SIGINT or SIGTERM. The handlers are in place when this returns.
fn terminated() -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt()).context("can't listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("can't listen for SIGTERM")?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        issuer: IssuerArgs,
    }

    fn parse(arguments: &[&str]) -> Result<IssuerArgs, clap::Error> {
        Program::try_parse_from([&["issuer"], arguments].concat()).map(|program| program.issuer)
    }

    #[test]
    fn without_clients_there_is_the_demo_client() {
        let settings = settings(&parse(&[]).unwrap()).unwrap();
        assert_eq!(settings.address, "127.0.0.1:9010");
        assert_eq!(settings.clients[0].id, "demo");
        assert_eq!(settings.clients[0].scopes.len(), 2);
    }

    #[test]
    fn options_are_read() {
        let arguments = [
            "--client=a:b:read",
            "--client=c:d",
            "--algorithm=ES512",
            "--lifetime",
            "-60",
            "--rotate-every=5",
            "--audience=x",
            "--drop-old-keys",
        ];
        let settings = settings(&parse(&arguments).unwrap()).unwrap();
        assert_eq!(settings.clients.len(), 2);
        assert_eq!(settings.algorithm, Algorithm::Es512);
        assert_eq!(settings.lifetime, -60);
        assert_eq!(settings.rotate_every, Some(Duration::from_secs(5)));
        assert_eq!(settings.audience, ["x"]);
        assert!(settings.drop_old_keys);
    }

    #[test]
    fn impossible_options_are_refused() {
        for bad in ["--algorithm=HS256", "--algorithm=none", "--rotate-every=0", "--client=a"] {
            assert!(parse(&[bad]).is_err(), "{bad}");
        }
    }
}
