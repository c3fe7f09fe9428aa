//! One client connection, from accept to close: which protocol is spoken on it?

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout_at;

use super::clocks::Clocks;
use super::rewound::Rewound;
use super::tls::{Alpn, Tls};
use super::{Edge, http1, http2};
use crate::headers::Arrival;

/// What every HTTP/2 client says first (RFC 9113 §3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Serves a client's connection until one of the two ends it. Any stream will do: the process gives it sockets, tests
/// and fuzz targets give it streams in memory, where time can stand still.
///
/// Dropping the future cuts the connection and cancels what is under way on it.
pub async fn serve<S>(edge: Arc<Edge>, stream: S, arrival: Arrival)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let clocks = Clocks::start(&edge.settings);
    serve_sniffed(edge, stream, arrival, clocks).await;
}

/// The same behind a TLS handshake, which is part of the first request's time.
pub(super) async fn serve_tls(edge: Arc<Edge>, tls: Arc<Tls>, stream: TcpStream, arrival: Arrival) {
    let clocks = Clocks::start(&edge.settings);
    let handshake = timeout_at(clocks.first_head(), tls.accept(stream));
    let Some(accepted) = unless_drained(&edge, handshake).await else { return };
    match accepted {
        Ok(Ok((stream, Alpn::Http2))) => {
            Box::pin(http2::serve(edge, Rewound::new(BytesMut::new(), stream), arrival, clocks)).await;
        }
        Ok(Ok((stream, Alpn::Http1))) => http1::serve(edge, BytesMut::new(), stream, arrival, clocks).await,
        Ok(Ok((stream, Alpn::None))) => serve_sniffed(edge, stream, arrival, clocks).await,
        Ok(Err(error)) => tracing::debug!(client = %arrival.peer, %error, "the TLS handshake failed"),
        Err(_) => {
            tracing::debug!(client = %arrival.peer, "the TLS handshake took longer than CLIENT_HEADER_TIMEOUT_SECONDS");
        }
    }
}

/// Looks at the first bytes. Whatever is not the preface of HTTP/2 from beginning to end is HTTP/1's to judge, and so is a
/// client that says nothing.
async fn serve_sniffed<S>(edge: Arc<Edge>, mut stream: S, arrival: Arrival, clocks: Clocks)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut first = BytesMut::new();
    let begun = timeout_at(clocks.first_head(), stream.read_buf(&mut first));
    // Whose first byte has arrived is served, even while the process drains.
    if unless_drained(&edge, begun).await.is_none() {
        return;
    }
    let sniffed = timeout_at(clocks.first_head(), is_http2(&mut stream, &mut first)).await;
    if matches!(sniffed, Ok(true)) {
        Box::pin(http2::serve(edge, Rewound::new(first, stream), arrival, clocks)).await;
    } else {
        http1::serve(edge, first, stream, arrival, clocks).await;
    }
}

/// Whether the client speaks HTTP/2. Reads on, behind what is in `first`, until that is clear.
async fn is_http2<S: AsyncRead + Unpin>(stream: &mut S, first: &mut BytesMut) -> bool {
    loop {
        let seen = first.len().min(PREFACE.len());
        if first[..seen] != PREFACE[..seen] || seen == 0 {
            return false;
        }
        if seen == PREFACE.len() {
            return true;
        }
        if !matches!(stream.read_buf(first).await, Ok(n) if n > 0) {
            return false;
        }
    }
}

/// Runs what comes before the first byte of a request: while the process drains, nobody waits for that.
async fn unless_drained<F: Future>(edge: &Edge, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    tokio::select! {
        biased;
        output = future.as_mut() => Some(output),
        () = edge.shutdown.draining() => None,
    }
}
