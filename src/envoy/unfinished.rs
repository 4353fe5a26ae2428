//! Messages that arrive in several frames: how long they may take, and how much
//! memory all of them may hold together.
//!
//! An ordinary message is one small frame and never comes here. A split message
//! is collected in a buffer of its own; every byte of its capacity counts
//! against a [`Budget`] that all calls of the process share. Nothing waits for
//! memory: a message that exceeds the budget is dropped, which frees its share.

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
/// Envoy sends a message only once it is complete; its own timeout is shorter.
pub const MESSAGE_LIMIT: Duration = Duration::from_secs(5);

/// How many bytes all unfinished messages of the process may hold: sixteen of
/// the largest.
pub const UNFINISHED_BYTES: usize = 256 << 20;

/// The part of them that is reserved for small messages, so that a flood of
/// large ones leaves memory for an ordinary check whose client sends the end of
/// the call in a frame of its own.
const RESERVED_FOR_SMALL: usize = 64 << 20;

/// The largest message that counts as small.
const MAX_SMALL_BYTES: usize = 64 << 10;

/// How many bytes a call to the health or reflection service may send without
/// counting against the budget: an honest client sends fewer, so no flood can
/// lock it out.
const FREE_BYTES: usize = 1 << 10;

/// How many bytes a call to these services may send in all.
const MAX_OTHER_BYTES: usize = 64 << 10;

/// The memory that unfinished messages share. Clones share one budget.
#[derive(Clone, Debug)]
pub struct Budget(Arc<AtomicUsize>);

impl Budget {
    /// A budget of this many bytes.
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(bytes)))
    }

    /// A reservation of no bytes yet.
    pub(crate) fn reservation(&self) -> Reservation {
        Reservation { budget: self.clone(), bytes: 0 }
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

/// The bytes that one message holds of a budget; returned when dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Budget,
    bytes: usize,
}

impl Reservation {
    /// Grows to `bytes` in all; false, and nothing changes, if that would leave
    /// less than `reserved` in the budget.
    fn grow_to(&mut self, bytes: usize, reserved: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return true;
        }
        let granted = self.budget.0.try_update(Relaxed, Relaxed, |left| {
            left.checked_sub(more).filter(|left| *left >= reserved)
        });
        if granted.is_ok() {
            self.bytes += more;
        }
        granted.is_ok()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.0.fetch_add(self.bytes, Relaxed);
    }
}

/// Why no message was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReceiveError {
    /// The client reset the call, or its connection is gone: a response would
    /// not be read.
    #[error("the client reset the call")]
    Reset,
    /// The call ended without a message, or in the middle of one.
    #[error("the call ended before its message did")]
    Truncated,
    /// The call holds more than one message.
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
    OverBudget,
}

/// The message of a call, collected from all of its frames.
pub(super) struct Received {
    /// The message itself.
    pub(super) message: Bytes,
    /// Its part of the budget, held until the message is dropped.
    pub(super) _reservation: Option<Reservation>,
}

/// The result of polling a call's body for the first time.
pub(super) type FirstFrame<B> = Poll<Option<Result<Frame<<B as Body>::Data>, <B as Body>::Error>>>;

/// Receives the one message of a call; `first` is the first poll of `body`.
pub(super) async fn receive<B>(
    first: FirstFrame<B>,
    body: B,
    budget: &Budget,
) -> Result<Received, ReceiveError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let collected = tokio::time::timeout(MESSAGE_LIMIT, collect(first, body, budget)).await;
    collected.unwrap_or(Err(ReceiveError::TooSlow))
}

async fn collect<B>(
    first: FirstFrame<B>,
    mut body: B,
    budget: &Budget,
) -> Result<Received, ReceiveError>
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
                    return Ok(Received { message, _reservation: None });
                }
                partial.add(&data)?;
            }
            Some(Err(_)) => return Err(ReceiveError::Reset),
            None if body.is_end_stream() => return partial.finish(),
            // The stream broke off before its end.
            None => return Err(ReceiveError::Reset),
        }
    }
}

