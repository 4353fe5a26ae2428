//! The HTTP client of every request that Claimgate makes: key fetches, spans
//! for a collector, token requests.

use std::path::Path;

use claimgate_core::urls;
use reqwest::{Client, Url, redirect};

use self::{no_proxy::NoProxy, tls::Need};

pub use self::error::{SetupError, root_cause};

mod error;
mod no_proxy;
mod pinned;
mod tls;

const USER_AGENT: &str = concat!("claimgate/", env!("CARGO_PKG_VERSION"));

/// Builds a client for one URL.
///
/// It names itself, trusts this system's roots, and goes nowhere but to the
/// URL it is given: redirects are left to the caller, who knows where its
/// secrets may go. The proxies of the environment (`HTTPS_PROXY`, …) are used
/// as [`Clients`] says.
#[derive(Clone, Copy, Debug)]
pub struct HttpClientBuilder<'a> {
    url: &'a Url,
    ca_file: Option<&'a Path>,
    need: Need,
    keep_idle: bool,
    takes_gzip: bool,
}

/// Clients with and without the proxies of the environment.
///
/// None is used for what `NO_PROXY` names, in any of the forms that are usual,
/// nor for this machine: on a proxy, loopback would be the proxy itself.
#[derive(Debug)]
pub struct Clients {
    proxied: Client,
    direct: Client,
    no_proxy: NoProxy,
}

impl Clients {
    /// The one for this URL.
    pub fn of(&self, url: &Url) -> &Client {
        if is_direct(url, &self.no_proxy) { &self.direct } else { &self.proxied }
    }
}

impl<'a> HttpClientBuilder<'a> {
    /// A client for `url`.
    pub fn new(url: &'a Url) -> Self {
        let need = if url.scheme() == "https" { Need::Yes } else { Need::No };
        Self { url, ca_file: None, need, keep_idle: true, takes_gzip: false }
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

    /// Asks for gzip, and takes it unasked. What it makes of a short body may
    /// be long, so read such a response within a limit.
    #[must_use]
    pub fn takes_gzip(self) -> Self {
        Self { takes_gzip: true, ..self }
    }

    /// The client; it connects when it is first used.
    ///
    /// # Errors
    /// If the trust roots can't be read.
    pub fn build(self) -> Result<Client, SetupError> {
        self.client(is_direct(self.url, &NoProxy::of_environment()))
    }

    /// The clients for this URL, and for those that it leads to.
    ///
    /// # Errors
    /// If the trust roots can't be read.
    pub fn build_all(self) -> Result<Clients, SetupError> {
        let no_proxy = NoProxy::of_environment();
        Ok(Clients { proxied: self.client(false)?, direct: self.client(true)?, no_proxy })
    }

    fn client(self, is_direct: bool) -> Result<Client, SetupError> {
        let mut client = Client::builder()
            .user_agent(USER_AGENT)
            .redirect(redirect::Policy::none())
            .referer(false)
            .gzip(self.takes_gzip)
            .tls_backend_preconfigured(tls::client_config(self.need, self.ca_file)?);
        if !self.keep_idle {
            client = client.pool_max_idle_per_host(0);
        }
        if is_direct {
            client = client.no_proxy();
        }
        client.build().map_err(|error| SetupError::Client(root_cause(&error)))
    }
}

fn is_direct(url: &Url, no_proxy: &NoProxy) -> bool {
    urls::is_loopback(url) || no_proxy.holds(url)
}
