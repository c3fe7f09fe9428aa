//! One request on an HTTP/2 connection: a stream of its own among others.

use std::borrow::Cow;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream, SendStream};
use http::uri::{Authority, PathAndQuery};
use http::{Request, Response, StatusCode, Uri, Version};
use http_body::Body;

use super::attempt::Outbound;
use super::failure::{Breach, Failure, Trace};
use super::multiplex::Multiplex;
use super::response::{Head, ResponseBody};
use super::sending::SendBody;
use super::sharing::Seat;
use super::wire::Gauge;
use crate::body::ClientFault;
use crate::headers::{framing, hop};

/// What is given to h2 at once: a frame, as large as every peer takes it. The rest stays with us until the upstream's
/// window and h2's buffer have room, so that "written" means no less than on HTTP/1.
const FRAME: usize = 16 * 1024;

/// Sends a request and waits for its response head.
///
/// Dropping the future resets the stream (CANCEL) and harms no other on the connection.
pub(super) async fn send(seat: Seat, outbound: &Outbound, gauge: Arc<Gauge>) -> Result<Head, Failure> {
    let connection = Arc::clone(seat.connection());
    if connection.has_served() {
        gauge.kept();
    }
    gauge.begin(Vec::new());
    let request = request(outbound, seat.is_https()).map_err(|error| malformed(&gauge, error))?;
    // No length: HTTP/2 ends a body by itself, and trailers may stand behind the last byte that was announced.
    let body = SendBody::new(&outbound.body, None, &gauge);
    let is_whole = body.is_end_stream();
    gauge.wrote(outbound.target.path().len());
    if is_whole {
        connection.unflushed().add(&gauge);
    }
    let (mut response, stream) = match connection.sender().send_request(request, is_whole) {
        Ok(halves) => halves,
        Err(error) => return Err(broken(error, Trace { written: 0, ..gauge.trace() })),
    };
    let mut upload = Upload { stream, body, chunk: Bytes::new(), is_last: false, is_over: is_whole, gauge, connection };
    let head = poll_fn(|cx| {
        if let Poll::Ready(Err(fault)) = upload.poll(cx) {
            return Poll::Ready(Err(Failure::Client(fault)));
        }
        poll_head(&mut response, cx, &upload.gauge)
    });
    let response = head.await?;
    if !hop::names_are_tokens(response.headers()) {
        return Err(malformed(&upload.gauge, "a field name that HTTP/1.1 cannot write"));
    }
    upload.connection.serves();
    if upload.gauge.written_at().is_none() {
        // A final head during the upload: what is left of it stays here, and the end of the response resets the stream.
        upload.gauge.retire();
        // h2 would go on to take window for it, and keep that from the other streams.
        upload.stream.reserve_capacity(0);
    }
    let (parts, incoming) = response.into_parts();
    let length = framing::length(&parts.headers);
    Ok(Head { parts, body: ResponseBody::on_stream(incoming, length, seat), switched: None })
}

/// Waits for the final head. Interim ones are of no concern, except for the one that HTTP/2 does not have.
fn poll_head(
    response: &mut ResponseFuture,
    cx: &mut Context<'_>,
    gauge: &Gauge,
) -> Poll<Result<Response<RecvStream>, Failure>> {
    while let Poll::Ready(Some(interim)) = response.poll_informational(cx) {
        match interim {
            Ok(head) if head.status() == StatusCode::SWITCHING_PROTOCOLS => {
                return Poll::Ready(Err(malformed(gauge, "a 101, which HTTP/2 does not have")));
            }
            Ok(_) => {}
            Err(error) => return Poll::Ready(Err(broken(error, gauge.trace()))),
        }
    }
    let result = ready!(pin!(response).poll(cx));
    Poll::Ready(result.map_err(|error| broken(error, gauge.trace())))
}

/// The head of the request. `Host` becomes `:authority`, and what HTTP/2 has no place for stays here.
fn request(outbound: &Outbound, is_https: bool) -> Result<Request<()>, http::Error> {
    let mut headers = outbound.headers.clone();
    let host = framing::for_http2(&mut headers);
    let authority = Authority::try_from(host.as_ref().map_or(&[][..], http::HeaderValue::as_bytes))?;
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(if is_https { http::uri::Scheme::HTTPS } else { http::uri::Scheme::HTTP });
    uri.authority = Some(authority);
    uri.path_and_query = Some(match with_quotes(&outbound.target, &outbound.quotes) {
        Cow::Borrowed(_) => outbound.target.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")),
        Cow::Owned(text) => PathAndQuery::try_from(text)?,
    });
    let mut request = Request::new(());
    *request.method_mut() = outbound.method.clone();
    *request.uri_mut() = Uri::from_parts(uri)?;
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = headers;
    Ok(request)
}

