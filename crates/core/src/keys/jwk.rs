//! One JWK (RFC 7517, RFC 7518 section 6, RFC 8037), read strictly.

use serde_json::{Map, Value};

use super::{
    algorithm::Algorithm,
    public_key::{Curve, PublicKey, RsaKey},
    unusable::Unusable,
};

/// A JWK that can verify signatures. Private members, if they were published,
/// are not read.
pub(super) struct Jwk {
    pub(super) kid: Option<String>,
    pub(super) public: PublicKey,
}

impl Jwk {
    pub(super) fn read(entry: &Value) -> Result<Self, Unusable> {
        let jwk = entry.as_object().ok_or(Unusable::NotAnObject)?;
        let kty = required(jwk, "kty")?;
        if kty == "oct" {
            return Err(Unusable::Symmetric);
        }
        let kid = optional(jwk, "kid")?.map(str::to_owned);
        check_purpose(jwk)?;
        let algorithm = optional(jwk, "alg")?.map(read_algorithm).transpose()?;
        let public = match kty {
            "RSA" => read_rsa(jwk, algorithm)?,
            "EC" | "OKP" => read_curve(jwk, kty, algorithm)?,
            _ => return Err(Unusable::UnknownType),
        };
        Ok(Self { kid, public })
    }
}

/// `use` and `key_ops` bind (RFC 7517, 4.2 and 4.3).
fn check_purpose(jwk: &Map<String, Value>) -> Result<(), Unusable> {
    if optional(jwk, "use")?.is_some_and(|purpose| purpose != "sig") {
        return Err(Unusable::OtherUse);
    }
    match jwk.get("key_ops") {
        None => Ok(()),
        Some(Value::Array(ops)) if ops.iter().any(|op| op == "verify") => Ok(()),
        Some(_) => Err(Unusable::OtherOperations),
    }
}

/// RFC 9864 gave `EdDSA` with Ed25519 a name of its own; keys come with either.
fn read_algorithm(name: &str) -> Result<Algorithm, Unusable> {
    match name {
        "Ed25519" => Ok(Algorithm::EdDsa),
        _ => name.parse().map_err(|_| Unusable::UnknownAlgorithm),
    }
}

fn read_rsa(jwk: &Map<String, Value>, algorithm: Option<Algorithm>) -> Result<PublicKey, Unusable> {
    let (n, e) = (bytes(jwk, "n")?, bytes(jwk, "e")?);
    Ok(PublicKey::Rsa(Box::new(RsaKey::new(&n, &e, algorithm)?)))
}

fn read_curve(
    jwk: &Map<String, Value>,
    kty: &str,
    algorithm: Option<Algorithm>,
) -> Result<PublicKey, Unusable> {
    let curve = match (kty, required(jwk, "crv")?) {
        ("EC", "P-256") => Curve::P256,
        ("EC", "P-384") => Curve::P384,
        ("EC", "P-521") => Curve::P521,
        ("OKP", "Ed25519") => Curve::Ed25519,
        _ => return Err(Unusable::UnknownCurve),
    };
    if algorithm.is_some_and(|algorithm| algorithm != curve.algorithm()) {
        return Err(Unusable::OtherAlgorithm);
    }
    let x = coordinate(jwk, "x", curve)?;
    let encoded = match curve {
        Curve::Ed25519 => x,
        // An uncompressed point (SEC 1, 2.3.3).
        _ => [[4].as_slice(), &x, &coordinate(jwk, "y", curve)?].concat(),
    };
    PublicKey::on_curve(curve, encoded)
}

/// A coordinate in its full length, leading zeros included (RFC 7518, 6.2.1.2).
fn coordinate(
    jwk: &Map<String, Value>,
    member: &'static str,
    curve: Curve,
) -> Result<Vec<u8>, Unusable> {
    let value = bytes(jwk, member)?;
    match value.len() {
        found if found == curve.coordinate_len() => Ok(value),
        found => Err(Unusable::WrongLength { member, wanted: curve.coordinate_len(), found }),
    }
}

fn bytes(jwk: &Map<String, Value>, member: &'static str) -> Result<Vec<u8>, Unusable> {
    base64_simd::URL_SAFE_NO_PAD
        .decode_to_vec(required(jwk, member)?)
        .map_err(|_| Unusable::NotBase64(member))
}

fn required<'a>(jwk: &'a Map<String, Value>, member: &'static str) -> Result<&'a str, Unusable> {
    optional(jwk, member)?.ok_or(Unusable::Missing(member))
}

fn optional<'a>(
    jwk: &'a Map<String, Value>,
    member: &'static str,
) -> Result<Option<&'a str>, Unusable> {
    match jwk.get(member) {
        None => Ok(None),
        Some(Value::String(value)) => Ok(Some(value)),
        Some(_) => Err(Unusable::NotAString(member)),
    }
}
