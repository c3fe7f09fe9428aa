//! What the upstream hears.

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncReadExt, ReadHalf};
use tokio::time::{sleep, timeout};

use super::plan::ConnectionPlan;
use crate::simulation::journal::{Blob, End, Event, Journal};
use crate::simulation::message::{Body, Framing, Head};
use crate::simulation::stream::{Handle, Stream};

/// The reading side of a connection.
pub(super) struct Reading<'a> {
    journal: &'a Journal,
    connection: usize,
    read: ReadHalf<Stream>,
    handle: Handle,
    bite: usize,
    chew: Duration,
    buffer: BytesMut,
    /// Bytes taken from the buffer so far.
    taken: u64,
}

impl<'a> Reading<'a> {
    pub(super) fn new(
        journal: &'a Journal,
        connection: usize,
        read: ReadHalf<Stream>,
        handle: Handle,
        plan: &ConnectionPlan,
    ) -> Self {
        let (bite, chew) = (plan.bite, plan.chew);
        Self { journal, connection, read, handle, bite, chew, buffer: BytesMut::new(), taken: 0 }
    }

    /// Waits for the first byte of a request, at most so long. None when the connection has ended; false when nothing
    /// came.
    pub(super) async fn wait(&mut self, at_most: Option<Duration>) -> Option<bool> {
        if !self.buffer.is_empty() {
            return Some(true);
        }
        let Some(at_most) = at_most else { return self.some().await.ok().map(|()| true) };
        match timeout(at_most, self.some()).await {
            Ok(read) => read.ok().map(|()| true),
            Err(_) => Some(false),
        }
    }

    /// A request's head. None when the connection has ended.
    pub(super) async fn head(&mut self) -> Option<Head> {
        loop {
            let before = self.buffer.len();
            match Head::take(&mut self.buffer) {
                Ok(Some(head)) => {
                    let written = self.handle.written(self.taken);
                    self.taken += (before - self.buffer.len()) as u64;
                    let (connection, id) = (self.connection, head.number("x-id"));
                    self.journal.note(Event::Request { connection, id, written, head: head.clone() });
                    return Some(head);
                }
                Ok(None) => {
                    if let Err(end) = self.some().await {
                        if !self.buffer.is_empty() {
                            self.ended(end, &Body::new(Framing::None));
                        }
                        return None;
                    }
                }
                Err(error) => {
                    self.ended(End::Malformed(error), &Body::new(Framing::None));
                    return None;
                }
            }
        }
    }

    /// The body behind a head. None when it did not come to its end.
    pub(super) async fn body(&mut self, head: &Head) -> Option<()> {
        let mut body = match head.request_framing() {
            Ok(framing) => Body::new(framing),
            Err(error) => {
                self.ended(End::Malformed(error), &Body::new(Framing::None));
                return None;
            }
        };
        loop {
            let before = self.buffer.len();
            let is_done = body.take(&mut self.buffer);
            self.taken += (before - self.buffer.len()) as u64;
            match is_done {
                Ok(true) => {
                    self.ended(End::Complete, &body);
                    return Some(());
                }
                Ok(false) => {}
                Err(error) => {
                    self.ended(End::Malformed(error), &body);
                    return None;
                }
            }
            if let Err(end) = self.some().await {
                self.ended(end, &body);
                return None;
            }
        }
    }

    fn ended(&self, end: End, body: &Body) {
        let written = if self.taken == 0 { self.journal.stamp() } else { self.handle.written(self.taken - 1) };
        self.journal.note(Event::RequestEnd { connection: self.connection, end, written, body: Blob(body.got()) });
    }

    async fn some(&mut self) -> Result<(), End> {
        if !self.chew.is_zero() {
            sleep(self.chew).await;
        }
        match self.read.read_buf(&mut (&mut self.buffer).limit(self.bite)).await {
            Ok(0) => Err(End::Eof),
            Ok(_) => Ok(()),
            Err(_) => Err(End::Reset),
        }
    }
}
