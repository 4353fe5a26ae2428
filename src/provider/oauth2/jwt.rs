//! Reading a JWT before its signature is looked at (RFC 7515, RFC 7519).

use std::{borrow::Cow, cell::RefCell, fmt, sync::Arc};

use base64_simd::URL_SAFE_NO_PAD;
use serde::de::{
    Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor,
};
use serde_json::{Map, Number, Value};
use smallvec::SmallVec;

use crate::claims::Claims;

/// A readable JWT whose signature nobody has looked at.
pub struct Unverified {
    header: Arc<Header>,
    claims: Claims,
    signed_bytes: usize,
    signature: Vec<u8>,
}

impl Unverified {
    /// Reads a compact JWS whose payload is a claims set; `None` if it is not
    /// one. Members that occur twice and an `iss` that is no string make it
    /// unreadable: different readers would see different tokens.
    pub fn read(token: &str) -> Option<Self> {
        let [header, claims, signature] = parts(token)?;
        let jwt = Self {
            header: read_header(header)?,
            claims: parse::<ClaimsSet>(claims)?.0,
            signed_bytes: header.len() + 1 + claims.len(),
            signature: decode(signature)?,
        };
        let issuer_is_text = jwt.claims.get("iss").is_none_or(Value::is_string);
        issuer_is_text.then_some(jwt)
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The claims.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The issuer, if the token names one.
    pub fn issuer(&self) -> Option<&str> {
        self.claims.get("iss")?.as_str()
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

/// The members of a header that mean something here (RFC 7515, section 4.1).
#[derive(Debug, Default)]
pub struct Header {
    /// `alg`; a readable JWT has one.
    pub alg: String,
    /// `kid`.
    pub kid: Member,
    /// `typ`.
    pub typ: Member,
    /// `cty`.
    pub cty: Member,
    /// The first member that asks for more than a signature: `crit` would
    /// have to be understood, `b64` changes what was signed (RFC 7797), `enc`
    /// and `zip` belong to encrypted tokens.
    pub asks_for: Option<&'static str>,
}

/// A member that should be text.
#[derive(Debug, Default)]
pub enum Member {
    /// It is not there.
    #[default]
    Absent,
    /// It is.
    Text(String),
    /// It is something else.
    Odd,
}

impl Member {
    fn of(value: Value) -> Self {
        match value {
            Value::String(text) => Self::Text(text),
            _ => Self::Odd,
        }
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Absent | Self::Odd => None,
        }
    }
}

const ASKING: [&str; 4] = ["crit", "b64", "enc", "zip"];

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JOSE header")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Header, A::Error> {
        let (mut header, mut alg) = (Header::default(), None);
        let mut seen: SmallVec<[Cow<'de, str>; 8]> = SmallVec::new();
        while let Some(Name(name)) = access.next_key()? {
            if seen.len() == MAX_MEMBERS || seen.contains(&name) {
                return Err(serde::de::Error::custom("a name occurs twice, or too many"));
            }
            let value = access.next_value_seed(StrictSeed)?;
            match &*name {
                "alg" => alg = Some(Member::of(value)),
                "kid" => header.kid = Member::of(value),
                "typ" => header.typ = Member::of(value),
                "cty" => header.cty = Member::of(value),
                other => {
                    let asking = ASKING.into_iter().find(|asking| *asking == other);
                    header.asks_for = header.asks_for.or(asking);
                }
            }
            seen.push(name);
        }
        match alg {
            Some(Member::Text(alg)) => Ok(Header { alg, ..header }),
            _ => Err(serde::de::Error::missing_field("alg")),
        }
    }
}

/// More than any issuer uses, and few enough to compare each with each.
const MAX_MEMBERS: usize = 64;

/// A member's name, borrowed where it holds no escapes.
struct Name<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(name)))
            }

            fn visit_str<E>(self, name: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(name.into())))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

/// Names only: claims may be personal data, and with the signature they are
/// the token.
impl fmt::Debug for Unverified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unverified")
            .field("alg", &self.header.alg)
            .field("claims", &self.claims)
            .finish_non_exhaustive()
    }
}

