//! Messages that do not arrive in one piece: how long they may take, and how
//! much memory all of them may hold together.
//!
//! An ordinary message is one small frame and never comes here. What is split
//! is collected in a buffer of its own; every byte of its capacity counts
//! against a [`Budget`] that all calls of the process share. Nothing waits for
//! room: a message that finds none is given up, which frees what it holds.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tonic::codegen::StdError;

use super::{MAX_MESSAGE_BYTES, framing};

/// How long a call's message may take from the call's headers to its end.
/// Envoy sends a message that it has; its own timeout is shorter than this.
pub const MESSAGE_LIMIT: Duration = Duration::from_secs(5);

/// What all unfinished messages of the process may hold, in bytes: sixteen of
/// the largest.
pub const UNFINISHED_BYTES: usize = 256 << 20;

/// The part of them that is kept for small messages, so that a flood of large
/// ones leaves room for an ordinary check whose client sends the end of the
/// call in a frame of its own.
const KEPT_FOR_SMALL: usize = 64 << 20;

/// The largest message that counts as small.
const SMALL_BYTES: usize = 64 << 10;

/// What the messages of a health check or of reflection may come to for free:
/// those of an honest client are shorter, so no flood shuts it out.
const FREE_BYTES: usize = 1 << 10;

/// The most that a call of these services may send in all.
const MOST_OTHER_BYTES: usize = 64 << 10;

/// The memory that unfinished messages share. Clones are the same budget.
#[derive(Clone, Debug)]
pub struct Budget(Arc<AtomicUsize>);

impl Budget {
    /// A budget of so many bytes.
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(bytes)))
    }

    /// A share of it, empty to begin with.
    pub(crate) fn share(&self) -> Share {
        Share { budget: self.clone(), bytes: 0 }
    }

    /// How many bytes are left.
    pub fn left(&self) -> usize {
        self.0.load(Relaxed)
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(UNFINISHED_BYTES)
    }
}

/// What one message holds of a budget, given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Budget,
    bytes: usize,
}

impl Share {
    /// Holds `bytes` in all from now on; false, and nothing changes, if that
    /// would leave less than `kept` in the budget.
    fn grow_to(&mut self, bytes: usize, kept: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return true;
        }
        let granted = self.budget.0.try_update(Relaxed, Relaxed, |left| {
            left.checked_sub(more).filter(|left| *left >= kept)
        });
        if granted.is_ok() {
            self.bytes += more;
        }
        granted.is_ok()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.0.fetch_add(self.bytes, Relaxed);
    }
}

/// Why a call has no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoMessage {
    /// The client took the call back, or its connection is gone: an answer
    /// would not be read.
    #[error("the client reset the call")]
    Reset,
    /// The call ended without a message, or in the middle of one.
    #[error("the call ended before its message did")]
    CutShort,
    /// More came than one message.
    #[error("the call holds more than one message")]
    TooMany,
    /// No compression was agreed on.
    #[error("the message is compressed, which was not offered")]
    Compressed,
    /// Over [`MAX_MESSAGE_BYTES`].
    #[error("the message is larger than 16 MiB")]
    TooLarge,
    /// Over [`MESSAGE_LIMIT`].
    #[error("the message was not whole within 5 seconds")]
    TooSlow,
    /// The [`Budget`] is used up.
    #[error("unfinished messages hold 256 MiB already")]
    NoRoom,
}

/// The message of a call, collected from as many frames as it takes.
pub(super) struct Whole {
    /// The message itself.
    pub(super) message: Bytes,
    /// What it holds of the budget, until it has been dealt with.
    pub(super) _share: Option<Share>,
}

/// What the first look at a call's body brought.
pub(super) type First<B> = Poll<Option<Result<Frame<<B as Body>::Data>, <B as Body>::Error>>>;

/// Receives the one message of a call whose `first` frame, if it has come,
/// was taken out of `body`.
pub(super) async fn receive<B>(
    first: First<B>,
    body: B,
    budget: &Budget,
) -> Result<Whole, NoMessage>
where
    B: Body<Data = Bytes> + Unpin,
{
    let collected = tokio::time::timeout(MESSAGE_LIMIT, collect(first, body, budget)).await;
    collected.unwrap_or(Err(NoMessage::TooSlow))
}

