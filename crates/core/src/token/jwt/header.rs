//! The header of a JWT.

use std::{cell::RefCell, fmt, sync::Arc};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use super::{
    parse,
    pass::{Known, Pass, Seen, Skip, look},
};

/// The members of a header that mean something here (RFC 7515, section 4.1).
#[derive(Debug, Default)]
pub struct Header {
    /// `alg`; a readable JWT has one.
    pub alg: String,
    /// `kid`.
    pub kid: Member,
    /// `typ`.
    pub typ: Member,
    /// The first member that asks for more than a signature: `crit` would
    /// have to be understood, `b64` that is not true changes what was signed
    /// (RFC 7797), `enc` belongs to encrypted tokens. `zip` and `cty` mean
    /// nothing in a signed token whose payload is a claims set: if it is
    /// compressed, or a token itself, it can't be read as one.
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
    fn of(seen: Seen<'_>) -> Self {
        match seen {
            Seen::Text(text) => Self::Text(text.into()),
            Seen::True | Seen::Number(_) | Seen::Other => Self::Odd,
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

/// More than any issuer uses.
const MAX_MEMBERS: usize = 64;

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
        let (mut header, mut alg, mut members) = (Header::default(), Member::Absent, 0);
        Pass::default().object(&mut access, |name, access, pass| {
            members += 1;
            if members > MAX_MEMBERS {
                return Err(serde::de::Error::custom("too many names"));
            }
            let member = match name {
                Some(Known::Alg) => &mut alg,
                Some(Known::Kid) => &mut header.kid,
                Some(Known::Typ) => &mut header.typ,
                Some(Known::B64) => {
                    let is_true = |seen: Seen<'_>| matches!(seen, Seen::True);
                    if !access.next_value_seed(look(pass, is_true))? {
                        header.asks_for = header.asks_for.or(Some("b64"));
                    }
                    return Ok(());
                }
                other => {
                    if let Some(Known::Asking(name)) = other {
                        header.asks_for = header.asks_for.or(Some(name));
                    }
                    return access.next_value_seed(Skip(pass));
                }
            };
            *member = access.next_value_seed(look(pass, Member::of))?;
            Ok(())
        })?;
        match alg {
            Member::Text(alg) => Ok(Header { alg, ..header }),
            Member::Absent | Member::Odd => Err(serde::de::Error::missing_field("alg")),
        }
    }
}

/// A header. All tokens that a key signs have the same, so each thread keeps
/// the last one that it read, unless that is an unusually long one. Reading it
/// each time, `read_jwt` takes 24 % longer (`benches/engine.rs`).
pub(super) fn read_header(part: &str) -> Option<Arc<Header>> {
    thread_local!(static LAST: RefCell<Option<(Box<str>, Arc<Header>)>> = const { RefCell::new(None) });
    LAST.with_borrow_mut(|last| {
        if let Some((text, header)) = last
            && **text == *part
        {
            return Some(Arc::clone(header));
        }
        let header = Arc::new(parse(part)?);
        if part.len() <= MAX_KEPT_BYTES {
            *last = Some((part.into(), Arc::clone(&header)));
        }
        Some(header)
    })
}

/// Headers of several certificates are longer than this.
const MAX_KEPT_BYTES: usize = 1024;
