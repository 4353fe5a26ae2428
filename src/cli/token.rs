//! `claimgate token`: gets an access token by the client-credentials grant
//! (RFC 6749, section 4.4), and remembers it.
//!
//! The same as `scripts/gateway-token-cached.sh`, in one program: the same
//! variables, the same exit codes, and a cache file that either can read.

use std::{
    env,
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use tokio::runtime::Builder;

use self::{
    cache::{Cache, Cached},
    error::TokenError,
    settings::ClientSettings,
};
use crate::time::UnixTime;

mod answer;
mod cache;
mod error;
mod request;
mod settings;

/// Get an access token by client credentials, and remember it.
///
/// Reads GATEWAY_CLIENT_ID, GATEWAY_CLIENT_SECRET and GATEWAY_TOKEN_ENDPOINT,
/// and, if set, GATEWAY_SCOPE, GATEWAY_AUDIENCE, GATEWAY_RESOURCE,
/// GATEWAY_CLIENT_AUTH (client_secret_basic or client_secret_post),
/// GATEWAY_CA_FILE, GATEWAY_ALLOW_HTTP, GATEWAY_TIMEOUT_SECONDS,
/// GATEWAY_MIN_VALIDITY_SECONDS and GATEWAY_TOKEN_CACHE. Prints the token on
/// stdout.
///
/// Exits with 0 for a token, 1 if a variable is missing or unusable, 2 if the
/// request failed, 3 if the answer is not JSON or has no access_token.
#[derive(Clone, Debug, clap::Args)]
pub struct TokenArgs {
    /// Ask for a new token, and leave the cache alone.
    #[arg(long)]
    no_cache: bool,
}

/// A token and when it ends, as far as that is known.
struct Token {
    text: String,
    ends: Option<UnixTime>,
}

/// Prints a token.
///
/// # Errors
/// Nothing can be written, or the operating system gives no runtime. What can
/// go wrong with the token itself has exit codes of its own.
pub fn run(args: &TokenArgs) -> anyhow::Result<ExitCode> {
    let runtime =
        Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    let token = runtime.block_on(token(args));
    runtime.shutdown_background();
    match token {
        Ok(token) => {
            writeln!(io::stdout(), "{}", token.text).context("cannot write to stdout")?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            say(&error);
            Ok(ExitCode::from(error.exit_code()))
        }
    }
}

async fn token(args: &TokenArgs) -> Result<Token, TokenError> {
    let settings = ClientSettings::read(&|name| env::var_os(name))?;
    if args.no_cache {
        return request::token(&settings).await;
    }
    let Some(cache) = Cache::new(&settings) else {
        say(&"not cached: set GATEWAY_TOKEN_CACHE, XDG_CACHE_HOME or HOME");
        return request::token(&settings).await;
    };
    cache.check()?;
    if let Some(Cached::Fresh(token)) = cache.recall() {
        return Ok(token);
    }
    // Longer than an answer can take, nobody waits: then all ask for themselves.
    let _turn = match cache.take_turn(settings.timeout + Duration::from_secs(2)).await {
        Ok(turn) => turn,
        Err(token) => return Ok(token),
    };
    let known = match cache.recall() {
        Some(Cached::Fresh(token)) => return Ok(token),
        Some(Cached::Old(token)) => Some(token),
        None => None,
    };
    match (request::token(&settings).await, known) {
        (Ok(token), _) => {
            if let Err(error) = cache.keep(&token) {
                say(&format!("not cached: {}: {error}", cache.file().display()));
            }
            Ok(token)
        }
        (Err(error), Some(token)) => {
            say(&error);
            say(&"no new token: the last one, which has not ended yet, is used");
            Ok(token)
        }
        (Err(error), None) => Err(error),
    }
}

/// A line for the person who looks after the client. If stderr is gone nobody
/// is left to tell.
fn say(text: &dyn std::fmt::Display) {
    let _ = writeln!(io::stderr(), "claimgate token: {text}");
}
