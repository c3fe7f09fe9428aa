//! One HTTP/2 connection to an upstream, shared by many exchanges.
//!
//! It is h2's client itself and not hyper's around it: the pool must know at every checkout whether the upstream has said
//! goodbye and how many streams it allows, which hyper's handle does not tell, and a request needs no tasks of its own.

use std::future::{Future, pending, poll_fn};
use std::mem;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use h2::{Ping, PingPong};
use tokio::time::{Instant, sleep, timeout};

use super::failure::{ConnectStage, Failure};
use super::pool::Slot;
use super::transport::Stream;
use super::wire::{Gauge, Unflushed, Wire};
use crate::shutdown::Tasks;

/// Streams on one connection at most, whatever the upstream allows: when a connection is lost, so many requests are.
pub(super) const MAX_STREAMS: usize = 100;
/// How long the upstream's SETTINGS may take. Until then one stream is used, and after it no more of them.
pub(super) const SETTINGS_GRACE: Duration = Duration::from_millis(300);

/// What a response may lie in when its client does not read it: with the number of streams, the bound of the memory that
/// one connection takes.
const STREAM_WINDOW: u32 = 256 * 1024;
/// The largest there is. It bounds nothing, and that is the point: one client that reads nothing must not take the window
/// from its neighbours, and h2's budget for small DATA frames, half of this, must not end in a token stream.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
/// Bytes of one request that lie in h2 and not in the socket.
const SEND_BUFFER: usize = 64 * 1024;
/// An upstream's head may be this long, its names and values and 32 bytes for each field (RFC 9113 §6.5.2).
const MAX_HEAD_BYTES: u32 = 256 * 1024;

/// Streams that were reset here are remembered so long, and so many of them: what the upstream still sends for one is
/// ignored. For one that is forgotten h2 sends a further reset, and allows itself 1024 of those before it gives the
/// connection up; a proxy that drops attempts would come to that with h2's own second and fifty.
const REMEMBER_RESETS: Duration = Duration::from_secs(30);
const REMEMBERED_RESETS: usize = 1024;

/// A connection on which nothing came for so long is asked whether it is still there…
const PING_AFTER: Duration = Duration::from_secs(15);
/// …and is not, if it takes longer than this to answer.
const PING_PATIENCE: Duration = Duration::from_secs(10);

/// A connection for up to [`room`](Self::room) exchanges. With the last of its handles it says goodbye and closes the socket;
/// an upstream that takes no goodbye answers no ping either.
pub(super) struct Multiplex {
    sender: SendRequest<Bytes>,
    gauge: Arc<Gauge>,
    unflushed: Arc<Unflushed>,
    allowance: Arc<Allowance>,
    /// When it is too old for another exchange.
    pub(super) expires: Instant,
}

/// How many streams the upstream allows.
#[derive(Debug)]
struct Allowance {
    room: AtomicUsize,
    is_settled: AtomicBool,
}

impl Multiplex {
    /// Puts h2's client on a stream and runs it in the background.
    ///
    /// The slot lives as long as the socket. `has_room` is called when the upstream has said how many streams it allows, or
    /// has not for some time, when it says something else, and when the connection has ended. Fails when the preface cannot be sent within `patience`.
    ///
    /// This is the one place where h2's defaults are decided, and so what a malicious upstream may cost. The head's limit
    /// bounds HPACK bombs (fields are counted as they are decoded) and, with the size of a frame, the number of CONTINUATION
    /// frames. The stream's window bounds what lies unread; the budget for small frames what their bookkeeping takes.
    /// SETTINGS and PING are answered one at a time, and nothing is read until the answer is in the socket: a flood fills
    /// the upstream's own buffers. Streams that it resets are forgotten, those that we reset are remembered for a time and
    /// in a number that h2 limits; pushes are off. 1xx heads are dropped as they come and move no clock.
    pub(super) async fn open(
        stream: Stream,
        slot: Slot,
        tasks: &Tasks,
        age: Duration,
        patience: Duration,
        has_room: impl Fn() + Send + 'static,
    ) -> Result<Arc<Self>, Failure> {
        let (gauge, unflushed) = (Gauge::new(), Arc::<Unflushed>::default());
        let wire = Wire::shared(stream, Arc::clone(&gauge), Arc::clone(&unflushed), slot);
        let mut builder = Builder::new();
        builder
            .initial_max_send_streams(1)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buffer_size(SEND_BUFFER)
            .max_header_list_size(MAX_HEAD_BYTES)
            .reset_stream_duration(REMEMBER_RESETS)
            .max_concurrent_reset_streams(REMEMBERED_RESETS)
            .enable_push(false);
        let handshake = timeout(patience, builder.handshake::<_, Bytes>(wire)).await;
        let (sender, connection) = handshake
            .map_err(|_| Failure::ConnectTimeout(patience))?
            .map_err(|error| Failure::Connect(ConnectStage::Tcp, error.into()))?;
        let allowance = Arc::new(Allowance { room: AtomicUsize::new(1), is_settled: AtomicBool::new(false) });
        let herald = Herald { allowance: Arc::clone(&allowance), has_room };
        tasks.spawn(drive(connection, Arc::clone(&gauge), herald));
        Ok(Arc::new(Self { sender, gauge, unflushed, allowance, expires: Instant::now() + age }))
    }

