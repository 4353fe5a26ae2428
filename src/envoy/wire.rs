//! A reader of Protocol Buffers: fields of a message, one by one, borrowed.
//!
//! <https://protobuf.dev/programming-guides/encoding/>

use smallvec::SmallVec;

/// Bytes that are not a message: truncated, or against the encoding's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message is not valid protobuf")]
pub struct Malformed;

/// The value of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A string, bytes, or a message.
    Bytes(&'a [u8]),
    /// Anything else; it has been skipped.
    Other,
}

impl<'a> Value<'a> {
    /// The bytes of a length-delimited field.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if the field has another wire type than its schema says.
    pub fn bytes(self) -> Result<&'a [u8], Malformed> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Other => Err(Malformed),
        }
    }

    /// The text of a string field.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if the field is not a string: another wire type, or not UTF-8.
    pub fn text(self) -> Result<&'a str, Malformed> {
        str::from_utf8(self.bytes()?).map_err(|_| Malformed)
    }
}

/// Walks the fields of one message.
///
/// Every byte is read at most once, and nested messages are only entered where
/// the caller makes a `Fields` of them, so the work is bounded by the input and
/// the stack by the schema.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The fields of `message`.
    pub fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// The next field's number and value; `None` at the end.
    ///
    /// # Errors
    ///
    /// [`Malformed`] where the bytes end early or break the rules.
    #[inline]
    pub fn next_field(&mut self) -> Result<Option<(u32, Value<'a>)>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (number, wire_type) = self.key()?;
        if wire_type == LENGTH_DELIMITED {
            return Ok(Some((number, Value::Bytes(self.delimited()?))));
        }
        self.skip(number, wire_type)?;
        Ok(Some((number, Value::Other)))
    }

    #[inline]
    fn key(&mut self) -> Result<(u32, u8), Malformed> {
        let key = u32::try_from(self.varint()?).map_err(|_| Malformed)?;
        match key >> 3 {
            0 => Err(Malformed),
            number => Ok((number, (key & 7) as u8)),
        }
    }

    /// Nearly every number takes one byte. With the loop alone, `whole_check`
    /// takes 12 % longer (`benches/engine.rs`).
    #[inline]
    fn varint(&mut self) -> Result<u64, Malformed> {
        match self.rest {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for (i, byte) in self.rest.iter().enumerate().take(10) {
            // The tenth byte has room for the 64th bit alone.
            if i == 9 && *byte > 1 {
                return Err(Malformed);
            }
            value |= u64::from(byte & 0x7f) << (7 * i);
            if *byte < 0x80 {
                self.rest = &self.rest[i + 1..];
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    #[inline]
    fn delimited(&mut self) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
        self.take(length)
    }

    #[inline]
    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    fn skip(&mut self, number: u32, wire_type: u8) -> Result<(), Malformed> {
        match wire_type {
            START_GROUP => self.skip_group(number),
            _ => self.skip_value(wire_type),
        }
    }

    fn skip_value(&mut self, wire_type: u8) -> Result<(), Malformed> {
        match wire_type {
            VARINT => self.varint().map(drop),
            SIXTY_FOUR_BIT => self.take(8).map(drop),
            LENGTH_DELIMITED => self.delimited().map(drop),
            THIRTY_TWO_BIT => self.take(4).map(drop),
            _ => Err(Malformed),
        }
    }

    /// Skips a group (deprecated since proto2) and the groups inside it, without
    /// recursion.
    fn skip_group(&mut self, number: u32) -> Result<(), Malformed> {
        let mut open = SmallVec::<[u32; 8]>::from_slice(&[number]);
        while let Some(innermost) = open.last().copied() {
            let (number, wire_type) = self.key()?;
            match wire_type {
                START_GROUP if open.len() < MAX_DEPTH => open.push(number),
                START_GROUP => return Err(Malformed),
                END_GROUP if number == innermost => drop(open.pop()),
                END_GROUP => return Err(Malformed),
                _ => self.skip_value(wire_type)?,
            }
        }
        Ok(())
    }
}

const VARINT: u8 = 0;
const SIXTY_FOUR_BIT: u8 = 1;
const LENGTH_DELIMITED: u8 = 2;
const START_GROUP: u8 = 3;
const END_GROUP: u8 = 4;
const THIRTY_TWO_BIT: u8 = 5;

/// How deep groups may nest: the limit of the common protobuf libraries.
const MAX_DEPTH: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(message: &[u8]) -> Result<Vec<(u32, Value<'_>)>, Malformed> {
        let mut fields = Fields::new(message);
        std::iter::from_fn(|| fields.next_field().transpose()).collect()
    }

    #[test]
    fn every_wire_type_is_stepped_over() {
        let cases: [(&str, &[u8], &[u32]); 8] = [
            ("nothing", &[], &[]),
            ("varint", &[0x08, 0x96, 0x01, 0x10, 0x00], &[1, 2]),
            ("longest varint", &[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1], &[1]),
            ("fixed64", &[0x09, 1, 2, 3, 4, 5, 6, 7, 8], &[1]),
            ("fixed32", &[0x0d, 1, 2, 3, 4], &[1]),
            ("empty group", &[0x0b, 0x0c], &[1]),
            ("nested groups", &[0x0b, 0x13, 0x08, 0x01, 0x1a, 0x01, 0xff, 0x14, 0x0c], &[1]),
            ("overlong key", &[0x88, 0x80, 0x00, 0x01], &[1]),
        ];
        for (name, message, numbers) in cases {
            let fields = read(message).unwrap_or_else(|_| panic!("{name}"));
            assert_eq!(fields, numbers.iter().map(|n| (*n, Value::Other)).collect::<Vec<_>>());
        }
        assert_eq!(read(&[0x0a, 2, b'h', b'i']), Ok(vec![(1, Value::Bytes(b"hi"))]));
    }

    #[test]
    fn what_breaks_the_rules_is_malformed() {
        let cases: [(&str, &[u8]); 14] = [
            ("key cut short", &[0x88]),
            ("varint cut short", &[0x08, 0x96]),
            ("varint of 65 bits", &[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2]),
            ("varint of 11 bytes", &[0x08, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 1]),
            ("fixed64 cut short", &[0x09, 1, 2, 3]),
            ("fixed32 cut short", &[0x0d, 1, 2, 3]),
            ("length missing", &[0x0a]),
            ("length beyond the end", &[0x0a, 3, b'h', b'i']),
            ("length of 2^64-1", &[0x0a, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]),
            ("field number 0", &[0x00, 0x00]),
            ("key over 32 bits", &[0x88, 0x80, 0x80, 0x80, 0x10, 0x00]),
            ("wire type 6", &[0x0e]),
            ("group not closed", &[0x0b, 0x08, 0x01]),
            ("group closed by another", &[0x0b, 0x14]),
        ];
        for (name, message) in cases {
            assert_eq!(read(message), Err(Malformed), "{name}");
        }
        assert_eq!(read(&[0x0c]), Err(Malformed), "group closed that is not open");
    }

    #[test]
    fn groups_nest_only_so_deep() {
        let nested = |depth: usize| [vec![0x0b; depth], vec![0x0c; depth]].concat();
        assert_eq!(read(&nested(MAX_DEPTH)), Ok(vec![(1, Value::Other)]));
        assert_eq!(read(&nested(MAX_DEPTH + 1)), Err(Malformed));
        assert_eq!(read(&nested(1 << 20)), Err(Malformed));
    }
}
