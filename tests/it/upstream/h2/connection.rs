//! One connection of the HTTP/2 upstream: a task for each request plays what the script says.

use std::future::poll_fn;
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ::h2::server::SendResponse;
use ::h2::{Reason, RecvStream, SendStream};
use bytes::Bytes;
use http::Request;
use http::request::Parts;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use super::script::Act;
use super::{Play, Shared};
use crate::upstream::{Framing, Seen};

/// How often a play that waits for the test looks whether it may go on.
const LOOK: Duration = Duration::from_millis(5);

pub(super) async fn accept_all(listener: StdListener, shared: Arc<Shared>, tls: Option<Arc<rustls::ServerConfig>>) {
    listener.set_nonblocking(true).unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    let mut stop = shared.stop.subscribe();
    loop {
        let socket = tokio::select! {
            accepted = listener.accept() => accepted.map(|(socket, _)| socket),
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let Ok(socket) = socket else { continue };
        let socket = socket.into_std().unwrap();
        let Some(id) = shared.ledger.opened(&socket) else { return };
        let socket = TcpStream::from_std(socket).unwrap();
        let _ = socket.set_nodelay(true);
        let (shared, tls) = (Arc::clone(&shared), tls.clone());
        tokio::spawn(async move {
            match tls {
                None => serve(&shared, id, socket).await,
                Some(config) => {
                    if let Ok(tls) = TlsAcceptor::from(config).accept(socket).await {
                        serve(&shared, id, tls).await;
                    }
                }
            }
            shared.ledger.closed(id);
        });
    }
}

/// What a play asks of its connection.
enum Order {
    GoAway,
    Abort(Reason),
}

async fn serve<T: AsyncRead + AsyncWrite + Unpin>(shared: &Arc<Shared>, id: usize, io: T) {
    let mut builder = ::h2::server::Builder::new();
    builder.initial_window_size(1 << 20).initial_connection_window_size(1 << 30).max_header_list_size(1 << 20);
    if let Some(most) = shared.max_streams {
        builder.max_concurrent_streams(most);
    }
    let Ok(mut connection) = builder.handshake::<T, Bytes>(io).await else { return };
    let (orders, mut ordered) = mpsc::unbounded_channel();
    let streams = Arc::new(AtomicUsize::new(0));
    let mut requests = 0;
    loop {
        tokio::select! {
            accepted = connection.accept() => {
                let Some(Ok((request, respond))) = accepted else { return };
                requests += 1;
                let now = streams.fetch_add(1, Ordering::SeqCst) + 1;
                shared.most_streams.fetch_max(now, Ordering::SeqCst);
                let (shared, orders) = (Arc::clone(shared), orders.clone());
                let streams = Arc::clone(&streams);
                tokio::spawn(async move {
                    one_request(&shared, (id, requests), request, respond, orders).await;
                    streams.fetch_sub(1, Ordering::SeqCst);
                });
            }
            Some(order) = ordered.recv() => match order {
                Order::GoAway => connection.graceful_shutdown(),
                Order::Abort(reason) => connection.abrupt_shutdown(reason),
            },
        }
    }
}

/// One stream while it is played.
struct Stream {
    shared: Arc<Shared>,
    number: usize,
    respond: SendResponse<Bytes>,
    /// There once the head of the answer was sent.
    body: Option<SendStream<Bytes>>,
    orders: mpsc::UnboundedSender<Order>,
}

/// The peer reset the stream or the connection, or the play ended it.
struct Over;

async fn one_request(
    shared: &Arc<Shared>,
    place: (usize, usize),
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
    orders: mpsc::UnboundedSender<Order>,
) {
    let (parts, mut upload) = request.into_parts();
    let (number, play) = shared.begin(seen(place, &parts, upload.is_end_stream()));
    let mut stream = Stream { shared: Arc::clone(shared), number, respond, body: None, orders };
    if !play.early && stream.take_body(&mut upload).await.is_err() {
        return;
    }
    if stream.play(&play).await.is_ok() && play.early {
        let _ = stream.take_body(&mut upload).await;
    }
}

impl Stream {
    async fn take_body(&mut self, upload: &mut RecvStream) -> Result<(), Over> {
        while let Some(data) = upload.data().await {
            let data = data.map_err(|_| self.peer_left())?;
            let _ = upload.flow_control().release_capacity(data.len());
            self.shared.ledger.update(self.number, |seen| seen.body.extend_from_slice(&data));
        }
        let trailers = upload.trailers().await.map_err(|_| self.peer_left())?.unwrap_or_default();
        self.shared.ledger.update(self.number, |seen| {
            let fields = trailers.iter();
            seen.trailers = fields.map(|(n, v)| (n.as_str().to_owned(), v.as_bytes().to_vec())).collect();
            seen.complete = true;
        });
        Ok(())
    }

    async fn play(&mut self, play: &Play) -> Result<(), Over> {
        for act in &play.acts {
            match act {
                Act::Interim(status) => {
                    let interim = http::Response::builder().status(*status).header("link", "</a>").body(()).unwrap();
                    self.respond.send_informational(interim).map_err(|_| self.peer_left())?;
                }
                Act::Head(reply, end) => self.head(reply.response(), *end)?,
                Act::Data(data, end) => self.data(data.clone(), *end)?,
                Act::Echo => {
                    let mut body = Vec::new();
                    self.shared.ledger.update(self.number, |seen| body.clone_from(&seen.body));
                    self.head(http::Response::new(()), false)?;
                    self.data(body, true)?;
                }
                Act::Flood(frames, size) => self.flood(*frames, *size).await?,
                Act::Trailers(trailers) => {
                    self.body().send_trailers(trailers.clone()).map_err(|_| self.peer_left())?;
                }
                Act::Pause(pause) => self.wait(tokio::time::sleep(*pause)).await?,
                Act::Await(gate) => {
                    let gate = gate.clone();
                    let opened = async move {
                        while !gate.is_open() {
                            tokio::time::sleep(LOOK).await;
                        }
                    };
                    self.wait(opened).await?;
                }
                Act::Stall => self.wait(std::future::pending()).await?,
                Act::Reset(reason) => {
                    if self.body.is_some() {
                        // A reset overtakes what was not written yet, and nothing tells when it was.
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                    match &mut self.body {
                        Some(body) => body.send_reset(*reason),
                        None => self.respond.send_reset(*reason),
                    }
                    return Err(Over);
                }
                Act::GoAway => self.order(Order::GoAway),
                Act::Abort(reason) => self.order(Order::Abort(*reason)),
            }
        }
        Ok(())
    }

    fn order(&self, order: Order) {
        let _ = self.orders.send(order);
    }

    fn head(&mut self, response: http::Response<()>, end: bool) -> Result<(), Over> {
        let sent = self.respond.send_response(response, end);
        self.body = Some(sent.map_err(|_| self.peer_left())?);
        Ok(())
    }

    fn body(&mut self) -> &mut SendStream<Bytes> {
        self.body.as_mut().expect("a head before a body")
    }

    fn data(&mut self, data: Vec<u8>, end: bool) -> Result<(), Over> {
        let sent = self.body().send_data(data.into(), end);
        sent.map_err(|_| self.peer_left())
    }

    /// Each frame as soon as the peer's windows have room for it.
    async fn flood(&mut self, frames: usize, size: usize) -> Result<(), Over> {
        for nth in 1..=frames {
            let body = self.body();
            body.reserve_capacity(size);
            while body.capacity() < size {
                match poll_fn(|cx| body.poll_capacity(cx)).await {
                    Some(Ok(_)) => {}
                    _ => return Err(self.peer_left()),
                }
            }
            self.data(vec![b'f'; size], false)?;
            self.shared.ledger.update(self.number, |seen| seen.flooded = nth * size);
            // What is buffered becomes a frame of its own when the connection gets a turn.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Waits for it, unless the peer leaves.
    async fn wait(&mut self, what: impl Future<Output = ()>) -> Result<(), Over> {
        let (respond, body) = (&mut self.respond, &mut self.body);
        let left = poll_fn(|cx| match body {
            Some(body) => body.poll_reset(cx).map(|_| ()),
            None => respond.poll_reset(cx).map(|_| ()),
        });
        tokio::select! {
            () = what => Ok(()),
            () = left => Err(self.peer_left()),
        }
    }

    fn peer_left(&self) -> Over {
        self.shared.ledger.update(self.number, |seen| seen.aborted = Some(Instant::now()));
        Over
    }
}

fn seen((connection, index): (usize, usize), parts: &Parts, ended: bool) -> Seen {
    let pseudo = [
        (":scheme", parts.uri.scheme_str().unwrap_or_default()),
        (":authority", parts.uri.authority().map_or("", http::uri::Authority::as_str)),
    ];
    let mut fields: Vec<(String, Vec<u8>)> =
        pseudo.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
    fields.extend(parts.headers.iter().map(|(n, v)| (n.as_str().to_owned(), v.as_bytes().to_vec())));
    let target = parts.uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str);
    let framing = if ended { Framing::None } else { Framing::Frames };
    Seen::of_frames(connection, index, parts.method.as_str(), target, fields, framing)
}