    /// How many exchanges may be on it at the same time.
    pub(super) fn room(&self) -> usize {
        self.allowance.room.load(Relaxed)
    }

    /// Whether that is the upstream's word, and not for want of it.
    pub(super) fn is_settled(&self) -> bool {
        self.allowance.is_settled.load(Acquire)
    }

    /// Whether it takes new streams: it stands, and the upstream has not said goodbye.
    pub(super) fn is_open(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        matches!(self.sender().poll_ready(&mut cx), Poll::Ready(Ok(())))
    }

    /// A handle for one request.
    pub(super) fn sender(&self) -> SendRequest<Bytes> {
        self.sender.clone()
    }

    /// What tells when a request has been written.
    pub(super) fn unflushed(&self) -> &Unflushed {
        &self.unflushed
    }

    /// Whether it has answered a request.
    pub(super) fn has_served(&self) -> bool {
        self.gauge.trace().reused
    }

    /// It answers a request.
    pub(super) fn serves(&self) {
        self.gauge.kept();
    }
}

/// Tells how many streams there may be; and, dropped with the connection, that it has ended: whoever waits for it must not
/// wait in vain.
struct Herald<F: Fn()> {
    allowance: Arc<Allowance>,
    has_room: F,
}

impl<F: Fn()> Herald<F> {
    fn tell(&self) {
        // Said before it is told: the one who is told may not find the connection in service yet, but whoever puts it
        // there looks.
        self.allowance.is_settled.store(true, Release);
        (self.has_room)();
    }
}

impl<F: Fn()> Drop for Herald<F> {
    fn drop(&mut self) {
        self.tell();
    }
}

/// Runs a connection to its end, follows how many streams it allows, and gives it up when it does not answer.
async fn drive(mut connection: Connection<Wire<Stream, Slot>, Bytes>, gauge: Arc<Gauge>, herald: Herald<impl Fn()>) {
    let pings = connection.ping_pong();
    let mut alive = pin!(keep_alive(pings, gauge));
    let mut grace = pin!(sleep(SETTINGS_GRACE));
    let (mut is_settled, mut allowed) = (false, 1);
    poll_fn(move |cx| {
        if alive.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        // What went wrong every request on it hears; there is nobody else to tell.
        let end = Pin::new(&mut connection).poll(cx);
        let allows = connection.max_concurrent_send_streams();
        let has_changed = allows != mem::replace(&mut allowed, allows);
        if has_changed {
            // An upstream that allows none may allow some later: whoever is here waits for that.
            herald.allowance.room.store(allows.clamp(1, MAX_STREAMS), Relaxed);
        }
        if has_changed || (!is_settled && grace.as_mut().poll(cx).is_ready()) {
            is_settled = true;
            herald.tell();
        }
        end.map(drop)
    })
    .await;
}

/// Ends when the upstream does not answer a ping. One that sends is not asked.
async fn keep_alive(pings: Option<PingPong>, gauge: Arc<Gauge>) {
    let Some(mut pings) = pings else { return pending().await };
    let mut read = 0;
    loop {
        sleep(PING_AFTER).await;
        let is_quiet = gauge.total_read() == mem::replace(&mut read, gauge.total_read());
        if is_quiet && !matches!(timeout(PING_PATIENCE, pings.ping(Ping::opaque())).await, Ok(Ok(_))) {
            return;
        }
    }
}
