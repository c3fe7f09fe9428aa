//! What hyper reads in the bytes of a client, and where it sees the boundaries.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use forebay::edge::{BodyScanner, Framing, HeadScanner};
use http::{Request, Response, request};
use http_body_util::Empty;
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A request that hyper accepted.
#[derive(Clone, Debug)]
pub struct Seen {
    pub parts: request::Parts,
    pub framing: Framing,
    /// The body, once it was complete or refused.
    pub body: Option<Result<Vec<u8>, ()>>,
    pub has_fragment: bool,
    /// So many bytes had come when its head was complete, and its body.
    head_end: usize,
    body_end: usize,
}

/// All that hyper read.
#[derive(Debug)]
pub struct Reading {
    pub requests: Vec<Seen>,
    /// It gave up the connection: after a request that allows no other, or over something malformed.
    pub is_closed: bool,
    /// Something malformed.
    pub is_refused: bool,
    /// The end of the last complete request.
    pub end: usize,
}

/// Gives hyper one byte more at a time, and compares its boundaries with those of our scanners.
pub fn read(bytes: &[u8]) -> Reading {
    let given = Arc::<AtomicUsize>::default();
    let requests = Arc::<Mutex<Vec<Seen>>>::default();
    let service = service_fn(|request: Request<Incoming>| answer(request, Arc::clone(&given), Arc::clone(&requests)));
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.half_close(false).header_read_timeout(None).auto_date_header(false).max_headers(128).max_header_size(65536);
    let io = TokioIo::new(Drip { bytes: bytes.to_vec(), at: 0, given: Arc::clone(&given) });
    let mut connection = pin!(builder.serve_connection(io, service));

    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut end = None;
    for count in 0..=bytes.len() {
        given.store(count, Relaxed);
        woken.0.store(true, Relaxed);
        while end.is_none() && woken.0.swap(false, Relaxed) {
            if let Poll::Ready(result) = connection.as_mut().poll(&mut Context::from_waker(&waker)) {
                end = Some(result);
            }
        }
    }
    let mut requests = std::mem::take(&mut *requests.lock().expect("one thread"));
    let end_of_last = compare(bytes, &mut requests);
    Reading {
        requests,
        is_closed: end.is_some(),
        is_refused: end.is_some_and(|result| result.is_err()),
        end: end_of_last,
    }
}

async fn answer(
    request: Request<Incoming>,
    given: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<Seen>>>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let (parts, mut body) = request.into_parts();
    let framing = match (body.is_end_stream(), body.size_hint().exact()) {
        (true, _) => Framing::None,
        (false, Some(length)) => Framing::Length(length),
        (false, None) => Framing::Chunked,
    };
    let head_end = given.load(Relaxed);
    let seen = Seen { parts, framing, body: None, has_fragment: false, head_end, body_end: head_end };
    requests.lock().expect("one thread").push(seen);
    let mut collected = Vec::new();
    let result = loop {
        match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            Some(Ok(frame)) => collected.extend(frame.into_data().unwrap_or_default()),
            Some(Err(_)) => break Err(()),
            None => break Ok(collected),
        }
    };
    if let Some(seen) = requests.lock().expect("one thread").last_mut() {
        seen.body = Some(result);
        seen.body_end = given.load(Relaxed);
    }
    Ok(Response::new(Empty::new()))
}

/// hyper sees a boundary with the byte that completes it, and so must the scanners. The end of the last one.
fn compare(bytes: &[u8], requests: &mut [Seen]) -> usize {
    let mut start = 0;
    for seen in requests {
        let mut head = HeadScanner::default();
        let length =
            head.scan(&bytes[start..]).unwrap_or_else(|| panic!("no end of a head that hyper accepted: {seen:?}"));
        assert_eq!(start + length, seen.head_end, "another end of the head: {seen:?}");
        seen.has_fragment = head.has_fragment();
        match head.plain_length() {
            Some(0) => assert_eq!(seen.framing, Framing::None, "a length that hyper does not see: {seen:?}"),
            Some(length) => assert_eq!(seen.framing, Framing::Length(length), "another length: {seen:?}"),
            None => {}
        }
        let mut body = BodyScanner::new(seen.framing);
        let length = body.scan(&bytes[seen.head_end..]);
        match &seen.body {
            Some(Ok(_)) => {
                assert!(body.is_done(), "no end of a body that hyper accepted: {seen:?}");
                assert_eq!(seen.head_end + length, seen.body_end, "another end of the body: {seen:?}");
            }
            None => assert!(!body.is_done(), "the end of a body that hyper still reads: {seen:?}"),
            Some(Err(())) => {}
        }
        start = seen.body_end;
    }
    start
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

/// A stream of which no more can be read than was given so far, and that takes all that is written.
struct Drip {
    bytes: Vec<u8>,
    at: usize,
    given: Arc<AtomicUsize>,
}

impl AsyncRead for Drip {
    /// Pending for ever: whoever gives a byte polls again.
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let given = self.given.load(Relaxed);
        if self.at >= given {
            return Poll::Pending;
        }
        let end = given.min(self.at + buf.remaining());
        buf.put_slice(&self.bytes[self.at..end]);
        self.at = end;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Drip {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
