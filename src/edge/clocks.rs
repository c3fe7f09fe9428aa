//! The clocks of a client's socket, whatever protocol is spoken on it.

use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use super::EdgeSettings;
use crate::time::LazyDeadline;

/// The clocks of one client connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clocks {
    /// When the connection was accepted: the first head has its time from then on, handshakes included.
    pub(super) accepted: Instant,
    /// To a complete head: from accept for the first request, from its first byte for later ones.
    pub(super) head: Duration,
    /// Between two requests.
    pub(super) idle: Duration,
    /// Data waits and the client reads nothing.
    pub(super) write: Duration,
}

impl Clocks {
    /// The clocks of a connection that was accepted now.
    pub(super) fn start(settings: &EdgeSettings) -> Self {
        let EdgeSettings { header_timeout, idle, write_timeout, .. } = *settings;
        Self { accepted: Instant::now(), head: header_timeout, idle, write: write_timeout }
    }

    /// Until when the first head has to be complete.
    pub(super) fn first_head(&self) -> Instant {
        self.accepted + self.head
    }
}

/// The clock of a client that reads nothing while data waits in front of its socket.
#[derive(Debug)]
pub(super) struct WriteClock {
    limit: Duration,
    due: LazyDeadline,
}

impl WriteClock {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, due: LazyDeadline::default() }
    }

    /// Follows a write or a flush: progress stops the clock, and a client that takes nothing for too long is an error.
    pub(super) fn after<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.due.clear();
            return result;
        }
        if self.due.at().is_none() {
            self.due.set(Instant::now() + self.limit);
        }
        ready!(self.due.poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}
