//! One connection on a worker: TLS, then HTTP/2 until either side closes it.

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
    connection_age::MaxAge,
    connection_limit::Handshake,
    listen::{Accepted, Registered},
};
use crate::telemetry::LogThrottle;

/// How long a client may take for the TLS handshake, and again until it has sent
/// HTTP/2's preface. Without it, a silent client would hold a connection for
/// ever.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The same while the service drains.
const HANDSHAKE_TIMEOUT_DRAINING: Duration = Duration::from_secs(1);

/// Envoy multiplexes all checks of a thread over one connection and opens
/// another beyond this, which would undo the balance between workers. It is
/// high because every check may have to wait for the same key fetch.
const MAX_STREAMS: u32 = 4096;

/// A message up to this size arrives without waiting for the receiver.
const STREAM_WINDOW: u32 = 256 << 10;

/// One stream's large message must not block the others. It also limits what a
/// connection has sent and no call has read yet, which counts against no
/// budget: calls read as they run, but after every connection was polled.
const CONNECTION_WINDOW: u32 = 1 << 20;

/// Enough for tracing and `initial_metadata` headers of the call itself; those
/// of the checked request are in the message.
const MAX_HEADER_LIST: u32 = 64 << 10;

/// A peer that vanished without closing the connection is detected within the
/// sum of both.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// The length of HTTP/2's client preface (RFC 9113, section 3.4).
const PREFACE_BYTES: usize = 24;

/// The service behind a worker's connections.
///
/// A blanket trait: the bounds that hyper requires of a service, under one name.
pub trait HttpService:
    Service<
        Request<Incoming>,
        Response = Response<Self::Body>,
        Error: Into<Box<dyn StdError + Send + Sync>>,
        Future: Send + 'static,
    > + Clone
    + Send
    + 'static
{
    /// The body of a response.
    type Body: http_body::Body<Data = bytes::Bytes, Error: Into<Box<dyn StdError + Send + Sync>>>
        + Send
        + 'static;
}

impl<S, B> HttpService for S
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

/// The current TLS configuration; `None` is plaintext. A change affects new
/// connections only.
pub type Tls = Arc<ArcSwapOption<ServerConfig>>;

/// Serves one connection until it closes.
pub(crate) async fn serve<S: HttpService>(
    accepted: Accepted,
    handshake: Arc<Handshake>,
    tls: Tls,
    max_age: MaxAge,
    service: S,
    draining: watch::Receiver<bool>,
) {
    let registered = match accepted.register() {
        Ok(registered) => registered,
        Err(error) => return debug!(%error, "connection lost before it was served"),
    };
    match registered {
        Registered::Tcp(stream) => secure(stream, handshake, tls, max_age, service, draining).await,
        Registered::Unix(stream) => {
            secure(stream, handshake, tls, max_age, service, draining).await
        }
    }
}

async fn secure<S: HttpService>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    handshake: Arc<Handshake>,
    tls: Tls,
    max_age: MaxAge,
    service: S,
    draining: watch::Receiver<bool>,
) {
    let Some(config) = tls.load_full() else {
        return http2(stream, handshake, max_age, service, draining).await;
    };
    let secured = tokio::select! {
        secured = timeout(HANDSHAKE_TIMEOUT, TlsAcceptor::from(config).accept(stream)) => secured,
        () = handshake.evicted() => return evicted(),
    };
    match secured {
        Ok(Ok(stream)) => http2(stream, handshake, max_age, service, draining).await,
        // TCP probes connect and hang up.
        Ok(Err(error)) if is_hang_up(&error) => debug!(%error, "client left the TLS handshake"),
        Ok(Err(error)) => warn_throttled(&error),
        Err(_) => debug!("TLS handshake took too long"),
    }
}

fn evicted() {
    debug!("client did not complete its handshake and was closed for a new connection");
}

/// Warns of failed handshakes, throttled: a misconfigured or hostile client
/// reconnects at once.
fn warn_throttled(error: &io::Error) {
    static THROTTLE: LogThrottle = LogThrottle::new();
    match THROTTLE.is_due() {
        true => warn!(%error, "TLS handshake failed"),
        false => debug!(%error, "TLS handshake failed again"),
    }
}

