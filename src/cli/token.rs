//! `claimgate token`: gets an access token by the client-credentials grant
//! (RFC 6749, section 4.4), and caches it.

use std::{
    env,
    fmt::Display,
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Context;
use tokio::runtime::Builder;

use crate::token_client::{AccessToken, ClientSettings, TokenError, cached_token, fresh_token};

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
#[command(after_help = "\
Examples:
  claimgate token > token
  printf 'Authorization: Bearer %s\\n' \"$(claimgate token)\" |
    curl --header @- https://gateway.example.com/v1/models")]
pub struct TokenArgs {
    /// Ask for a new token, and leave the cache alone.
    #[arg(long)]
    no_cache: bool,
}

/// Prints a token.
///
/// # Errors
/// The token can't be written, or the runtime can't start. Errors about the
/// token itself have exit codes of their own.
pub fn run(args: &TokenArgs) -> anyhow::Result<ExitCode> {
    let runtime =
        Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    let token = runtime.block_on(token(args));
    runtime.shutdown_background();
    match token {
        Ok(token) => {
            match writeln!(io::stdout(), "{}", token.text) {
                // Silent, with the code that the documentation has for it.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    return Ok(ExitCode::FAILURE);
                }
                written => written.context("cannot write to stdout")?,
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            print_notice(&error);
            Ok(ExitCode::from(exit_code(&error)))
        }
    }
}

async fn token(args: &TokenArgs) -> Result<AccessToken, TokenError> {
    let settings = ClientSettings::read(&|name| env::var_os(name))?;
    match args.no_cache {
        true => fresh_token(&settings).await,
        false => cached_token(&settings, &print_notice).await,
    }
}

/// A line for the operator. If stderr is closed there is no other place for it.
fn print_notice(text: &dyn Display) {
    let _ = writeln!(io::stderr(), "claimgate token: {text}");
}

/// The same codes as those of `scripts/get-gateway-token.sh`.
const fn exit_code(error: &TokenError) -> u8 {
    match error {
        TokenError::Variable(_) => 1,
        TokenError::Request(_) => 2,
        TokenError::Response(_) => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kinds_of_errors_have_the_exit_codes_of_the_script() {
        for (error, code) in [
            (TokenError::Variable(String::new()), 1),
            (TokenError::Request(String::new()), 2),
            (TokenError::Response(""), 3),
        ] {
            assert_eq!(exit_code(&error), code, "{error:?}");
        }
    }
}
