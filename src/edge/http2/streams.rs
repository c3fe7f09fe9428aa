//! The exchanges of one HTTP/2 connection, and what becomes of those whose client does not read.
//!
//! On HTTP/1 a client that reads nothing is noticed at its socket. Here it only has to withhold a stream's window: the
//! socket stays writable, hyper asks the body for nothing any more, and no timer inside the body would ever be polled. So
//! each response body notes when it handed out data that hyper has not come back from, and the connection looks at all of
//! them from time to time. A body that is overdue is taken away – its upstream connection with it – while its neighbours
//! go on.
//!
//! A client that reads slowly opens windows all the same, in steps that may be smaller than what was handed out. hyper does
//! not tell which stream an exchange has, but they can be counted: bodies are overdue only if no more streams were given
//! window than there are bodies that moved.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::unread::Unread;
use crate::answer::Breakage;
use crate::body::BrokenOff;
use crate::edge::outgoing::Content;
use crate::time::LazyDeadline;

/// No frame of a body is larger: what waits for a client's window is bounded by this and hyper's send buffer, not by what
/// an upstream writes at once.
const MAX_FRAME: usize = 16 * 1024;
/// So many streams are remembered as read: more than a connection has at once.
const MANY_READS: usize = 256;
/// How long a body that broke off waits for what came before to be written.
const LAST_FLUSH: Duration = Duration::from_secs(1);

/// The exchanges of one connection.
pub(super) struct Streams {
    state: Mutex<State>,
    /// Some body waits for the socket to be flushed.
    wants_flush: AtomicBool,
}

struct State {
    /// Exchanges that are not over.
    live: usize,
    /// Since when there is none.
    idle_since: Instant,
    has_served: bool,
    bodies: Vec<Weak<Stream>>,
    /// When streams were last given window.
    reads: HashMap<u32, Instant>,
    last_read: Option<Instant>,
    /// The connection's task, to be told when the last exchange ends.
    connection: Option<Waker>,
}

/// One exchange. Counts until it is dropped, or taken away.
pub(in crate::edge) struct Stream {
    streams: Arc<Streams>,
    outgoing: Mutex<Outgoing>,
}

#[derive(Default)]
struct Outgoing {
    /// Boxed, like what most streams never have: a stream begins long before its answer, and is small until then.
    content: Option<Box<Content>>,
    /// The rest of a chunk that was larger than a frame.
    rest: Bytes,
    /// Since when hyper holds data that it has not come back from. The head counts: without window, hyper asks for nothing.
    handed: Option<Instant>,
    /// When it last came back for more.
    taken: Option<Instant>,
    broken: Option<Box<Broken>>,
    /// What nobody reads of the request.
    unread: Option<Box<Unread>>,
    /// It was overdue, and does not count any more.
    is_taken_away: bool,
    task: Option<Waker>,
}

/// A body that broke off: told once what came before is written.
struct Broken {
    error: BrokenOff,
    is_flushed: bool,
    patience: LazyDeadline,
}

impl Streams {
    pub(super) fn new() -> Arc<Self> {
        let state = State {
            live: 0,
            idle_since: Instant::now(),
            has_served: false,
            bodies: Vec::new(),
            reads: HashMap::new(),
            last_read: None,
            connection: None,
        };
        Arc::new(Self { state: Mutex::new(state), wants_flush: AtomicBool::new(false) })
    }

    /// An exchange begins.
    pub(super) fn begin(self: &Arc<Self>) -> Arc<Stream> {
        let stream = Arc::new(Stream { streams: Arc::clone(self), outgoing: Mutex::default() });
        let mut state = self.state();
        state.live += 1;
        state.has_served = true;
        if state.bodies.len() >= 2 * state.live {
            state.bodies.retain(|body| body.strong_count() > 0);
        }
        state.bodies.push(Arc::downgrade(&stream));
        stream
    }

    /// Since when there is no exchange; none while there is one. The connection's task is woken when that changes.
    pub(super) fn idle_since(&self, cx: &Context<'_>) -> Option<Instant> {
        let mut state = self.state();
        state.connection = Some(cx.waker().clone());
        (state.live == 0).then_some(state.idle_since)
    }

    /// When the client last read. What hyper has finished may still wait for its window.
    pub(super) fn last_read(&self) -> Option<Instant> {
        self.state().last_read
    }

    /// Whether there was an exchange at all.
    pub(super) fn has_served(&self) -> bool {
        self.state().has_served
    }

    /// The client has given window to a stream.
    pub(super) fn is_read(&self, stream: u32) {
        let mut state = self.state();
        if state.reads.len() >= MANY_READS {
            let oldest = state.reads.iter().min_by_key(|(_, at)| **at).map(|(stream, _)| *stream);
            oldest.map(|stream| state.reads.remove(&stream));
        }
        state.reads.insert(stream, Instant::now());
        state.last_read = Some(Instant::now());
    }

    /// Takes away what the client has not read for `limit`; the time at which to look again.
    pub(super) fn take_overdue(&self, now: Instant, limit: Duration) -> Instant {
        let (mut next, mut overdue, mut moving) = (now + limit, Vec::new(), 0);
        for stream in self.bodies() {
            let outgoing = stream.outgoing();
            match outgoing.handed.map(|since| since + limit) {
                Some(due) if due <= now => overdue.push(Arc::clone(&stream)),
                Some(due) => (next, moving) = (next.min(due), moving + 1),
                None if outgoing.taken.is_some_and(|at| at + limit > now) => moving += 1,
                None => {}
            }
        }
        if overdue.is_empty() {
            return next;
        }
        let given_window = {
            let mut state = self.state();
            state.reads.retain(|_, at| *at + limit > now);
            state.reads.len()
        };
        if given_window > moving {
            return next.min(now + limit / 4);
        }
        for stream in overdue {
            // Dropped, it gives back its upstream connection and reports that the client is gone. The stream itself ends
            // when hyper asks again, or with the connection, which it does not keep: hyper may never ask.
            let (taken, was_taken) = {
                let mut outgoing = stream.outgoing();
                outgoing.handed = None;
                outgoing.rest = Bytes::new();
                (outgoing.content.take(), std::mem::replace(&mut outgoing.is_taken_away, true))
            };
            drop(taken);
            if !was_taken {
                self.ended();
            }
        }
        next
    }