async fn collect<B>(first: First<B>, mut body: B, budget: &Budget) -> Result<Whole, NoMessage>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut first = match first {
        Poll::Ready(first) => Some(first),
        Poll::Pending => None,
    };
    let mut partial = Partial::of(budget);
    loop {
        let frame = match first.take() {
            Some(first) => first,
            None => poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await,
        };
        match frame {
            Some(Ok(frame)) => {
                let Ok(data) = frame.into_data() else { continue };
                if partial.length == 0
                    && body.is_end_stream()
                    && let Some(message) = framing::whole_message(&data)
                {
                    return Ok(Whole { message, _share: None });
                }
                partial.add(&data)?;
            }
            Some(Err(_)) => return Err(NoMessage::Reset),
            None if body.is_end_stream() => return partial.finish(),
            // The stream did not end, it broke off.
            None => return Err(NoMessage::Reset),
        }
    }
}

/// What has come of a message, its prefix included.
///
/// It is kept in blocks of one size, which never move: a buffer that grows
/// would leave a trail of smaller ones behind, which the allocator keeps for a
/// while, so that a flood would hold twice the budget.
struct Partial {
    blocks: Vec<Vec<u8>>,
    length: usize,
    share: Share,
}

/// The first block: a promise and little else.
const FIRST_BLOCK: usize = 1 << 10;

/// All others: an HTTP/2 frame as it usually is.
const BLOCK: usize = 16 << 10;

impl Partial {
    fn of(budget: &Budget) -> Self {
        Self { blocks: Vec::new(), length: 0, share: budget.share() }
    }

    fn add(&mut self, mut data: &[u8]) -> Result<(), NoMessage> {
        self.length += data.len();
        if self.length > framing::PREFIX_BYTES + MAX_MESSAGE_BYTES {
            return Err(NoMessage::TooLarge);
        }
        while !data.is_empty() {
            let block = self.block_with_room()?;
            let (now, later) = data.split_at(data.len().min(block.capacity() - block.len()));
            block.extend_from_slice(now);
            data = later;
        }
        let Some(prefix) = self.prefix() else { return Ok(()) };
        if prefix.compressed {
            return Err(NoMessage::Compressed);
        }
        if prefix.length > MAX_MESSAGE_BYTES {
            return Err(NoMessage::TooLarge);
        }
        if self.length > framing::PREFIX_BYTES + prefix.length {
            return Err(NoMessage::TooMany);
        }
        Ok(())
    }

    fn prefix(&self) -> Option<framing::Prefix> {
        framing::prefix(self.blocks.first()?)
    }

    /// The last block, or another behind it: memory is spent on what has come,
    /// not on what its prefix promises.
    fn block_with_room(&mut self) -> Result<&mut Vec<u8>, NoMessage> {
        if self.blocks.last().is_none_or(|block| block.len() == block.capacity()) {
            let size = if self.blocks.is_empty() { FIRST_BLOCK } else { BLOCK };
            let is_small = self.prefix().is_none_or(|prefix| prefix.length <= SMALL_BYTES);
            let kept = if is_small { 0 } else { KEPT_FOR_SMALL };
            if !self.share.grow_to(self.share.bytes + size, kept) {
                return Err(NoMessage::NoRoom);
            }
            let mut block = Vec::new();
            block.try_reserve_exact(size).map_err(|_| NoMessage::NoRoom)?;
            self.blocks.push(block);
        }
        self.blocks.last_mut().ok_or(NoMessage::NoRoom)
    }

    fn finish(self) -> Result<Whole, NoMessage> {
        let prefix = self.prefix().ok_or(NoMessage::CutShort)?;
        if self.length != framing::PREFIX_BYTES + prefix.length {
            return Err(NoMessage::CutShort);
        }
        let message = Bytes::from(self.blocks.concat()).slice(framing::PREFIX_BYTES..);
        Ok(Whole { message, _share: Some(self.share) })
    }
}

