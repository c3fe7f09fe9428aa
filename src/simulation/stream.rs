//! A connection in memory that is as bad as a real one.
//!
//! What a `tokio::io::duplex` cannot do matters most: bytes are on their way for a while, so both ends can act in
//! ignorance of each other; a reset takes with it what was not read yet; closing with unread bytes, or receiving bytes
//! after having closed, resets; reads and writes are cut anywhere.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::journal::{Event, Journal, Side, Stamp};

/// What a connection is like, in both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wire {
    /// Bytes that can be on their way.
    pub(super) room: usize,
    /// How long they are.
    pub(super) latency: Duration,
    /// The most that one read or write moves, in some stretches: everywhere it would take for ever.
    pub(super) slice: usize,
    /// Whether a reset takes with it what has come and was not read.
    pub(super) resets_lose: bool,
}

impl Wire {
    fn slice_at(&self, offset: u64) -> usize {
        if offset % 40_000 < 1000 { self.slice } else { usize::MAX }
    }
}

/// Who moves bytes so often without time passing is in a loop.
const BUSY: usize = 1_000_000;

#[derive(Debug)]
struct Link {
    wire: Wire,
    journal: Arc<Journal>,
    /// By the side that writes.
    pipes: [Pipe; 2],
    sides: [Side; 2],
    polls: (Instant, usize),
}

#[derive(Debug, Default)]
struct Pipe {
    parcels: VecDeque<(Instant, Bytes)>,
    held: usize,
    written: u64,
    read: u64,
    /// Up to which offset each write went.
    marks: Vec<(u64, Stamp)>,
    fin_at: Option<Instant>,
    /// From then on the reader sees a reset. The writer sees it at once.
    reset_at: Option<Instant>,
    is_reader_gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// Who waits for its end.
    mourner: Option<Waker>,
}

impl Pipe {
    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take(), self.mourner.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

/// One end of a connection. Dropped, it is closed.
#[derive(Debug)]
pub(super) struct Stream {
    handle: Handle,
    timer: Option<Pin<Box<Sleep>>>,
}

/// What can be asked of an end, and done to it, while somebody else reads and writes.
#[derive(Clone, Debug)]
pub(super) struct Handle {
    link: Arc<Mutex<Link>>,
    side: usize,
}

/// Both ends of a new connection.
pub(super) fn pair(wire: Wire, journal: &Arc<Journal>, sides: [Side; 2]) -> (Stream, Stream) {
    let (journal, pipes) = (Arc::clone(journal), [Pipe::default(), Pipe::default()]);
    let link = Arc::new(Mutex::new(Link { wire, journal, pipes, sides, polls: (Instant::now(), 0) }));
    let end = |side| Stream { handle: Handle { link: Arc::clone(&link), side }, timer: None };
    (end(0), end(1))
}

impl Link {
    /// Ends both directions. Who did it hears nothing of it; the other sees a reset.
    fn reset(&mut self, by: usize) {
        self.journal.note(Event::Reset { by: self.sides[by] });
        let arrives = Instant::now() + self.wire.latency;
        for (side, pipe) in self.pipes.iter_mut().enumerate() {
            let at = if side == by { arrives } else { Instant::now() };
            pipe.reset_at = Some(pipe.reset_at.map_or(at, |other| other.min(at)));
            pipe.wake();
        }
    }

