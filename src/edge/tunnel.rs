//! An upgraded connection: bytes both ways until one side ends, falls silent, or the process is cut.
//!
//! Each direction is carried on its own. A side that has ended its own direction still receives the other (RFC 9293 §3.6),
//! and a side that takes nothing any more is still heard: what it said before it went has arrived, and belongs to the other
//! side.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::ops::Range;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, timeout};

use super::clocks::WriteClock;
use super::summary::Summary;
use crate::answer::Breakage;
use crate::body::{End, Report};
use crate::shutdown::Shutdown;
use crate::time::LazyDeadline;
use crate::upstream::Switched;

/// The buffer of each direction.
const BUFFER: usize = 8 * 1024;
/// How long a client's bytes that nobody wants are read and dropped, so that a reset does not overtake the last ones for it.
const LINGER: Duration = Duration::from_secs(2);

/// A tunnel that was agreed on: what the client's connection needs to become one.
pub(super) struct Tunnel {
    pub(super) upstream: Switched,
    /// `TUNNEL_IDLE_TIMEOUT_SECONDS`; none = off.
    pub(super) idle: Option<Duration>,
    pub(super) summary: Summary,
}

/// Carries bytes both ways, see [`carry`], and reports how that ended.
pub(super) async fn run<S>(client: S, mut tunnel: Tunnel, patience: Duration, shutdown: &Shutdown)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (end, bytes) = carry(client, tunnel.upstream, tunnel.idle, patience, shutdown).await;
    tunnel.summary.ended(end, bytes);
}

/// Carries bytes both ways until both sides have ended, and tells how it ended and how many bytes came from the two.
///
/// What a side says reaches the other in order, and its end behind it: a half-closed tunnel goes on. Once one side is
/// gone, what it said before is still delivered. Silence in both directions for `idle` ends it, and so does a client that
/// takes nothing for `patience` while data waits, or the cut of the process.
///
/// Dropping the future cuts both sides.
pub async fn carry<C, U>(
    client: C,
    upstream: U,
    idle: Option<Duration>,
    patience: Duration,
    shutdown: &Shutdown,
) -> (End, u64)
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let activity = Arc::new(Activity::default());
    let writing = Some(WriteClock::new(patience));
    let mut client = Heard { stream: client, activity: Arc::clone(&activity), writing };
    let mut upstream = Heard { stream: upstream, activity: Arc::clone(&activity), writing: None };
    let mut ways = Ways { up: Way::new(), down: Way::new(), idle, patience };
    let end = {
        let mut cutting = pin!(shutdown.cutting());
        let mut silence = LazyDeadline::default();
        poll_fn(|cx| {
            if let Poll::Ready(end) = ways.poll(cx, &mut client, &mut upstream) {
                return Poll::Ready(end);
            }
            if cutting.as_mut().poll(cx).is_ready() {
                return Poll::Ready(End::Broken(Breakage::ShuttingDown));
            }
            let Some(idle) = ways.idle else { return Poll::Pending };
            silence.set(activity.last() + idle);
            silence.poll(cx).map(|()| End::Broken(Breakage::Stalled))
        })
        .await
    };
    drop(upstream);
    let bytes = activity.bytes.load(Relaxed);
    if end == End::Complete {
        let farewell = async {
            let mut sink = [0; 4096];
            if client.shutdown().await.is_ok() {
                while matches!(client.read(&mut sink).await, Ok(n) if n > 0) {}
            }
        };
        let _ = timeout(LINGER, farewell).await;
    }
    (end, bytes)
}

/// Both directions.
struct Ways {
    /// From the client to the upstream.
    up: Way,
    down: Way,
    idle: Option<Duration>,
    patience: Duration,
}

impl Ways {
    fn poll<C, U>(&mut self, cx: &mut Context<'_>, client: &mut C, upstream: &mut U) -> Poll<End>
    where
        C: AsyncRead + AsyncWrite + Unpin,
        U: AsyncRead + AsyncWrite + Unpin,
    {
        let sent = self.up.poll(cx, client, upstream);
        let received = self.down.poll(cx, upstream, client);
        if matches!(&received, Poll::Ready(Err(Fault::Sink(error))) if error.kind() == io::ErrorKind::TimedOut) {
            return Poll::Ready(End::ClientGone);
        }
        for (way, result) in [(&mut self.up, &sent), (&mut self.down, &received)] {
            match result {
                // Whoever takes nothing any more has said all that it will say, and that is here or about to be.
                Poll::Ready(Err(Fault::Sink(_))) => {
                    way.stage = Stage::Over;
                    self.idle = Some(self.idle.map_or(self.patience, |idle| idle.min(self.patience)));
                }
                // Whoever cannot be read from cannot be written to.
                Poll::Ready(Err(Fault::Source)) => return Poll::Ready(End::Complete),
                _ => {}
            }
        }
        if self.up.stage == Stage::Over && self.down.stage == Stage::Over {
            return Poll::Ready(End::Complete);
        }
        Poll::Pending
    }
}

/// One direction.
struct Way {
    buffer: Box<[u8]>,
    /// What of the buffer is still to be written.
    rest: Range<usize>,
    is_flushed: bool,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Carrying,
    /// The source has ended; the sink is to be told.
    Ending,
    /// The source has broken off; what came before is on its way.
    Broken,
    Over,
}

/// Which end of a direction failed.
enum Fault {
    Source,
    Sink(io::Error),
}

impl Way {
    fn new() -> Self {
        Self { buffer: vec![0; BUFFER].into(), rest: 0..0, is_flushed: true, stage: Stage::Carrying }
    }

