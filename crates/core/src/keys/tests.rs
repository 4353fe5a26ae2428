use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{self, KeySize},
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
        ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair,
        KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256,
        RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding,
    },
};
use serde_json::json;

use super::*;

const MESSAGE: &[u8] = b"eyJhbGciOiJ4In0.e30";

fn b64(bytes: impl AsRef<[u8]>) -> String {
    base64_simd::URL_SAFE_NO_PAD.encode_to_string(bytes)
}

fn unb64(text: &str) -> Vec<u8> {
    base64_simd::URL_SAFE_NO_PAD.decode_to_vec(text).unwrap()
}

fn parse(keys: Value) -> Result<Parsed, KeySetError> {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
}

fn only(jwk: Value) -> Arc<VerifyingKey> {
    let parsed = parse(json!([jwk])).unwrap();
    Arc::clone(parsed.set.iter().next().unwrap())
}

fn why(jwk: Value) -> Unusable {
    match parse(json!([jwk])) {
        Err(KeySetError::NoUsableKey(mut skipped)) => skipped.remove(0).why,
        other => panic!("{other:?}"),
    }
}

/// `jwk` with some members set, to null as well.
fn setting(jwk: &Value, members: Value) -> Value {
    let mut jwk = jwk.clone();
    jwk.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    jwk
}

/// `jwk` with some members set, or taken away where the value is null.
fn with(jwk: &Value, changes: Value) -> Value {
    let mut jwk = jwk.clone();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(jwk.as_object_mut().unwrap().remove(name)),
            value => jwk[name] = value.clone(),
        }
    }
    jwk
}

struct Rsa {
    pair: rsa::KeyPair,
    jwk: Value,
}

impl Rsa {
    fn new(size: KeySize) -> Self {
        let pair = rsa::KeyPair::generate(size).unwrap();
        // PKCS #1: a sequence of two integers whose headers take nine bytes
        // (with the sign octet of the modulus); the exponent is 65537.
        let n = &pair.public_key().as_ref()[9..9 + size.len()];
        let jwk = json!({"kty": "RSA", "kid": "r", "n": b64(n), "e": "AQAB"});
        Self { pair, jwk }
    }

    fn sign(&self, encoding: &'static dyn RsaEncoding) -> Vec<u8> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(encoding, &SystemRandom::new(), MESSAGE, &mut signature).unwrap();
        signature
    }
}

fn ec(algorithm: &'static EcdsaSigningAlgorithm, crv: &str) -> (EcdsaKeyPair, Value) {
    let pair = EcdsaKeyPair::generate(algorithm).unwrap();
    let point = &pair.public_key().as_ref()[1..];
    let (x, y) = point.split_at(point.len() / 2);
    let jwk = json!({"kty": "EC", "kid": "e", "crv": crv, "x": b64(x), "y": b64(y)});
    (pair, jwk)
}

