//! The framing of gRPC over HTTP/2 for a call as Envoy makes it: the message
//! in one DATA frame that ends the stream, the response in another.
//!
//! tonic's codecs are made for streams of messages of any size: with them a
//! check takes 12 % more CPU (`make bench ARGS=grpc`, known token). Here a
//! message is the received buffer itself. What comes in several frames is
//! collected by [`super::unfinished`].

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header::CONTENT_TYPE};
use http_body::{Body, Frame};
use http_body_util::Either;

use super::response::Encoded;

/// The body of a response: ours, or one made by tonic.
pub type CheckBody = Either<Reply, tonic::body::Body>;

/// The message in a frame that holds exactly one, complete and uncompressed.
pub(super) fn whole_message(frame: &Bytes) -> Option<Bytes> {
    let Prefix { compressed, length } = prefix(frame)?;
    let is_whole = !compressed && length == frame.len() - PREFIX_BYTES;
    is_whole.then(|| frame.slice(PREFIX_BYTES..))
}

/// The header of a gRPC message.
pub(super) struct Prefix {
    pub(super) compressed: bool,
    /// Of the message, in bytes.
    pub(super) length: usize,
}

/// A flag and a length.
pub(super) const PREFIX_BYTES: usize = 5;

/// Reads the prefix of a message; `None` if it is incomplete.
pub(super) fn prefix(bytes: &[u8]) -> Option<Prefix> {
    let &[compressed, a, b, c, d] = bytes.first_chunk::<PREFIX_BYTES>()?;
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    Some(Prefix { compressed: compressed != 0, length })
}

/// A successful response with one message.
pub(super) fn reply(message: Encoded) -> Response<CheckBody> {
    let mut response = Response::new(Either::Left(Reply::Message(message)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// The body of a successful response: the part that is still to be sent.
#[derive(Debug)]
pub enum Reply {
    /// The message, then the trailers.
    Message(Encoded),
    /// The trailers.
    Trailers,
    /// Nothing.
    End,
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        let (left, frame) = match std::mem::replace(this, Self::End) {
            Self::Message(message) => (Self::Trailers, Frame::data(message.into_frame())),
            Self::Trailers => (Self::End, Frame::trailers(success())),
            Self::End => return Poll::Ready(None),
        };
        *this = left;
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::End)
    }
}

/// The trailers of a call that succeeded.
fn success() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    trailers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_whole_message_is_one() {
        let cases: [(&[u8], Option<&[u8]>); 7] = [
            (&[0, 0, 0, 0, 2, 7, 8], Some(&[7, 8])),
            (&[0, 0, 0, 0, 0], Some(&[])),
            (&[1, 0, 0, 0, 2, 7, 8], None),
            (&[0, 0, 0, 0, 3, 7, 8], None),
            (&[0, 0, 0, 0, 1, 7, 8], None),
            (&[0, 0, 0, 0], None),
            (&[], None),
        ];
        for (frame, expected) in cases {
            let message = whole_message(&Bytes::from_static(frame));
            assert_eq!(message.as_deref(), expected, "{frame:?}");
        }
    }
}