/// The part of a message that has arrived, its prefix included.
///
/// It is stored in blocks of one size, which never move: a growing buffer would
/// leave smaller ones behind, which the allocator keeps for a while, so a flood
/// would hold twice the budget.
struct Partial {
    blocks: Vec<Vec<u8>>,
    length: usize,
    reservation: Reservation,
}

/// The first block: enough for the prefix and a little more.
const FIRST_BLOCK: usize = 1 << 10;

/// All others: the usual size of an HTTP/2 frame.
const BLOCK: usize = 16 << 10;

impl Partial {
    fn of(budget: &Budget) -> Self {
        Self { blocks: Vec::new(), length: 0, reservation: budget.reservation() }
    }

    fn add(&mut self, mut data: &[u8]) -> Result<(), ReceiveError> {
        self.length += data.len();
        if self.length > framing::PREFIX_BYTES + MAX_MESSAGE_BYTES {
            return Err(ReceiveError::TooLarge);
        }
        while !data.is_empty() {
            let block = self.block_with_room()?;
            let (now, later) = data.split_at(data.len().min(block.capacity() - block.len()));
            block.extend_from_slice(now);
            data = later;
        }
        let Some(prefix) = self.prefix() else { return Ok(()) };
        if prefix.compressed {
            return Err(ReceiveError::Compressed);
        }
        if prefix.length > MAX_MESSAGE_BYTES {
            return Err(ReceiveError::TooLarge);
        }
        if self.length > framing::PREFIX_BYTES + prefix.length {
            return Err(ReceiveError::TooMany);
        }
        Ok(())
    }

    fn prefix(&self) -> Option<framing::Prefix> {
        framing::prefix(self.blocks.first()?)
    }

    /// The last block, or a new one once it is full: memory is allocated for the
    /// bytes that have arrived, not for the length that the prefix announces.
    fn block_with_room(&mut self) -> Result<&mut Vec<u8>, ReceiveError> {
        if self.blocks.last().is_none_or(|block| block.len() == block.capacity()) {
            let size = if self.blocks.is_empty() { FIRST_BLOCK } else { BLOCK };
            let is_small = self.prefix().is_none_or(|prefix| prefix.length <= MAX_SMALL_BYTES);
            let reserved = if is_small { 0 } else { RESERVED_FOR_SMALL };
            if !self.reservation.grow_to(self.reservation.bytes + size, reserved) {
                return Err(ReceiveError::OverBudget);
            }
            let mut block = Vec::new();
            block.try_reserve_exact(size).map_err(|_| ReceiveError::OverBudget)?;
            self.blocks.push(block);
        }
        self.blocks.last_mut().ok_or(ReceiveError::OverBudget)
    }

    fn finish(self) -> Result<Received, ReceiveError> {
        let prefix = self.prefix().ok_or(ReceiveError::Truncated)?;
        if self.length != framing::PREFIX_BYTES + prefix.length {
            return Err(ReceiveError::Truncated);
        }
        let message = Bytes::from(self.blocks.concat()).slice(framing::PREFIX_BYTES..);
        Ok(Received { message, _reservation: Some(self.reservation) })
    }
}

/// The body of a call to one of the other services. Their messages are short;
/// longer ones count against the budget until the call ends, and a call that
/// sends too much is cut off.
#[derive(Debug)]
pub(crate) struct MeteredBody<B> {
    body: B,
    seen: usize,
    reservation: Reservation,
}

impl<B> MeteredBody<B> {
    pub(crate) fn new(body: B, budget: &Budget) -> Self {
        Self { body, seen: 0, reservation: budget.reservation() }
    }

    fn count(&mut self, bytes: usize) -> Result<(), StdError> {
        self.seen += bytes;
        if self.seen > MAX_OTHER_BYTES {
            return Err(format!("a call may send {MAX_OTHER_BYTES} bytes here").into());
        }
        if !self.reservation.grow_to(self.seen.saturating_sub(FREE_BYTES), RESERVED_FOR_SMALL) {
            return Err(ReceiveError::OverBudget.into());
        }
        Ok(())
    }
}