    fn poll_write(&mut self, side: usize, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.count();
        let stamp = self.journal.stamp();
        let (wire, pipe) = (self.wire, &mut self.pipes[side]);
        if pipe.reset_at.is_some() || pipe.fin_at.is_some() {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        let room = if pipe.is_reader_gone { buf.len() } else { wire.room - pipe.held };
        let taken = buf.len().min(room).min(wire.slice_at(pipe.written));
        if taken == 0 && !buf.is_empty() {
            pipe.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        pipe.written += taken as u64;
        pipe.marks.push((pipe.written, stamp));
        if pipe.is_reader_gone {
            // Nobody is there to take it, and that is what comes back.
            self.reset(1 - side);
            return Poll::Ready(Ok(taken));
        }
        pipe.held += taken;
        pipe.parcels.push_back((Instant::now() + wire.latency, Bytes::copy_from_slice(&buf[..taken])));
        if let Some(reader) = pipe.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(taken))
    }

    /// Some(time) when there is nothing to read before then.
    fn poll_read(&mut self, side: usize, cx: &Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<Option<Instant>>> {
        self.count();
        let (wire, pipe, now) = (self.wire, &mut self.pipes[1 - side], Instant::now());
        let is_reset = pipe.reset_at.is_some_and(|at| at <= now);
        if is_reset && wire.resets_lose {
            return Poll::Ready(Err(ErrorKind::ConnectionReset.into()));
        }
        if let Some((arrives, bytes)) = pipe.parcels.front_mut()
            && *arrives <= now
        {
            let taken = bytes.len().min(buf.remaining()).min(wire.slice_at(pipe.read));
            buf.put_slice(&bytes[..taken]);
            bytes.advance(taken);
            if bytes.is_empty() {
                pipe.parcels.pop_front();
            }
            pipe.held -= taken;
            pipe.read += taken as u64;
            if let Some(writer) = pipe.writer.take() {
                writer.wake();
            }
            return Poll::Ready(Ok(None));
        }
        if is_reset {
            return Poll::Ready(Err(ErrorKind::ConnectionReset.into()));
        }
        let bytes = pipe.parcels.front().map(|(arrives, _)| *arrives);
        if bytes.is_none() && pipe.fin_at.is_some_and(|at| at <= now) {
            return Poll::Ready(Ok(None));
        }
        pipe.reader = Some(cx.waker().clone());
        let next = [bytes, pipe.fin_at, pipe.reset_at].into_iter().flatten().min();
        if next.is_some() { Poll::Ready(Ok(next)) } else { Poll::Pending }
    }

    fn shut(&mut self, side: usize) {
        if self.pipes[side].fin_at.is_none() && self.pipes[side].reset_at.is_none() {
            self.pipes[side].fin_at = Some(Instant::now() + self.wire.latency);
            self.pipes[side].wake();
            self.journal.note(Event::Shut { side: self.sides[side] });
        }
    }

    fn close(&mut self, side: usize) {
        self.journal.note(Event::Dropped { side: self.sides[side] });
        let incoming = &mut self.pipes[1 - side];
        incoming.is_reader_gone = true;
        if incoming.held > 0 {
            self.reset(side);
        } else if self.pipes[side].fin_at.is_none() && self.pipes[side].reset_at.is_none() {
            self.pipes[side].fin_at = Some(Instant::now() + self.wire.latency);
            self.pipes[side].wake();
        }
        self.pipes[1 - side].wake();
    }

    fn count(&mut self) {
        let now = Instant::now();
        self.polls = if self.polls.0 == now { (now, self.polls.1 + 1) } else { (now, 0) };
        assert!(self.polls.1 < BUSY, "a busy loop on {:?}", self.sides);
    }
}

impl Handle {
    fn link(&self) -> MutexGuard<'_, Link> {
        // It is poisoned when somebody was found in a loop, and then the other end must still be dropped.
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the connection as a crash does.
    pub(super) fn reset(&self) {
        self.link().reset(self.side);
    }

    /// When the byte at this offset of what this end reads was written.
    pub(super) fn written(&self, offset: u64) -> Stamp {
        let link = self.link();
        let marks = &link.pipes[1 - self.side].marks;
        marks[marks.partition_point(|(end, _)| *end <= offset)].1
    }

    /// Resolves when this end can know that the other one has closed its sending side or reset the connection.
    pub(super) async fn ended(&self) {
        let at = poll_fn(|cx| {
            let mut link = self.link();
            let pipe = &mut link.pipes[1 - self.side];
            if let Some(at) = [pipe.fin_at, pipe.reset_at].into_iter().flatten().min() {
                return Poll::Ready(at);
            }
            pipe.mourner = Some(cx.waker().clone());
            Poll::Pending
        });
        sleep_until(at.await).await;
    }
}

impl Stream {
    pub(super) fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let poll = self.handle.link().poll_read(self.handle.side, cx, buf)?;
            let at = match poll {
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Ready(Some(at)) => at,
                Poll::Pending => return Poll::Pending,
            };
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
            timer.as_mut().reset(at);
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.handle.link().poll_write(self.handle.side, cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.handle.link().shut(self.handle.side);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.handle.link().close(self.handle.side);
    }
}
