//! TLS of a client: the roots it trusts.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
};

use rustls::{
    ClientConfig, RootCertStore,
    client::WebPkiServerVerifier,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, pem::PemObject},
};

use super::{
    error::SetupError,
    pinned::{Pinned, is_authority},
};

/// Whether a client speaks TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Plain http only.
    No,
    /// Plain http, from where a document may lead to https.
    Maybe,
    /// https.
    Yes,
}

/// TLS with this system's trust roots and those of `ca_file`, where a server's
/// own self-signed certificate may stand as well.
///
/// The crypto provider is named here, so it does not matter which one, if
/// any, the process has as its default. Without `ca_file` all clients share
/// one set of roots: a thousand issuers must not hold a thousand copies.
///
/// # Errors
/// If `ca_file` can't be read or holds no certificate, or if https is needed
/// and the system has no root.
pub(super) fn client_config(
    need: Need,
    ca_file: Option<&Path>,
) -> Result<ClientConfig, SetupError> {
    let Some(path) = ca_file else {
        return match need {
            Need::No => build(RootCertStore::empty()),
            Need::Yes if system_roots().is_empty() => Err(SetupError::NoRoots),
            Need::Maybe | Need::Yes => {
                static SHARED: OnceLock<Result<ClientConfig, SetupError>> = OnceLock::new();
                SHARED.get_or_init(|| build(system_roots().clone())).clone()
            }
        };
    };
    let mut roots = system_roots().clone();
    let refused = |cause| SetupError::CaFile { path: path.display().to_string(), cause };
    let listed = add_roots(&mut roots, path).map_err(refused)?;
    let mut config = build(roots.clone())?;
    let usual = match roots.is_empty() {
        true => None,
        false => {
            let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider());
            Some(verifier.build().map_err(|error| SetupError::Client(error.to_string()))?)
        }
    };
    let algorithms = provider().signature_verification_algorithms;
    let verifier = Pinned::new(usual, algorithms, &listed);
    // nosemgrep: no-unchecked-certificates -- it checks as usual, and more certificates by their bytes
    config.dangerous().set_certificate_verifier(Arc::new(verifier));
    Ok(config)
}

/// Adds the authorities among the certificates in a file, and returns all of
/// them. What is not an authority's, such as the first of a server's chain, is
/// no root: the server that has its key could vouch for any other name.
fn add_roots(
    roots: &mut RootCertStore,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = claimgate_files::read(path).map_err(|error| error.to_string())?;
    let mut listed = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| format!("it is not valid PEM ({error})"))?;
        listed.push(certificate.clone());
        let found = listed.len();
        if is_authority(&certificate) {
            roots
                .add(certificate)
                .map_err(|error| format!("certificate {found} can't be a trust root ({error})"))?;
        }
    }
    if listed.is_empty() { Err("it holds no PEM certificate".to_owned()) } else { Ok(listed) }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Read once: it takes milliseconds and a few hundred kilobytes.
fn system_roots() -> &'static RootCertStore {
    static ROOTS: OnceLock<RootCertStore> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::debug!(%error, "a trust root of this system can't be read");
        }
        roots.add_parsable_certificates(found.certs);
        roots
    })
}

fn build(roots: RootCertStore) -> Result<ClientConfig, SetupError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| SetupError::Client(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
