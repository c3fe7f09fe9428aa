//! Whose turn it is on a client's connection.
//!
//! Requests come one at a time. What hyper does, and what follows for the socket ([`ClientIo`](super::client_io)) and the
//! turn:
//!
//! | hyper | the socket stands | the turn is |
//! |---|---|---|
//! | waits for a head | in front of a head | idle |
//! | has a part of it | in the head | in a head |
//! | has all of it | at its end, and gives nothing more | in a head |
//! | calls the service | in the body, if there is one; then behind it | in an exchange |
//! | drops the response body with its last byte | behind the body | answered |
//! | flushes with nothing left to write | in front of the next head | idle, or in a head that came meanwhile |
//!
//! What hyper writes outside of an exchange can only be its refusal of a head, and is worded anew.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use http::HeaderMap;

use super::framing::Framing;
use crate::edge::tunnel::Tunnel;
use crate::time::LazyDeadline;

/// What the connection's exchanges and its socket tell each other. All of it happens in one task.
#[derive(Default)]
pub(in crate::edge) struct Turn {
    stage: AtomicU8,
    framing: AtomicU64,
    /// The length of the body as it was read before hyper did, if hyper was given bytes of it.
    foreseen: AtomicU64,
    is_ambiguous: AtomicBool,
    /// The client has gone away in the middle of an exchange.
    has_left: AtomicBool,
    /// A response that broke off waits until all of it that came is with the client.
    flush: AtomicU8,
    /// Where a `"` belongs in the query of the request at hand; see `quotes`.
    quotes: Mutex<Vec<u32>>,
    /// What the connection becomes once hyper has written its `101`.
    tunnel: Mutex<Option<Box<Tunnel>>>,
    /// Fields that hyper was not shown.
    surplus: Mutex<Option<Box<HeaderMap>>>,
    /// Deadlines of an exchange come one after the other, and nearly always later than the one before: one timer serves
    /// them all, and is hardly ever set anew.
    timer: Mutex<LazyDeadline>,
}

const IDLE: u8 = 0;
const HEAD: u8 = 1;
const EXCHANGE: u8 = 2;
const ANSWERED: u8 = 3;
const CHUNKED: u64 = u64::MAX;
/// Nothing was foreseen. A body of this length has none of its bytes here.
const NOTHING: u64 = 0;
const FLUSH_UNASKED: u8 = 0;
const FLUSH_ASKED: u8 = 1;
const FLUSHED: u8 = 2;

impl Turn {
    /// Where a `"` belongs in the query of the request at hand: for who finds them, and for who sends them on.
    pub(in crate::edge) fn with_quotes<T>(&self, with: impl FnOnce(&mut Vec<u32>) -> T) -> T {
        with(&mut self.quotes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The head that hyper is about to parse has these fields, too.
    pub(super) fn add_fields(&self, fields: Box<HeaderMap>) {
        *self.surplus.lock().unwrap_or_else(PoisonError::into_inner) = Some(fields);
    }

    /// Fields that belong to the head that hyper has parsed, behind all others.
    pub(in crate::edge) fn take_fields(&self) -> Option<Box<HeaderMap>> {
        self.surplus.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The timer of the connection's exchanges, without a deadline.
    pub(in crate::edge) fn take_timer(&self) -> LazyDeadline {
        std::mem::take(&mut self.timer.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Keeps it for the next exchange.
    pub(in crate::edge) fn keep_timer(&self, mut timer: LazyDeadline) {
        timer.clear();
        *self.timer.lock().unwrap_or_else(PoisonError::into_inner) = timer;
    }

    /// The exchange under way ends in a tunnel.
    pub(in crate::edge) fn switch(&self, tunnel: Tunnel) {
        *self.tunnel.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(tunnel));
    }

    /// The tunnel that was agreed on, if one was.
    pub(super) fn take_tunnel(&self) -> Option<Box<Tunnel>> {
        self.tunnel.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// A head is complete, and behind it begins a body of this length, of which hyper is given some bytes; or nothing is.
    pub(super) fn foresee(&self, length: Option<u64>) {
        self.foreseen.store(length.unwrap_or(NOTHING), Relaxed);
    }

    /// Whether hyper has found another body than the one it was given bytes of. What it holds is then not to be trusted.
    pub(in crate::edge) fn is_ambiguous(&self) -> bool {
        self.is_ambiguous.load(Relaxed)
    }

    /// hyper has parsed a head: an exchange begins, with a body framed so.
    pub(super) fn begin(&self, framing: Framing) {
        let code = match framing {
            Framing::None => 0,
            Framing::Length(length) => length.min(CHUNKED - 1),
            Framing::Chunked => CHUNKED,
        };
        self.framing.store(code, Relaxed);
        let foreseen = self.foreseen.load(Relaxed);
        self.is_ambiguous.store(foreseen != NOTHING && foreseen != code, Relaxed);
        self.flush.store(FLUSH_UNASKED, Relaxed);
        self.stage.store(EXCHANGE, Relaxed);
    }

    /// The response's last byte is in hyper's hands.
    pub(in crate::edge) fn answered(&self) {
        self.stage.store(ANSWERED, Relaxed);
    }

    /// The client has gone away in the middle of an exchange: nobody waits for the answer.
    pub(super) fn client_left(&self) {
        self.has_left.store(true, Relaxed);
    }

    /// Whether it has.
    pub(super) fn has_client_left(&self) -> bool {
        self.has_left.load(Relaxed)
    }

    /// Neither an exchange nor a byte of a request.
    pub(super) fn is_idle(&self) -> bool {
        self.stage.load(Relaxed) == IDLE
    }

    /// A byte of a head has come.
    pub(super) fn head_began(&self) {
        self.stage.store(HEAD, Relaxed);
    }

    /// The answer is with the client: the next request may come.
    pub(super) fn ended(&self) {
        self.stage.store(IDLE, Relaxed);
    }

    /// hyper's buffer is empty; true if somebody has asked for that.
    pub(super) fn flushed(&self) -> bool {
        self.flush.compare_exchange(FLUSH_ASKED, FLUSHED, Relaxed, Relaxed).is_ok()
    }

    /// Whether everything that hyper was given is with the client. Asked for the first time it is not, and the task is
    /// woken when it is.
    pub(in crate::edge) fn is_flushed(&self) -> bool {
        self.flush.compare_exchange(FLUSH_UNASKED, FLUSH_ASKED, Relaxed, Relaxed) == Err(FLUSHED)
    }

    /// Whether hyper is in an exchange: what it writes is an answer.
    pub(super) fn is_exchange(&self) -> bool {
        matches!(self.stage.load(Relaxed), EXCHANGE | ANSWERED)
    }

    /// Whether the answer's last byte is in hyper's hands.
    pub(super) fn is_answered(&self) -> bool {
        self.stage.load(Relaxed) == ANSWERED
    }

    /// How the body of the exchange under way is framed.
    pub(super) fn framing(&self) -> Framing {
        match self.framing.load(Relaxed) {
            0 => Framing::None,
            CHUNKED => Framing::Chunked,
            length => Framing::Length(length),
        }
    }
}
