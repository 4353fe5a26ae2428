//! Server certificates that the operator lists themselves.
//!
//! `openssl req -x509` marks the certificate that it makes as one of an
//! authority, and no server may show such a one as its own (RFC 5280, section
//! 4.2.1.9). Yet one that is named in `ca_file`, byte for byte, is known better
//! than any that an authority vouches for: all that a chain would tell is told.
//! Its name, its time and its purpose are still looked at, and the server still
//! proves that it has the key.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, Error, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, SignatureVerificationAlgorithm, UnixTime},
    server::ParsedCertificate,
};
use x509_parser::{
    certificate::X509Certificate,
    prelude::{ExtendedKeyUsage, FromDer as _},
    x509::X509Version,
};

/// Verifies a server as usual, or knows its certificate.
#[derive(Debug)]
pub(super) struct Pinned {
    /// `None` if there is no root.
    usual: Option<Arc<WebPkiServerVerifier>>,
    algorithms: WebPkiSupportedAlgorithms,
    certificates: Vec<CertificateDer<'static>>,
}

impl Pinned {
    /// Those of `listed` that are self-signed are known.
    pub(super) fn new(
        usual: Option<Arc<WebPkiServerVerifier>>,
        algorithms: WebPkiSupportedAlgorithms,
        listed: &[CertificateDer<'static>],
    ) -> Self {
        let known = listed.iter().filter(|certificate| is_self_signed(certificate, &algorithms));
        Self { certificates: known.cloned().collect(), usual, algorithms }
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let usual = match &self.usual {
            Some(usual) => {
                usual.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
            None => Err(CertificateError::UnknownIssuer.into()),
        };
        if usual.is_err() && self.certificates.contains(end_entity) {
            verify_known(end_entity, server_name, now)?;
            return Ok(ServerCertVerified::assertion());
        }
        usual
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Whether the certificate is an authority's, so that it may vouch for others
/// (RFC 5280, sections 4.2.1.3 and 4.2.1.9): it says so, and no key usage
/// forbids it. Those before version 3 can't say it; being listed does.
///
/// One that can't be read here is left to what makes a root of it.
pub(super) fn is_authority(certificate: &CertificateDer<'_>) -> bool {
    let Ok((_, read)) = X509Certificate::from_der(certificate) else { return true };
    if read.version() != X509Version::V3 {
        return true;
    }
    let is_marked =
        matches!(read.basic_constraints(), Ok(Some(constraints)) if constraints.value.ca);
    let may_sign = match read.key_usage() {
        Ok(usage) => usage.is_none_or(|usage| usage.value.key_cert_sign()),
        Err(_) => false,
    };
    is_marked && may_sign
}

/// Whether the certificate is signed with its own key: whatever the name in it,
/// another may be vouched for by an authority, and then that is to be listed.
fn is_self_signed(
    certificate: &CertificateDer<'_>,
    algorithms: &WebPkiSupportedAlgorithms,
) -> bool {
    let Ok((_, read)) = X509Certificate::from_der(certificate) else { return false };
    let key = read.public_key().subject_public_key.data.as_ref();
    let (signed, signature) = (read.tbs_certificate.as_ref(), read.signature_value.data.as_ref());
    // An algorithm that is not the signature's does not verify it.
    let verifies = |algorithm: &&dyn SignatureVerificationAlgorithm| {
        algorithm.verify_signature(key, signed, signature).is_ok()
    };
    read.subject() == read.issuer() && algorithms.all.iter().any(verifies)
}

/// All that a chain of certificates would not tell.
fn verify_known(
    certificate: &CertificateDer<'_>,
    server_name: &ServerName<'_>,
    now: UnixTime,
) -> Result<(), Error> {
    let (_, read) =
        X509Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let moment = |seconds: i64| {
        let seconds = u64::try_from(seconds).unwrap_or_default();
        UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds))
    };
    let not_before = moment(read.validity().not_before.timestamp());
    let not_after = moment(read.validity().not_after.timestamp());
    if now < not_before {
        return Err(CertificateError::NotValidYetContext { time: now, not_before }.into());
    }
    if now > not_after {
        return Err(CertificateError::ExpiredContext { time: now, not_after }.into());
    }
    let usage = read.extended_key_usage().map_err(|_| CertificateError::BadEncoding)?;
    let serves = |usage: &ExtendedKeyUsage<'_>| usage.any || usage.server_auth;
    if usage.is_some_and(|usage| !serves(usage.value)) {
        return Err(CertificateError::InvalidPurpose.into());
    }
    verify_server_name(&ParsedCertificate::try_from(certificate)?, server_name)
}
