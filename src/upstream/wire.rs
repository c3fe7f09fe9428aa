//! What passes between a socket and an HTTP client, counted.
//!
//! hyper says neither when a request has been written completely nor whether a single byte came back. Both decide what
//! may be repeated, so the wrapper around the socket keeps count: [`Wire`] writes the [`Gauge`], attempts read it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::failure::Trace;
use crate::gather::poll_write_gathered;

/// The counters of one connection.
#[derive(Debug)]
pub(crate) struct Gauge {
    /// Times are stored as microseconds since then.
    opened: Instant,
    /// It has been in the pool: its other end may have closed it meanwhile.
    was_kept: AtomicBool,
    read: AtomicU64,
    written: AtomicU64,
    read_before: AtomicU64,
    written_before: AtomicU64,
    /// The last time that a byte was taken by the socket.
    progress: AtomicU64,
    /// hyper asked for more of the body, and the client has not sent it yet: the time that takes is not the upstream's.
    body_waits: AtomicBool,
    /// The body's last frame is in hyper's hands.
    body_ended: AtomicBool,
    /// When the request's last byte was taken by the socket; zero = not yet.
    flushed: AtomicU64,
    /// The request under way is the last one: a final head came during its upload, or was ambiguous. What is left of its
    /// body stays pending; ended short it would cut the answer, or look complete.
    retired: AtomicBool,
    write_failed: AtomicBool,
    /// Offsets in the request under way at which a `"` belongs, where hyper writes an apostrophe.
    quotes: Mutex<Vec<usize>>,
    has_quotes: AtomicBool,
}

impl Gauge {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            opened: Instant::now(),
            was_kept: AtomicBool::new(false),
            read: AtomicU64::new(0),
            written: AtomicU64::new(0),
            read_before: AtomicU64::new(0),
            written_before: AtomicU64::new(0),
            progress: AtomicU64::new(0),
            body_waits: AtomicBool::new(false),
            body_ended: AtomicBool::new(false),
            flushed: AtomicU64::new(0),
            retired: AtomicBool::new(false),
            write_failed: AtomicBool::new(false),
            quotes: Mutex::default(),
            has_quotes: AtomicBool::new(false),
        })
    }

    /// A request is about to be sent on this connection, which is idle. At these offsets of it, ascending, a `"` belongs
    /// that hyper's `Uri` cannot hold.
    pub(crate) fn begin(&self, quotes: Vec<usize>) {
        self.read_before.store(self.read.load(Relaxed), Relaxed);
        self.written_before.store(self.written.load(Relaxed), Relaxed);
        self.progress.store(self.now(), Relaxed);
        self.body_waits.store(false, Relaxed);
        self.body_ended.store(false, Relaxed);
        self.has_quotes.store(!quotes.is_empty(), Relaxed);
        if !quotes.is_empty() {
            *self.quotes.lock().unwrap_or_else(PoisonError::into_inner) = quotes;
        }
        // Last, and released: hyper may still be in the flush that ended the exchange before, on another thread.
        self.flushed.store(0, Release);
    }

    /// What is to be written in place of the beginning of `buf`, if a `"` belongs in it; asked until the last is behind.
    fn quoted(&self, buf: &[u8]) -> Option<Vec<u8>> {
        if !self.has_quotes.load(Relaxed) {
            return None;
        }
        let begin =
            usize::try_from(self.written.load(Relaxed) - self.written_before.load(Relaxed)).unwrap_or(usize::MAX);
        let quotes = self.quotes.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(last) = quotes.last().filter(|last| **last >= begin) else {
            self.has_quotes.store(false, Relaxed);
            return None;
        };
        let mut bytes = buf[..buf.len().min(last - begin + 1)].to_vec();
        for offset in quotes.iter().filter_map(|quote| quote.checked_sub(begin)) {
            if let Some(byte) = bytes.get_mut(offset) {
                *byte = b'"';
            }
        }
        Some(bytes)
    }

    /// The connection goes to the pool, or to somebody else.
    pub(crate) fn kept(&self) {
        self.was_kept.store(true, Relaxed);
    }

    /// The body has nothing to send until its client does.
    pub(crate) fn body_waits(&self) {
        self.body_waits.store(true, Relaxed);
    }

    /// The body has something to send again: from now on the socket may make progress.
    pub(crate) fn body_goes_on(&self) {
        if self.body_waits.swap(false, Relaxed) {
            self.progress.store(self.now(), Relaxed);
        }
    }

    /// hyper has taken the last frame of the body.
    pub(crate) fn body_ended(&self) {
        self.body_ended.store(true, Relaxed);
    }

    /// No further byte of the body is to be sent, and no further request.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Relaxed);
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Relaxed)
    }

    /// When the request was written completely, if it was.
    pub(crate) fn written_at(&self) -> Option<Instant> {
        match self.flushed.load(Relaxed) {
            0 => None,
            micros => Some(self.at(micros)),
        }
    }

    /// The last time that the socket took a byte of the request, or was given it; now, while there is none to be given.
    pub(crate) fn progress_at(&self) -> Instant {
        if self.body_waits.load(Relaxed) { Instant::now() } else { self.at(self.progress.load(Relaxed)) }
    }

    /// Whether another request may follow: this one was written whole, and every write was taken.
    pub(crate) fn is_reusable(&self) -> bool {
        self.flushed.load(Relaxed) != 0 && !self.is_retired() && !self.write_failed.load(Relaxed)
    }

    /// Bytes read over the connection's life. An idle connection on which it moves is broken.
    pub(crate) fn total_read(&self) -> u64 {
        self.read.load(Relaxed)
    }

    /// What the current request has left.
    pub(crate) fn trace(&self) -> Trace {
        Trace {
            reused: self.was_kept.load(Relaxed),
            written: self.written.load(Relaxed) - self.written_before.load(Relaxed),
            read: self.read.load(Relaxed) - self.read_before.load(Relaxed),
        }
    }

    /// So many bytes were handed on.
    pub(crate) fn wrote(&self, bytes: usize) {
        self.written.fetch_add(bytes as u64, Relaxed);
        self.progress.store(self.now(), Relaxed);
    }

    /// hyper flushes only when its own buffer is empty: after the body's end, that is the end of the request. Its last byte
    /// was taken then.
    fn flushed(&self, last: u64) {
        let is_end = self.body_ended.load(Relaxed) && self.flushed.load(Acquire) == 0;
        if is_end && self.written.load(Relaxed) > self.written_before.load(Relaxed) {
            self.flushed.store(last, Relaxed);
        }
    }

    fn now(&self) -> u64 {
        // Never zero, which means "not yet".
        u64::try_from(self.opened.elapsed().as_micros()).unwrap_or(u64::MAX).max(1)
    }

    fn at(&self, micros: u64) -> Instant {
        self.opened + Duration::from_micros(micros)
    }
}