/// The target with each `"` that its query cannot hold as `%22`. HTTP/1 writes it as the client did; here the target goes
/// through HPACK and must be a `Uri`, and servers read the two alike.
fn with_quotes<'a>(target: &'a Uri, quotes: &[usize]) -> Cow<'a, str> {
    let text = target.path_and_query().map_or("/", PathAndQuery::as_str);
    if quotes.is_empty() {
        return Cow::Borrowed(text);
    }
    let (mut encoded, mut begin) = (String::with_capacity(text.len() + 2 * quotes.len()), 0);
    for quote in quotes {
        encoded.push_str(text.get(begin..*quote).unwrap_or_default());
        encoded.push_str("%22");
        begin = quote + 1;
    }
    encoded.push_str(text.get(begin..).unwrap_or_default());
    Cow::Owned(encoded)
}

/// A body on its way into a stream.
struct Upload {
    stream: SendStream<Bytes>,
    body: SendBody,
    /// Taken from the body, not yet given to h2.
    chunk: Bytes,
    /// Nothing comes behind the chunk.
    is_last: bool,
    /// Nothing is left to do: all was given to h2, or the stream takes no more, and the response tells why.
    is_over: bool,
    gauge: Arc<Gauge>,
    connection: Arc<Multiplex>,
}

impl Upload {
    /// Gives h2 what it has room for. Ready when nothing is left to do, or with what the client did wrong.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientFault>> {
        while !self.is_over {
            if self.chunk.is_empty() {
                ready!(self.poll_body(cx))?;
            } else {
                ready!(self.poll_chunk(cx));
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let wanted = self.chunk.len().min(FRAME);
        self.stream.reserve_capacity(wanted);
        while self.stream.capacity() == 0 {
            let Some(Ok(_)) = ready!(self.stream.poll_capacity(cx)) else {
                self.is_over = true;
                return Poll::Ready(());
            };
        }
        let piece = self.chunk.split_to(wanted.min(self.stream.capacity()));
        let is_last = self.is_last && self.chunk.is_empty();
        self.give(piece, is_last);
        Poll::Ready(())
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientFault>> {
        match ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose() {
            Ok(Some(frame)) => match frame.into_data() {
                Ok(chunk) => {
                    self.is_last = self.body.is_end_stream();
                    if chunk.is_empty() && self.is_last {
                        self.give(chunk, true);
                    } else {
                        self.chunk = chunk;
                    }
                }
                Err(frame) => match frame.into_trailers() {
                    Ok(trailers) if !trailers.is_empty() => {
                        self.ends();
                        self.is_over = true;
                        // An error means that the stream is closed, and the response tells why.
                        let _ = self.stream.send_trailers(trailers);
                    }
                    Ok(_) | Err(_) => self.give(Bytes::new(), true),
                },
            },
            Ok(None) => self.give(Bytes::new(), true),
            Err(fault) => {
                self.is_over = true;
                // Not an end: the upstream must not take it for complete.
                self.stream.send_reset(Reason::CANCEL);
                return Poll::Ready(Err(fault));
            }
        }
        Poll::Ready(Ok(()))
    }

    fn give(&mut self, piece: Bytes, is_last: bool) {
        self.gauge.wrote(piece.len());
        if is_last {
            self.ends();
        }
        self.is_over = self.stream.send_data(piece, is_last).is_err() || is_last;
    }

    fn ends(&self) {
        self.gauge.body_ended();
        self.connection.unflushed().add(&self.gauge);
    }
}

fn malformed<E: Into<Box<dyn std::error::Error + Send + Sync>>>(gauge: &Gauge, error: E) -> Failure {
    Failure::Broken(Breach::Malformed, gauge.trace(), error.into())
}

/// What an error of h2 means for the one request that it ended.
fn broken(error: h2::Error, mut trace: Trace) -> Failure {
    let breach = if error.is_remote() && (error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM)) {
        // h2 gives a request the upstream's GOAWAY as its error only above the last id, or before it was sent.
        Breach::Unprocessed
    } else if error.is_remote() {
        // RST_STREAM is an answer, if a bad one: the connection was not stale.
        trace.read += 1;
        Breach::Reset
    } else if let Some(io) = error.get_io() {
        match io.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => Breach::Reset,
            _ => Breach::Closed,
        }
    } else {
        // h2 found fault with what came.
        trace.read += 1;
        Breach::Malformed
    };
    Failure::Broken(breach, trace, error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_that_a_query_cannot_hold_are_percent_encoded_on_http2() {
        let target = Uri::from_static("/\"a?b='x'&c='");
        assert_eq!(with_quotes(&target, &[]), "/\"a?b='x'&c='");
        assert_eq!(with_quotes(&target, &[6, 8]), "/\"a?b=%22x%22&c='");
        assert_eq!(with_quotes(&target, &[12]), "/\"a?b='x'&c=%22");
    }
}
