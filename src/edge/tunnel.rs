//! An upgraded connection: bytes both ways until one side ends, falls silent, or the process is cut.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional_with_sizes};
use tokio::time::Instant;

use super::clocks::WriteClock;
use super::summary::Summary;
use crate::answer::Breakage;
use crate::body::{End, Report};
use crate::shutdown::Shutdown;
use crate::time::LazyDeadline;
use crate::upstream::Switched;

/// The buffer of each direction.
const BUFFER: usize = 8 * 1024;

/// A tunnel that was agreed on: what the client's connection needs to become one.
pub(super) struct Tunnel {
    pub(super) upstream: Switched,
    /// `TUNNEL_IDLE_TIMEOUT_SECONDS`; none = off.
    pub(super) idle: Option<Duration>,
    pub(super) summary: Summary,
}

/// Carries bytes both ways. A side that has ended its own direction still receives the other (RFC 9293 §3.6), so a
/// half-closed tunnel goes on; silence in both directions ends it, and so does a client that takes nothing for `patience`
/// while data waits, or the cut of the process.
pub(super) async fn run<S>(client: S, mut tunnel: Tunnel, patience: Duration, shutdown: &Shutdown)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let activity = Arc::new(Activity::default());
    let writing = Some(WriteClock::new(patience));
    let mut client = Heard { stream: client, activity: Arc::clone(&activity), writing };
    let mut upstream = Heard { stream: tunnel.upstream, activity: Arc::clone(&activity), writing: None };
    let end = {
        let mut copy = pin!(copy_bidirectional_with_sizes(&mut client, &mut upstream, BUFFER, BUFFER));
        let mut cutting = pin!(shutdown.cutting());
        let mut silence = LazyDeadline::default();
        let start = Instant::now();
        poll_fn(|cx| {
            if copy.as_mut().poll(cx).is_ready() {
                return Poll::Ready(End::Complete);
            }
            if cutting.as_mut().poll(cx).is_ready() {
                return Poll::Ready(End::Broken(Breakage::ShuttingDown));
            }
            let Some(idle) = tunnel.idle else { return Poll::Pending };
            let heard = activity.since(start);
            silence.set(start + heard + idle);
            silence.poll(cx).map(|()| End::Broken(Breakage::Stalled))
        })
        .await
    };
    tunnel.summary.ended(end, activity.bytes.load(Relaxed));
}

/// When a byte last came from either side, and how many did.
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
        self.last.store(u64::try_from(self.begin.elapsed().as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    /// The last byte's time, from `start`.
    fn since(&self, start: Instant) -> Duration {
        (self.begin + Duration::from_micros(self.last.load(Relaxed))).saturating_duration_since(start)
    }
}

/// A side of the tunnel whose bytes are noticed as they come.
struct Heard<S> {
    stream: S,
    activity: Arc<Activity>,
    writing: Option<WriteClock>,
}

impl<S> Heard<S> {
    fn after_write<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &mut self.writing {
            Some(clock) => clock.after(cx, result),
            None => result,
        }
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
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
