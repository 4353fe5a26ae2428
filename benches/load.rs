//! A load generator for `Authorization/Check` that sends another token with
//! every check, which h2load can't, and reads every response.
//!
//! The requests differ in their tokens alone, so everything else is put
//! together once and written as bytes; of the responses only frames are read.
//! That keeps it well ahead of any server it measures. Prints JSON.
//!
//! `load ADDRESS MESSAGE TOKENS LIMIT`: MESSAGE is a file with a
//! `CheckRequest` that has the first of the TOKENS, a file of tokens of one
//! length; LIMIT is a time such as `2.5s` or a number of checks.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and fails as a whole"
)]

use std::{
    error::Error,
    fs,
    io::{Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const CONNECTIONS: usize = 2;
const STREAMS: usize = 50;

/// A connection reads so much before it sends again: a part of the responses
/// under way, so that the server never runs out of checks in between.
const READ_BYTES: usize = 8 * 1024;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo bench` runs every target, with an option of its own.
    let [address, message, tokens, limit] = arguments.as_slice() else { return Ok(()) };
    let work = Work::new(&fs::read(message)?, &fs::read(tokens)?, limit)?;
    let start = Instant::now();
    let counts = thread::scope(|scope| {
        let connections: Vec<_> = (0..CONNECTIONS)
            .map(|_| scope.spawn(|| Connection::open(address, &work)?.run(start)))
            .collect();
        let mut sum = Counts::default();
        for connection in connections {
            sum.add(&connection.join().map_err(|_| "a connection panicked")??);
        }
        Ok::<_, Box<dyn Error + Send + Sync>>(sum)
    })?;
    let Counts { allowed, denied } = counts;
    let seconds = start.elapsed().as_secs_f64();
    println!(r#"{{"allowed": {allowed}, "denied": {denied}, "seconds": {seconds}}}"#);
    Ok(())
}

/// What to send, shared by all connections.
struct Work {
    before: Vec<u8>,
    tokens: Vec<Vec<u8>>,
    after: Vec<u8>,
    sent: AtomicUsize,
    limit: Limit,
}

enum Limit {
    Time(Duration),
    Checks(usize),
}

impl Work {
    fn new(message: &[u8], tokens: &[u8], limit: &str) -> Result<Self> {
        let tokens: Vec<_> = tokens.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
        let tokens: Vec<_> = tokens.into_iter().filter(|token| !token.is_empty()).collect();
        let first = tokens.first().ok_or("there is no token")?;
        if tokens.iter().any(|token| token.len() != first.len()) {
            return Err("the tokens differ in length".into());
        }
        let at = message.windows(first.len()).position(|window| window == first);
        let at = at.ok_or("the message does not have the first token")?;
        let mut before = vec![0];
        before.extend(u32::try_from(message.len())?.to_be_bytes());
        before.extend(&message[..at]);
        let after = message[at + first.len()..].to_vec();
        let limit = match limit.strip_suffix('s') {
            Some(seconds) => Limit::Time(Duration::try_from_secs_f64(seconds.parse()?)?),
            None => Limit::Checks(limit.parse()?),
        };
        Ok(Self { before, tokens, after, sent: AtomicUsize::new(0), limit })
    }

    fn length(&self) -> usize {
        self.before.len() + self.tokens[0].len() + self.after.len()
    }

    /// The token of the next check; `None` once there were enough.
    fn next(&self) -> Option<&[u8]> {
        let number = self.sent.fetch_add(1, Ordering::Relaxed);
        match self.limit {
            Limit::Checks(checks) if number >= checks => None,
            _ => Some(&self.tokens[number % self.tokens.len()]),
        }
    }

    fn is_time_up(&self, start: Instant) -> bool {
        matches!(self.limit, Limit::Time(limit) if start.elapsed() >= limit)
    }
}

#[derive(Default)]
struct Counts {
    allowed: u64,
    denied: u64,
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.allowed += other.allowed;
        self.denied += other.denied;
    }
}

/// An HTTP/2 connection (RFC 9113), as far as this one purpose needs it.
struct Connection<'w> {
    work: &'w Work,
    stream: TcpStream,
    authority: String,
    output: Vec<u8>,
    input: Vec<u8>,
    next_stream: u32,
    in_flight: usize,
    /// Bytes that the server still takes on the connection.
    window: i64,
    /// Bytes received since it was last told that it may send more.
    received: u32,
    counts: Counts,
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEADER: usize = 9;
const DEFAULT_WINDOW: u32 = 65_535;
const LARGE_WINDOW: u32 = 1 << 30;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// The beginning of an answer that lets the request through: a gRPC message
/// whose first field is an empty status.
const ALLOWED: &[u8] = &[0x0a, 0];
const GRPC_HEADER: usize = 5;

impl<'w> Connection<'w> {
    fn open(address: &str, work: &'w Work) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let mut connection = Self {
            work,
            stream,
            authority: address.into(),
            output: PREFACE.to_vec(),
            input: Vec::new(),
            next_stream: 1,
            in_flight: 0,
            window: DEFAULT_WINDOW.into(),
            received: 0,
            counts: Counts::default(),
        };
        connection.frame(SETTINGS, 0, 0, &[]);
        connection.frame(WINDOW_UPDATE, 0, 0, &(LARGE_WINDOW - DEFAULT_WINDOW).to_be_bytes());
        Ok(connection)
    }

    fn run(mut self, start: Instant) -> Result<Counts> {
        let mut buffer = vec![0; READ_BYTES];
        let mut is_done = false;
        while !is_done || self.in_flight > 0 {
            is_done |= self.work.is_time_up(start);
            while !is_done && self.in_flight < STREAMS && self.window >= self.work.length() as i64 {
                match self.work.next() {
                    Some(token) => self.request(token),
                    None => is_done = true,
                }
            }
            self.stream.write_all(&self.output)?;
            self.output.clear();
            if self.in_flight == 0 && is_done {
                break;
            }
            let length = self.stream.read(&mut buffer)?;
            if length == 0 {
                return Err("the server closed the connection".into());
            }
            self.input.extend(&buffer[..length]);
            self.read_frames()?;
        }
        Ok(self.counts)
    }

    fn frame_header(&mut self, length: usize, kind: u8, flags: u8, stream: u32) {
        self.output.extend(&(length as u32).to_be_bytes()[1..]);
        self.output.extend([kind, flags]);
        self.output.extend(stream.to_be_bytes());
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.frame_header(payload.len(), kind, flags, stream);
        self.output.extend(payload);
    }

    fn request(&mut self, token: &[u8]) {
        let (stream, work) = (self.next_stream, self.work);
        let headers = if stream == 1 { self.first_headers() } else { LATER_HEADERS.to_vec() };
        self.frame(HEADERS, END_HEADERS, stream, &headers);
        self.frame_header(work.length(), DATA, END_STREAM, stream);
        for part in [&work.before, token, &work.after] {
            self.output.extend(part);
        }
        self.next_stream += 2;
        self.in_flight += 1;
        self.window -= work.length() as i64;
    }

    /// HPACK (RFC 7541): literals that the server adds to its table.
    fn first_headers(&self) -> Vec<u8> {
        let mut block = vec![METHOD_POST, SCHEME_HTTP];
        let mut literal = |index: u8, texts: &[&str]| {
            block.push(0x40 | index);
            for text in texts {
                // No text here has more than 126 bytes.
                block.push(text.len() as u8);
                block.extend(text.as_bytes());
            }
        };
        literal(4, &["/envoy.service.auth.v3.Authorization/Check"]);
        literal(1, &[&self.authority]);
        literal(31, &["application/grpc"]);
        literal(0, &["te", "trailers"]);
        block
    }

    fn read_frames(&mut self) -> Result<()> {
        let input = std::mem::take(&mut self.input);
        let mut rest = input.as_slice();
        while let Some((header, after)) = rest.split_at_checked(FRAME_HEADER) {
            let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
            let Some((payload, after)) = after.split_at_checked(length) else { break };
            let stream = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
            self.received(header[3], header[4], stream, payload)?;
            rest = after;
        }
        self.input = rest.to_vec();
        if self.received > LARGE_WINDOW / 2 {
            self.frame(WINDOW_UPDATE, 0, 0, &self.received.to_be_bytes());
            self.received = 0;
        }
        Ok(())
    }

    fn received(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Result<()> {
        match kind {
            DATA => {
                self.received += payload.len() as u32;
                match payload.get(GRPC_HEADER..) {
                    Some(message) if message.starts_with(ALLOWED) => self.counts.allowed += 1,
                    _ => self.counts.denied += 1,
                }
            }
            SETTINGS if flags & ACK == 0 => self.frame(SETTINGS, ACK, 0, &[]),
            PING if flags & ACK == 0 => self.frame(PING, ACK, 0, payload),
            // That of a stream is never in the way: each sends one message.
            WINDOW_UPDATE if stream == 0 => {
                let more = payload.try_into().map(u32::from_be_bytes)?;
                self.window += i64::from(more);
            }
            RST_STREAM | GOAWAY => return Err("the server gave up".into()),
            _ => {}
        }
        if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
            self.in_flight -= 1;
        }
        Ok(())
    }
}

const METHOD_POST: u8 = 0x83;
const SCHEME_HTTP: u8 = 0x86;

/// The same from the table, which the latest addition leads.
const LATER_HEADERS: [u8; 6] =
    [METHOD_POST, SCHEME_HTTP, 0x80 | 65, 0x80 | 64, 0x80 | 63, 0x80 | 62];
