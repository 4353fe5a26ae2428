//! One pass over JSON that builds nothing.
//!
//! A token costs its sender a few bytes for every value that it makes a reader
//! build, whether or not it is signed. So a token is first passed over: whether it is
//! JSON in which no object has a name twice, and what the few members say that
//! are needed to find its provider and its key.

use std::{fmt, sync::LazyLock};

use ahash::RandomState;
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use smallvec::{SmallVec, smallvec};

/// The most values that a token's header or claims may have, elements and
/// members at any depth counted: several times what the largest honest ones
/// have.
pub const MAX_VALUES: usize = 2048;

/// How deep lists and objects may lie in each other.
pub const MAX_DEPTH: usize = 16;

/// What is known while a text is passed over.
#[derive(Default)]
pub(super) struct Pass {
    values: usize,
    depth: usize,
    /// The names of the objects that are open, see [`key`].
    names: SmallVec<[u64; 32]>,
}

impl Pass {
    /// One value more.
    fn count<E: de::Error>(&mut self) -> Result<(), E> {
        self.values += 1;
        match self.values > MAX_VALUES {
            true => Err(E::custom(format_args!("more than {MAX_VALUES} values"))),
            false => Ok(()),
        }
    }

    /// Steps into a list or an object.
    fn enter<E: de::Error>(&mut self) -> Result<(), E> {
        self.count()?;
        self.depth += 1;
        match self.depth > MAX_DEPTH {
            true => Err(E::custom(format_args!("more than {MAX_DEPTH} values inside each other"))),
            false => Ok(()),
        }
    }

    /// Passes over the members of an object; `member` gets each name and
    /// takes its value.
    pub(super) fn object<'de, A: MapAccess<'de>>(
        &mut self,
        access: &mut A,
        mut member: impl FnMut(Option<Known>, &mut A, &mut Self) -> Result<(), A::Error>,
    ) -> Result<(), A::Error> {
        let start = self.names.len();
        while let Some(Name { key, known }) = access.next_key()? {
            self.names.push(key);
            member(known, access, self)?;
        }
        let twice = have_repeats(self.names.get(start..).unwrap_or_default());
        self.names.truncate(start);
        match twice {
            true => Err(de::Error::custom("a name occurs twice")),
            false => Ok(()),
        }
    }
}

/// The names whose values are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    Alg,
    B64,
    Cnf,
    Exp,
    Iss,
    Kid,
    Typ,
    /// One that asks for more than a signature.
    Asking(&'static str),
}

/// A member's name.
struct Name {
    /// See [`key`].
    key: u64,
    known: Option<Known>,
}

/// A hash for a name. No sender can know two names of one hash, since its key
/// is drawn at start, and to meet them by chance takes more tokens than there
/// ever will be. With the standard library's SipHash, `read_jwt` takes 22 %
/// longer (`benches/engine.rs`).
#[inline]
fn key(name: &str) -> u64 {
    static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    HASHER.hash_one(name)
}

/// Whether a key occurs twice.
fn have_repeats(keys: &[u64]) -> bool {
    if keys.len() <= FEW {
        return keys.iter().enumerate().any(|(at, key)| keys[..at].contains(key));
    }
    // A table with open addressing: keys are as good as random already. Sorting
    // them, reading takes 8 % longer for 30 names and 25 % for 2,000.
    let slots = (2 * keys.len()).next_power_of_two();
    let mut table: SmallVec<[u64; 256]> = smallvec![FREE; slots];
    for key in keys {
        let mut at = *key as usize;
        loop {
            let slot = &mut table[at & (slots - 1)];
            if *slot == *key {
                return true;
            }
            if *slot == FREE {
                *slot = *key;
                break;
            }
            at = at.wrapping_add(1);
        }
    }
    false
}

/// Up to so many keys, comparing each with each is faster: sorting them,
/// `read_jwt` takes 3 % longer (`benches/engine.rs`).
const FEW: usize = 16;

/// No key of a name, but by a chance as small as that of two names' meeting.
const FREE: u64 = 0;

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NameVisitor)
    }
}

struct NameVisitor;

