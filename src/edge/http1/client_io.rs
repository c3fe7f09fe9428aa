//! The socket of an HTTP/1 client, between tokio and hyper's server.
//!
//! It does what hyper does not: a clock for the first byte, the head and idleness, each of its own; requests one at a
//! time, so that what follows a request is neither parsed early nor hides that the client has left; and answers of our
//! own where hyper would write a bare one or nothing at all.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, timeout};

use super::framing::{BodyScanner, HeadScanner};
use super::quotes::QuoteScanner;
use super::refusal::Refusal;
use super::turn::Turn;
use crate::edge::clocks::{Clocks, WriteClock};
use crate::edge::guard::MAX_FIELDS;
use crate::edge::rewound::Rewound;
use crate::headers::surplus::{SHOWN, Surplus};
use crate::time::LazyDeadline;

mod writing;

/// How much of the next requests is taken from the socket while one is under way. Beyond it the client's departure is
/// noticed only with the answer.
const HOLD: usize = 16 * 1024;
/// How long bytes that nobody wants are read and dropped after an answer that came early (RFC 9112 §9.6).
const LINGER: Duration = Duration::from_secs(2);

/// Where in the stream of requests the socket stands.
#[derive(Clone, Copy, Debug)]
enum At {
    /// In front of a head, or in it.
    Head(HeadScanner),
    /// A complete head was handed to hyper, and behind it at most so much of its body as is beyond doubt.
    HeadEnd,
    /// In the body of the exchange under way.
    Body(BodyScanner),
    /// Behind the body of the exchange under way.
    Behind,
}

/// A client's socket.
pub(super) struct ClientIo<S> {
    stream: S,
    turn: Arc<Turn>,
    clocks: Clocks,
    at: At,
    /// Read from the socket, not yet shown to hyper.
    held: BytesMut,
    /// Bytes of the body that hyper was given together with the head.
    given: u64,
    query: QuoteScanner,
    surplus: Surplus,
    /// The clock of the head, or of idleness.
    waiting: LazyDeadline,
    writing: WriteClock,
    refusal: Option<Refusal>,
    /// A request was answered: until then the clock of the head counts from accept.
    has_served: bool,
    has_ended: bool,
    reader: Option<Waker>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> ClientIo<S> {
    /// A socket that was accepted a moment ago, of which `held` was read already.
    pub(super) fn new(held: BytesMut, stream: S, turn: Arc<Turn>, clocks: Clocks, max_head: usize) -> Self {
        let mut waiting = LazyDeadline::default();
        waiting.set(clocks.first_head());
        Self {
            stream,
            turn,
            clocks,
            at: At::Head(HeadScanner::default()),
            held,
            given: 0,
            query: QuoteScanner::default(),
            surplus: Surplus::new(max_head, MAX_FIELDS),
            waiting,
            writing: WriteClock::new(clocks.write),
            refusal: None,
            has_served: false,
            has_ended: false,
            reader: None,
        }
    }

    /// Why the last request was refused before it was one, if it was.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.refusal
    }

    /// The socket for another protocol: what was read behind the request comes first.
    pub(super) fn switch(self) -> Rewound<S> {
        Rewound::new(self.held, self.stream)
    }

    /// Closes the socket: what is left to say is said, the sending side is closed, and what the client still sends is
    /// read and dropped for a while. Closed at once, unread bytes would make the kernel reset the connection, and the
    /// reset would take the answer with it.
    pub(super) async fn close(mut self, last_words: &[u8]) {
        if self.has_ended && self.refusal.is_none() {
            return;
        }
        let farewell = async {
            self.stream.write_all(last_words).await?;
            self.stream.shutdown().await
        };
        if !matches!(timeout(self.clocks.write.min(LINGER), farewell).await, Ok(Ok(()))) {
            return;
        }
        let is_quiet =
            self.turn.is_idle() && self.held.is_empty() && self.refusal.is_none() && !self.has_just_answered();
        let mut sink = [0; 4096];
        if is_quiet {
            // Nothing is expected; but what lies in the socket already would reset it.
            let mut buf = ReadBuf::new(&mut sink);
            let is_silent = poll_fn(|cx| Poll::Ready(Pin::new(&mut self.stream).poll_read(cx, &mut buf).is_pending()));
            if is_silent.await || buf.filled().is_empty() {
                return;
            }
        }
        let drained = async { while matches!(self.stream.read(&mut sink).await, Ok(n) if n > 0) {} };
        let _ = timeout(LINGER, drained).await;
    }

    /// Whether the answer may still be on its way to the client, and further requests on their way from it.
    fn has_just_answered(&self) -> bool {
        // Between two requests, the clock of idleness runs since the last answer.
        self.has_served && self.waiting.at().is_some_and(|due| Instant::now() + self.clocks.idle < due + LINGER)
    }

    /// Ends the reading side: hyper sees the end of the stream.
    fn refuse(&mut self, refusal: Refusal) -> Poll<io::Result<()>> {
        self.refusal.get_or_insert(refusal);
        self.has_ended = true;
        Poll::Ready(Ok(()))
    }

    /// Follows what hyper did since the last call.
    fn catch_up(&mut self) {
        if matches!(self.at, At::HeadEnd) && self.turn.is_exchange() {
            let body = BodyScanner::behind(self.turn.framing(), self.given);
            self.at = if body.is_done() { At::Behind } else { At::Body(body) };
        }
    }