fn p256() -> Value {
    ec(&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256").1
}

fn ed25519() -> (Ed25519KeyPair, Value) {
    let pair = Ed25519KeyPair::generate().unwrap();
    let jwk =
        json!({"kty": "OKP", "kid": "d", "crv": "Ed25519", "x": b64(pair.public_key().as_ref())});
    (pair, jwk)
}

/// Verifies with the one algorithm, and fails with every other, with another
/// message and with another signature.
fn assert_verifies_only(key: &VerifyingKey, algorithm: Algorithm, signature: &[u8]) {
    for other in Algorithm::ALL {
        assert_eq!(key.verify(other, MESSAGE, signature), other == algorithm, "{other}");
    }
    assert!(!key.verify(algorithm, b"another message", signature), "{algorithm}");
    let mut bent = signature.to_vec();
    bent[7] ^= 1;
    for bad in [bent.as_slice(), &[], &signature[1..], &[signature, &[0]].concat()] {
        assert!(!key.verify(algorithm, MESSAGE, bad), "{algorithm}");
    }
}

#[test]
fn an_rsa_key_verifies_every_rsa_algorithm_and_bound_to_one_only_that() {
    let rsa = Rsa::new(KeySize::Rsa2048);
    let free = only(rsa.jwk.clone());
    let encodings: [(Algorithm, &'static dyn RsaEncoding); 6] = [
        (Algorithm::Rs256, &RSA_PKCS1_SHA256),
        (Algorithm::Rs384, &RSA_PKCS1_SHA384),
        (Algorithm::Rs512, &RSA_PKCS1_SHA512),
        (Algorithm::Ps256, &RSA_PSS_SHA256),
        (Algorithm::Ps384, &RSA_PSS_SHA384),
        (Algorithm::Ps512, &RSA_PSS_SHA512),
    ];
    assert_eq!(free.algorithms().collect::<Vec<_>>(), encodings.map(|(algorithm, _)| algorithm));
    for (algorithm, encoding) in encodings {
        let signature = rsa.sign(encoding);
        assert_verifies_only(&free, algorithm, &signature);
        let bound = only(with(&rsa.jwk, json!({"alg": algorithm.as_str()})));
        assert_eq!(bound.algorithms().collect::<Vec<_>>(), [algorithm]);
        assert_verifies_only(&bound, algorithm, &signature);
    }
}

#[test]
fn an_ec_key_verifies_the_algorithm_of_its_curve() {
    let curves = [
        (Algorithm::Es256, &ECDSA_P256_SHA256_FIXED_SIGNING, "P-256"),
        (Algorithm::Es384, &ECDSA_P384_SHA384_FIXED_SIGNING, "P-384"),
        (Algorithm::Es512, &ECDSA_P521_SHA512_FIXED_SIGNING, "P-521"),
    ];
    for (algorithm, signing, crv) in curves {
        let (pair, jwk) = ec(signing, crv);
        let signature = pair.sign(&SystemRandom::new(), MESSAGE).unwrap();
        for alg in [Value::Null, json!(algorithm.as_str())] {
            let key = only(with(&jwk, json!({"alg": alg})));
            assert_eq!(key.algorithms().collect::<Vec<_>>(), [algorithm]);
            assert_verifies_only(&key, algorithm, signature.as_ref());
        }
    }
}

#[test]
fn an_ed25519_key_comes_under_either_name_of_its_algorithm() {
    let (pair, jwk) = ed25519();
    let signature = pair.sign(MESSAGE);
    for alg in [Value::Null, json!("EdDSA"), json!("Ed25519")] {
        let key = only(with(&jwk, json!({"alg": alg})));
        assert_eq!(key.algorithms().collect::<Vec<_>>(), [Algorithm::EdDsa]);
        assert_verifies_only(&key, Algorithm::EdDsa, signature.as_ref());
    }
}

/// The signed examples of RFC 8037 (A.4) and RFC 7520 (4.3).
#[test]
fn published_signatures_verify() {
    let bilbo = concat!(
        "eyJhbGciOiJFUzUxMiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9.",
        "SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAg",
        "b250byB0aGUgcm9hZCwgYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dp",
        "bmcgd2hlcmUgeW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4",
    );
    let examples = [
        (
            Algorithm::EdDsa,
            json!({"kty": "OKP", "crv": "Ed25519",
                "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}),
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
            concat!(
                "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5B",
                "hVsPt9g7sVvpAr_MuM0KAg",
            ),
        ),
        (
            Algorithm::Es512,
            json!({"kty": "EC", "kid": "bilbo.baggins@hobbiton.example", "use": "sig",
                "crv": "P-521",
                "x": "AHKZLLOsCOzz5cY97ewNUajB957y-C-U88c3v13nmGZx6sYl_oJXu9A5RkTKqjqvjyekWF-7\
                      ytDyRXYgCF5cj0Kt",
                "y": "AdymlHvOiLxXkEhayXQnNCvDX4h9htZaCJN34kfmC6pV5OhQHiraVySsUdaQkAgDPrwQrJmb\
                      nX9cwlGfP-HqHZR1"}),
            bilbo,
            concat!(
                "AE_R_YZCChjn4791jSQCrdPZCNYqHXCTZH0-JZGYNlaAjP2kqaluUIIUnC9qvbu9Plon7KRTzoNE",
                "uT4Va2cmL1eJAQy3mtPBu_u_sDDyYjnAMDxXPn7XrT0lw-kvAD890jl8e2puQens_IEKBpHABlsb",
                "EPX6sFY8OcGDqoRuBomu9xQ2",
            ),
        ),
    ];
    for (algorithm, jwk, message, signature) in examples {
        assert!(only(jwk).verify(algorithm, message.as_bytes(), &unb64(signature)), "{algorithm}");
    }
}

#[test]
fn what_the_issuer_says_of_a_key_binds() {
    let jwk = p256();
    for changes in [
        json!({"use": "sig"}),
        json!({"key_ops": ["verify"]}),
        json!({"key_ops": ["sign", "verify"], "ext": true}),
        json!({"kid": null}),
        json!({"kid": ""}),
        json!({"x5c": 7, "x5t": null, "anything": {}}),
    ] {
        assert!(only(with(&jwk, changes)).fits(Algorithm::Es256));
    }
    for (changes, cause) in [
        (json!({"use": "enc"}), Unusable::OtherUse),
        (json!({"use": " "}), Unusable::OtherUse),
        (json!({"use": 7}), Unusable::NotAString("use")),
        (json!({"use": false}), Unusable::NotAString("use")),
        (json!({"use": ["sig"]}), Unusable::NotAString("use")),
        (json!({"key_ops": [null]}), Unusable::OtherOperations),
        (json!({"key_ops": [""]}), Unusable::OtherOperations),
        (json!({"key_ops": ["sign"]}), Unusable::OtherOperations),
        (json!({"key_ops": ""}), Unusable::OtherOperations),
        (json!({"key_ops": {}}), Unusable::OtherOperations),
        (json!({"key_ops": ["encrypt"]}), Unusable::OtherOperations),
        (json!({"key_ops": "verify"}), Unusable::OtherOperations),
        (json!({"kid": true}), Unusable::NotAString("kid")),
        (json!({"kid": ["e"]}), Unusable::NotAString("kid")),
        (json!({"kid": 7.5}), Unusable::NotAnId),
        (json!({"kid": 1e30}), Unusable::NotAnId),
        (json!({"alg": 7}), Unusable::NotAString("alg")),
        (json!({"alg": " "}), Unusable::UnknownAlgorithm),
        (json!({"alg": "ed25519"}), Unusable::UnknownAlgorithm),
        (json!({"alg": "es256"}), Unusable::UnknownAlgorithm),
        (json!({"alg": "HS256"}), Unusable::UnknownAlgorithm),
        (json!({"alg": "none"}), Unusable::UnknownAlgorithm),
        (json!({"alg": "ECDH-ES"}), Unusable::UnknownAlgorithm),
        (json!({"alg": "ES384"}), Unusable::OtherAlgorithm),
        (json!({"alg": "RS256"}), Unusable::OtherAlgorithm),
        (json!({"alg": "EdDSA"}), Unusable::OtherAlgorithm),
    ] {
        assert_eq!(why(with(&jwk, changes.clone())), cause, "{changes}");
    }
}

#[test]
fn what_is_null_or_empty_binds_nothing() {
    let rsa = Rsa::new(KeySize::Rsa2048);
    for member in ["use", "alg", "key_ops", "kid"] {
        let empty = if member == "key_ops" { json!([]) } else { json!("") };
        for value in [Value::Null, empty] {
            for jwk in [&p256(), &ed25519().1, &rsa.jwk] {
                let free = only(with(jwk, json!({ member: null })));
                let key = only(setting(jwk, json!({ member: value })));
                assert!(key.is_same(&free), "{member}: {value}");
            }
        }
    }
    let all = json!({"use": "", "alg": null, "key_ops": [], "kid": null});
    let key = only(setting(&rsa.jwk, all));
    assert_eq!((key.kid(), key.algorithms().count()), (None, 6));
}

#[test]
fn a_number_as_a_key_id_is_its_digits() {
    for (kid, expected) in [
        (json!(7), "7"),
        (json!(0), "0"),
        (json!(-7), "-7"),
        (json!(1_700_000_000_000_u64), "1700000000000"),
        (json!(u64::MAX), "18446744073709551615"),
        (json!("007"), "007"),
    ] {
        assert_eq!(only(setting(&p256(), json!({"kid": kid}))).kid(), Some(expected));
    }
    let skipped = parse(json!([p256(), {"kty": "oct", "kid": 7}])).unwrap().skipped;
    assert_eq!(skipped[0].kid.as_deref(), Some("7"));
}

#[test]
fn base64url_may_have_its_padding() {
    let padded = |text: &Value| {
        let text = text.as_str().unwrap();
        format!("{text}{}", "=".repeat(text.len().next_multiple_of(4) - text.len()))
    };
    let rsa = Rsa::new(KeySize::Rsa2048);
    for jwk in [&p256(), &ec(&ECDSA_P521_SHA512_FIXED_SIGNING, "P-521").1, &ed25519().1, &rsa.jwk] {
        let mut other = jwk.clone();
        for member in ["x", "y", "n", "e"] {
            if let Some(text) = jwk.get(member) {
                other[member] = padded(text).into();
            }
        }
        assert!(only(other).is_same(&only(jwk.clone())), "{jwk}");
    }
    let x = p256()["x"].as_str().unwrap().to_owned();
    for wrong in ["==", "===", "====", "=a", "= "] {
        let why = why(setting(&p256(), json!({"x": format!("{x}{wrong}")})));
        assert_eq!(why, Unusable::NotBase64("x"), "{wrong}");
    }
}

/// Keys whose coordinates begin with zero octets, which some encoders leave
/// off, and others, to which some put one.
#[test]
fn leading_zeros_of_a_coordinate_do_not_matter() {
    let curves: [(&'static EcdsaSigningAlgorithm, &str, Algorithm); 3] = [
        (&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256", Algorithm::Es256),
        (&ECDSA_P384_SHA384_FIXED_SIGNING, "P-384", Algorithm::Es384),
        (&ECDSA_P521_SHA512_FIXED_SIGNING, "P-521", Algorithm::Es512),
    ];
    for (signing, crv, algorithm) in curves {
        let begins_with_zero = |jwk: &Value| unb64(jwk["x"].as_str().unwrap())[0] == 0;
        let (pair, jwk) = (0..)
            .map(|_| ec(signing, crv))
            .find(|(_, jwk)| begins_with_zero(jwk))
            .expect("one of 256");
        let signature = pair.sign(&SystemRandom::new(), MESSAGE).unwrap();
        let (x, y) = (unb64(jwk["x"].as_str().unwrap()), unb64(jwk["y"].as_str().unwrap()));
        let zeros = [0; 8];
        for x in [x.clone(), x[1..].to_vec(), [&zeros[..1], &x].concat(), [&zeros, &*x].concat()] {
            for y in [y.clone(), [&zeros[..1], &y].concat()] {
                let key = only(with(&jwk, json!({"x": b64(&x), "y": b64(&y)})));
                assert_verifies_only(&key, algorithm, signature.as_ref());
                assert!(key.is_same(&only(jwk.clone())));
            }
        }
    }
}

#[test]
fn keys_that_cannot_verify_are_named() {
    let point = p256();
    let p384 = ec(&ECDSA_P384_SHA384_FIXED_SIGNING, "P-384").1;
    let x = unb64(point["x"].as_str().unwrap());
    let length = |found| Unusable::WrongLength { member: "x", wanted: 32, found };
    for (jwk, cause) in [
        (json!("key"), Unusable::NotAnObject),
        (json!({}), Unusable::Missing("kty")),
        (json!({"kty": 1}), Unusable::NotAString("kty")),
        (json!({"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}), Unusable::Symmetric),
        (json!({"kty": "ec"}), Unusable::UnknownType),
        (json!({"kty": "AKP", "alg": "ES256"}), Unusable::UnknownType),
        (json!({"kty": "EC"}), Unusable::Missing("crv")),
        (with(&point, json!({"crv": "secp256k1"})), Unusable::UnknownCurve),
        (with(&point, json!({"crv": "Ed25519"})), Unusable::UnknownCurve),
        (with(&point, json!({"crv": "P-384"})), Unusable::NotOnCurve),
        (with(&point, json!({"x": null})), Unusable::Missing("x")),
        (with(&point, json!({"y": null})), Unusable::Missing("y")),
        (with(&point, json!({"y": point["x"]})), Unusable::NotOnCurve),
        (with(&point, json!({"x": b64([0; 32]), "y": b64([0; 32])})), Unusable::NotOnCurve),
        (with(&point, json!({"x": b64([0xff; 32])})), Unusable::NotOnCurve),
        (with(&point, json!({"x": b64([&[1], x.as_slice()].concat())})), length(33)),
        (with(&point, json!({"x": b64([&[0, 1], x.as_slice()].concat())})), length(34)),
        // Not the octets of the same number, so hardly ever on the curve.
        (with(&point, json!({"x": b64([&x[..31]].concat())})), Unusable::NotOnCurve),
        (with(&point, json!({"x": ""})), length(0)),
        (with(&point, json!({"x": format!("{}==", b64(&x))})), Unusable::NotBase64("x")),
        (with(&point, json!({"x": "+".repeat(43)})), Unusable::NotBase64("x")),
        (with(&point, json!({"x": " "})), Unusable::NotBase64("x")),
        (with(&p384, json!({"crv": "P-256"})), length(48)),
        (json!({"kty": "OKP", "crv": "X25519", "x": b64([1; 32])}), Unusable::UnknownCurve),
        (json!({"kty": "OKP", "crv": "Ed448", "x": b64([1; 57])}), Unusable::UnknownCurve),
        (json!({"kty": "OKP", "crv": "P-256", "x": b64([1; 32])}), Unusable::UnknownCurve),
        (json!({"kty": "OKP", "crv": "Ed25519", "d": b64([1; 32])}), Unusable::Missing("x")),
        (json!({"kty": "OKP", "crv": "Ed25519", "x": b64([1; 31])}), length(31)),
        (json!({"kty": "OKP", "crv": "Ed25519", "x": b64([0; 33])}), length(33)),
        (json!({"kty": "OKP", "crv": "Ed25519", "x": ""}), length(0)),
        (json!({"kty": ""}), Unusable::UnknownType),
        (json!({"kty": null}), Unusable::Missing("kty")),
    ] {
        assert_eq!(why(jwk.clone()), cause, "{jwk}");
    }
}

#[test]
fn unsound_rsa_keys_are_named() {
    let jwk = Rsa::new(KeySize::Rsa2048).jwk;
    let n = unb64(jwk["n"].as_str().unwrap());
    let mut even = n.clone();
    *even.last_mut().unwrap() &= 0xfe;
    let mut short = n.clone();
    short[0] = 0x7f;
    for (changes, cause) in [
        (json!({"n": b64(&n[1..])}), Unusable::ModulusSize(bit_len_of(&n[1..]))),
        (json!({"n": b64(&short)}), Unusable::ModulusSize(2047)),
        (json!({"n": b64([1; 1025])}), Unusable::ModulusSize(8193)),
        (json!({"n": ""}), Unusable::ModulusSize(0)),
        (json!({"n": b64(even)}), Unusable::UnsoundRsa),
        (json!({"e": "AQ"}), Unusable::UnsoundRsa),
        (json!({"e": ""}), Unusable::UnsoundRsa),
        (json!({"e": b64([0])}), Unusable::UnsoundRsa),
        (json!({"e": b64([1, 0, 0])}), Unusable::UnsoundRsa),
        (json!({"e": b64([1, 0, 0, 0, 0, 0, 0, 0, 1])}), Unusable::UnsoundRsa),
        (json!({"e": "AQAB=="}), Unusable::NotBase64("e")),
        (json!({"e": 65537}), Unusable::NotAString("e")),
        (json!({"n": null}), Unusable::Missing("n")),
        (json!({"alg": "ES256"}), Unusable::OtherAlgorithm),
        (json!({"alg": "RSA-OAEP"}), Unusable::UnknownAlgorithm),
    ] {
        assert_eq!(why(with(&jwk, changes.clone())), cause, "{changes}");
    }
    for harmless in [
        json!({"n": b64([&[0], n.as_slice()].concat())}),
        json!({"e": b64([0, 1, 0, 1])}),
        json!({"e": "Aw"}),
        json!({"d": "not looked at", "p": 7}),
    ] {
        assert!(only(with(&jwk, harmless)).fits(Algorithm::Ps384));
    }
}

fn bit_len_of(number: &[u8]) -> usize {
    let zeros: usize = number.iter().take_while(|byte| **byte == 0).count();
    (number.len() - zeros) * 8 - number[zeros].leading_zeros() as usize
}

#[test]
fn one_bad_key_does_not_cost_the_others() {
    let good = p256();
    let enc = with(&p256(), json!({"use": "enc", "kid": "enc"}));
    let parsed = parse(json!([{"kty": "oct", "k": "AA"}, good, enc])).unwrap();
    assert_eq!(parsed.set.len(), 1);
    assert_eq!(
        parsed.skipped.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "keys[0]: `kty` is \"oct\", a shared secret",
            "keys[2] (kid \"enc\"): `use` is not \"sig\"",
        ]
    );
}

#[test]
fn the_same_key_counts_once_and_a_shared_kid_is_no_conflict() {
    let (one, two) = (p256(), p256());
    let bound = with(&one, json!({"alg": "ES256", "use": "sig"}));
    let renamed = with(&one, json!({"kid": "other"}));
    let parsed = parse(json!([one, one, bound, two, renamed])).unwrap();
    let kids: Vec<_> = parsed.set.iter().map(|key| key.kid().unwrap()).collect();
    assert_eq!(kids, ["e", "e", "other"]);
    assert!(parsed.skipped.is_empty());
}

#[test]
fn documents_that_are_no_jwk_set_are_errors() {
    let deep = "[".repeat(100_000);
    for (document, message) in [
        ("", "not a JWK Set: not JSON (EOF while parsing a value at line 1 column 0)"),
        ("<html>", "not a JWK Set: not JSON (expected value at line 1 column 1)"),
        (&deep, "not a JWK Set: not JSON (recursion limit exceeded at line 1 column 128)"),
        ("[]", "not a JWK Set: not a JSON object with a member \"keys\""),
        ("{}", "not a JWK Set: no member \"keys\""),
        (r#"{"keys": {}}"#, "not a JWK Set: \"keys\" is not an array"),
        (r#"{"keys": null}"#, "not a JWK Set: \"keys\" is not an array"),
        (r#"{"kty": "EC"}"#, "not a JWK Set: a single JWK, write {\"keys\": [ … ]} around it"),
        (r#"{"keys": []}"#, "no usable key in it"),
        (
            r#"{"keys": [1, 2, {"kty": "oct", "kid": "k"}, 4, 5]}"#,
            "no usable key in it: keys[0]: not a JSON object; keys[1]: not a JSON object; \
             keys[2] (kid \"k\"): `kty` is \"oct\", a shared secret; and 2 more",
        ),
    ] {
        assert_eq!(KeySet::parse(document.as_bytes()).unwrap_err().to_string(), message);
    }
    assert!(KeySet::parse(b"{\"keys\": [\"\xff\"]}").is_err());
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_document() {
    let document = json!({ "keys": [p256()] }).to_string();
    assert_eq!(KeySet::parse(format!("\u{feff}{document}").as_bytes()).unwrap().set.len(), 1);
    assert!(KeySet::parse(format!("\u{feff}\u{feff}{document}").as_bytes()).is_err());
}

#[test]
fn a_key_that_stays_is_the_same_key_and_one_that_goes_is_retired() {
    let (stays, goes, comes) = (p256(), p256(), p256());
    let rebound = Rsa::new(KeySize::Rsa2048).jwk;
    let old = parse(json!([stays, goes, rebound])).unwrap().set;
    let next = parse(json!([comes, with(&rebound, json!({"alg": "RS256"})), stays])).unwrap().set;
    let next = next.succeeding(&old);
    old.retire_all_but(&next);

    let [old_stays, old_goes, old_rebound] = &old.keys[..] else { panic!() };
    let [_, _, kept] = &next.keys[..] else { panic!() };
    assert!(Arc::ptr_eq(old_stays, kept) && kept.is_live());
    assert!(!old_goes.is_live() && !old_rebound.is_live());
    assert!(next.iter().all(|key| key.is_live()));

    // What was retired does not come back to life.
    let again = parse(json!([goes])).unwrap().set.succeeding(&old);
    assert!(!Arc::ptr_eq(old_goes, &again.keys[0]) && again.keys[0].is_live());
    assert!(again.keys[0].is_same(old_goes));
}

#[test]
fn debug_output_holds_no_key_material() {
    let (_, jwk) = ed25519();
    let key = only(jwk.clone());
    assert_eq!(
        format!("{key:?}"),
        r#"VerifyingKey { kid: Some("d"), algorithms: ["EdDSA"], live: true, .. }"#
    );
    let unusable = why(with(&jwk, json!({"x": "secret!"}))).to_string();
    assert!(!unusable.contains("secret"), "{unusable}");
}
