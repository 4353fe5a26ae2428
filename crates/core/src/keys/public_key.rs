//! Public keys in the form that verifies.

use std::sync::OnceLock;

use aws_lc_rs::signature::{
    self, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents, VerificationAlgorithm,
};

use super::{algorithm::Algorithm, unusable::Unusable};

/// A public key and the algorithms that it may verify.
pub(super) enum PublicKey {
    /// Any of the six RSA algorithms, or the one that its JWK names.
    Rsa(Box<RsaKey>),
    /// The one algorithm of its curve.
    Curve { curve: Curve, key: ParsedPublicKey },
}

impl PublicKey {
    /// A key of `curve` in its usual encoding: an uncompressed point, or the
    /// 32 bytes of an Ed25519 key.
    pub(super) fn on_curve(curve: Curve, encoded: Vec<u8>) -> Result<Self, Unusable> {
        let key = ParsedPublicKey::new(curve.verification(), encoded)
            .map_err(|_| Unusable::NotOnCurve)?;
        Ok(Self::Curve { curve, key })
    }

    pub(super) fn fits(&self, algorithm: Algorithm) -> bool {
        match self {
            Self::Rsa(key) => key.fits(algorithm),
            Self::Curve { curve, .. } => curve.algorithm() == algorithm,
        }
    }

    /// How long every signature is: as long as the modulus (RFC 8017, section
    /// 8), or two numbers of the curve's length (RFC 7518, section 3.4; RFC
    /// 8032, section 5.1.6).
    pub(super) fn signature_len(&self) -> usize {
        match self {
            Self::Rsa(key) => key.n.len(),
            Self::Curve { curve, .. } => 2 * curve.coordinate_len(),
        }
    }

    pub(super) fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let key = match self {
            Self::Rsa(key) => key.parsed(algorithm),
            Self::Curve { curve, key } => (curve.algorithm() == algorithm).then_some(key),
        };
        key.is_some_and(|key| key.verify_sig(message, signature).is_ok())
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Rsa(one), Self::Rsa(two)) => one == two,
            (
                Self::Curve { curve: one, key: one_key },
                Self::Curve { curve: two, key: two_key },
            ) => one == two && one_key.as_ref() == two_key.as_ref(),
            (Self::Rsa(_), Self::Curve { .. }) | (Self::Curve { .. }, Self::Rsa(_)) => false,
        }
    }
}

/// The curves that tokens are signed on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
    Ed25519,
}

impl Curve {
    /// The only algorithm of the curve (RFC 7518, 3.4; RFC 8037, 3.1).
    pub(super) const fn algorithm(self) -> Algorithm {
        match self {
            Self::P256 => Algorithm::Es256,
            Self::P384 => Algorithm::Es384,
            Self::P521 => Algorithm::Es512,
            Self::Ed25519 => Algorithm::EdDsa,
        }
    }

    pub(super) const fn coordinate_len(self) -> usize {
        match self {
            Self::P256 | Self::Ed25519 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    fn verification(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::P256 => &signature::ECDSA_P256_SHA256_FIXED,
            Self::P384 => &signature::ECDSA_P384_SHA384_FIXED,
            Self::P521 => &signature::ECDSA_P521_SHA512_FIXED,
            Self::Ed25519 => &signature::ED25519,
        }
    }
}

/// An RSA key.
///
/// The crypto library binds a parsed key to one algorithm, so there is one
/// per algorithm, each parsed when it is first needed and then kept: most keys
/// ever verify one algorithm only. Reading a filled cell is a plain load.
pub(super) struct RsaKey {
    n: Box<[u8]>,
    e: Box<[u8]>,
    bound: Option<Algorithm>,
    parsed: [OnceLock<Option<ParsedPublicKey>>; 6],
}

impl RsaKey {
    pub(super) fn new(n: &[u8], e: &[u8], bound: Option<Algorithm>) -> Result<Self, Unusable> {
        let (n, e) = (without_leading_zeros(n), without_leading_zeros(e));
        if !(2048..=8192).contains(&bit_len(n)) {
            return Err(Unusable::ModulusSize(bit_len(n)));
        }
        // The crypto library turns these down as well, but only at the first
        // signature; 33 bits is its limit for exponents.
        let odd = |number: &[u8]| number.last().is_some_and(|last| last & 1 == 1);
        if !odd(n) || !odd(e) || !(2..=33).contains(&bit_len(e)) {
            return Err(Unusable::UnsoundRsa);
        }
        if bound.is_some_and(|algorithm| rsa_parameters(algorithm).is_none()) {
            return Err(Unusable::OtherAlgorithm);
        }
        let key = Self { n: n.into(), e: e.into(), bound, parsed: Default::default() };
        match key.parsed(bound.unwrap_or(Algorithm::Rs256)) {
            Some(_) => Ok(key),
            None => Err(Unusable::UnsoundRsa),
        }
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        match self.bound {
            Some(bound) => bound == algorithm,
            None => rsa_parameters(algorithm).is_some(),
        }
    }

    fn parsed(&self, algorithm: Algorithm) -> Option<&ParsedPublicKey> {
        if !self.fits(algorithm) {
            return None;
        }
        let (cell, parameters) = rsa_parameters(algorithm)?;
        let components = RsaPublicKeyComponents { n: &self.n, e: &self.e };
        self.parsed
            .get(cell)?
            .get_or_init(|| components.to_parsed_public_key(parameters).ok())
            .as_ref()
    }
}

impl PartialEq for RsaKey {
    fn eq(&self, other: &Self) -> bool {
        (&self.n, &self.e, self.bound) == (&other.n, &other.e, other.bound)
    }
}

/// The cell and the parameters of an RSA algorithm. The salt of PS* is as
/// long as its hash (RFC 7518, 3.5).
fn rsa_parameters(algorithm: Algorithm) -> Option<(usize, &'static RsaParameters)> {
    match algorithm {
        Algorithm::Rs256 => Some((0, &signature::RSA_PKCS1_2048_8192_SHA256)),
        Algorithm::Rs384 => Some((1, &signature::RSA_PKCS1_2048_8192_SHA384)),
        Algorithm::Rs512 => Some((2, &signature::RSA_PKCS1_2048_8192_SHA512)),
        Algorithm::Ps256 => Some((3, &signature::RSA_PSS_2048_8192_SHA256)),
        Algorithm::Ps384 => Some((4, &signature::RSA_PSS_2048_8192_SHA384)),
        Algorithm::Ps512 => Some((5, &signature::RSA_PSS_2048_8192_SHA512)),
        Algorithm::Es256 | Algorithm::Es384 | Algorithm::Es512 | Algorithm::EdDsa => None,
    }
}

/// Some encoders put a zero octet before the modulus (RFC 7518, 6.3.1.1).
pub(super) fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

fn bit_len(number: &[u8]) -> usize {
    number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}
