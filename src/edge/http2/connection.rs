//! One HTTP/2 connection with a client, from its preface to its close.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2::{self, Builder};
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::{Instant, timeout};

use super::answering::{Answering, StreamBody};
use super::socket::Socket;
use super::streams::Streams;
use crate::edge::clocks::Clocks;
use crate::edge::exchange::exchange;
use crate::edge::outgoing::Carrier;
use crate::edge::rewound::Rewound;
use crate::edge::{Edge, EdgeSettings};
use crate::headers::Arrival;
use crate::shutdown::Tasks;
use crate::telemetry::in_span;
use crate::time::LazyDeadline;

/// Exchanges at once on one connection. Each may hold what one HTTP/1 connection may hold.
const MAX_STREAMS: u32 = 128;
/// What a client may send of one body, and of all bodies together, before somebody reads it.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// What may wait for a client's window, per stream.
const SEND_BUFFER: usize = 64 * 1024;
/// Asked so often, a client that vanished without a word is noticed; it has the same time to answer.
const PING: Duration = Duration::from_secs(20);
/// After GOAWAY a client that has nothing under way has so long to acknowledge it.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long a connection has for its last bytes once the process is being cut.
const LAST_BYTES: Duration = Duration::from_millis(500);
/// How long bytes that nobody wants are read and dropped, so that a reset does not overtake the GOAWAY.
const LINGER: Duration = Duration::from_secs(2);

/// Serves an HTTP/2 connection until one of the two ends it. Dropping the future cuts it and everything on it.
pub(in crate::edge) async fn serve<S>(edge: Arc<Edge>, stream: Rewound<S>, arrival: Arrival, clocks: Clocks)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let streams = Streams::new();
    let (socket, mut back) = Socket::new(stream, clocks, Arc::clone(&streams));
    let exchanges = Exchanges { edge: Arc::clone(&edge), streams: Arc::clone(&streams), arrival };
    let executor = Spawn(edge.streams.clone());
    let connection = Box::pin(builder(&edge.settings, executor).serve_connection(TokioIo::new(socket), exchanges));
    drive(&edge, &streams, clocks, connection).await;
    if let Ok(mut stream) = back.try_recv() {
        // In a box: it is as large as all the rest, and most connections come to it only in the end.
        let farewell = Box::pin(async move {
            let mut sink = [0; 4096];
            if tokio::io::AsyncWriteExt::shutdown(&mut stream).await.is_ok() {
                while matches!(stream.read(&mut sink).await, Ok(n) if n > 0) {}
            }
        });
        let _ = timeout(LINGER, farewell).await;
    }
}

/// The one place where hyper's defaults for HTTP/2 clients are decided.
///
/// A head above `MAX_HEADER_BYTES` is answered by forebay; above twice that, by h2, which then need not read it all.
/// Resets of streams that were not accepted yet (CVE-2023-44487) and floods of CONTINUATION, SETTINGS and PING are bounded
/// by h2 itself, which ends the connection with `ENHANCE_YOUR_CALM`.
fn builder(settings: &EdgeSettings, executor: Spawn) -> Builder<Spawn> {
    let list = u32::try_from(settings.max_header_bytes.get().saturating_mul(2)).unwrap_or(u32::MAX);
    let mut builder = Builder::new(executor);
    builder
        .timer(TokioTimer::new())
        .auto_date_header(false)
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(list)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    builder
}

type Connection<S> = http2::Connection<TokioIo<Socket<Rewound<S>>>, Exchanges, Spawn>;

/// Runs a connection to its end.
///
/// A client that asks for nothing is told to go: when its first request does not come in time, when it has been idle for
/// too long, when the process drains. Bodies that it does not read are taken away. Once the process is cut, each exchange
/// ends itself and has a moment for its last bytes.
async fn drive<S>(edge: &Edge, streams: &Streams, clocks: Clocks, mut connection: Pin<Box<Connection<S>>>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut draining = pin!(edge.shutdown.draining());
    let mut cutting = pin!(edge.shutdown.cutting());
    let (mut is_draining, mut is_leaving, mut last) = (false, false, LazyDeadline::default());
    let mut farewell: Option<Instant> = None;
    // When to look at the clocks again; sooner only when something begins or ends.
    let (mut look, mut looked_at) = (LazyDeadline::default(), None);
    poll_fn(|cx| {
        is_draining = is_draining || draining.as_mut().poll(cx).is_ready();
        if is_draining && last.at().is_none() && cutting.as_mut().poll(cx).is_ready() {
            last.set(Instant::now() + LAST_BYTES);
            streams.wake_all();
        }
        if connection.as_mut().poll(cx).is_ready() || last.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        loop {
            let idle_since = streams.idle_since(cx);
            if looked_at == Some((idle_since, is_draining)) && look.poll(cx).is_pending() {
                return Poll::Pending;
            }
            looked_at = Some((idle_since, is_draining));
            let now = Instant::now();
            let last_read = streams.last_read();
            let patience = idle_since.map(|since| {
                if streams.has_served() {
                    last_read.map_or(since, |read| read.max(since)) + clocks.idle
                } else {
                    clocks.first_head()
                }
            });
            if !is_leaving && (is_draining || patience.is_some_and(|until| until <= now)) {
                is_leaving = true;
                connection.as_mut().graceful_shutdown();
                // It has to be polled for its GOAWAY to leave.
                if connection.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(());
                }
            }
            // Whoever was told to go and has nothing under way goes, whether it acknowledges that or not, unless it still
            // reads what hyper has finished.
            farewell = idle_since.filter(|_| is_leaving).map(|_| farewell.unwrap_or(now + FAREWELL));
            farewell = farewell.map(|until| last_read.map_or(until, |read| until.max(read + clocks.write)));
            if farewell.is_some_and(|until| until <= now) {
                return Poll::Ready(());
            }
            let clock = if is_leaving { farewell } else { patience };
            let overdue = streams.take_overdue(now, clocks.write);
            look.set(clock.map_or(overdue, |until| until.min(overdue)));
        }
    })
    .await;
}

/// The service that hyper calls for each request of a connection.
struct Exchanges {
    edge: Arc<Edge>,
    streams: Arc<Streams>,
    arrival: Arrival,
}

impl Service<Request<Incoming>> for Exchanges {
    type Response = Response<StreamBody>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let stream = self.streams.begin();
        let carrier = Carrier::Http2(Arc::clone(&stream));
        let (edge, arrival) = (Arc::clone(&self.edge), self.arrival);
        let span = tracing::debug_span!("exchange", client = %arrival.peer, method = %request.method());
        Answering::new(in_span(span, exchange(edge, carrier, arrival, request)), stream)
    }
}

/// Every exchange runs as a task of its own, counted like all tasks. A panic in it ends it, and nothing else.
#[derive(Clone)]
struct Spawn(Tasks);

impl<F> Executor<F> for Spawn
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.spawn(future);
    }
}
