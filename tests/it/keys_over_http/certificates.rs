//! Servers whose certificate no authority has issued.

use std::{fs, path::Path};

use claimgate::settings::KeySourceSettings;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};

use super::{
    Opened, at,
    server::{Server, jwks, status},
};
use crate::support::authority::{Authority, dns};

/// A certificate as `openssl req -x509 -newkey … -addext subjectAltName=…`
/// makes it, with some changes.
struct SelfSigned {
    params: CertificateParams,
    key: KeyPair,
    certificate: rcgen::Certificate,
}

impl SelfSigned {
    fn new(change: impl FnOnce(&mut CertificateParams)) -> Self {
        Self::by(KeyPair::generate().unwrap(), change)
    }

    fn by(key: KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.use_authority_key_identifier_extension = true;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "localhost");
        params.subject_alt_names = vec![dns("localhost")];
        change(&mut params);
        let certificate = params.self_signed(&key).unwrap();
        Self { params, key, certificate }
    }

    async fn serve(&self) -> Server {
        let chain = vec![self.certificate.der().clone()];
        let key = KeyPair::try_from(self.key.serialize_der()).unwrap();
        Server::with_certificate(chain, key, |_| status(200, jwks(&["a"]))).await
    }
}

async fn fetch(server: &Server, ca_file: &Path) -> Result<(), String> {
    let settings =
        KeySourceSettings { ca_file: Some(ca_file.to_owned()), ..at(server.url("/jwks")) };
    let opened = Opened::first(&settings).await;
    match opened.kids().as_slice() {
        [key] if key == "a" => Ok(()),
        _ => Err(opened.last_error()),
    }
}

#[tokio::test]
async fn a_self_signed_certificate_that_is_listed_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let listed = folder.path().join("ca.pem");
    let usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign];
    let cases: [(&str, SelfSigned); 4] = [
        ("as openssl makes it", SelfSigned::new(|_| {})),
        (
            "for servers",
            SelfSigned::new(|params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            }),
        ),
        ("with key usages", SelfSigned::new(|params| params.key_usages = usages)),
        ("as no authority", SelfSigned::new(|params| params.is_ca = IsCa::NoCa)),
    ];
    for (what, own) in cases {
        let server = own.serve().await;
        fs::write(&listed, own.certificate.pem()).unwrap();
        assert_eq!(fetch(&server, &listed).await, Ok(()), "{what}");
        // Among others, too.
        fs::write(&listed, Authority::new().pem() + &own.certificate.pem()).unwrap();
        assert_eq!(fetch(&server, &listed).await, Ok(()), "{what}");
    }
}

#[tokio::test]
async fn no_other_certificate_is_accepted_and_the_error_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let listed = folder.path().join("ca.pem");
    let unlisted = "it is marked as an authority's (CA:TRUE), as openssl req -x509 makes them; to \
                    trust it anyway, list this very certificate in ca_file";
    let server = SelfSigned::new(|_| {}).serve().await;
    fs::write(&listed, Authority::new().pem()).unwrap();
    let error = fetch(&server, &listed).await.unwrap_err();
    assert!(error.contains(unlisted), "{error}");

    // One of the same name and key that was made again is another one.
    let first = SelfSigned::new(|_| {});
    let key = KeyPair::try_from(first.key.serialize_der()).unwrap();
    let again = SelfSigned::by(key, |params| params.serial_number = Some(7.into()));
    fs::write(&listed, first.certificate.pem()).unwrap();
    let error = fetch(&again.serve().await, &listed).await.unwrap_err();
    assert!(error.contains(unlisted), "{error}");

    // What is listed counts for its names, its time and its purpose only.
    let cases: [(SelfSigned, &str); 6] = [
        (
            SelfSigned::new(|params| params.subject_alt_names = vec![dns("idp.example.com")]),
            "it is not for localhost, but for DnsName(\"idp.example.com\")",
        ),
        (
            SelfSigned::new(|params| {
                params.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into())];
            }),
            "it is not for localhost, but for",
        ),
        (
            SelfSigned::new(|params| params.subject_alt_names = Vec::new()),
            "it names no host in subjectAltName, and a common name (CN) does not count",
        ),
        (
            SelfSigned::new(|params| params.not_after = date_time_ymd(2020, 1, 2)),
            "it expired at 2020-01-02T00:00:00Z",
        ),
        (
            SelfSigned::new(|params| params.not_before = date_time_ymd(2200, 1, 2)),
            "it is not valid before 2200-01-02T00:00:00Z",
        ),
        (
            SelfSigned::new(|params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            }),
            "it is not for servers (extendedKeyUsage)",
        ),
    ];
    for (own, message) in cases {
        fs::write(&listed, own.certificate.pem()).unwrap();
        let error = fetch(&own.serve().await, &listed).await.unwrap_err();
        assert!(error.contains(&format!("invalid peer certificate: {message}")), "{error}");
    }
}

