//! An upstream of HTTP/1.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::sleep;

use super::Upstream;
use super::plan::{After, AnswerPlan, ConnectionPlan, Idle, Starts};
use crate::simulation::dice::Dice;
use crate::simulation::journal::{Blob, End, Event};
use crate::simulation::message::{Body, Framing, Head};
use crate::simulation::stream::{Handle, Stream};

/// Longer than any client waits.
const AGES: Duration = Duration::from_secs(3 * 60 * 60);

/// Serves one connection to its end.
pub(super) async fn serve(
    upstream: &Arc<Upstream>,
    connection: usize,
    stream: Stream,
    plan: ConnectionPlan,
    dice: Dice,
) {
    let handle = stream.handle();
    let (read, write) = tokio::io::split(stream);
    let mut served =
        Served { upstream, connection, plan, dice, handle, read, write, buffer: BytesMut::new(), taken: 0 };
    // However it ends, the stream is dropped, and so closed.
    while served.exchange().await == Some(After::Stays) {}
}

struct Served<'a> {
    upstream: &'a Upstream,
    connection: usize,
    plan: ConnectionPlan,
    dice: Dice,
    handle: Handle,
    read: ReadHalf<Stream>,
    write: WriteHalf<Stream>,
    buffer: BytesMut,
    /// Bytes taken from the buffer so far.
    taken: u64,
}

