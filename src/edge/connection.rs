//! One client connection, from accept to close.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1::{self, Builder};
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tracing::Instrument;

use super::client_io::{ClientIo, Clocks};
use super::exchange::exchange;
use super::framing::Framing;
use super::outgoing::OutBody;
use super::respond;
use super::turn::Turn;
use super::{Edge, EdgeSettings};
use crate::time::LazyDeadline;

/// "At most 128 fields."
const MAX_FIELDS: usize = 128;
/// What hyper may buffer in each direction, unless a head may be larger: what a client costs that does not read, or that
/// stays after an upload.
const BUFFER: usize = 64 * 1024;
/// How long a connection has for its last bytes once the process is being cut.
const LAST_BYTES: Duration = Duration::from_millis(500);

/// Serves a client's connection until one of the two ends it. Any stream will do: the process gives it sockets, tests
/// and fuzz targets give it streams in memory, where time can stand still.
///
/// Dropping the future cuts the connection and cancels what is under way on it.
pub async fn serve<S>(edge: Arc<Edge>, stream: S, peer: IpAddr)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let turn = Arc::<Turn>::default();
    let settings = &edge.settings;
    let clocks = Clocks { head: settings.header_timeout, idle: settings.idle, write: settings.write_timeout };
    let io = TokioIo::new(ClientIo::new(stream, Arc::clone(&turn), clocks));
    let exchanges = Exchanges { edge: Arc::clone(&edge), turn: Arc::clone(&turn), peer };
    let mut connection = builder(settings).serve_connection(io, exchanges);
    drive(&edge, &turn, &mut connection).await;
    let io = connection.into_parts().io.into_inner();
    let refused = io.refusal().map(respond::refusal);
    if let Some(answer) = &refused {
        tracing::info!(client = %peer, status = answer.code.status().as_u16(), outcome = answer.code.as_str(), "request refused");
    }
    let last_words = refused.map(|answer| respond::bytes(&answer, &edge.answers));
    io.close(&last_words.unwrap_or_default()).await;
}

/// The one place where hyper's defaults for clients are decided.
///
/// Its clocks are off: the socket has better ones. No `Date` is added. A client that closes its sending side counts as
/// gone (`half_close`), because otherwise none would.
fn builder(settings: &EdgeSettings) -> Builder {
    let mut builder = Builder::new();
    builder
        .half_close(false)
        .header_read_timeout(None)
        .auto_date_header(false)
        .max_headers(MAX_FIELDS)
        .max_header_size(settings.max_header_bytes.as_usize())
        .max_buf_size(BUFFER.max(settings.max_header_bytes.as_usize()));
    builder
}

/// Runs a connection to its end. While the process drains, an idle one ends at once, a busy one after its answer; once
/// the process is cut, each exchange ends itself and has a moment for its last bytes.
async fn drive<S>(edge: &Edge, turn: &Turn, connection: &mut http1::Connection<TokioIo<ClientIo<S>>, Exchanges>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut draining = pin!(edge.shutdown.draining());
    let mut cutting = pin!(edge.shutdown.cutting());
    let (mut is_draining, mut last) = (false, LazyDeadline::default());
    poll_fn(|cx| {
        is_draining = is_draining || draining.as_mut().poll(cx).is_ready();
        if is_draining && last.at().is_none() && cutting.as_mut().poll(cx).is_ready() {
            last.set(Instant::now() + LAST_BYTES);
        }
        // Whatever ended it was answered or logged where it happened.
        if Pin::new(&mut *connection).poll(cx).is_ready() || last.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if is_draining && turn.is_idle() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// The service that hyper calls for each request of a connection.
struct Exchanges {
    edge: Arc<Edge>,
    turn: Arc<Turn>,
    peer: IpAddr,
}

impl Service<Request<Incoming>> for Exchanges {
    type Response = Response<OutBody>;
    type Error = Infallible;
    /// Boxed: hyper keeps room for it in every idle connection.
    type Future = Pin<Box<dyn Future<Output = Result<Response<OutBody>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.turn.begin(framing(request.body()));
        let (edge, turn, peer) = (Arc::clone(&self.edge), Arc::clone(&self.turn), self.peer);
        let span = tracing::debug_span!("exchange", client = %peer, method = %request.method());
        Box::pin(async move { Ok(exchange(&edge, &turn, peer, request).await) }.instrument(span))
    }
}

fn framing(body: &Incoming) -> Framing {
    match (body.is_end_stream(), body.size_hint().exact()) {
        (true, _) => Framing::None,
        (false, Some(length)) => Framing::Length(length),
        (false, None) => Framing::Chunked,
    }
}
