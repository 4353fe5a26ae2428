//! One JWK (RFC 7517, RFC 7518 section 6, RFC 8037).
//!
//! It is read strictly, but for what issuers write that can't be mistaken:
//! members that are null or empty, numbers as key ids, base64url with its
//! padding, and coordinates with too few or too many leading zeros. Envoy's
//! `jwt_authn` takes such keys, and without them all tokens of the issuer would
//! be turned away.

use serde_json::{Map, Value};

use super::{
    algorithm::Algorithm,
    public_key::{Curve, PublicKey, RsaKey, without_leading_zeros},
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
        let kid = read_kid(jwk)?;
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

/// The key's id; a whole number, which RFC 7517, 4.5 does not allow, is its
/// digits.
pub(super) fn read_kid(jwk: &Map<String, Value>) -> Result<Option<String>, Unusable> {
    match jwk.get("kid") {
        Some(Value::Number(number)) if !number.is_f64() => Ok(Some(number.to_string())),
        Some(Value::Number(_)) => Err(Unusable::NotAnId),
        _ => Ok(optional(jwk, "kid")?.map(str::to_owned)),
    }
}

/// `use` and `key_ops` bind (RFC 7517, 4.2 and 4.3).
fn check_purpose(jwk: &Map<String, Value>) -> Result<(), Unusable> {
    if optional(jwk, "use")?.is_some_and(|purpose| purpose != "sig") {
        return Err(Unusable::OtherUse);
    }
    match jwk.get("key_ops") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Array(ops)) if ops.is_empty() || ops.iter().any(|op| op == "verify") => Ok(()),
        Some(_) => Err(Unusable::OtherOperations),
    }
}

fn read_algorithm(name: &str) -> Result<Algorithm, Unusable> {
    name.parse().map_err(|_| Unusable::UnknownAlgorithm)
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

/// A coordinate in its full length (RFC 7518, 6.2.1.2). That of a point is a
/// number, so leading zeros change nothing; an Ed25519 key is not a number.
fn coordinate(
    jwk: &Map<String, Value>,
    member: &'static str,
    curve: Curve,
) -> Result<Vec<u8>, Unusable> {
    let value = bytes(jwk, member)?;
    let wanted = curve.coordinate_len();
    let wrong_length = Unusable::WrongLength { member, wanted, found: value.len() };
    if value.len() == wanted {
        return Ok(value);
    }
    if curve == Curve::Ed25519 || value.is_empty() {
        return Err(wrong_length);
    }
    let number = without_leading_zeros(&value);
    match wanted.checked_sub(number.len()) {
        Some(missing) => Ok([vec![0; missing].as_slice(), number].concat()),
        None => Err(wrong_length),
    }
}

/// Base64url, without padding (RFC 7518, section 2) or with all of it.
fn bytes(jwk: &Map<String, Value>, member: &'static str) -> Result<Vec<u8>, Unusable> {
    let text = required(jwk, member)?;
    let encoding = match text.ends_with('=') {
        true => base64_simd::URL_SAFE,
        false => base64_simd::URL_SAFE_NO_PAD,
    };
    encoding.decode_to_vec(text).map_err(|_| Unusable::NotBase64(member))
}

fn required<'a>(jwk: &'a Map<String, Value>, member: &'static str) -> Result<&'a str, Unusable> {
    match jwk.get(member) {
        // What a key is made of must be there: empty is too short, not absent.
        Some(Value::String(value)) => Ok(value),
        _ => optional(jwk, member)?.ok_or(Unusable::Missing(member)),
    }
}

/// A text; one that is null or empty says nothing.
fn optional<'a>(
    jwk: &'a Map<String, Value>,
    member: &'static str,
) -> Result<Option<&'a str>, Unusable> {
    match jwk.get(member) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(value)) => Ok((!value.is_empty()).then_some(value)),
        Some(_) => Err(Unusable::NotAString(member)),
    }
}
