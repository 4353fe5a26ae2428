//! Protocol Buffers, written back to front.
//!
//! A nested message is preceded by its length, which is known only once the
//! message is written. Written from its last byte to its first, a message
//! needs neither a pass to measure it nor a buffer of its own: what was
//! written since is the length. Fields therefore appear here in the reverse
//! of the order in which a reader meets them. Building the messages of prost
//! and encoding them takes four times as long, which would make `whole_check`
//! take 60 % longer (`benches/engine.rs`).

use bytes::{Buf, Bytes};

/// Room for the prefix of gRPC.
const PREFIX_BYTES: usize = 5;

/// A message that is being written.
#[derive(Debug)]
pub(super) struct Writer {
    /// The message so far is `buffer[start..]`.
    buffer: Vec<u8>,
    start: usize,
}

/// A finished message.
#[derive(Debug)]
pub struct Encoded(Writer);

impl Encoded {
    /// The message behind the prefix of gRPC: not compressed, this long.
    pub(super) fn into_frame(self) -> Bytes {
        let Self(mut writer) = self;
        let length = u32::try_from(writer.written()).unwrap_or(u32::MAX);
        writer.raw(&length.to_be_bytes());
        writer.raw(&[0]);
        let mut frame = Bytes::from(writer.buffer);
        frame.advance(writer.start);
        frame
    }
}

impl AsRef<[u8]> for Encoded {
    fn as_ref(&self) -> &[u8] {
        &self.0.buffer[self.0.start..]
    }
}

impl Writer {
    /// A writer with room for `capacity` bytes; it grows when needed. With little
    /// room at first, `whole_check` takes 6 % longer (`benches/engine.rs`).
    pub(super) fn new(capacity: usize) -> Self {
        let capacity = capacity + PREFIX_BYTES;
        Self { buffer: vec![0; capacity], start: capacity }
    }

    pub(super) fn finish(self) -> Encoded {
        Encoded(self)
    }

    /// A message field; `body` writes the message.
    #[inline]
    pub(super) fn message(&mut self, number: u32, body: impl FnOnce(&mut Self)) {
        let end = self.written();
        body(self);
        self.length_delimited(number, self.written() - end);
    }

    /// A string field.
    #[inline]
    pub(super) fn string(&mut self, number: u32, text: &str) {
        self.raw(text.as_bytes());
        self.length_delimited(number, text.len());
    }

    /// A string field that is the concatenation of `parts`.
    pub(super) fn concatenation(&mut self, number: u32, parts: &[&str]) {
        for part in parts.iter().rev() {
            self.raw(part.as_bytes());
        }
        self.length_delimited(number, parts.iter().map(|part| part.len()).sum());
    }

    /// An integer, boolean or enum field.
    #[inline]
    pub(super) fn varint(&mut self, number: u32, value: u64) {
        self.raw_varint(value);
        self.key(number, 0);
    }

    /// A floating-point field.
    #[inline]
    pub(super) fn double(&mut self, number: u32, value: f64) {
        self.raw(&value.to_le_bytes());
        self.key(number, 1);
    }

    #[inline]
    fn length_delimited(&mut self, number: u32, length: usize) {
        // Nearly every length and field number takes one byte. Without this,
        // `whole_check` takes 14 % longer (`benches/engine.rs`).
        if length < 0x80 && number < 16 {
            return self.raw(&[(number << 3 | 2) as u8, length as u8]);
        }
        self.raw_varint(length as u64);
        self.key(number, 2);
    }

    #[inline]
    fn key(&mut self, number: u32, wire_type: u32) {
        self.raw_varint(u64::from(number << 3 | wire_type));
    }

    fn written(&self) -> usize {
        self.buffer.len() - self.start
    }

    #[inline]
    fn raw_varint(&mut self, mut value: u64) {
        if value < 0x80 {
            return self.raw(&[value as u8]);
        }
        let mut bytes = [0; 10];
        let mut length = 0;
        while value >= 0x80 {
            bytes[length] = value as u8 | 0x80;
            value >>= 7;
            length += 1;
        }
        bytes[length] = value as u8;
        self.raw(&bytes[..=length]);
    }

    #[inline]
    fn raw(&mut self, bytes: &[u8]) {
        if self.start < bytes.len() {
            self.grow(bytes.len());
        }
        let start = self.start - bytes.len();
        self.buffer[start..self.start].copy_from_slice(bytes);
        self.start = start;
    }

    #[cold]
    fn grow(&mut self, needed: usize) {
        let written = self.written();
        let mut larger = vec![0; (2 * self.buffer.len()).max(written + needed)];
        let start = larger.len() - written;
        larger[start..].copy_from_slice(&self.buffer[self.start..]);
        *self = Self { buffer: larger, start };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_written_back_to_front() {
        for capacity in [0, 1, 7, 100] {
            let mut writer = Writer::new(capacity);
            writer.varint(3, 300);
            writer.message(2, |writer| writer.concatenation(1, &["h", "", "i"]));
            writer.double(1, 1.0);
            let expected = [
                &[0x09][..],
                &1f64.to_le_bytes(),
                &[0x12, 4, 0x0a, 2, b'h', b'i', 0x18, 0xac, 0x02],
            ]
            .concat();
            assert_eq!(writer.finish().as_ref(), expected, "capacity {capacity}");
        }
    }

    #[test]
    fn numbers_of_every_length_are_varints() {
        for (value, expected) in [
            (0, vec![0]),
            (127, vec![127]),
            (128, vec![0x80, 1]),
            (u64::MAX, vec![255, 255, 255, 255, 255, 255, 255, 255, 255, 1]),
        ] {
            let mut writer = Writer::new(16);
            writer.varint(1, value);
            assert_eq!(writer.finish().as_ref(), [vec![0x08], expected].concat());
        }
    }
}