impl<B> Body for MeteredBody<B>
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
                this.count(frame.data_ref().map_or(0, Bytes::len))?;
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

    async fn outcome(client: Client, budget: &Budget) -> Result<usize, ReceiveError> {
        let whole = receive(Poll::Pending, client, budget).await?;
        assert!(whole.message.iter().all(|byte| *byte == 7));
        Ok(whole.message.len())
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_is_complete_or_an_error_says_why_not() {
        let message = framed(100);
        let two = [message.as_slice(), &message].concat();
        let compressed = [&[1], &message[1..]].concat();
        let too_large = framed(MAX_MESSAGE_BYTES + 1);
        use Then::{End, Nothing, Reset};
        let cases: [(&str, Client, Result<usize, ReceiveError>); 15] = [
            ("in one piece", client(&message, 200, End), Ok(100)),
            ("byte by byte", client(&message, 1, End), Ok(100)),
            ("in two", client(&message, 60, End), Ok(100)),
            ("empty", client(&framed(0), 5, End), Ok(0)),
            ("the largest", client(&framed(MAX_MESSAGE_BYTES), 16384, End), Ok(MAX_MESSAGE_BYTES)),
            ("none", client(&[], 1, End), Err(ReceiveError::Truncated)),
            ("cut short", client(&message[..104], 50, End), Err(ReceiveError::Truncated)),
            ("two", client(&two, 210, End), Err(ReceiveError::TooMany)),
            ("two in pieces", client(&two, 40, End), Err(ReceiveError::TooMany)),
            ("compressed", client(&compressed, 50, End), Err(ReceiveError::Compressed)),
            ("too large", client(&too_large[..5], 5, End), Err(ReceiveError::TooLarge)),
            ("reset", client(&message[..50], 10, Reset), Err(ReceiveError::Reset)),
            ("reset when whole", client(&message, 200, Reset), Err(ReceiveError::Reset)),
            ("stalls", client(&message[..50], 10, Nothing), Err(ReceiveError::TooSlow)),
            ("does not end", client(&message, 200, Nothing), Err(ReceiveError::TooSlow)),
        ];
        let budget = Budget::default();
        for (name, client, expected) in cases {
            assert_eq!(outcome(client, &budget).await, expected, "{name}");
            assert_eq!(budget.left(), UNFINISHED_BYTES, "{name}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_a_second_is_too_slow() {
        let client = Client { pause: Duration::from_secs(1), ..client(&framed(100), 1, Then::End) };
        let start = Instant::now();
        assert_eq!(outcome(client, &Budget::default()).await, Err(ReceiveError::TooSlow));
        assert_eq!(start.elapsed(), MESSAGE_LIMIT);
    }

    #[tokio::test]
    async fn a_message_over_the_budget_is_dropped_and_returns_its_share() {
        let room = FIRST_BLOCK + BLOCK;
        let budget = Budget::new(room);
        let split = |length| client(&framed(length), 300, Then::End);
        assert_eq!(outcome(split(3000), &budget).await, Ok(3000));
        assert_eq!(outcome(split(room), &budget).await, Err(ReceiveError::OverBudget));
        assert_eq!(budget.left(), room);

        let whole = receive(Poll::Pending, split(3000), &budget).await.ok().unwrap();
        assert_eq!(budget.left(), 0, "held for as long as the message is used");
        let small = client(&framed(5000), 6000, Then::End);
        assert_eq!(outcome(small, &budget).await, Ok(5000), "what is in one piece needs no room");
        drop(whole);
        assert_eq!(budget.left(), room);

        let budget = Budget::new(RESERVED_FOR_SMALL);
        assert_eq!(outcome(split(MAX_SMALL_BYTES), &budget).await, Ok(MAX_SMALL_BYTES));
        assert_eq!(
            outcome(split(MAX_SMALL_BYTES + 1), &budget).await,
            Err(ReceiveError::OverBudget)
        );
    }

    #[tokio::test]
    async fn an_announced_length_takes_no_memory() {
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
    async fn short_calls_to_other_services_need_no_budget() {
        async fn read(chunk: usize, chunks: usize, budget: &Budget) -> (usize, bool) {
            let client = client(&vec![0; chunk * chunks], chunk, Then::End);
            let mut body = MeteredBody::new(client, budget);
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