impl Served<'_> {
    /// A request and what becomes of it. None when the connection has ended.
    async fn exchange(&mut self) -> Option<After> {
        let head = self.read_head().await?;
        let id = head.number("x-id");
        let wants_events = head.field("accept") == Some("text/event-stream");
        let plan = AnswerPlan::draw(id.unwrap_or_default(), wants_events, &self.upstream.setting, &mut self.dice);
        let body = match head.request_framing() {
            Ok(framing) => Body::new(framing),
            Err(error) => {
                self.request_ended(End::Malformed(error), &Body::new(Framing::None));
                return None;
            }
        };
        let method = head.line.split(' ').next().unwrap_or_default();
        if plan.starts == Starts::AfterTheHead {
            let after = self.answer(&plan, method).await;
            self.read_body(body).await?;
            return after;
        }
        self.read_body(body).await?;
        self.answer(&plan, method).await
    }

    async fn read_head(&mut self) -> Option<Head> {
        // Whatever has come by then is read, even if nobody waits for an answer any more.
        sleep(std::mem::take(&mut self.plan.deaf)).await;
        if self.buffer.is_empty() {
            self.wait().await?;
        }
        loop {
            let before = self.buffer.len();
            match Head::take(&mut self.buffer) {
                Ok(Some(head)) => {
                    let written = self.handle.written(self.taken);
                    self.taken += (before - self.buffer.len()) as u64;
                    let (connection, id) = (self.connection, head.number("x-id"));
                    self.upstream.journal.note(Event::Request { connection, id, written, head: head.clone() });
                    return Some(head);
                }
                Ok(None) => {
                    if let Err(end) = self.read_some().await {
                        if !self.buffer.is_empty() {
                            self.request_ended(end, &Body::new(Framing::None));
                        }
                        return None;
                    }
                }
                Err(error) => {
                    self.request_ended(End::Malformed(error), &Body::new(Framing::None));
                    return None;
                }
            }
        }
    }

    /// Waits for the first byte of a request. None when the connection has ended, from either side.
    async fn wait(&mut self) -> Option<()> {
        let pause = match self.plan.idle {
            Idle::Stays => return self.read_some().await.ok(),
            Idle::Closes(pause) | Idle::Speaks(pause) => pause,
        };
        let has_come = tokio::time::timeout(pause, self.read_some()).await;
        if let Ok(read) = has_come {
            return read.ok();
        }
        if matches!(self.plan.idle, Idle::Speaks(_)) {
            self.answer(&AnswerPlan::unasked(), "GET").await;
        }
        None
    }

    /// None when it did not come to its end.
    async fn read_body(&mut self, mut body: Body) -> Option<()> {
        loop {
            let before = self.buffer.len();
            let is_done = body.take(&mut self.buffer);
            self.taken += (before - self.buffer.len()) as u64;
            match is_done {
                Ok(true) => {
                    self.request_ended(End::Complete, &body);
                    return Some(());
                }
                Ok(false) => {}
                Err(error) => {
                    self.request_ended(End::Malformed(error), &body);
                    return None;
                }
            }
            if let Err(end) = self.read_some().await {
                self.request_ended(end, &body);
                return None;
            }
        }
    }

    fn request_ended(&self, end: End, body: &Body) {
        let written = if self.taken == 0 { self.upstream.journal.stamp() } else { self.handle.written(self.taken - 1) };
        let (connection, body) = (self.connection, Blob(body.got()));
        self.upstream.journal.note(Event::RequestEnd { connection, end, written, body });
    }

    /// Answers as planned. None when the connection has ended.
    async fn answer(&mut self, plan: &AnswerPlan, method: &str) -> Option<After> {
        let (connection, number) = (self.connection, self.upstream.answers.fetch_add(1, Relaxed));
        let journal = &self.upstream.journal;
        journal.note(Event::Answering { connection, number, plan: Box::new(plan.clone()) });
        self.sleep(plan.delay).await?;
        let head = plan.head(number);
        if plan.drip.is_zero() {
            self.write.write_all(&head).await.ok()?;
        } else {
            for byte in head {
                self.sleep(plan.drip).await?;
                self.write.write_all(&[byte]).await.ok()?;
            }
        }
        if plan.shape.is_good() {
            journal.note(Event::HeadWritten { connection, number });
        } else {
            return self.after(plan).await;
        }
        let has_body = method != "HEAD" && !matches!(plan.status, 204 | 304);
        let framed = if has_body { plan.framed() } else { Vec::new() };
        let to = match plan.after {
            After::CutAt(at) | After::ResetAt(at) | After::StallsAt(at) => at.min(framed.len()),
            After::Stays | After::Closes { .. } | After::SaysMore => framed.len(),
        };
        let sent = self.write_body(plan, &framed[..to]).await;
        let is_whole = sent == framed.len();
        journal.note(Event::AnswerWritten { connection, number, sent, is_whole });
        if sent < to {
            return None;
        }
        self.after(plan).await
    }

    /// How many bytes of it went.
    async fn write_body(&mut self, plan: &AnswerPlan, framed: &[u8]) -> usize {
        let mut at = 0;
        while at < framed.len() {
            let mut to = framed.len().min(at + plan.piece);
            if let Some((stall, pause)) = plan.stall {
                if stall == at && self.sleep(pause).await.is_none() {
                    return at;
                }
                if stall > at {
                    to = to.min(stall);
                }
            }
            if self.write.write_all(&framed[at..to]).await.is_err() {
                return at;
            }
            at = to;
            if at < framed.len() && self.sleep(plan.pace).await.is_none() {
                return at;
            }
        }
        at
    }

    async fn after(&mut self, plan: &AnswerPlan) -> Option<After> {
        match plan.after {
            After::Stays if plan.shape.is_good() => {}
            // Behind a head that is none, nothing can be told from anything.
            After::Stays | After::StallsAt(_) => {
                self.sleep(AGES).await;
                return None;
            }
            After::SaysMore => {
                // In the same breath: what comes later might be taken for the answer to the next request.
                let (connection, number) = (self.connection, self.upstream.answers.fetch_add(1, Relaxed));
                let unasked = AnswerPlan::unasked();
                let more = [unasked.head(number), unasked.framed()].concat();
                self.upstream.journal.note(Event::Answering { connection, number, plan: Box::new(unasked) });
                self.write.write_all(&more).await.ok()?;
                return Some(After::Stays);
            }
            After::ResetAt(_) => self.handle.reset(),
            After::Closes { .. } | After::CutAt(_) => {}
        }
        Some(plan.after)
    }

    /// None when the connection ends meanwhile.
    async fn sleep(&self, pause: Duration) -> Option<()> {
        if pause.is_zero() {
            return Some(());
        }
        tokio::select! {
            biased;
            () = self.handle.ended() => None,
            () = sleep(pause) => Some(()),
        }
    }

    async fn read_some(&mut self) -> Result<(), End> {
        if !self.plan.chew.is_zero() {
            sleep(self.plan.chew).await;
        }
        match self.read.read_buf(&mut (&mut self.buffer).limit(self.plan.bite)).await {
            Ok(0) => Err(End::Eof),
            Ok(_) => Ok(()),
            Err(_) => Err(End::Reset),
        }
    }
}
