//! The socket of an HTTP/2 client, between tokio and hyper's server.
//!
//! It holds two clocks that hyper does not have: one for a header block, or a frame, that was begun and is not completed,
//! and one for a client that takes nothing from its socket. When hyper is done with it, it goes back to the connection.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::frames::FrameScanner;
use super::streams::Streams;
use crate::edge::clocks::{Clocks, WriteClock};
use crate::time::LazyDeadline;

/// The preface precedes the first frame (RFC 9113 §3.4).
const PREFACE_LENGTH: usize = 24;

/// A client's socket.
pub(super) struct Socket<S> {
    /// None only while it is being dropped.
    stream: Option<S>,
    /// Where the stream goes in the end.
    home: Option<oneshot::Sender<S>>,
    clocks: Clocks,
    streams: Arc<Streams>,
    preface: usize,
    frames: FrameScanner,
    /// The clock of what was begun and is not complete.
    completing: LazyDeadline,
    writing: WriteClock,
}

impl<S> Socket<S> {
    /// A socket, and where it will be found again once hyper has dropped it.
    pub(super) fn new(stream: S, clocks: Clocks, streams: Arc<Streams>) -> (Self, oneshot::Receiver<S>) {
        let (home, back) = oneshot::channel();
        let socket = Self {
            stream: Some(stream),
            home: Some(home),
            clocks,
            streams,
            preface: PREFACE_LENGTH,
            frames: FrameScanner::default(),
            completing: LazyDeadline::default(),
            writing: WriteClock::new(clocks.write),
        };
        (socket, back)
    }

    fn follow(&mut self, bytes: &[u8]) {
        let behind_preface = bytes.len().min(self.preface);
        self.preface -= behind_preface;
        let streams = &self.streams;
        if self.frames.scan(&bytes[behind_preface..], |stream| streams.is_read(stream)) {
            self.completing.clear();
        }
        if self.frames.is_incomplete() && self.completing.at().is_none() {
            self.completing.set(Instant::now() + self.clocks.head);
        }
    }
}

impl<S> Drop for Socket<S> {
    fn drop(&mut self) {
        if let (Some(home), Some(stream)) = (self.home.take(), self.stream.take()) {
            // Nobody waits for it where the whole connection is being dropped.
            let _ = home.send(stream);
        }
    }
}

/// What a socket without a stream says; it is never asked.
fn gone() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(stream) = &mut this.stream else { return Poll::Ready(Err(gone())) };
        let before = buf.filled().len();
        let result = Pin::new(stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            this.follow(&buf.filled()[before..]);
        }
        if result.is_pending() && this.completing.poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let Some(stream) = &mut this.stream else { return Poll::Ready(Err(gone())) };
        let result = Pin::new(stream).poll_write(cx, buf);
        this.writing.after(cx, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let Some(stream) = &mut this.stream else { return Poll::Ready(Err(gone())) };
        let result = Pin::new(stream).poll_write_vectored(cx, bufs);
        this.writing.after(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(stream) = &mut this.stream else { return Poll::Ready(Err(gone())) };
        let result = Pin::new(stream).poll_flush(cx);
        if matches!(result, Poll::Ready(Ok(()))) {
            this.streams.flushed();
        }
        this.writing.after(cx, result)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Some(stream) = &mut this.stream else { return Poll::Ready(Err(gone())) };
        Pin::new(stream).poll_shutdown(cx)
    }
}
