//! One HTTP/1 connection with a client, from its first request to its close.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1::{self, Builder};
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::client_io::ClientIo;
use super::framing::Framing;
use super::turn::Turn;
use crate::edge::clocks::Clocks;
use crate::edge::exchange::exchange;
use crate::edge::outgoing::{Carrier, OutBody};
use crate::edge::{Edge, EdgeSettings, respond, tunnel, wording};
use crate::headers::Arrival;
use crate::hearing::Ear;
use crate::telemetry::in_span;
use crate::time::LazyDeadline;

/// What hyper may buffer in each direction, unless a head may be larger: what a client costs that does not read, or that
/// stays after an upload.
const BUFFER: usize = 64 * 1024;
/// How long a connection has for its last bytes once the process is being cut.
const LAST_BYTES: Duration = Duration::from_millis(500);

/// Serves an HTTP/1 connection until one of the two ends it. `held` was read from it already. Dropping the future cuts it.
pub(in crate::edge) async fn serve<S>(edge: Arc<Edge>, held: BytesMut, stream: S, arrival: Arrival, clocks: Clocks)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let turn = Arc::<Turn>::default();
    let max_head = edge.settings.max_header_bytes.as_usize();
    let io = TokioIo::new(ClientIo::new(held, stream, Arc::clone(&turn), clocks, max_head));
    let exchanges = Exchanges { edge: Arc::clone(&edge), turn: Arc::clone(&turn), arrival };
    let mut connection = builder(&edge.settings).serve_connection(io, exchanges);
    drive(&edge, &turn, &mut connection).await;
    let io = connection.into_parts().io.into_inner();
    if let Some(tunnel) = turn.take_tunnel() {
        return Box::pin(tunnel::run(io.switch(), *tunnel, clocks.write, &edge.shutdown)).await;
    }
    let refused = io.refusal().map(wording::refusal);
    if let Some(answer) = &refused {
        let (status, outcome) = (answer.code.status().as_u16(), answer.code.as_str());
        edge.routes.unrouted().exchanges.count(outcome);
        tracing::info!(client = %arrival.peer, status, outcome, "request refused");
    }
    let last_words = refused.map(|answer| respond::bytes(&answer, &edge.answers));
    // Boxed, like the tunnel: a connection that is open needs no room for its end.
    Box::pin(io.close(&last_words.unwrap_or_default())).await;
}

/// The one place where hyper's defaults for clients are decided.
///
/// Its clocks are off: the socket has better ones. No `Date` is added. A client that closes its sending side counts as
/// gone, because otherwise none would; the socket sees to that, too (`half_close`: hyper does not). hyper reads a hundred fields, and is not shown more.
fn builder(settings: &EdgeSettings) -> Builder {
    let mut builder = Builder::new();
    builder
        .half_close(true)
        .header_read_timeout(None)
        .auto_date_header(false)
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
    let (mut is_asked, mut is_draining, mut last) = (false, false, LazyDeadline::default());
    let mut ear = Ear::default();
    poll_fn(|cx| {
        // Asked once, so that it wakes this task; from then on a load says the same.
        if !is_draining && (!is_asked || edge.shutdown.is_draining()) {
            is_asked = true;
            is_draining = draining.as_mut().poll(cx).is_ready();
        }
        if is_draining && last.at().is_none() && cutting.as_mut().poll(cx).is_ready() {
            last.set(Instant::now() + LAST_BYTES);
        }
        // Whatever ended it was answered or logged where it happened.
        let ended = Pin::new(&mut *connection).poll(&mut Context::from_waker(ear.of(cx.waker())));
        if ended.is_ready() || turn.has_client_left() || last.poll(cx).is_ready() {
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
    arrival: Arrival,
}

impl Service<Request<Incoming>> for Exchanges {
    type Response = Response<OutBody>;
    type Error = Infallible;
    /// Boxed: hyper keeps room for it in every idle connection.
    type Future = Pin<Box<dyn Future<Output = Result<Response<OutBody>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.turn.begin(framing(request.body()));
        let (edge, arrival) = (Arc::clone(&self.edge), self.arrival);
        let carrier = Carrier::Http1(Arc::clone(&self.turn));
        let span = tracing::debug_span!("exchange", client = %arrival.peer, method = %request.method());
        in_span(span, exchange(edge, carrier, arrival, request))
    }
}

fn framing(body: &Incoming) -> Framing {
    match (body.is_end_stream(), body.size_hint().exact()) {
        (true, _) => Framing::None,
        (false, Some(length)) => Framing::Length(length),
        (false, None) => Framing::Chunked,
    }
}
