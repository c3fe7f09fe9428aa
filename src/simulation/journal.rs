//! What happened in a world, in order.
//!
//! The actors write down what they did and saw, and judge nothing: that is the balance's part. The journal is also what a
//! failing seed shows.

use std::fmt::{self, Write};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::message::Head;
use super::stream::Wire;
use super::upstream::AnswerPlan;

/// A request of a client, by the numbers of both. It travels in the request's path and in a field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    pub(super) client: usize,
    pub(super) request: usize,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.client, self.request)
    }
}

impl FromStr for Id {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('.').and_then(|(c, r)| Some((c.parse().ok()?, r.parse().ok()?)));
        numbers.map(|(client, request)| Self { client, request }).ok_or_else(|| format!("{text:?} is no id"))
    }
}

/// A moment: its time since the world began, and its place in the order of things, which is finer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp {
    pub(super) at: Duration,
    pub(super) order: usize,
}

/// Whose end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client(usize),
    ProxyToClient(usize),
    ProxyToUpstream(usize),
    Upstream(usize),
}

/// Bytes that are shown as their number.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Blob(pub(super) Bytes);

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(&self.0) {
            Ok(text) if text.len() < 400 => write!(f, "{text:?}"),
            _ => write!(f, "{} bytes", self.0.len()),
        }
    }
}

/// How a message ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With its last byte, as its framing says.
    Complete,
    /// With the end of the connection; nothing but a framing by length or chunks tells that it is too early.
    Eof,
    /// With a reset.
    Reset,
    /// The one who received it went away.
    Abandoned,
    /// It was no HTTP.
    Malformed(String),
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A client's connection was accepted.
    Accepted { client: usize, connection: usize },
    /// A client begins to send a request.
    Sending { id: Id, connection: usize },
    /// It sent the last byte of it.
    Sent { id: Id },
    /// It leaves, or closes its sending side: with this the proxy owes it nothing more.
    Left { connection: usize, how: String },
    /// It stops reading for so long, having read so many bytes of an answer's body.
    StopsReading { id: Id, connection: usize, pause: Duration, read: usize },
    /// A head of an answer has come to a client; its first byte was written then. Interim ones as well.
    Answer { id: Id, connection: usize, written: Stamp, head: Head },
    /// An answer ended so, with this body. The last byte of it that has come was written then.
    AnswerEnd { id: Id, end: End, written: Stamp, body: Blob },
    /// A client's connection ended so, before the answer to that request had begun.
    NoAnswer { id: Id, connection: usize, end: End },
    /// Something came that answers nothing.
    Surplus { connection: usize, bytes: Blob },
    /// The proxy opens a connection to the upstream.
    Dialled { connection: usize, wire: Wire, plan: String },
    /// It stands.
    Connected { connection: usize },
    /// The upstream refused it.
    Refused { connection: usize },
    /// The upstream has read a request's head. Its first byte was written then.
    Request { connection: usize, id: Option<Id>, written: Stamp, head: Head },
    /// The upstream has read a request to its end. Its last byte was written then.
    RequestEnd { connection: usize, end: End, written: Stamp, body: Blob },
    /// The upstream answers: what it is up to.
    Answering { connection: usize, number: usize, plan: Box<AnswerPlan> },
    /// The first byte of it is about to be written.
    Speaking { connection: usize, number: usize },
    /// The upstream has written a complete final head.
    HeadWritten { connection: usize, number: usize },
    /// The upstream has done with an answer what it wanted or could; so many bytes of the framed body are on their way.
    AnswerWritten { connection: usize, number: usize, sent: usize, is_whole: bool },
    /// An end of a connection was closed.
    Dropped { side: Side },
    /// A connection was reset: on purpose, because bytes were unread, or because bytes came to somebody who had left.
    Reset { by: Side },
    /// A sending side was closed.
    Shut { side: Side },
    /// The process drains.
    Draining,
    /// The process is cut.
    Cut,
    /// All clients are gone.
    Quiet,
}

/// The journal of a world. Its clock is tokio's.
#[derive(Debug)]
pub(super) struct Journal {
    start: Instant,
    log: Mutex<Log>,
}

#[derive(Debug, Default)]
struct Log {
    order: usize,
    entries: Vec<(Stamp, Event)>,
}

impl Journal {
    /// An empty journal of a world that begins now.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { start: Instant::now(), log: Mutex::default() })
    }

    /// The moment.
    pub(super) fn stamp(&self) -> Stamp {
        let mut log = self.log();
        log.order += 1;
        Stamp { at: self.start.elapsed(), order: log.order }
    }

    /// Writes down what happened now.
    pub(super) fn note(&self, event: Event) {
        let stamp = self.stamp();
        self.log().entries.push((stamp, event));
    }

    /// All of it.
    pub(super) fn entries(&self) -> Vec<(Stamp, Event)> {
        self.log().entries.clone()
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap()
    }
}

/// The journal as text, a line for each event.
pub(super) fn shown(entries: &[(Stamp, Event)]) -> String {
    let mut text = String::new();
    for (stamp, event) in entries {
        writeln!(text, "{:>14.3}s #{:<6} {event:?}", stamp.at.as_secs_f64(), stamp.order).unwrap();
    }
    text
}