/// A certificate of an authority is trusted for the authority's sake, so the
/// authority has to be listed.
#[tokio::test]
async fn an_issued_certificate_is_not_trusted_by_being_listed() {
    let folder = tempfile::tempdir().unwrap();
    let listed = folder.path().join("ca.pem");
    let authority = Authority::new();
    let (leaf, key) = authority.issue(dns("localhost"));
    fs::write(&listed, leaf.pem()).unwrap();
    let server =
        Server::with_certificate(vec![leaf.der().clone()], key, |_| status(200, jwks(&["a"])))
            .await;
    let error = fetch(&server, &listed).await.unwrap_err();
    assert!(error.contains("its issuer is not trusted; to trust it, list its"), "{error}");
    fs::write(&listed, authority.pem()).unwrap();
    assert_eq!(fetch(&server, &listed).await, Ok(()));
}

/// A listed certificate vouches for others only if it is an authority's.
#[tokio::test]
async fn a_listed_certificate_of_a_server_vouches_for_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let listed = folder.path().join("ca.pem");
    let usages = |usages: &'static [KeyUsagePurpose]| {
        move |params: &mut CertificateParams| params.key_usages = usages.into()
    };
    // Whether the holder of the certificate may vouch for others.
    let cases: [(&str, SelfSigned, bool); 5] = [
        ("CA:TRUE", SelfSigned::new(|_| {}), true),
        ("CA:TRUE, keyCertSign", SelfSigned::new(usages(&[KeyUsagePurpose::KeyCertSign])), true),
        (
            "CA:TRUE, without keyCertSign",
            SelfSigned::new(usages(&[KeyUsagePurpose::DigitalSignature])),
            false,
        ),
        ("CA:FALSE", SelfSigned::new(|params| params.is_ca = IsCa::ExplicitNoCa), false),
        ("no basicConstraints", SelfSigned::new(|params| params.is_ca = IsCa::NoCa), false),
    ];
    for (what, own, vouches) in cases {
        fs::write(&listed, own.certificate.pem()).unwrap();
        assert_eq!(fetch(&own.serve().await, &listed).await, Ok(()), "{what}: itself");

        // Another server, with a certificate that this one's key has signed.
        let (der, pem) = (own.certificate.der().clone(), own.certificate.pem());
        let issuer = Issuer::from_params(&own.params, &own.key);
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "another");
        params.subject_alt_names = vec![dns("localhost")];
        let certificate = params.signed_by(&key, &issuer).unwrap();
        let chain = vec![certificate.der().clone(), der.clone()];
        let other = Server::with_certificate(chain, key, |_| status(200, jwks(&["a"]))).await;
        let fetched = fetch(&other, &listed).await;
        assert_eq!(fetched.is_ok(), vouches, "{what}: {fetched:?}");
        // Nor with an authority beside it in the file.
        fs::write(&listed, Authority::new().pem() + &pem).unwrap();
        let fetched = fetch(&other, &listed).await;
        assert_eq!(fetched.is_ok(), vouches, "{what}: {fetched:?}");
    }
}

/// The first certificate of a chain may stand in the file as well.
#[tokio::test]
async fn a_whole_chain_may_be_listed() {
    let folder = tempfile::tempdir().unwrap();
    let listed = folder.path().join("ca.pem");
    let authority = Authority::new();
    let (leaf, key) = authority.issue(dns("localhost"));
    fs::write(&listed, leaf.pem() + &authority.pem()).unwrap();
    let chain = vec![leaf.der().clone()];
    let server = Server::with_certificate(chain, key, |_| status(200, jwks(&["a"]))).await;
    assert_eq!(fetch(&server, &listed).await, Ok(()));
}

#[tokio::test]
async fn the_holder_of_a_listed_certificate_must_prove_to_have_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let listed = folder.path().join("ca.pem");
    let own = SelfSigned::new(|_| {});
    fs::write(&listed, own.certificate.pem()).unwrap();
    let thief = KeyPair::generate().unwrap();
    let chain = vec![own.certificate.der().clone()];
    let server = Server::with_wrong_key(chain, thief, |_| status(200, jwks(&["evil"]))).await;
    let error = fetch(&server, &listed).await.unwrap_err();
    assert!(error.contains("BadSignature"), "{error}");
}
