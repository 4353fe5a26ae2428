//! Reading a JWT before its signature is verified (RFC 7515, RFC 7519).

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use base64_simd::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;

use self::{claims_set::ClaimsSet, header::read_header, pass::Facts};
use crate::claims::Claims;

mod claims_set;
mod header;
mod pass;

pub use header::{Header, Member};
pub use pass::{MAX_DEPTH, MAX_VALUES};

/// A readable JWT whose signature has not been verified.
pub struct Unverified {
    header: Arc<Header>,
    facts: Facts,
    /// The claims set as JSON, passed over once.
    payload: String,
    /// Built when they are first asked for.
    claims: OnceLock<Claims>,
    signed_bytes: usize,
    signature: Vec<u8>,
}

impl Unverified {
    /// Reads a compact JWS whose payload is a claims set; `None` if it is not
    /// one. Members that occur twice and an `iss` that is not a string make it
    /// unreadable: different readers would see different tokens. So do more
    /// than [`MAX_VALUES`] values or more than [`MAX_DEPTH`] inside each other.
    /// No claim is built yet.
    pub fn read(token: &str) -> Option<Self> {
        let [header, claims, signature] = parts(token)?;
        let header_read = read_header(header)?;
        let payload = text(claims)?;
        let jwt = Self {
            header: header_read,
            facts: serde_json::from_str(&payload).ok()?,
            payload,
            claims: OnceLock::new(),
            signed_bytes: header.len() + 1 + claims.len(),
            signature: decode(signature)?,
        };
        (!jwt.facts.issuer_is_odd).then_some(jwt)
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The claims. To build them costs far more than to read all the rest:
    /// worth it for a token whose signature is valid.
    pub fn claims(&self) -> &Claims {
        let build = || serde_json::from_str::<ClaimsSet>(&self.payload).ok();
        // The first pass found it readable. If it is not after all, there are
        // no claims, and a token without `exp` is refused.
        self.claims.get_or_init(|| build().map(|ClaimsSet(claims)| claims).unwrap_or_default())
    }

    /// The issuer, if the token names one.
    pub fn issuer(&self) -> Option<&str> {
        self.facts.issuer.as_deref()
    }

    /// `exp` in Unix seconds, if that is a number.
    pub fn expires_at(&self) -> Option<f64> {
        self.facts.expires_at
    }

    /// Whether the token is bound to a key or certificate (`cnf`, RFC 7800).
    pub fn is_bound(&self) -> bool {
        self.facts.is_bound
    }

    /// The part that was signed of the token this was read from.
    pub fn signed_part<'t>(&self, token: &'t str) -> &'t [u8] {
        token.as_bytes().get(..self.signed_bytes).unwrap_or_default()
    }

    /// The signature.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }
}

/// Names only: claims may be personal data, and with the signature they are
/// the token.
impl fmt::Debug for Unverified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unverified")
            .field("alg", &self.header.alg)
            .field("claims", self.claims())
            .finish_non_exhaustive()
    }
}

/// What kind of token it claims to be when it can't be read as a JWT: three
/// parts, or an encrypted JWT (RFC 7516, section 7.1).
pub fn pretends_to_be_a_jwt(token: &str) -> bool {
    match memchr::memchr_iter(b'.', token.as_bytes()).count() {
        2 => true,
        4 => {
            let header = token.split('.').next().filter(|header| header.len() <= MAX_JWE_HEADER);
            header.and_then(parse::<Facts>).is_some_and(|facts| facts.is_encryption)
        }
        _ => false,
    }
}

/// The longest header of five parts that is looked at, in bytes.
const MAX_JWE_HEADER: usize = 4096;

/// Why [`Unverified::read`] can't read a token. It holds at the most a short
/// piece of the token's header or claims, and nothing of its signature.
pub fn defect(token: &str) -> String {
    let Some([header, claims, signature]) = parts(token) else {
        let parts = token.split('.').count();
        return format!("it has {parts} parts between dots, a signed JWT has three");
    };
    for (name, part) in [("header", header), ("claims", claims), ("signature", signature)] {
        if decode(part).is_none() {
            return format!("its {name} is not base64url without padding");
        }
    }
    let header_error = decode(header)
        .and_then(|header| serde_json::from_slice::<Header>(&header).err())
        .map(|error| format!("its header is not a JOSE header: {}", shortened(&error)));
    let claims_error = || {
        let error = serde_json::from_slice::<Facts>(&decode(claims)?).err()?;
        Some(format!("its claims are not a JSON object: {}", shortened(&error)))
    };
    header_error.or_else(claims_error).unwrap_or_else(|| "its iss is not a string".into())
}

