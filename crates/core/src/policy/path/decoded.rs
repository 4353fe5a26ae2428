//! A path decoded until nothing changes, with what each byte was made of.

/// What a decoded byte was in the path as sent, and what it may mean to a
/// server: an index into [`super::Rules`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) struct Class(u8);

/// How much decoding a byte took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// None: it stands there.
    Literal,
    /// It was an escape of a character that means the same with and without
    /// (RFC 3986, section 6.2.2.2), so every server may decode it.
    Unreserved,
    /// It was an escape of another character.
    Once,
    /// It was an escape of an escape, or an escape with escapes in it.
    Nested,
}

/// What a byte may mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Itself.
    Plain,
    /// The end of a segment.
    Slash,
    /// The same, or itself.
    Backslash,
    /// The beginning of parameters, or itself.
    Semicolon,
}

/// A path decoded until nothing changes.
#[derive(Debug)]
pub(in crate::policy) struct Decoded {
    bytes: Vec<u8>,
    classes: Vec<Class>,
}

/// A path being decoded, in as much room as it can need.
struct Decoder<'d> {
    bytes: &'d mut [u8],
    classes: &'d mut [Class],
    length: usize,
    /// Whether the last bytes are the beginning of an escape.
    is_pending: bool,
}

impl Class {
    /// How many there are.
    pub(super) const COUNT: usize = 16;

    const LITERAL: Self = Self(0);

    pub(super) const fn new(depth: Depth, meaning: Meaning) -> Self {
        Self(depth as u8 * 4 + meaning as u8)
    }

    pub(in crate::policy) fn index(self) -> usize {
        usize::from(self.0)
    }

    fn is_literal(self) -> bool {
        self.0 < Depth::Unreserved as u8 * 4
    }
}

impl Decoded {
    /// Decodes in one pass: whenever the last three bytes are an escape, they
    /// are replaced by what it stands for. Escapes can't overlap, so the order
    /// of replacing does not matter, and nested escapes cost no more than
    /// their length.
    pub(super) fn of(path: &[u8]) -> Self {
        let mut bytes = vec![0; path.len()];
        let mut classes = vec![Class::LITERAL; path.len()];
        let mut decoder =
            Decoder { bytes: &mut bytes, classes: &mut classes, length: 0, is_pending: false };
        decoder.decode(path);
        let length = decoder.length;
        bytes.truncate(length);
        classes.truncate(length);
        Self { bytes, classes }
    }

    /// The decoded bytes.
    pub(in crate::policy) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The class of each of them.
    pub(in crate::policy) fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// Whether the first of several segments, less its parameters, is empty in
    /// any reading.
    pub(super) fn begins_with_two_slashes(&self) -> bool {
        match &self.bytes[..] {
            [_, b'/' | b'\\', ..] => true,
            [_, b';', rest @ ..] => memchr::memchr2(b'/', b'\\', rest).is_some(),
            _ => false,
        }
    }
}

impl Decoder<'_> {
    fn decode(&mut self, path: &[u8]) {
        let mut rest = path;
        while let Some((&byte, tail)) = rest.split_first() {
            // Nearly every escape stands by itself.
            if !self.is_pending
                && let Some(byte) = escaped(rest)
            {
                self.write(byte, Depth::of_escape(byte));
                self.is_pending = byte == b'%';
                rest = &rest[3..];
                continue;
            }
            self.write(byte, Depth::Literal);
            rest = tail;
            if byte == b'%' {
                self.is_pending = true;
            } else if self.is_pending {
                self.complete();
            } else {
                let plain = memchr::memchr(b'%', rest).unwrap_or(rest.len());
                self.write_all(&rest[..plain]);
                rest = &rest[plain..];
            }
        }
    }

    fn write(&mut self, byte: u8, depth: Depth) {
        if let (Some(place), Some(class)) =
            (self.bytes.get_mut(self.length), self.classes.get_mut(self.length))
        {
            *place = byte;
            *class = Class::new(depth, Meaning::of(byte));
            self.length += 1;
        }
    }

    /// Adds bytes of which none can be part of an escape.
    fn write_all(&mut self, plain: &[u8]) {
        let places = self.length..self.length + plain.len();
        if let (Some(bytes), Some(classes)) =
            (self.bytes.get_mut(places.clone()), self.classes.get_mut(places))
        {
            bytes.copy_from_slice(plain);
            for (class, byte) in classes.iter_mut().zip(plain) {
                *class = Class::new(Depth::Literal, Meaning::of(*byte));
            }
            self.length += plain.len();
        }
    }

    /// Replaces the escape at the end by what it stands for, and so on.
    fn complete(&mut self) {
        loop {
            let start = self.length.saturating_sub(3);
            let last = self.bytes.get(start..self.length).unwrap_or_default();
            let Some(byte) = escaped(last) else {
                self.is_pending = match last {
                    [.., b'%'] => true,
                    [.., b'%', digit] => digit.is_ascii_hexdigit(),
                    _ => false,
                };
                return;
            };
            let classes = self.classes.get(start..self.length).unwrap_or_default();
            let depth = match classes.iter().all(|class| class.is_literal()) {
                true => Depth::of_escape(byte),
                false => Depth::Nested,
            };
            self.length = start;
            self.write(byte, depth);
        }
    }
}

impl Depth {
    /// That of a byte whose escape was literal.
    fn of_escape(byte: u8) -> Self {
        if is_unreserved(byte) { Self::Unreserved } else { Self::Once }
    }
}

impl Meaning {
    fn of(byte: u8) -> Self {
        const OF_BYTES: [Meaning; 256] = {
            let mut table = [Meaning::Plain; 256];
            table[b'/' as usize] = Meaning::Slash;
            table[b'\\' as usize] = Meaning::Backslash;
            table[b';' as usize] = Meaning::Semicolon;
            table
        };
        OF_BYTES[usize::from(byte)]
    }
}

/// The byte that an escape at the start of `text` stands for.
pub(super) fn escaped(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else { return None };
    let (high, low) = (DIGITS[usize::from(*high)], DIGITS[usize::from(*low)]);
    (high | low < 16).then_some(high << 4 | low)
}

/// The value of each hexadecimal digit, and 255 for every other byte.
const DIGITS: [u8; 256] = {
    let mut table = [255; 256];
    let mut value = 0;
    while value < 16 {
        table[b"0123456789abcdef"[value as usize] as usize] = value;
        table[b"0123456789ABCDEF"[value as usize] as usize] = value;
        value += 1;
    }
    table
};

pub(super) fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}
