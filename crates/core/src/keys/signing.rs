//! One signing key: made at start, published as a JWK, never stored.

use std::fmt;

use aws_lc_rs::{
    digest,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaEncoding, RsaKeyPair},
};
use base64_simd::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use crate::keys::Algorithm;

/// A private key and the public half that verifiers fetch.
pub struct SigningKey {
    algorithm: Algorithm,
    pair: Pair,
    kid: String,
    jwk: Value,
}

/// The crypto library made no key or signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no signing key could be made")]
pub struct SigningError;

/// Key pairs by family; aws-lc-rs knows every algorithm of [`Algorithm`].
enum Pair {
    Rsa(Box<RsaKeyPair>, &'static dyn RsaEncoding),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    /// A fresh key for one algorithm; RSA keys have 2048 bits.
    ///
    /// # Errors
    /// [`SigningError`] if the crypto library makes none.
    pub fn generate(algorithm: Algorithm) -> Result<Self, SigningError> {
        let pair = Pair::generate(algorithm).map_err(|_| SigningError)?;
        let members = pair.public_members(algorithm);
        let kid = thumbprint(&members);
        let mut jwk = Map::new();
        jwk.insert("kid".into(), json!(kid));
        jwk.insert("alg".into(), json!(algorithm.as_str()));
        jwk.insert("use".into(), json!("sig"));
        jwk.extend(members);
        Ok(Self { algorithm, pair, kid, jwk: Value::Object(jwk) })
    }

    /// The key's id: its thumbprint (RFC 7638).
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public key as a JWK.
    pub fn jwk(&self) -> &Value {
        &self.jwk
    }

    /// A compact JWS over `claims`. Its header has `kid` and `alg` alone, as
    /// Cognito's has.
    ///
    /// # Errors
    /// [`SigningError`] if the crypto library makes no signature.
    pub fn sign(&self, claims: &[u8]) -> Result<String, SigningError> {
        self.sign_with(&json!({"kid": self.kid, "alg": self.algorithm.as_str()}), claims)
    }

    /// A compact JWS with a header of the caller's choice, which may be wrong
    /// on purpose.
    ///
    /// # Errors
    /// [`SigningError`] if the crypto library makes no signature.
    pub fn sign_with(&self, header: &Value, claims: &[u8]) -> Result<String, SigningError> {
        let mut token = URL_SAFE_NO_PAD.encode_to_string(header.to_string());
        token.push('.');
        URL_SAFE_NO_PAD.encode_append(claims, &mut token);
        let signature = self.pair.sign(token.as_bytes()).map_err(|_| SigningError)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_append(&signature, &mut token);
        Ok(token)
    }
}

/// The public half alone.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

impl Pair {
    fn generate(algorithm: Algorithm) -> Result<Self, aws_lc_rs::error::Unspecified> {
        let rsa = |encoding: &'static dyn RsaEncoding| {
            RsaKeyPair::generate(KeySize::Rsa2048).map(|pair| Self::Rsa(Box::new(pair), encoding))
        };
        let ecdsa = |algorithm| EcdsaKeyPair::generate(algorithm).map(Self::Ecdsa);
        match algorithm {
            Algorithm::Rs256 => rsa(&signature::RSA_PKCS1_SHA256),
            Algorithm::Rs384 => rsa(&signature::RSA_PKCS1_SHA384),
            Algorithm::Rs512 => rsa(&signature::RSA_PKCS1_SHA512),
            Algorithm::Ps256 => rsa(&signature::RSA_PSS_SHA256),
            Algorithm::Ps384 => rsa(&signature::RSA_PSS_SHA384),
            Algorithm::Ps512 => rsa(&signature::RSA_PSS_SHA512),
            Algorithm::Es256 => ecdsa(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
            Algorithm::Es384 => ecdsa(&signature::ECDSA_P384_SHA384_FIXED_SIGNING),
            Algorithm::Es512 => ecdsa(&signature::ECDSA_P521_SHA512_FIXED_SIGNING),
            Algorithm::EdDsa => Ed25519KeyPair::generate().map(Self::Ed25519),
        }
    }