fn is_hang_up(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe)
}

async fn http2<S: HttpService>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    handshake: Arc<Handshake>,
    max_age: MaxAge,
    service: S,
    mut draining: watch::Receiver<bool>,
) {
    let stream =
        HandshakeStream { stream, awaited: PREFACE_BYTES, handshake: Arc::clone(&handshake) };
    let mut connection = pin!(builder().serve_connection(TokioIo::new(stream), service));
    let mut handshake_timeout = pin!(sleep_until(Instant::now() + HANDSHAKE_TIMEOUT));
    let mut old = pin!(max_age.reached());
    let mut is_pending = true;
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
            () = &mut handshake_timeout, if is_pending => {
                is_pending = false;
                if !handshake.is_complete() {
                    return debug!("client did not speak HTTP/2 in time");
                }
            }
            () = handshake.evicted(), if is_pending => {
                if !handshake.is_complete() {
                    return evicted();
                }
            }
            // Sends GOAWAY without a last stream, waits a round trip for the
            // streams on their way, then sends the last stream's id.
            () = &mut old, if !is_closing => {
                is_closing = true;
                connection.as_mut().graceful_shutdown();
            }
            _ = draining.wait_for(|draining| *draining), if !is_closing => {
                is_closing = true;
                connection.as_mut().graceful_shutdown();
                let sooner = Instant::now() + HANDSHAKE_TIMEOUT_DRAINING;
                if is_pending && handshake_timeout.deadline() > sooner {
                    handshake_timeout.as_mut().reset(sooner);
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
        // After a stall Envoy resets all timed-out streams at once. With the
        // default of 20 that burst would count as an attack and close the
        // connection with every check on it.
        .max_pending_accept_reset_streams(MAX_STREAMS as usize)
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        // gRPC has no use for it.
        .auto_date_header(false);
    builder
}

/// Completes the handshake when the client has sent as many bytes as HTTP/2's
/// preface has, and makes h2 write a response in one piece.
struct HandshakeStream<IO> {
    stream: IO,
    awaited: usize,
    handshake: Arc<Handshake>,
}

impl<IO: AsyncRead + Unpin> AsyncRead for HandshakeStream<IO> {
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
            self.handshake.complete();
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for HandshakeStream<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    /// Vectored writes are disabled, though the stream may support them: h2 then
    /// copies the message of an ordinary response behind its headers and sends
    /// the whole response, trailers included, in one write. With vectored writes
    /// the trailers need a second write; if the process dies in between, Envoy
    /// has the headers of a response that it can't retry.
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

    /// How long a client is kept that sends `bytes` and nothing more.
    async fn is_kept(bytes: &[u8], tls: Tls, draining: bool) -> Duration {
        let service =
            service_fn(async |_| Ok::<_, Infallible>(Response::new(Empty::<bytes::Bytes>::new())));
        let (mut client, accepted) = pair().await;
        client.write_all(bytes).await.unwrap();
        let draining = watch::Sender::new(draining);
        let start = Instant::now();
        serve(accepted, Arc::default(), tls, MaxAge::default(), service, draining.subscribe())
            .await;
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
    async fn a_silent_client_is_closed() {
        let half = b"PRI * HTTP/2.0\r\n";
        let soon = HANDSHAKE_TIMEOUT + Duration::from_secs(1);
        for kept in [
            is_kept(b"", Tls::default(), false).await,
            is_kept(half, Tls::default(), false).await,
            is_kept(b"", some_tls(), false).await,
        ] {
            assert!(kept >= HANDSHAKE_TIMEOUT && kept < soon, "{kept:?}");
        }
        assert!(is_kept(half, Tls::default(), true).await < Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_is_kept_until_it_fails_to_answer_a_ping() {
        let greeting = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        let kept = is_kept(greeting, Tls::default(), false).await;
        let limit = KEEPALIVE_INTERVAL + KEEPALIVE_TIMEOUT;
        assert!(kept >= limit && kept < limit + Duration::from_secs(2), "{kept:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_of_another_protocol_is_closed_at_once() {
        let kept = is_kept(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", Tls::default(), false).await;
        assert!(kept < Duration::from_secs(1), "{kept:?}");
    }
}
