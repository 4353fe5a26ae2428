//! The HTTP client of every request that Claimgate makes: key fetches, spans
//! for a collector, token requests.

use std::path::Path;

use claimgate_core::urls;
use reqwest::{Client, Url, redirect};

use self::tls::Need;

pub use self::error::{SetupError, root_cause};

mod error;
mod tls;

const USER_AGENT: &str = concat!("claimgate/", env!("CARGO_PKG_VERSION"));

/// Builds a client for one URL.
///
/// It names itself, trusts this system's roots, and goes nowhere but to the
/// URL it is given: redirects are left to the caller, who knows where its
/// secrets may go. The proxies of the environment (`HTTPS_PROXY`, …) are used,
/// but not for this machine: on a proxy, loopback would be the proxy itself.
#[derive(Clone, Copy, Debug)]
pub struct HttpClientBuilder<'a> {
    url: &'a Url,
    ca_file: Option<&'a Path>,
    need: Need,
    keep_idle: bool,
}

impl<'a> HttpClientBuilder<'a> {
    /// A client for `url`.
    pub fn new(url: &'a Url) -> Self {
        let need = if url.scheme() == "https" { Need::Yes } else { Need::No };
        Self { url, ca_file: None, need, keep_idle: true }
    }

    /// Trusts the roots in this PEM file, too.
    #[must_use]
    pub fn ca_file(self, ca_file: Option<&'a Path>) -> Self {
        Self { ca_file, ..self }
    }

    /// Speaks TLS even though the URL is plain http, since what is found there
    /// may lead to https.
    #[must_use]
    pub fn may_lead_to_https(self) -> Self {
        match self.need {
            Need::No => Self { need: Need::Maybe, ..self },
            Need::Maybe | Need::Yes => self,
        }
    }

    /// Closes connections instead of keeping them for the next request.
    #[must_use]
    pub fn without_idle_connections(self) -> Self {
        Self { keep_idle: false, ..self }
    }

    /// The client; it connects when it is first used.
    ///
    /// # Errors
    /// If the trust roots can't be read.
    pub fn build(self) -> Result<Client, SetupError> {
        let mut client = Client::builder()
            .user_agent(USER_AGENT)
            .redirect(redirect::Policy::none())
            .referer(false)
            .tls_backend_preconfigured(tls::client_config(self.need, self.ca_file)?);
        if !self.keep_idle {
            client = client.pool_max_idle_per_host(0);
        }
        if urls::is_loopback(self.url) {
            client = client.no_proxy();
        }
        client.build().map_err(|error| SetupError::Client(root_cause(&error)))
    }
}