/// What kind of token it claims to be when it can't be read as a JWT: three
/// parts, or an encrypted JWT (RFC 7516, section 7.1).
pub fn pretends_to_be_a_jwt(token: &str) -> bool {
    match token.bytes().filter(|byte| *byte == b'.').count() {
        2 => true,
        4 => {
            let header = token.split('.').next().and_then(decode);
            let header = header.and_then(|json| serde_json::from_slice::<ClaimsSet>(&json).ok());
            header.is_some_and(|ClaimsSet(members)| members.get("enc").is_some())
        }
        _ => false,
    }
}

/// Why [`Unverified::read`] can't read a token, for whoever holds it: at the
/// most a short piece of its header or claims is in it, none of its signature.
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
        .map(|error| format!("its header is no JOSE header: {}", shortened(&error)));
    let claims_error = || {
        let error = serde_json::from_slice::<ClaimsSet>(&decode(claims)?).err()?;
        Some(format!("its claims are no JSON object: {}", shortened(&error)))
    };
    header_error.or_else(claims_error).unwrap_or_else(|| "its iss is no string".into())
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

/// A header. All tokens that a key signs have the same, so each thread keeps
/// the last one that it read.
fn read_header(part: &str) -> Option<Arc<Header>> {
    thread_local!(static LAST: RefCell<Option<(Box<str>, Arc<Header>)>> = const { RefCell::new(None) });
    LAST.with_borrow_mut(|last| {
        if let Some((text, header)) = last
            && **text == *part
        {
            return Some(Arc::clone(header));
        }
        let header = Arc::new(parse(part)?);
        *last = Some((part.into(), Arc::clone(&header)));
        Some(header)
    })
}

/// What a part says as JSON. To look at the encoding of all of it at once is
/// faster than string by string.
fn parse<T: DeserializeOwned>(part: &str) -> Option<T> {
    serde_json::from_str(str::from_utf8(&decode(part)?).ok()?).ok()
}

fn decode(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode_to_vec(part).ok()
}

/// A JSON object, no name in it occurring twice at any depth.
struct ClaimsSet(Claims);

impl<'de> Deserialize<'de> for ClaimsSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ClaimsVisitor)
    }
}

struct ClaimsVisitor;

impl<'de> Visitor<'de> for ClaimsVisitor {
    type Value = ClaimsSet;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a claims set")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<ClaimsSet, A::Error> {
        // Most claims sets fit without growing.
        let mut claims = Claims::with_capacity(16);
        while let Some(Name(name)) = access.next_key()? {
            claims.push(&name, access.next_value_seed(StrictSeed)?);
        }
        match claims.have_repeats() {
            false => Ok(ClaimsSet(claims)),
            true => Err(serde::de::Error::custom("a name occurs twice")),
        }
    }
}

/// JSON whose objects have unique names (RFC 8725, section 2.4 tells why).
struct StrictSeed;

impl<'de> DeserializeSeed<'de> for StrictSeed {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StrictSeed {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without repeated names")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a JSON number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.into()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = access.next_element_seed(Self)? {
            elements.push(element);
        }
        Ok(Value::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            if members.insert(name, access.next_value_seed(Self)?).is_some() {
                return Err(serde::de::Error::custom("a name occurs twice"));
            }
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str, claims: &str) -> String {
        let encode = |part: &str| URL_SAFE_NO_PAD.encode_to_string(part);
        format!("{}.{}.c2ln", encode(header), encode(claims))
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
            (token("{}", "{}"), "header is no JOSE header: missing field `alg`"),
            (token(r#"{"alg":"a","alg":"a"}"#, "{}"), "a name occurs twice"),
            (token(good.0, "[]"), "claims are no JSON object"),
            (token(good.0, r#"{"a":1,"a":2}"#), "claims are no JSON object: a name occurs twice"),
            (token(good.0, r#"{"iss":1}"#), "iss is no string"),
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
            ("a.b.c.d.e", false),
            ("k", false),
        ] {
            assert_eq!(pretends_to_be_a_jwt(token), expected, "{token}");
        }
    }
}
