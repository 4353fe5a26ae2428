//! The address of a gRPC service, with the roots that its certificate must
//! chain to.

use std::{
    io,
    path::{Path, PathBuf},
};

use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Error};

/// Why a gRPC service can't be called.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The address can't be read.
    #[error(
        "{address:?} is not an address: write http://host:port, https://host:port or unix:/path"
    )]
    Address {
        /// As configured.
        address: String,
    },
    /// The trust roots can't be used.
    #[error("{} can't be read: {error}", path.display())]
    Roots {
        /// As configured.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// TLS can't be set up.
    #[error("TLS for {address:?} can't be set up: {error}")]
    Tls {
        /// As configured.
        address: String,
        /// What went wrong.
        error: Error,
    },
}

/// The gRPC service at `address`: `http://…`, `https://…` with this system's
/// trust roots and those of `ca_file`, or `unix:…`.
///
/// # Errors
/// If the address or the trust roots can't be used.
pub fn endpoint(address: &str, ca_file: Option<&Path>) -> Result<Endpoint, SetupError> {
    let is_https = address.starts_with("https:");
    let address = || address.to_owned();
    let endpoint =
        Endpoint::from_shared(address()).map_err(|_| SetupError::Address { address: address() })?;
    if !is_https {
        return Ok(endpoint);
    }
    let mut tls = ClientTlsConfig::new().with_native_roots();
    if let Some(path) = ca_file {
        let roots = claimgate_files::read(path)
            .map_err(|error| SetupError::Roots { path: path.to_owned(), error })?;
        tls = tls.ca_certificate(Certificate::from_pem(roots));
    }
    endpoint.tls_config(tls).map_err(|error| SetupError::Tls { address: address(), error })
}
