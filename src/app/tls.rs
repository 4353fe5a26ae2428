//! TLS for the gRPC listener: certificates, client certificates and the
//! names that clients may have.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig,
    SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{
        CertificateDer, PrivateKeyDer, UnixTime,
        pem::{self, PemObject},
    },
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use x509_parser::{extensions::GeneralName, prelude::*};

use crate::settings::TlsSettings;

/// Why the listener's TLS files can't be used; names the setting and the file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {}", self.key_and_reason().0, self.key_and_reason().1)]
pub enum TlsError {
    /// A file can't be read, or isn't the PEM it should be.
    File {
        /// The setting that names the file.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The private key belongs to another certificate.
    Mismatch {
        /// The private key.
        key_file: PathBuf,
        /// The certificate chain.
        cert_file: PathBuf,
    },
}

impl TlsError {
    /// The key path that names the file, and what is wrong with the file.
    pub(super) fn key_and_reason(&self) -> (String, String) {
        let (key, reason) = match self {
            Self::File { key, path, reason } => (*key, format!("{}: {reason}", path.display())),
            Self::Mismatch { key_file, cert_file } => (
                "key_file",
                format!(
                    "{} does not belong to the certificate in {}",
                    key_file.display(),
                    cert_file.display()
                ),
            ),
        };
        (format!("server.grpc.tls.{key}"), reason)
    }
}

/// Reads the files that `settings` names.
///
/// Clients speak HTTP/2 over TLS 1.2 or 1.3. With `client_ca_file` they must
/// hold a certificate of those roots, and with `allowed_client_sans` one of
/// those names; the handshake of any other client fails.
pub fn read(settings: &TlsSettings) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let chain = certificates("cert_file", &settings.cert_file)?;
    let key = content("key_file", &settings.key_file)?;
    let key = PrivateKeyDer::from_pem_slice(&key)
        .map_err(|error| file_error("key_file", &settings.key_file, "private key", &error))?;

    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(settings, &error))?;
    let builder = match client_verifier(settings, &provider)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config =
        builder.with_single_cert(chain, key).map_err(|error| unusable(settings, &error))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let fail = |error| file_error(key, path, "certificate", &error);
    let content = content(key, path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&content).collect();
    let found = found.map_err(fail)?;
    if found.is_empty() { Err(fail(pem::Error::NoItemsFound)) } else { Ok(found) }
}

fn content(key: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    claimgate_files::read(path).map_err(|error| TlsError::File {
        key,
        path: path.to_owned(),
        reason: format!("cannot be read: {error}"),
    })
}

fn file_error(key: &'static str, path: &Path, wanted: &str, error: &pem::Error) -> TlsError {
    let reason = match error {
        pem::Error::NoItemsFound => format!("holds no PEM {wanted}"),
        // The details of a broken PEM section quote the file, which may hold a key.
        _ => format!("is not a valid PEM {wanted}"),
    };
    TlsError::File { key, path: path.to_owned(), reason }
}

fn unusable(settings: &TlsSettings, error: &rustls::Error) -> TlsError {
    let TlsSettings { cert_file, key_file, .. } = settings;
    match error {
        rustls::Error::InconsistentKeys(_) => {
            TlsError::Mismatch { key_file: key_file.clone(), cert_file: cert_file.clone() }
        }
        rustls::Error::InvalidCertificate(error) => TlsError::File {
            key: "cert_file",
            path: cert_file.clone(),
            reason: format!("holds an unusable certificate: {error}"),
        },
        error => TlsError::File {
            key: "key_file",
            path: key_file.clone(),
            reason: format!("holds an unusable private key: {error}"),
        },
    }
}

