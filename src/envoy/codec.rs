//! gRPC framing without message types: bytes in, bytes out.

use prost::bytes::{Buf, BufMut};
use tonic::{
    Status,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::Bytes,
};

use super::answer::Encoded;

/// Hands a request on as the bytes that it is, and takes a response that is
/// encoded already.
#[derive(Clone, Copy, Debug, Default)]
pub struct CheckCodec;

impl Codec for CheckCodec {
    type Encode = Encoded;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for CheckCodec {
    type Item = Encoded;
    type Error = Status;

    fn encode(&mut self, item: Encoded, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        let message = item.as_ref();
        buffer.reserve(message.len());
        buffer.put_slice(message);
        Ok(())
    }

    /// Room for an ordinary answer; a longer one costs a second allocation.
    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(1024, 32 * 1024)
    }
}

impl Decoder for CheckCodec {
    type Item = Bytes;
    type Error = Status;

    /// Splits the message off the receive buffer; nothing is copied.
    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
