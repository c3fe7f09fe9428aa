//! The bytes of a connection to an upstream, whatever carries them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper_rustls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
use rustls::ClientConnection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

type TlsStream = TokioIo<MaybeHttpsStream<TokioIo<TcpStream>>>;

/// A connection to an upstream. Plain ones lose the layers that only TLS needs.
pub(super) enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream>),
    #[cfg(test)]
    Memory(Box<dyn super::memory::MemoryStream>),
}

impl Stream {
    /// Whether TLS has agreed on HTTP/2.
    pub(super) fn has_negotiated_http2(&self) -> bool {
        self.tls().is_some_and(|tls| tls.alpn_protocol() == Some(b"h2"))
    }

    /// What TLS has agreed on, where it is spoken.
    pub(super) fn tls(&self) -> Option<&ClientConnection> {
        match self {
            Self::Tls(stream) => match stream.inner() {
                MaybeHttpsStream::Https(tls) => Some(tls.inner().get_ref().1),
                MaybeHttpsStream::Http(_) => None,
            },
            Self::Tcp(_) => None,
            #[cfg(test)]
            Self::Memory(_) => None,
        }
    }
}

impl From<MaybeHttpsStream<TokioIo<TcpStream>>> for Stream {
    fn from(stream: MaybeHttpsStream<TokioIo<TcpStream>>) -> Self {
        match stream {
            MaybeHttpsStream::Http(tcp) => Self::Tcp(tcp.into_inner()),
            tls @ MaybeHttpsStream::Https(_) => Self::Tls(Box::new(TokioIo::new(tls))),
        }
    }
}

macro_rules! delegate {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Tcp($stream) => $call,
            Stream::Tls(boxed) => {
                let $stream = boxed.as_mut();
                $call
            }
            #[cfg(test)]
            Stream::Memory($stream) => $call,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        delegate!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
            #[cfg(test)]
            Self::Memory(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