/// The body of a call to one of the services beside the checks. Their
/// messages are short; what goes beyond counts against the budget until the
/// call has ended, and a call that sends too much is cut off.
#[derive(Debug)]
pub(crate) struct Metered<B> {
    body: B,
    seen: usize,
    share: Share,
}

impl<B> Metered<B> {
    pub(crate) fn new(body: B, budget: &Budget) -> Self {
        Self { body, seen: 0, share: budget.share() }
    }

    fn note(&mut self, bytes: usize) -> Result<(), StdError> {
        self.seen += bytes;
        if self.seen > MOST_OTHER_BYTES {
            return Err(format!("a call may send {MOST_OTHER_BYTES} bytes here").into());
        }
        if !self.share.grow_to(self.seen.saturating_sub(FREE_BYTES), KEPT_FOR_SMALL) {
            return Err(NoMessage::NoRoom.into());
        }
        Ok(())
    }
}

impl<B> Body for Metered<B>
where
    B: Body<Data = Bytes, Error: Into<StdError>> + Unpin,
{
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let this = self.get_mut();
        Pin::new(&mut this.body).poll_frame(cx).map(|frame| {
            let frame = frame?.map_err(Into::into);
            Some(frame.and_then(|frame| {
                this.note(frame.data_ref().map_or(0, Bytes::len))?;
                Ok(frame)
            }))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, convert::Infallible};

    use tokio::time::Instant;

    use super::*;

    /// A client that sends these chunks, a pause before each, and then does
    /// one of three things.
    struct Client {
        chunks: VecDeque<Vec<u8>>,
        pause: Duration,
        pausing: Option<Pin<Box<tokio::time::Sleep>>>,
        then: Then,
    }

    #[derive(Clone, Copy, PartialEq)]
    enum Then {
        End,
        Reset,
        Nothing,
    }

    impl Body for Client {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let pause = self.pause;
            if !pause.is_zero() {
                let pausing =
                    self.pausing.get_or_insert_with(|| Box::pin(tokio::time::sleep(pause)));
                std::task::ready!(pausing.as_mut().poll(cx));
                self.pausing = None;
            }
            match (self.chunks.pop_front(), self.then) {
                (Some(chunk), _) => Poll::Ready(Some(Ok(Frame::data(chunk.into())))),
                (None, Then::Nothing) => Poll::Pending,
                (None, Then::End | Then::Reset) => Poll::Ready(None),
            }
        }

        fn is_end_stream(&self) -> bool {
            self.chunks.is_empty() && self.then == Then::End
        }
    }

    fn client(message: &[u8], chunk: usize, then: Then) -> Client {
        let chunks = message.chunks(chunk).map(<[u8]>::to_vec).collect();
        Client { chunks, pause: Duration::ZERO, pausing: None, then }
    }

    fn framed(length: usize) -> Vec<u8> {
        let announced = u32::try_from(length).unwrap().to_be_bytes();
        [&[0], &announced[..], &vec![7; length]].concat()
    }

    async fn outcome(client: Client, budget: &Budget) -> Result<usize, NoMessage> {
        let whole = receive(Poll::Pending, client, budget).await?;
        assert!(whole.message.iter().all(|byte| *byte == 7));
        Ok(whole.message.len())
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_is_whole_or_it_is_said_why_not() {
        let message = framed(100);
        let two = [message.as_slice(), &message].concat();
        let compressed = [&[1], &message[1..]].concat();
        let too_large = framed(MAX_MESSAGE_BYTES + 1);
        use Then::{End, Nothing, Reset};
        let cases: [(&str, Client, Result<usize, NoMessage>); 15] = [
            ("in one piece", client(&message, 200, End), Ok(100)),
            ("byte by byte", client(&message, 1, End), Ok(100)),
            ("in two", client(&message, 60, End), Ok(100)),
            ("empty", client(&framed(0), 5, End), Ok(0)),
            ("the largest", client(&framed(MAX_MESSAGE_BYTES), 16384, End), Ok(MAX_MESSAGE_BYTES)),
            ("none", client(&[], 1, End), Err(NoMessage::CutShort)),
            ("cut short", client(&message[..104], 50, End), Err(NoMessage::CutShort)),
            ("two", client(&two, 210, End), Err(NoMessage::TooMany)),
            ("two in pieces", client(&two, 40, End), Err(NoMessage::TooMany)),
            ("compressed", client(&compressed, 50, End), Err(NoMessage::Compressed)),
            ("too large", client(&too_large[..5], 5, End), Err(NoMessage::TooLarge)),
            ("reset", client(&message[..50], 10, Reset), Err(NoMessage::Reset)),
            ("reset when whole", client(&message, 200, Reset), Err(NoMessage::Reset)),
            ("stalls", client(&message[..50], 10, Nothing), Err(NoMessage::TooSlow)),
            ("does not end", client(&message, 200, Nothing), Err(NoMessage::TooSlow)),
        ];
        let budget = Budget::default();
        for (name, client, expected) in cases {
            assert_eq!(outcome(client, &budget).await, expected, "{name}");
            assert_eq!(budget.left(), UNFINISHED_BYTES, "{name}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_drop_a_second_is_too_slow() {
        let client = Client { pause: Duration::from_secs(1), ..client(&framed(100), 1, Then::End) };
        let start = Instant::now();
        assert_eq!(outcome(client, &Budget::default()).await, Err(NoMessage::TooSlow));
        assert_eq!(start.elapsed(), MESSAGE_LIMIT);
    }

    #[tokio::test]
    async fn what_finds_no_room_is_given_up_and_leaves_its_own() {
        let room = FIRST_BLOCK + BLOCK;
        let budget = Budget::new(room);
        let split = |length| client(&framed(length), 300, Then::End);
        assert_eq!(outcome(split(3000), &budget).await, Ok(3000));
        assert_eq!(outcome(split(room), &budget).await, Err(NoMessage::NoRoom));
        assert_eq!(budget.left(), room);

        let whole = receive(Poll::Pending, split(3000), &budget).await.ok().unwrap();
        assert_eq!(budget.left(), 0, "held for as long as the message is used");
        let small = client(&framed(5000), 6000, Then::End);
        assert_eq!(outcome(small, &budget).await, Ok(5000), "what is in one piece needs no room");
        drop(whole);
        assert_eq!(budget.left(), room);

        let budget = Budget::new(KEPT_FOR_SMALL);
        assert_eq!(outcome(split(SMALL_BYTES), &budget).await, Ok(SMALL_BYTES));
        assert_eq!(outcome(split(SMALL_BYTES + 1), &budget).await, Err(NoMessage::NoRoom));
    }

    #[tokio::test]
    async fn a_promise_takes_no_memory() {
        let budget = Budget::default();
        let mut partial = Partial::of(&budget);
        let announced = framed(MAX_MESSAGE_BYTES);
        partial.add(&announced[..5]).unwrap();
        assert_eq!(UNFINISHED_BYTES - budget.left(), FIRST_BLOCK);
        partial.add(&announced[..100_000]).unwrap();
        let held: usize = partial.blocks.iter().map(Vec::capacity).sum();
        assert_eq!(UNFINISHED_BYTES - budget.left(), held);
        assert!(held < 120_000, "{held}");
    }

    #[tokio::test]
    async fn other_calls_are_short_and_need_no_room_for_that() {
        async fn read(chunk: usize, chunks: usize, budget: &Budget) -> (usize, bool) {
            let client = client(&vec![0; chunk * chunks], chunk, Then::End);
            let mut body = Metered::new(client, budget);
            let mut read = 0;
            loop {
                match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                    Some(Ok(frame)) => read += frame.into_data().unwrap().len(),
                    Some(Err(_)) => return (read, false),
                    None => return (read, true),
                }
            }
        }
        let (roomy, full) = (Budget::default(), Budget::new(0));
        assert_eq!(read(100, 10, &full).await, (1000, true));
        assert_eq!(read(100, 20, &full).await, (1000, false));
        assert_eq!(read(1 << 10, 64, &roomy).await, (64 << 10, true));
        assert_eq!(read(1 << 10, 65, &roomy).await, (64 << 10, false));
        assert_eq!(roomy.left(), UNFINISHED_BYTES);
    }
}
