//! The files that a config names: which they are, and whether they can be used.

use std::path::PathBuf;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use super::{ConfigErrors, Loaded};
use crate::{
    files,
    keys::{KeySet, KeySetError},
    settings::{KeyLocation, ProviderKind, Settings},
};

/// A file that a config names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    /// The key path that names it.
    pub key: String,
    /// Where it is; relative to the working folder if relative.
    pub path: PathBuf,
    /// What should be in it.
    pub kind: NamedFileKind,
}

/// What should be in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedFileKind {
    /// A PEM certificate chain.
    Certificates,
    /// A PEM private key.
    PrivateKey,
    /// PEM certificates to trust.
    TrustRoots,
    /// A JWK Set.
    Jwks,
    /// A bearer token.
    Token,
}

impl Loaded {
    /// Looks into every file that the config names, as `serve` will: it must
    /// be readable and hold what it is named for.
    pub fn check_files(&self) -> Result<(), ConfigErrors> {
        check_files(&self.files)
    }
}

/// The same for files without the rest of their config.
pub(crate) fn check_files(files: &[NamedFile]) -> Result<(), ConfigErrors> {
    let problem = |file: &NamedFile| {
        let error = file.problem()?;
        let path = file.path.display();
        Some(super::ConfigError { place: file.key.clone(), message: format!("`{path}` {error}") })
    };
    ConfigErrors::none_of(files.iter().filter_map(problem))
}

impl NamedFile {
    /// What is wrong with it, and never what is in it.
    fn problem(&self) -> Option<String> {
        let content = match files::read(&self.path) {
            Ok(content) => content,
            Err(error) => return Some(format!("can't be read: {error}")),
        };
        let wanted = match self.kind {
            NamedFileKind::Certificates | NamedFileKind::TrustRoots => {
                let certificates: Result<Vec<_>, _> =
                    CertificateDer::pem_slice_iter(&content).collect();
                certificates
                    .is_ok_and(|found| !found.is_empty())
                    .then_some(())
                    .ok_or("holds no PEM certificate")
            }
            NamedFileKind::PrivateKey => PrivateKeyDer::from_pem_slice(&content)
                .map(drop)
                .map_err(|_| "holds no PEM private key"),
            NamedFileKind::Jwks => return KeySet::parse(&content).err().map(unusable_keys),
            NamedFileKind::Token => str::from_utf8(&content)
                .ok()
                .filter(|token| token.trim().bytes().all(|byte| byte.is_ascii_graphic()))
                .filter(|token| !token.trim().is_empty())
                .map(drop)
                .ok_or("holds no bearer token; it must be one line of visible ASCII"),
        };
        wanted.err().map(String::from)
    }
}

/// What is wrong with a file of keys; a JWKS is public, its keys may be named.
fn unusable_keys(error: KeySetError) -> String {
    match error {
        KeySetError::NoUsableKey(_) => format!("can't be used: {error}"),
        _ => format!("holds no JWK Set; it must be a JSON object with a list `keys` ({error})"),
    }
}

impl Settings {
    /// Every file that these settings name, to be watched for changes.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        if let Some(tls) = &self.server.grpc.tls {
            files.extend([tls.cert_file.clone(), tls.key_file.clone()]);
            files.extend(tls.client_ca_file.clone());
        }
        files.extend(self.server.tracing.as_ref().and_then(|it| it.ca_file.clone()));
        for provider in &self.auth.providers {
            match &provider.kind {
                ProviderKind::ApiKey(_) => {}
                ProviderKind::OAuth2(oauth2) => {
                    if let KeyLocation::File(path) = &oauth2.keys.location {
                        files.push(path.clone());
                    }
                    files.extend(oauth2.keys.ca_file.clone());
                    files.extend(oauth2.keys.fetch_token_file.clone());
                }
                ProviderKind::Grpc(grpc) => files.extend(grpc.ca_file.clone()),
            }
        }
        files
    }
}
