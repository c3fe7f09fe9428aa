//! What hyper writes to a client, and when an exchange is over for it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::{At, ClientIo};
use crate::edge::http1::framing::HeadScanner;
use crate::edge::http1::quotes::QuoteScanner;
use crate::gather::poll_write_gathered;

impl<S: AsyncRead + AsyncWrite + Unpin> ClientIo<S> {
    fn after_write(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if result.is_pending() {
            // No flush will follow.
            self.watch(cx);
        }
        self.writing.after(cx, result)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ClientIo<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if !this.turn.is_exchange() {
            return this.swallow(buf, buf.len());
        }
        let result = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.after_write(cx, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if !this.turn.is_exchange() {
            let length = bufs.iter().map(|buf| buf.len()).sum();
            return this.swallow(bufs.first().map_or(&[], |buf| buf), length);
        }
        let result = poll_write_gathered(Pin::new(&mut this.stream), cx, bufs);
        this.after_write(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes with an empty buffer: behind an answered exchange, that is the end of it.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_flush(cx);
        ready!(this.writing.after(cx, result))?;
        this.catch_up();
        if this.turn.flushed() {
            cx.waker().wake_by_ref();
        }
        if matches!(this.at, At::Behind) && this.turn.is_answered() {
            this.turn.ended();
            this.at = At::Head(HeadScanner::default());
            this.query = QuoteScanner::default();
            this.surplus.expect_head();
            this.has_served = true;
            // hyper was told that there is nothing to read and does not ask again by itself: wake it for what is held,
            // or start the clock of idleness here.
            // Empty lines, which some clients send behind a body, are no request.
            let has_begun = this.held.iter().any(|byte| !matches!(byte, b'\r' | b'\n'));
            if has_begun {
                this.turn.head_began();
            }
            this.waiting.set(Instant::now() + if has_begun { this.clocks.head } else { this.clocks.idle });
            match this.reader.take() {
                Some(reader) if !this.held.is_empty() => reader.wake(),
                _ => drop(this.waiting.poll(cx)),
            }
        } else {
            this.watch(cx);
        }
        Poll::Ready(Ok(()))
    }

    /// hyper flushes what it has and then shuts down. The farewell is [`close`](Self::close)'s.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