    /// Bytes for hyper: held ones first.
    fn poll_take(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.held.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let taken = self.held.len().min(buf.remaining());
        buf.put_slice(&self.held[..taken]);
        self.held.advance(taken);
        if self.held.is_empty() {
            // An emptied buffer would still keep its memory, for as long as the connection lives.
            self.held = BytesMut::new();
            // What lies behind it in the socket comes along: given a part, hyper would ask for a larger buffer. An end or
            // an error is told when it is met again.
            let _ = Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        Poll::Ready(Ok(()))
    }

    /// Takes back what hyper is not to see yet.
    fn hold_back(&mut self, buf: &mut ReadBuf<'_>, from: usize) {
        if from < buf.filled().len() {
            self.hold_first(&buf.filled()[from..]);
            buf.set_filled(from);
        }
    }

    /// Holds bytes that come before those that are held already.
    fn hold_first(&mut self, bytes: &[u8]) {
        let later = std::mem::replace(&mut self.held, BytesMut::from(bytes));
        self.held.unsplit(later);
    }

    /// Bytes of a head for hyper, without the fields that it has no room for. Follows them with the scanner, and says where
    /// the head ends.
    fn poll_shown(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
        head: &mut HeadScanner,
    ) -> Poll<io::Result<Option<usize>>> {
        let before = buf.filled().len();
        loop {
            ready!(self.poll_take(cx, buf))?;
            let came = buf.filled().len() - before;
            if self.surplus.is_at_begin() {
                // Nearly every head comes whole, and hyper may see all of it.
                let mut whole = *head;
                if let Some(end) = whole.scan(&buf.filled()[before..]).filter(|_| whole.lines() <= SHOWN) {
                    *head = whole;
                    return Poll::Ready(Ok(Some(end)));
                }
            }
            let shown = self.surplus.follow(&buf.filled()[before..]);
            buf.set_filled(before + shown);
            if let Some(released) = self.surplus.release() {
                self.hold_first(&released);
            }
            if shown > 0 || came == 0 {
                return Poll::Ready(Ok(head.scan(&buf.filled()[before..])));
            }
        }
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
        mut head: HeadScanner,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let is_begin = !head.has_begun();
        let Poll::Ready(end) = self.poll_shown(cx, buf, &mut head)? else {
            if self.waiting.poll(cx).is_pending() {
                return Poll::Pending;
            }
            // An idle client is let go without a word; one in the middle of a head is told.
            if self.turn.is_idle() && self.has_served {
                self.has_ended = true;
                return Poll::Ready(Ok(()));
            }
            return self.refuse(Refusal::Timeout);
        };
        let new = &buf.filled()[before..];
        if new.is_empty() {
            self.has_ended = true;
            return Poll::Ready(Ok(()));
        }
        let foreseen = end.filter(|_| is_begin).and_then(|_| head.plain_length());
        self.turn.with_quotes(|quotes| self.query.replace(&mut buf.filled_mut()[before..], quotes));
        if head.has_begun() && self.turn.is_idle() {
            if self.has_served && end.is_none() {
                self.waiting.set(Instant::now() + self.clocks.head);
            }
            self.turn.head_began();
        }
        if head.has_fragment() {
            buf.set_filled(before);
            return self.refuse(Refusal::Fragment);
        }
        self.at = At::Head(head);
        if let Some(length) = end {
            let behind = before + length;
            let body = foreseen.map_or(0, |length| usize::try_from(length).unwrap_or(usize::MAX));
            let given = body.min(buf.filled().len() - behind);
            self.given = given as u64;
            self.turn.foresee(foreseen.filter(|_| given > 0));
            if let Some(fields) = self.surplus.take_fields() {
                self.turn.add_fields(fields);
            }
            self.hold_back(buf, behind + given);
            self.waiting.clear();
            self.at = At::HeadEnd;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
        mut body: BodyScanner,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(self.poll_take(cx, buf))?;
        let new = &buf.filled()[before..];
        if new.is_empty() {
            self.has_ended = true;
        }
        let length = body.scan(new);
        self.hold_back(buf, before + length);
        self.at = if body.is_done() { At::Behind } else { At::Body(body) };
        Poll::Ready(Ok(()))
    }

    /// Notices that the client has left, while its answer is awaited or on its way. hyper would keep a buffer for that; and
    /// it asks for a flush whenever it has been polled, so this is done then.
    fn watch(&mut self, cx: &mut Context<'_>) {
        if matches!(self.at, At::Behind) && !self.has_ended && self.poll_end(cx).is_ready() {
            self.turn.client_left();
        }
    }

    /// Behind the body there is nothing for hyper but the end of the stream.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker())) {
            self.reader = Some(cx.waker().clone());
        }
        while self.held.len() < HOLD {
            let mut space = [std::mem::MaybeUninit::uninit(); 2048];
            let mut buf = ReadBuf::uninit(&mut space);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
            if buf.filled().is_empty() {
                self.has_ended = true;
                return Poll::Ready(Ok(()));
            }
            self.held.extend_from_slice(buf.filled());
        }
        Poll::Pending
    }

    /// hyper's own answers – it writes without an exchange only to refuse a head – are ours to word.
    fn swallow(&mut self, first: &[u8], length: usize) -> Poll<io::Result<usize>> {
        self.refusal.get_or_insert(Refusal::of_answer(first));
        Poll::Ready(Ok(length))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for ClientIo<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.has_ended {
            return Poll::Ready(Ok(()));
        }
        this.catch_up();
        match this.at {
            At::Head(head) => this.poll_head(cx, buf, head),
            // hyper wants more of a head that is complete: the two disagree, so nobody goes on.
            At::HeadEnd => this.refuse(Refusal::Malformed),
            At::Body(body) => this.poll_body(cx, buf, body),
            At::Behind => this.poll_end(cx),
        }
    }
}
