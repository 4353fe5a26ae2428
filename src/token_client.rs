//! A client that gets an access token by the client-credentials grant (RFC
//! 6749, section 4.4), and caches it.
//!
//! The same as `scripts/gateway-token-cached.sh`, in one program: the same
//! variables, and a cache file that either can read.

mod cache;
mod error;
mod request;
mod response;
mod settings;
mod token;

pub use error::TokenError;
pub use settings::{CachePlace, ClientAuth, ClientSettings};
pub use token::AccessToken;

use std::{fmt::Display, time::Duration};

use cache::{Cache, Cached};

/// Gets a token: a cached one, unless that is old or about to expire. `notice`
/// is told what the operator should know although there is a token.
///
/// # Errors
/// There is no token.
pub async fn cached_token(
    settings: &ClientSettings,
    notice: &dyn Fn(&dyn Display),
) -> Result<AccessToken, TokenError> {
    let Some(cache) = Cache::new(settings) else {
        notice(&"not cached: set GATEWAY_TOKEN_CACHE, XDG_CACHE_HOME or HOME");
        return fresh_token(settings).await;
    };
    cache.check()?;
    if let Some(Cached::Fresh(token)) = cache.read() {
        return Ok(token);
    }
    // A process that waits longer than a response can take requests its own.
    let _lock = match cache.lock(settings.timeout + Duration::from_secs(2)).await {
        Ok(lock) => lock,
        Err(token) => return Ok(token),
    };
    let stale = match cache.read() {
        Some(Cached::Fresh(token)) => return Ok(token),
        Some(Cached::Stale(token)) => Some(token),
        None => None,
    };
    match (fresh_token(settings).await, stale) {
        (Ok(token), _) => {
            if let Err(error) = cache.write(&token) {
                notice(&format!("not cached: {}: {error}", cache.file().display()));
            }
            Ok(token)
        }
        (Err(error), Some(token)) => {
            notice(&error);
            notice(&"no new token: the last one, which has not ended yet, is used");
            Ok(token)
        }
        (Err(error), None) => Err(error),
    }
}

/// Requests a new token and leaves the cache alone.
///
/// # Errors
/// There is no token.
pub async fn fresh_token(settings: &ClientSettings) -> Result<AccessToken, TokenError> {
    request::token(settings).await
}
