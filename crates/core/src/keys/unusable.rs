//! Why a key of a JWK Set is not used.

/// Why a JWK is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It is not even an object.
    #[error("not a JSON object")]
    NotAnObject,
    /// A member that it needs is absent.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A member has the wrong JSON type.
    #[error("`{0}` is not a string")]
    NotAString(&'static str),
    /// A number that is not a whole one of 64 bits.
    #[error("`kid` is neither a string nor a whole number of at most 64 bits")]
    NotAnId,
    /// A shared secret: a holder who can verify with it can sign as well.
    #[error("`kty` is \"oct\", a shared secret")]
    Symmetric,
    /// Not RSA, EC or OKP.
    #[error("`kty` is not RSA, EC or OKP")]
    UnknownType,
    /// No curve that can verify here, such as X25519, Ed448 or secp256k1.
    #[error("`crv` is not P-256, P-384, P-521 or Ed25519, or does not go with `kty`")]
    UnknownCurve,
    /// The issuer says that it is for something else.
    #[error("`use` is not \"sig\"")]
    OtherUse,
    /// The issuer says that it is for something else.
    #[error("`key_ops` is not an array with \"verify\"")]
    OtherOperations,
    /// Not a signature algorithm that is supported.
    #[error("`alg` is not a supported signature algorithm")]
    UnknownAlgorithm,
    /// The algorithm belongs to another type of key or curve.
    #[error("`alg` does not go with `kty` and `crv`")]
    OtherAlgorithm,
    /// Not base64url.
    #[error("`{0}` is not base64url")]
    NotBase64(&'static str),
    /// A coordinate or key of the wrong length.
    #[error("`{member}` has {found} bytes instead of {wanted}")]
    WrongLength {
        /// Which member.
        member: &'static str,
        /// Bytes that the curve wants.
        wanted: usize,
        /// Bytes found.
        found: usize,
    },
    /// RSA keys must have from 2048 bits (RFC 7518, 3.3) to 8192.
    #[error("an RSA key of {0} bits, 2048 to 8192 are accepted")]
    ModulusSize(usize),
    /// An even modulus, or an exponent that is even, 1, or over 33 bits.
    #[error("not a sound RSA public key")]
    UnsoundRsa,
    /// Not a point on the curve.
    #[error("not a public key of its curve")]
    NotOnCurve,
}