    /// Lets every body look at the stage of the process.
    pub(super) fn wake_all(&self) {
        for stream in self.bodies() {
            let task = stream.outgoing().task.take();
            if let Some(task) = task {
                task.wake();
            }
        }
    }

    /// Some body waits for the socket to be flushed. It may be flushed already, and then nobody would look again.
    fn want_flush(&self) {
        self.wants_flush.store(true, Relaxed);
        if let Some(connection) = &self.state().connection {
            connection.wake_by_ref();
        }
    }

    /// Everything that hyper was given is in the socket.
    pub(super) fn flushed(&self) {
        if self.wants_flush.swap(false, Relaxed) {
            for stream in self.bodies() {
                let mut outgoing = stream.outgoing();
                if let Some(broken) = &mut outgoing.broken {
                    broken.is_flushed = true;
                    if let Some(task) = outgoing.task.take() {
                        task.wake();
                    }
                }
            }
        }
    }

    /// An exchange is over.
    fn ended(&self) {
        let mut state = self.state();
        state.live -= 1;
        if state.live == 0 {
            state.idle_since = Instant::now();
            if let Some(connection) = state.connection.take() {
                connection.wake();
            }
        }
    }

    fn bodies(&self) -> Vec<Arc<Stream>> {
        self.state().bodies.iter().filter_map(Weak::upgrade).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream {
    /// The answer's body.
    pub(in crate::edge) fn answer(&self, content: Content) {
        let mut outgoing = self.outgoing();
        outgoing.content = Some(Box::new(content));
        outgoing.handed = Some(Instant::now());
    }

    /// Nobody reads the rest of the request.
    pub(in crate::edge) fn leave(&self, rest: Incoming) {
        let mut outgoing = self.outgoing();
        outgoing.unread = Some(Box::new(Unread::new(rest)));
        if let Some(task) = outgoing.task.take() {
            task.wake();
        }
    }

    /// The next frame for hyper. A body that was taken away ends with an error, which resets the stream. The end waits for
    /// that of the request, for a while.
    pub(in crate::edge) fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let mut outgoing = self.outgoing();
        if !outgoing.task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            outgoing.task = Some(cx.waker().clone());
        }
        if outgoing.handed.take().is_some() {
            outgoing.taken = Some(Instant::now());
        }
        let is_read = outgoing.unread.as_mut().is_none_or(|unread| unread.poll(cx).is_ready());
        let frame = ready!(outgoing.poll_frame(cx, &self.streams));
        if frame.is_none() && !is_read {
            return Poll::Pending;
        }
        if matches!(frame, Some(Ok(_))) {
            outgoing.handed = Some(Instant::now());
        }
        Poll::Ready(frame)
    }

    pub(in crate::edge) fn is_end_stream(&self) -> bool {
        let outgoing = self.outgoing();
        let is_at_end = outgoing.content.as_deref().is_some_and(Body::is_end_stream) && outgoing.unread.is_none();
        is_at_end && outgoing.rest.is_empty() && outgoing.broken.is_none()
    }

    pub(in crate::edge) fn size_hint(&self) -> SizeHint {
        let outgoing = self.outgoing();
        let hint = outgoing.content.as_deref().map(Body::size_hint).unwrap_or_default();
        match hint.exact() {
            Some(left) => SizeHint::with_exact(left + outgoing.rest.len() as u64),
            None => hint,
        }
    }

    fn outgoing(&self) -> MutexGuard<'_, Outgoing> {
        self.outgoing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outgoing {
    fn poll_frame(&mut self, cx: &mut Context<'_>, streams: &Streams) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(self.rest.len().min(MAX_FRAME))))));
        }
        if self.broken.is_none() {
            let Some(content) = &mut self.content else {
                return Poll::Ready(Some(Err(BrokenOff(Breakage::Stalled))));
            };
            match ready!(Pin::new(&mut **content).poll_frame(cx)) {
                Some(Ok(frame)) => return Poll::Ready(Some(Ok(self.first_of(frame)))),
                Some(Err(error)) => {
                    let mut patience = LazyDeadline::default();
                    patience.set(Instant::now() + LAST_FLUSH);
                    self.broken = Some(Box::new(Broken { error, is_flushed: false, patience }));
                    streams.want_flush();
                }
                None => return Poll::Ready(None),
            }
        }
        // A reset would drop what hyper has not written yet, the head perhaps.
        match &mut self.broken {
            Some(broken) if !broken.is_flushed => broken.patience.poll(cx).map(|()| Some(Err(broken.error))),
            Some(broken) => Poll::Ready(Some(Err(broken.error))),
            None => Poll::Pending,
        }
    }

    fn first_of(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        match frame.into_data() {
            Ok(mut chunk) if chunk.len() > MAX_FRAME => {
                let first = chunk.split_to(MAX_FRAME);
                self.rest = chunk;
                Frame::data(first)
            }
            Ok(chunk) => Frame::data(chunk),
            Err(frame) => frame,
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.outgoing().is_taken_away {
            self.streams.ended();
        }
    }
}