impl Visitor<'_> for NameVisitor {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    #[inline]
    fn visit_str<E>(self, name: &str) -> Result<Name, E> {
        let known = match name {
            "alg" => Some(Known::Alg),
            "b64" => Some(Known::B64),
            "cnf" => Some(Known::Cnf),
            "exp" => Some(Known::Exp),
            "iss" => Some(Known::Iss),
            "kid" => Some(Known::Kid),
            "typ" => Some(Known::Typ),
            "crit" => Some(Known::Asking("crit")),
            "enc" => Some(Known::Asking("enc")),
            _ => None,
        };
        Ok(Name { key: key(name), known })
    }
}

/// Passes over one value.
pub(super) struct Skip<'p>(pub(super) &'p mut Pass);

impl<'de> DeserializeSeed<'de> for Skip<'_> {
    type Value = ();

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        look(self.0, |_| ()).deserialize(deserializer)
    }
}

/// What a value is that was looked at.
pub(super) enum Seen<'v> {
    Text(&'v str),
    Number(f64),
    True,
    Other,
}

/// Passes over one value and looks at it.
pub(super) struct Look<'p, F>(&'p mut Pass, F);

pub(super) fn look<T, F: FnOnce(Seen<'_>) -> T>(pass: &mut Pass, at: F) -> Look<'_, F> {
    Look(pass, at)
}

impl<'de, T, F: FnOnce(Seen<'_>) -> T> DeserializeSeed<'de> for Look<'_, F> {
    type Value = T;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        // With `deserialize_ignored_any`, malformed numbers would pass.
        deserializer.deserialize_any(self)
    }
}

impl<'de, T, F: FnOnce(Seen<'_>) -> T> Visitor<'de> for Look<'_, F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without repeated names")
    }

    fn visit_unit<E: de::Error>(self) -> Result<T, E> {
        self.0.count()?;
        Ok((self.1)(Seen::Other))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<T, E> {
        self.0.count()?;
        Ok((self.1)(if value { Seen::True } else { Seen::Other }))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<T, E> {
        self.visit_f64(value as f64)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<T, E> {
        self.visit_f64(value as f64)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<T, E> {
        self.0.count()?;
        Ok((self.1)(Seen::Number(value)))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<T, E> {
        self.0.count()?;
        Ok((self.1)(Seen::Text(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<T, A::Error> {
        self.0.enter()?;
        while access.next_element_seed(Skip(self.0))?.is_some() {}
        self.0.depth -= 1;
        Ok((self.1)(Seen::Other))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<T, A::Error> {
        self.0.enter()?;
        self.0.object(&mut access, |_, access, pass| access.next_value_seed(Skip(pass)))?;
        self.0.depth -= 1;
        Ok((self.1)(Seen::Other))
    }
}

/// What a claims set says before any claim is built.
#[derive(Default)]
pub(super) struct Facts {
    /// `iss`, where it is a string.
    pub(super) issuer: Option<Box<str>>,
    /// Whether `iss` is there and something else.
    pub(super) issuer_is_odd: bool,
    /// `exp`, where it is a number.
    pub(super) expires_at: Option<f64>,
    /// Whether there is a `cnf`.
    pub(super) is_bound: bool,
    /// Whether there is an `enc`, which no claims set has.
    pub(super) is_encryption: bool,
}

impl<'de> Deserialize<'de> for Facts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FactsVisitor)
    }
}

struct FactsVisitor;

impl<'de> Visitor<'de> for FactsVisitor {
    type Value = Facts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a claims set")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Facts, A::Error> {
        let mut facts = Facts::default();
        Pass::default().object(&mut access, |name, access, pass| match name {
            Some(Known::Iss) => access.next_value_seed(look(pass, |seen| match seen {
                Seen::Text(issuer) => facts.issuer = Some(issuer.into()),
                Seen::Number(_) | Seen::True | Seen::Other => facts.issuer_is_odd = true,
            })),
            Some(Known::Exp) => access.next_value_seed(look(pass, |seen| match seen {
                Seen::Number(seconds) => facts.expires_at = Some(seconds),
                Seen::Text(_) | Seen::True | Seen::Other => {}
            })),
            name => {
                facts.is_bound |= name == Some(Known::Cnf);
                facts.is_encryption |= name == Some(Known::Asking("enc"));
                access.next_value_seed(Skip(pass))
            }
        })?;
        Ok(facts)
    }
}