    /// The members that make up the public key, in the lexicographic order
    /// that RFC 7638 hashes.
    fn public_members(&self, algorithm: Algorithm) -> Map<String, Value> {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode_to_string(bytes);
        let members = match self {
            Self::Rsa(pair, _) => {
                let key = pair.public_key();
                let exponent = encode(key.exponent().big_endian_without_leading_zero());
                let modulus = encode(key.modulus().big_endian_without_leading_zero());
                json!({"e": exponent, "kty": "RSA", "n": modulus})
            }
            Self::Ecdsa(pair) => {
                // SEC 1 uncompressed: 0x04, then both coordinates at full length.
                let coordinates = pair.public_key().as_ref().get(1..).unwrap_or_default();
                let (x, y) = coordinates.split_at(coordinates.len() / 2);
                let curve = match algorithm {
                    Algorithm::Es256 => "P-256",
                    Algorithm::Es384 => "P-384",
                    _ => "P-521",
                };
                json!({"crv": curve, "kty": "EC", "x": encode(x), "y": encode(y)})
            }
            Self::Ed25519(pair) => {
                json!({"crv": "Ed25519", "kty": "OKP", "x": encode(pair.public_key().as_ref())})
            }
        };
        match members {
            Value::Object(members) => members,
            _ => Map::new(),
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, aws_lc_rs::error::Unspecified> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, message, &mut signature)?;
                Ok(signature)
            }
            Self::Ecdsa(pair) => Ok(pair.sign(&random, message)?.as_ref().to_vec()),
            Self::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }
}

/// RFC 7638: the SHA-256 of the key's required members without white space.
fn thumbprint(members: &Map<String, Value>) -> String {
    let canonical = serde_json::to_vec(members).unwrap_or_default();
    URL_SAFE_NO_PAD.encode_to_string(digest::digest(&digest::SHA256, &canonical))
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{DecodingKey, Validation};

    use super::*;

    /// jsonwebtoken is an independent implementation. It has no ES512, so
    /// aws-lc-rs checks that one.
    #[test]
    fn every_algorithm_verifies_with_its_own_jwk() {
        for algorithm in Algorithm::ALL {
            let key = SigningKey::generate(algorithm).unwrap();
            let token = key.sign(br#"{"sub":"me"}"#).unwrap();
            if algorithm == Algorithm::Es512 {
                assert_es512(&key, &token);
                continue;
            }
            let jwk = serde_json::from_value(key.jwk().clone()).unwrap();
            let mut validation = Validation::new(algorithm.as_str().parse().unwrap());
            validation.required_spec_claims.clear();
            validation.validate_exp = false;
            let decoded = jsonwebtoken::decode::<Value>(
                &token,
                &DecodingKey::from_jwk(&jwk).unwrap(),
                &validation,
            );
            let decoded = decoded.unwrap_or_else(|error| panic!("{algorithm}: {error}"));
            assert_eq!(decoded.claims["sub"], "me", "{algorithm}");
            assert_eq!(decoded.header.kid.as_deref(), Some(key.kid()), "{algorithm}");
        }
    }

    fn assert_es512(key: &SigningKey, token: &str) {
        let member = |name| {
            let text = key.jwk()[name].as_str().unwrap().as_bytes();
            URL_SAFE_NO_PAD.decode_to_vec(text).unwrap()
        };
        let point = [vec![4], member("x"), member("y")].concat();
        let (message, signature) = token.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode_to_vec(signature.as_bytes()).unwrap();
        signature::UnparsedPublicKey::new(&signature::ECDSA_P521_SHA512_FIXED, point)
            .verify(message.as_bytes(), &signature)
            .unwrap();
    }

    /// The example of RFC 7638, section 3.1.
    #[test]
    fn thumbprints_are_those_of_rfc_7638() {
        let modulus = concat!(
            "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1",
            "L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4",
            "QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbO",
            "pbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csF",
            "Cur-kEgU8awapJzKnqDKgw"
        );
        let Value::Object(members) = json!({"e": "AQAB", "kty": "RSA", "n": modulus}) else {
            panic!("an object")
        };
        assert_eq!(thumbprint(&members), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }
}