fn shortened(error: &serde_json::Error) -> String {
    error.to_string().chars().take(120).collect()
}

/// The three parts of a compact JWS.
fn parts(token: &str) -> Option<[&str; 3]> {
    let mut dots = memchr::memchr_iter(b'.', token.as_bytes());
    let (one, two) = (dots.next()?, dots.next()?);
    dots.next().is_none().then(|| [&token[..one], &token[one + 1..two], &token[two + 1..]])
}

/// What a part says as JSON. To look at the encoding of all of it at once is
/// faster than string by string.
fn parse<T: DeserializeOwned>(part: &str) -> Option<T> {
    serde_json::from_str(&text(part)?).ok()
}

fn text(part: &str) -> Option<String> {
    String::from_utf8(decode(part)?).ok()
}

/// With the `base64` crate, `read_jwt` takes 70 % longer (`benches/engine.rs`)
/// and an ever-new token 2 % (`make bench ARGS=engine`).
fn decode(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode_to_vec(part).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str, claims: &str) -> String {
        let encode = |part: &str| URL_SAFE_NO_PAD.encode_to_string(part);
        format!("{}.{}.c2ln", encode(header), encode(claims))
    }

    fn members(count: usize) -> String {
        let members: Vec<_> = (0..count).map(|number| format!(r#""{number}":1"#)).collect();
        format!("{{{}}}", members.join(","))
    }

    fn nested(depth: usize) -> String {
        format!(r#"{{"list":{}{}}}"#, "[".repeat(depth), "]".repeat(depth))
    }

    fn elements(count: usize) -> String {
        format!(r#"{{"list":[{}]}}"#, vec!["1"; count].join(","))
    }

    /// What is known before the claims are built is what they say.
    #[test]
    fn the_first_pass_agrees_with_the_claims() {
        for claims in [
            "{}",
            r#"{"iss":"a","exp":7.5,"cnf":{"jkt":"x"}}"#,
            r#"{"\u0069ss":"\u0061","exp":-1,"cnf":null}"#,
            r#"{"exp":"7","nested":{"iss":"b","exp":1,"cnf":1}}"#,
            r#"{"exp":18446744073709551616,"aud":["a","b"],"x":{"y":[{"z":null},true]}}"#,
        ] {
            let jwt = Unverified::read(&token(r#"{"alg":"a"}"#, claims)).unwrap();
            let expected = serde_json::from_str::<serde_json::Value>(claims).unwrap();
            let built: Vec<_> =
                jwt.claims().names().map(|name| (name, &jwt.claims()[name])).collect();
            let expected: Vec<_> = expected
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, value)| (name.as_str(), value))
                .collect();
            assert_eq!(built, expected, "{claims}");
            let claim = |name| jwt.claims().get(name);
            assert_eq!(jwt.issuer(), claim("iss").and_then(|iss| iss.as_str()), "{claims}");
            assert_eq!(jwt.expires_at(), claim("exp").and_then(|exp| exp.as_f64()), "{claims}");
            assert_eq!(jwt.is_bound(), claim("cnf").is_some(), "{claims}");
        }
    }

    #[test]
    fn what_can_be_read() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(500), "]".repeat(500));
        let cases = [
            (token(r#"{"alg":"RS256"}"#, r#"{"iss":"x"}"#), true),
            (token(r#"{"alg":"RS256"}"#, "{}"), true),
            (token(r#"{"alg":"none"}"#, "{}").replace("c2ln", ""), true),
            (token("{}", "{}"), false),
            (token(r#"{"alg":1}"#, "{}"), false),
            (token(r#"{"alg":"a","alg":"a"}"#, "{}"), false),
            (token(r#"{"alg":"a"}"#, r#"{"sub":"a","sub":"b"}"#), false),
            (token(r#"{"alg":"a"}"#, r#"{"x":{"y":1,"y":2}}"#), false),
            (token(r#"{"alg":"a"}"#, r#"{"x":[{"y":1},{"y":1}],"y":{"x":1}}"#), true),
            (token(r#"{"alg":"a"}"#, r#"{"x":{"y":1,"\u0079":2}}"#), false),
            (token(r#"{"alg":"a"}"#, r#"{"iss":"a","\u0069ss":"b"}"#), false),
            (token(r#"{"alg":"a","x":{"y":1,"y":2}}"#, "{}"), false),
            (token(r#"{"alg":"a"}"#, r#"{"x":01}"#), false),
            (token(r#"{"alg":"a"}"#, r#"{"x":"\ud800"}"#), false),
            (token(r#"{"alg":"a"}"#, r#"{"x":[1,]}"#), false),
            (token(r#"{"alg":"a"}"#, &members(MAX_VALUES)), true),
            (token(r#"{"alg":"a"}"#, &members(MAX_VALUES + 1)), false),
            (token(r#"{"alg":"a"}"#, &members(100).replace("99", "7")), false),
            (token(r#"{"alg":"a"}"#, &members(10).replace("9", "7")), false),
            (token(r#"{"alg":"a"}"#, &nested(MAX_DEPTH)), true),
            (token(r#"{"alg":"a"}"#, &nested(MAX_DEPTH + 1)), false),
            (token(r#"{"alg":"a"}"#, r#"{"abcde":1,"abcd":1,"eabcd":1,"":1,"\u0000":1}"#), true),
            (token(r#"{"alg":"a"}"#, r#"{"":1,"":1}"#), false),
            (token(r#"{"alg":"a"}"#, &elements(MAX_VALUES - 1)), true),
            (token(r#"{"alg":"a"}"#, &elements(MAX_VALUES)), false),
            (token(r#"{"alg":"a"}"#, r#"{"iss":1}"#), false),
            (token(r#"{"alg":"a"}"#, r#"{"iss":null}"#), false),
            (token(r#"{"alg":"a"}"#, "[]"), false),
            (token(r#"{"alg":"a"}"#, r#""text""#), false),
            (token(r#"{"alg":"a"}"#, "{} x"), false),
            (token(r#"{"alg":"a"}"#, r#"{"exp":1e999}"#), false),
            (token(r#"{"alg":"a"}"#, &deep), false),
            (token(r#"{"alg":"a"}"#, "{}") + ".x", false),
            (token(r#"{"alg":"a"}"#, "{}") + "=", false),
            (token(r#"{"alg":"a"}"#, "{}").replace("c2ln", "c2l!"), false),
            (token(r#"{"alg":"a"}"#, "{}").replace("c2ln", "c2n"), false),
            ("..".into(), false),
            ("a.b".into(), false),
            (String::new(), false),
        ];
        for (token, readable) in cases {
            assert_eq!(Unverified::read(&token).is_some(), readable, "{token}");
        }
    }

    #[test]
    fn every_token_has_its_own_header() {
        for alg in ["RS256", "RS256", "ES256", "none", "RS256"] {
            let token = token(&format!(r#"{{"alg":"{alg}"}}"#), "{}");
            assert_eq!(Unverified::read(&token).unwrap().header().alg, alg);
            assert!(Unverified::read("e30.e30.c2ln").is_none());
        }
    }

    #[test]
    fn the_signed_bytes_are_the_first_two_parts() {
        let token = token(r#"{"alg":"ES256"}"#, r#"{"iss":"me"}"#);
        let jwt = Unverified::read(&token).unwrap();
        assert_eq!(jwt.signed_part(&token), token.rsplit_once('.').unwrap().0.as_bytes());
        assert_eq!(
            (jwt.header().alg.as_str(), jwt.issuer(), jwt.signature()),
            ("ES256", Some("me"), &b"sig"[..])
        );
    }

    #[test]
    fn what_makes_a_token_unreadable_is_told() {
        let good = (r#"{"alg":"a"}"#, "{}");
        let cases = [
            ("a.b".into(), "2 parts"),
            (token(good.0, good.1) + "=", "signature is not base64url"),
            (format!("+{}", token(good.0, good.1)), "header is not base64url"),
            (token("{}", "{}"), "header is not a JOSE header: missing field `alg`"),
            (token(r#"{"alg":"a","alg":"a"}"#, "{}"), "a name occurs twice"),
            (token(good.0, "[]"), "claims are not a JSON object"),
            (
                token(good.0, r#"{"a":1,"a":2}"#),
                "claims are not a JSON object: a name occurs twice",
            ),
            (token(good.0, r#"{"iss":1}"#), "iss is not a string"),
        ];
        for (token, expected) in cases {
            assert!(Unverified::read(&token).is_none(), "{token}");
            assert!(defect(&token).contains(expected), "{token}: {}", defect(&token));
        }
    }

    #[test]
    fn pretenders() {
        let jwe = token(r#"{"alg":"dir","enc":"A128GCM"}"#, "{}") + ".a.b";
        for (token, expected) in [
            ("..", true),
            ("a.b.c", true),
            ("....", false),
            (&jwe, true),
            (&format!("{}{jwe}", "A".repeat(MAX_JWE_HEADER)), false),
            ("a.b.c.d.e", false),
            ("k", false),
        ] {
            assert_eq!(pretends_to_be_a_jwt(token), expected, "{token}");
        }
    }
}
