//! A connection that speaks another protocol than HTTP from here on.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::{HeaderMap, Response, header};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::pool::Slot;
use super::transport::Stream;
use super::wire::Wire;

/// The upstream's end of a tunnel: what it sent behind its `101` comes first.
///
/// It counts as one of `UPSTREAM_MAX_CONNECTIONS` until it is dropped, which closes it.
pub struct Switched(Box<Tunnel>);

/// Boxed, because few heads have one.
struct Tunnel {
    early: Bytes,
    stream: Stream,
    _slot: Slot,
}

/// Whether a `101` switches to WebSocket, the only protocol that is asked for.
pub(super) fn is_websocket(headers: &HeaderMap) -> bool {
    let mut protocols = headers.get_all(header::UPGRADE).iter();
    let is_websocket = protocols.next().is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(b"websocket"));
    is_websocket && protocols.next().is_none()
}

impl Switched {
    /// Takes the connection from under hyper, once it has let go of it. None when it ended instead.
    pub(super) async fn take<B>(response: &mut Response<B>) -> Option<Self> {
        let upgraded = hyper::upgrade::on(response).await.ok()?;
        // The only wire there is, see `Connection::open`.
        let parts = upgraded.downcast::<TokioIo<Wire<Stream, Slot>>>().ok()?;
        // A wire holds failed writes back, for the sake of a response that may lie in the socket. A tunnel wants to know.
        let (stream, slot) = parts.io.into_inner().into_inner();
        Some(Self(Box::new(Tunnel { early: parts.read_buf, stream, _slot: slot })))
    }
}

impl AsyncRead for Switched {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self.get_mut().0;
        if this.early.is_empty() {
            return Pin::new(&mut this.stream).poll_read(cx, buf);
        }
        let length = this.early.len().min(buf.remaining());
        buf.put_slice(&this.early[..length]);
        this.early.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Switched {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0.stream).poll_shutdown(cx)
    }
}

impl fmt::Debug for Switched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Switched").field("early", &self.0.early.len()).finish_non_exhaustive()
    }
}