fn client_verifier(
    settings: &TlsSettings,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    let Some(path) = &settings.client_ca_file else { return Ok(None) };
    let fail = |reason| TlsError::File { key: "client_ca_file", path: path.clone(), reason };
    let mut roots = RootCertStore::empty();
    for root in certificates("client_ca_file", path)? {
        roots.add(root).map_err(|error| fail(format!("holds an unusable root: {error}")))?;
    }
    let chain = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(provider))
        .build()
        .map_err(|error| fail(error.to_string()))?;
    if settings.allowed_client_sans.is_empty() {
        return Ok(Some(chain));
    }
    let allowed = settings.allowed_client_sans.clone();
    Ok(Some(Arc::new(NamedClients { chain, allowed })))
}

/// Accepts clients whose certificate is signed by the roots and has an allowed
/// name.
#[derive(Debug)]
struct NamedClients {
    chain: Arc<dyn ClientCertVerifier>,
    allowed: Vec<String>,
}

impl NamedClients {
    fn allows(&self, certificate: &CertificateDer<'_>) -> bool {
        let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return false };
        let Ok(Some(names)) = certificate.subject_alternative_name() else { return false };
        names.value.general_names.iter().any(|name| match name {
            GeneralName::DNSName(name) | GeneralName::URI(name) => {
                self.allowed.iter().any(|allowed| allowed == name)
            }
            _ => false,
        })
    }
}

impl ClientCertVerifier for NamedClients {
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.chain.verify_client_cert(end_entity, intermediates, now)?;
        if self.allows(end_entity) {
            Ok(verified)
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    struct Files {
        folder: tempfile::TempDir,
    }

    impl Files {
        fn new() -> Self {
            let files = Self { folder: tempfile::tempdir().unwrap() };
            let (certificate, key) = pair();
            files.write("cert.pem", &certificate);
            files.write("key.pem", &key);
            files
        }

        fn write(&self, name: &str, content: &str) {
            fs::write(self.folder.path().join(name), content).unwrap();
        }

        fn settings(&self) -> TlsSettings {
            TlsSettings {
                cert_file: self.folder.path().join("cert.pem"),
                key_file: self.folder.path().join("key.pem"),
                client_ca_file: None,
                allowed_client_sans: Vec::new(),
            }
        }

        fn error(&self, settings: &TlsSettings) -> String {
            read(settings).unwrap_err().to_string()
        }
    }

    fn pair() -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".into()]).unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn a_good_pair_offers_http_2() {
        let files = Files::new();
        assert_eq!(read(&files.settings()).unwrap().alpn_protocols, [b"h2"]);
    }

    #[test]
    fn a_key_of_another_certificate_is_told_apart() {
        let files = Files::new();
        files.write("key.pem", &pair().1);
        let error = files.error(&files.settings());
        assert!(error.contains("key_file") && error.contains("does not belong"), "{error}");
    }

    #[test]
    fn a_useless_file_is_named_with_its_setting() {
        let files = Files::new();
        let good = files.settings();
        let at = |name: &str| files.folder.path().join(name);
        files.write("empty.pem", "");
        files.write("broken.pem", "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n");
        let cases = [
            (TlsSettings { cert_file: at("gone.pem"), ..good.clone() }, "cert_file", "be read"),
            (TlsSettings { cert_file: at("empty.pem"), ..good.clone() }, "cert_file", "no PEM"),
            (TlsSettings { cert_file: at("broken.pem"), ..good.clone() }, "cert_file", "valid PEM"),
            (TlsSettings { cert_file: at("key.pem"), ..good.clone() }, "cert_file", "no PEM"),
            (TlsSettings { key_file: at("cert.pem"), ..good.clone() }, "key_file", "private key"),
            (
                TlsSettings { client_ca_file: Some(at("empty.pem")), ..good.clone() },
                "client_ca_file",
                "no PEM",
            ),
        ];
        for (settings, key, reason) in cases {
            let error = files.error(&settings);
            assert!(error.starts_with(&format!("server.grpc.tls.{key}: ")), "{error}");
            assert!(error.contains(reason), "{error}");
        }
    }
}