    /// Carries on as far as it goes now. Ready when this direction is over.
    fn poll<R, W>(&mut self, cx: &mut Context<'_>, source: &mut R, sink: &mut W) -> Poll<Result<(), Fault>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            match self.stage {
                Stage::Carrying if !self.rest.is_empty() => {
                    let written = ready!(Pin::new(&mut *sink).poll_write(cx, &self.buffer[self.rest.clone()]));
                    match written.map_err(Fault::Sink)? {
                        0 => return Poll::Ready(Err(Fault::Sink(io::ErrorKind::WriteZero.into()))),
                        written => self.rest.start += written,
                    }
                    self.is_flushed = false;
                }
                Stage::Carrying => {
                    let mut buffer = ReadBuf::new(&mut self.buffer);
                    match Pin::new(&mut *source).poll_read(cx, &mut buffer) {
                        Poll::Ready(Ok(())) => {
                            self.rest = 0..buffer.filled().len();
                            if self.rest.is_empty() {
                                self.stage = Stage::Ending;
                            }
                        }
                        Poll::Ready(Err(_)) => self.stage = Stage::Broken,
                        Poll::Pending => {
                            ready!(self.poll_flush(cx, sink))?;
                            return Poll::Pending;
                        }
                    }
                }
                Stage::Ending => {
                    ready!(Pin::new(&mut *sink).poll_shutdown(cx)).map_err(Fault::Sink)?;
                    self.stage = Stage::Over;
                }
                Stage::Broken => {
                    ready!(self.poll_flush(cx, sink))?;
                    return Poll::Ready(Err(Fault::Source));
                }
                Stage::Over => return Poll::Ready(Ok(())),
            }
        }
    }

    fn poll_flush<W: AsyncWrite + Unpin>(&mut self, cx: &mut Context<'_>, sink: &mut W) -> Poll<Result<(), Fault>> {
        if !self.is_flushed {
            ready!(Pin::new(sink).poll_flush(cx)).map_err(Fault::Sink)?;
            self.is_flushed = true;
        }
        Poll::Ready(Ok(()))
    }
}

/// When a byte last moved, and how many came from the two sides.
#[derive(Debug)]
struct Activity {
    begin: Instant,
    /// Microseconds after `begin`.
    last: AtomicU64,
    bytes: AtomicU64,
}

impl Default for Activity {
    fn default() -> Self {
        Self { begin: Instant::now(), last: AtomicU64::new(0), bytes: AtomicU64::new(0) }
    }
}

impl Activity {
    fn heard(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Relaxed);
        self.moved();
    }

    /// A byte was read from a side or taken by one, or a side is gone.
    fn moved(&self) {
        self.last.store(u64::try_from(self.begin.elapsed().as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    fn last(&self) -> Instant {
        self.begin + Duration::from_micros(self.last.load(Relaxed))
    }
}

/// A side of the tunnel whose bytes are noticed as they come.
struct Heard<S> {
    stream: S,
    activity: Arc<Activity>,
    writing: Option<WriteClock>,
}

impl<S> Heard<S> {
    fn after<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let result = match &mut self.writing {
            Some(clock) => clock.after(cx, result),
            None => result,
        };
        if matches!(result, Poll::Ready(Err(_))) {
            // What is left to say has its time from now on.
            self.activity.moved();
        }
        result
    }

    fn after_write(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if matches!(result, Poll::Ready(Ok(_))) {
            self.activity.moved();
        }
        self.after(cx, result)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let result = Pin::new(&mut this.stream).poll_read(cx, buf);
        let new = buf.filled().len() - before;
        if new > 0 {
            this.activity.heard(new);
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.after_write(cx, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.after_write(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_flush(cx);
        this.after(cx, result)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_shutdown(cx);
        this.after(cx, result)
    }
}