/// The requests on one HTTP/2 connection that were handed over whole, and wait for the socket to take them.
#[derive(Debug, Default)]
pub(crate) struct Unflushed {
    is_any: AtomicBool,
    gauges: Mutex<Vec<Arc<Gauge>>>,
}

impl Unflushed {
    /// The last frame of a request is about to be given to h2: the next flush that comes to an end has written it. Before
    /// and not after, because h2's flush may be over before we are back; so this is early by a moment, and never missed.
    pub(crate) fn add(&self, gauge: &Arc<Gauge>) {
        self.gauges().push(Arc::clone(gauge));
        self.is_any.store(true, Release);
    }

    fn flushed(&self) {
        if self.is_any.swap(false, Acquire) {
            self.gauges().drain(..).for_each(|gauge| gauge.flushed(gauge.now()));
        }
    }

    fn gauges(&self) -> MutexGuard<'_, Vec<Arc<Gauge>>> {
        self.gauges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream under an HTTP client. `S` is plaintext (outside of TLS); `G` lives exactly as long as the socket.
pub(crate) struct Wire<S, G> {
    stream: S,
    gauge: Arc<Gauge>,
    /// Where several requests are on the way at once.
    unflushed: Option<Arc<Unflushed>>,
    guard: G,
}

impl<S, G> Wire<S, G> {
    /// For HTTP/1: the gauge is that of the request under way.
    pub(crate) fn new(stream: S, gauge: Arc<Gauge>, guard: G) -> Self {
        Self { stream, gauge, unflushed: None, guard }
    }

    /// For HTTP/2: the gauge is that of the connection, requests have their own.
    pub(crate) fn shared(stream: S, gauge: Arc<Gauge>, unflushed: Arc<Unflushed>, guard: G) -> Self {
        Self { stream, gauge, unflushed: Some(unflushed), guard }
    }

    /// The stream itself, for another protocol than HTTP, and what lives as long as the socket.
    pub(crate) fn into_inner(self) -> (S, G) {
        (self.stream, self.guard)
    }

    /// A failed write is not the end: the upstream may have answered before it closed, and the answer lies in the socket.
    /// So the write stays pending, and reading finds either a head or the end of the connection. h2 needs no such help: it
    /// reads all there is before it writes.
    fn write_failed<T>(&self, cx: &mut Context<'_>, error: io::Error) -> Poll<io::Result<T>> {
        if self.unflushed.is_some() {
            return Poll::Ready(Err(error));
        }
        if !self.gauge.write_failed.swap(true, Relaxed) {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn after_write(&self, cx: &mut Context<'_>, taken: io::Result<usize>) -> Poll<io::Result<usize>> {
        match taken {
            Ok(bytes) => {
                self.gauge.wrote(bytes);
                Poll::Ready(Ok(bytes))
            }
            Err(error) => self.write_failed(cx, error),
        }
    }
}

impl<S: AsyncRead + Unpin, G: Unpin> AsyncRead for Wire<S, G> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let result = Pin::new(&mut this.stream).poll_read(cx, buf);
        this.gauge.read.fetch_add((buf.filled().len() - before) as u64, Relaxed);
        result
    }
}

impl<S: AsyncWrite + Unpin, G: Unpin> AsyncWrite for Wire<S, G> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let quoted = this.gauge.quoted(buf);
        let taken = ready!(Pin::new(&mut this.stream).poll_write(cx, quoted.as_deref().unwrap_or(buf)));
        this.after_write(cx, taken)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let quoted = this.gauge.quoted(bufs.first().map_or(&[], |buf| buf));
        let stream = Pin::new(&mut this.stream);
        let taken = match &quoted {
            Some(bytes) => ready!(stream.poll_write(cx, bytes)),
            None => ready!(poll_write_gathered(stream, cx, bufs)),
        };
        this.after_write(cx, taken)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Err(error) = ready!(Pin::new(&mut this.stream).poll_flush(cx)) {
            return this.write_failed(cx, error);
        }
        match &this.unflushed {
            Some(unflushed) => unflushed.flushed(),
            None => this.gauge.flushed(this.gauge.progress.load(Relaxed)),
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
