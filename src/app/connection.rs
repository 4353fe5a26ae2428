//! One connection on a worker: TLS, then HTTP/2 until either side is done.

use std::{
    error::Error as StdError,
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http2, service::Service};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::{
    doorway::Opening,
    listen::{Accepted, Registered},
};
use crate::telemetry::Seldom;

/// How long a client may take for the TLS handshake, and again until it
/// speaks HTTP/2. Whoever connects and stays silent would otherwise count as
/// a connection for ever.
pub const OPENING_LIMIT: Duration = Duration::from_secs(10);

/// The same once the service drains.
const OPENING_LIMIT_DRAINING: Duration = Duration::from_secs(1);

/// Envoy multiplexes all checks of a thread over one connection and opens
/// another beyond this, which would undo the balance between workers. It is
/// high because every check may have to wait for the same key fetch.
const MAX_STREAMS: u32 = 4096;

/// A message up to this size arrives without waiting for the receiver.
const STREAM_WINDOW: u32 = 256 << 10;

/// One stream's large message must not hold up the others. It is also what a
/// connection may have sent and no call has read yet, which counts against no
/// budget: calls read as they run, but after every connection had its turn.
const CONNECTION_WINDOW: u32 = 1 << 20;

/// Room for tracing and `initial_metadata` headers of the call itself; those
/// of the checked request are in the message.
const MAX_HEADER_LIST: u32 = 64 << 10;

/// A peer that vanished without a word is noticed within the sum of both.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// The length of HTTP/2's client preface (RFC 9113, section 3.4).
const PREFACE_BYTES: usize = 24;

/// What answers the requests of a worker's connections.
///
/// A blanket trait: the bounds that hyper needs of a service, under one name.
pub trait Answers:
    Service<
        Request<Incoming>,
        Response = Response<Self::Body>,
        Error: Into<Box<dyn StdError + Send + Sync>>,
        Future: Send + 'static,
    > + Clone
    + Send
    + 'static
{
    /// The body of an answer.
    type Body: http_body::Body<Data = bytes::Bytes, Error: Into<Box<dyn StdError + Send + Sync>>>
        + Send
        + 'static;
}

impl<S, B> Answers for S
where
    S: Service<
            Request<Incoming>,
            Response = Response<B>,
            Error: Into<Box<dyn StdError + Send + Sync>>,
            Future: Send + 'static,
        > + Clone
        + Send
        + 'static,
    B: http_body::Body<Data = bytes::Bytes, Error: Into<Box<dyn StdError + Send + Sync>>>
        + Send
        + 'static,
{
    type Body = B;
}

/// TLS as currently configured; `None` is plaintext. Changes affect new
/// connections only.
pub type Tls = Arc<ArcSwapOption<ServerConfig>>;

/// Serves one connection until it ends.
pub(crate) async fn serve<S: Answers>(
    accepted: Accepted,
    opening: Arc<Opening>,
    tls: Tls,
    service: S,
    draining: watch::Receiver<bool>,
) {
    let registered = match accepted.register() {
        Ok(registered) => registered,
        Err(error) => return debug!(%error, "connection lost before it was served"),
    };
    match registered {
        Registered::Tcp(stream) => secure(stream, opening, tls, service, draining).await,
        Registered::Unix(stream) => secure(stream, opening, tls, service, draining).await,
    }
}

async fn secure<S: Answers>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    opening: Arc<Opening>,
    tls: Tls,
    service: S,
    draining: watch::Receiver<bool>,
) {
    let Some(config) = tls.load_full() else {
        return http2(stream, opening, service, draining).await;
    };
    let secured = tokio::select! {
        secured = timeout(OPENING_LIMIT, TlsAcceptor::from(config).accept(stream)) => secured,
        () = opening.dismissed() => return dismissed(),
    };
    match secured {
        Ok(Ok(stream)) => http2(stream, opening, service, draining).await,
        // TCP probes connect and hang up.
        Ok(Err(error)) if is_hang_up(&error) => debug!(%error, "client left the TLS handshake"),
        Ok(Err(error)) => warn_of(&error),
        Err(_) => debug!("TLS handshake took too long"),
    }
}

fn dismissed() {
    debug!("client was silent and made way for another");
}

/// Tells of failed handshakes, though not of every one: a client that is set
/// up wrongly, or means ill, comes back at once.
fn warn_of(error: &io::Error) {
    static SELDOM: Seldom = Seldom::new();
    match SELDOM.is_due() {
        true => warn!(%error, "TLS handshake failed"),
        false => debug!(%error, "TLS handshake failed again"),
    }
}

fn is_hang_up(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe)
}

