//! A development OAuth 2.0 issuer. Not for production.
//!
//! It grants client credentials (RFC 6749, section 4.4) and signs access
//! tokens shaped like Amazon Cognito's machine-to-machine ones, so that a
//! gateway can be tried, demonstrated and tested without an identity provider.
//! Its keys live in memory, its clients are named on the command line, and a
//! few endpoints (`/rotate`, `/stats`) do what no real issuer would allow.
//!
//! A request flows through [`http`] (routes and status codes), [`grant`] (what
//! the client asks for), [`client`] (whether it may), [`token`] (the claims)
//! and [`keyring`] (which key signs, and which are published).

mod client;
mod error;
mod grant;
mod http;
mod keyring;
pub use claimgate_core::keys::signing;
mod token;

pub use client::{Client, ClientError};
pub use error::IssuerError;

use std::{
    future::Future,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::net::TcpListener;

use crate::keys::Algorithm;
use keyring::Keyring;
use signing::SigningError;

/// The settings of an issuer.
#[derive(Clone, Debug)]
pub struct IssuerSettings {
    /// `host:port` to listen on; port 0 takes a free one.
    pub address: String,
    /// The `iss` of every token, without a trailing slash as a rule; `None`
    /// takes `http://` and the bound address. A path in it is served too.
    pub issuer: Option<String>,
    /// The clients that may request tokens.
    pub clients: Vec<Client>,
    /// The algorithm of the signatures.
    pub algorithm: Algorithm,
    /// Seconds from now until a token ends; negative for tokens that are
    /// expired when issued.
    pub lifetime: i64,
    /// The `aud` of tokens whose request names none; empty leaves it out.
    pub audience: Vec<String>,
    /// Takes an old key out of the key set as soon as it is replaced, instead
    /// of when the last token it signed has ended.
    pub drop_old_keys: bool,
    /// Replaces the signing key again and again; never zero.
    pub rotate_every: Option<Duration>,
}

/// A running issuer's state.
struct Issuer {
    url: String,
    settings: IssuerSettings,
    keys: Keyring,
    stats: Stats,
}

/// How often each endpoint was called; tests read it.
#[derive(Default)]
struct Stats {
    jwks_fetches: AtomicU64,
    jwks_not_modified: AtomicU64,
    discovery_fetches: AtomicU64,
    tokens_issued: AtomicU64,
    token_errors: AtomicU64,
    rotations: AtomicU64,
}

impl Stats {
    fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// An issuer that listens, but does not answer yet.
pub struct Bound {
    issuer: Arc<Issuer>,
    listener: TcpListener,
    address: SocketAddr,
}

/// Listens and makes the first signing key.
///
/// # Errors
/// The address can't be listened on, the issuer URL is invalid, or no key could
/// be made.
pub async fn bind(settings: IssuerSettings) -> Result<Bound, IssuerError> {
    let listener = TcpListener::bind(&settings.address)
        .await
        .map_err(|source| IssuerError::Listen { address: settings.address.clone(), source })?;
    let address = listener
        .local_addr()
        .map_err(|source| IssuerError::Listen { address: settings.address.clone(), source })?;
    let url = match &settings.issuer {
        Some(url) => http::check_issuer_url(url)?,
        None => format!("http://{address}"),
    };
    let keys = Keyring::new(settings.algorithm, settings.drop_old_keys)?;
    let issuer = Arc::new(Issuer { url, settings, keys, stats: Stats::default() });
    Ok(Bound { issuer, listener, address })
}

impl Bound {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The `iss` of its tokens.
    pub fn url(&self) -> &str {
        &self.issuer.url
    }

    /// Where clients request tokens.
    pub fn token_endpoint(&self) -> String {
        self.issuer.token_endpoint()
    }

    /// Where its keys are published.
    pub fn jwks_uri(&self) -> String {
        self.issuer.jwks_uri()
    }

    /// Serves until `shutdown` resolves, then finishes what is in flight.
    ///
    /// # Errors
    /// The listener failed.
    pub async fn run(
        self,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let rotation = self.issuer.settings.rotate_every.map(|period| {
            let issuer = Arc::clone(&self.issuer);
            tokio::spawn(async move { issuer.rotate_forever(period).await })
        });
        let served = axum::serve(self.listener, http::router(&self.issuer))
            .with_graceful_shutdown(shutdown)
            .await;
        if let Some(rotation) = rotation {
            rotation.abort();
        }
        served
    }
}

impl Issuer {
    fn token_endpoint(&self) -> String {
        format!("{}/oauth2/token", self.url)
    }

    fn jwks_uri(&self) -> String {
        format!("{}/.well-known/jwks.json", self.url)
    }

    /// Puts a new key in the current one's place. Making an RSA key takes a
    /// while, so it is done off the thread that answers requests.
    async fn rotate(self: &Arc<Self>) -> Result<String, SigningError> {
        let issuer = Arc::clone(self);
        let rotated = tokio::task::spawn_blocking(move || issuer.keys.rotate()).await;
        let kid = rotated.map_err(|_| SigningError)??;
        Stats::count(&self.stats.rotations);
        tracing::info!(%kid, "signing key replaced");
        Ok(kid)
    }

    async fn rotate_forever(self: &Arc<Self>, period: Duration) {
        let mut ticks = tokio::time::interval(period);
        ticks.tick().await; // the first tick is immediate
        loop {
            ticks.tick().await;
            if let Err(error) = self.rotate().await {
                tracing::warn!(%error, "signing key not replaced");
            }
        }
    }
}