async fn http2<S: Answers>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    opening: Arc<Opening>,
    service: S,
    mut draining: watch::Receiver<bool>,
) {
    let stream = Greeted { stream, awaited: PREFACE_BYTES, opening: Arc::clone(&opening) };
    let mut connection = pin!(builder().serve_connection(TokioIo::new(stream), service));
    let mut limit = pin!(sleep_until(Instant::now() + OPENING_LIMIT));
    let mut is_opening = true;
    let mut is_closing = false;
    loop {
        tokio::select! {
            biased;
            ended = &mut connection => {
                if let Err(error) = ended {
                    debug!(%error, "connection ended with an error");
                }
                return;
            }
            () = &mut limit, if is_opening => {
                is_opening = false;
                if !opening.is_spoken() {
                    return debug!("client did not speak HTTP/2 in time");
                }
            }
            () = opening.dismissed(), if is_opening => {
                if !opening.is_spoken() {
                    return dismissed();
                }
            }
            _ = draining.wait_for(|draining| *draining), if !is_closing => {
                is_closing = true;
                // Says GOAWAY for every stream to come, waits a round trip
                // for those on their way, then names the last one.
                connection.as_mut().graceful_shutdown();
                let sooner = Instant::now() + OPENING_LIMIT_DRAINING;
                if is_opening && limit.deadline() > sooner {
                    limit.as_mut().reset(sooner);
                }
            }
        }
    }
}

fn builder() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEADER_LIST)
        // After a stall Envoy resets what timed out all at once. With the
        // default of 20 that burst would count as an attack and end the
        // connection with every check on it.
        .max_pending_accept_reset_streams(MAX_STREAMS as usize)
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        // gRPC has no use for it.
        .auto_date_header(false);
    builder
}

/// Notes when the client has sent as much as HTTP/2's preface, and has answers
/// written in one piece.
struct Greeted<IO> {
    stream: IO,
    awaited: usize,
    opening: Arc<Opening>,
}

impl<IO: AsyncRead + Unpin> AsyncRead for Greeted<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.awaited == 0 {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.awaited = self.awaited.saturating_sub(buf.filled().len() - before);
        if self.awaited == 0 {
            self.opening.has_spoken();
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Greeted<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    /// Gathering writes are not offered, though the stream may have them: h2
    /// then copies the message of an ordinary answer behind its headers, and
    /// the whole answer leaves in one write, trailers included. With them the
    /// trailers go out by a second one, and if the process dies in between,
    /// Envoy has the headers of an answer that it can't ask for again.
    fn is_write_vectored(&self) -> bool {
        false
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::Arc};

    use http_body_util::Empty;
    use hyper::service::service_fn;
    use tokio::{io::AsyncWriteExt, net::TcpListener, net::TcpStream};

    use super::*;

    /// A client that connected and one that accepted it.
    async fn pair() -> (TcpStream, Accepted) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        (client, Accepted::Tcp(accepted.into_std().unwrap()))
    }

    /// How long a client is kept that says `words` and nothing more.
    async fn is_kept(words: &[u8], tls: Tls, draining: bool) -> Duration {
        let service =
            service_fn(async |_| Ok::<_, Infallible>(Response::new(Empty::<bytes::Bytes>::new())));
        let (mut client, accepted) = pair().await;
        client.write_all(words).await.unwrap();
        let draining = watch::Sender::new(draining);
        let start = Instant::now();
        serve(accepted, Arc::default(), tls, service, draining.subscribe()).await;
        start.elapsed()
    }

    fn some_tls() -> Tls {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(
            rustls::crypto::aws_lc_rs::default_provider(),
        ));
        let config = config
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )
            .unwrap();
        Arc::new(ArcSwapOption::from_pointee(config))
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_stays_silent_is_let_go() {
        let half = b"PRI * HTTP/2.0\r\n";
        let soon = OPENING_LIMIT + Duration::from_secs(1);
        for kept in [
            is_kept(b"", Tls::default(), false).await,
            is_kept(half, Tls::default(), false).await,
            is_kept(b"", some_tls(), false).await,
        ] {
            assert!(kept >= OPENING_LIMIT && kept < soon, "{kept:?}");
        }
        assert!(is_kept(half, Tls::default(), true).await < Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_speaks_is_kept_until_it_fails_to_answer_a_ping() {
        let greeting = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        let kept = is_kept(greeting, Tls::default(), false).await;
        let limit = KEEPALIVE_INTERVAL + KEEPALIVE_TIMEOUT;
        assert!(kept >= limit && kept < limit + Duration::from_secs(2), "{kept:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_speaks_something_else_is_let_go_at_once() {
        let kept = is_kept(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", Tls::default(), false).await;
        assert!(kept < Duration::from_secs(1), "{kept:?}");
    }
}
