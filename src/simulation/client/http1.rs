//! A client of HTTP/1: it sends and reads at the same time.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::plan::{ClientPlan, How, RequestPlan, When};
use crate::simulation::journal::{Blob, End, Event, Journal, Stamp};
use crate::simulation::message::{Body, Framing, Head};
use crate::simulation::stream::{Handle, Stream};

/// How long a client waits for `100 Continue` before it sends the body all the same.
const CONTINUE: Duration = Duration::from_secs(1);

/// What the reader tells the writer.
#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    answered: usize,
    interim: usize,
    /// No further answer will come.
    is_over: bool,
}

/// Talks on one connection, beginning with the request of that number; how many requests it has begun.
pub(super) async fn talk(
    plan: &ClientPlan,
    first: usize,
    connection: usize,
    stream: Stream,
    journal: &Arc<Journal>,
) -> usize {
    let handle = stream.handle();
    let (read, write) = tokio::io::split(stream);
    let (tell, heard) = watch::channel(Heard::default());
    let requests = &plan.requests[first..];
    let mut begun = 0;
    let mut writer = Writer { plan, requests, connection, journal, write, heard, begun: &mut begun };
    let mut reader = Reader {
        plan,
        requests,
        connection,
        journal,
        read,
        handle: handle.clone(),
        tell,
        buffer: BytesMut::new(),
        taken: 0,
    };
    let left = tokio::select! {
        biased;
        how = reader.read() => how,
        how = writer.write() => Some(how),
        () = sleep(plan.patience) => {
            journal.note(Event::Left { connection, how: "out of patience".to_owned() });
            None
        }
    };
    if left == Some(How::Resets) {
        handle.reset();
    }
    drop((reader, writer));
    begun.max(1)
}

fn leave(journal: &Journal, connection: usize, how: How) -> How {
    journal.note(Event::Left { connection, how: format!("{how:?}") });
    how
}

struct Writer<'a> {
    plan: &'a ClientPlan,
    requests: &'a [RequestPlan],
    connection: usize,
    journal: &'a Journal,
    write: WriteHalf<Stream>,
    heard: watch::Receiver<Heard>,
    begun: &'a mut usize,
}

impl Writer<'_> {
    /// Sends the requests. Resolves only when the client leaves.
    async fn write(&mut self) -> How {
        for index in 0..self.requests.len() {
            let request = &self.requests[index];
            if !request.is_pipelined && self.heard.wait_for(|h| h.is_over || h.answered >= index).await.is_err() {
                break;
            }
            sleep(request.pause).await;
            if self.heard.borrow().is_over {
                break;
            }
            *self.begun = index + 1;
            self.journal.note(Event::Sending { id: request.id, connection: self.connection });
            if let Some(how) = self.send(request).await {
                if how == How::HalfCloses {
                    leave(self.journal, self.connection, how);
                    let _ = self.write.shutdown().await;
                    break;
                }
                return leave(self.journal, self.connection, how);
            }
        }
        std::future::pending().await
    }

    /// Some(how) when the client leaves meanwhile.
    async fn send(&mut self, request: &RequestPlan) -> Option<How> {
        let (head, image) = (request.head().len(), request.image());
        let leaves_at = match request.leaves {
            Some((When::Sending(at), how)) => Some((at, how)),
            _ => None,
        };
        let mut at = 0;
        let interim = self.heard.borrow().interim;
        while at < image.len() {
            let mut to = image.len().min(at + request.piece);
            for stop in [Some(head), request.stall.map(|(at, _)| at), leaves_at.map(|(at, _)| at)].into_iter().flatten()
            {
                if stop > at {
                    to = to.min(stop);
                }
            }
            if !self.write_piece(&image[at..to]).await {
                return None;
            }
            at = to;
            if at == image.len() {
                self.journal.note(Event::Sent { id: request.id });
            } else if at == head && request.expects {
                let continues = self.heard.wait_for(|h| h.is_over || h.interim > interim);
                let _ = timeout(CONTINUE, continues).await;
            }
            if let Some((_, how)) = leaves_at.filter(|(leaves_at, _)| *leaves_at <= at) {
                return Some(how);
            }
            match request.stall {
                Some((stalls_at, pause)) if stalls_at == at => sleep(pause).await,
                _ => sleep(request.pace).await,
            }
        }
        if let Some((When::Waiting(pause), how)) = request.leaves {
            sleep(pause).await;
            return Some(how);
        }
        None
    }

    /// False when it makes no sense to go on.
    async fn write_piece(&mut self, piece: &[u8]) -> bool {
        if self.plan.is_stubborn {
            return self.write.write_all(piece).await.is_ok();
        }
        let mut heard = self.heard.clone();
        tokio::select! {
            biased;
            _ = heard.wait_for(|h| h.is_over) => false,
            written = self.write.write_all(piece) => written.is_ok(),
        }
    }
}

struct Reader<'a> {
    plan: &'a ClientPlan,
    requests: &'a [RequestPlan],
    connection: usize,
    journal: &'a Journal,
    read: ReadHalf<Stream>,
    handle: Handle,
    tell: watch::Sender<Heard>,
    buffer: BytesMut,
    /// Bytes taken from the buffer so far.
    taken: u64,
}

impl Reader<'_> {
    /// Reads the answers. Resolves when the connection has ended, when there is nothing to wait for, or when the client
    /// leaves.
    async fn read(&mut self) -> Option<How> {
        for index in 0..self.requests.len() {
            let request = &self.requests[index];
            let (head, written) = match self.read_final_head(request).await {
                Ok(head) => head,
                Err(end) => {
                    self.journal.note(Event::NoAnswer { id: request.id, connection: self.connection, end });
                    return None;
                }
            };
            let closes = head.closes();
            // Who never understood a head does not know that it was a HEAD.
            let has_body_all_the_same = request.method == "HEAD" && matches!(head.status(), 400 | 408);
            let framing = head.response_framing(request.method);
            self.journal.note(Event::Answer { id: request.id, connection: self.connection, written, head });
            let end = match framing {
                Ok(framing) => self.read_body(request, Body::new(framing)).await,
                Err(error) => {
                    self.ended(request, End::Malformed(error), &Body::new(Framing::None));
                    Ok(true)
                }
            };
            let is_over = match end {
                Err(how) => {
                    return Some(leave(self.journal, self.connection, how));
                }
                Ok(is_over) => is_over || closes,
            };
            self.tell.send_modify(|heard| (heard.answered, heard.is_over) = (index + 1, is_over));
            if is_over {
                self.read_to_the_end().await;
                if has_body_all_the_same {
                    self.buffer.clear();
                }
                self.note_surplus();
                return None;
            }
        }
        if self.plan.lingers {
            self.read_to_the_end().await;
        }
        self.note_surplus();
        None
    }

    /// Takes interim heads until there is a final one, and when its first byte was written.
    async fn read_final_head(&mut self, request: &RequestPlan) -> Result<(Head, Stamp), End> {
        loop {
            let before = self.buffer.len();
            match Head::take(&mut self.buffer) {
                Err(error) => return Err(End::Malformed(error)),
                Ok(Some(head)) => {
                    let written = self.handle.written(self.taken);
                    self.taken += (before - self.buffer.len()) as u64;
                    if !(100..200).contains(&head.status()) {
                        return Ok((head, written));
                    }
                    let connection = self.connection;
                    self.journal.note(Event::Answer { id: request.id, connection, written, head });
                    self.tell.send_modify(|heard| heard.interim += 1);
                }
                Ok(None) => self.read_some().await?,
            }
        }
    }

    /// Ok(true) when nothing can follow; an error when the client leaves.
    async fn read_body(&mut self, request: &RequestPlan, mut body: Body) -> Result<bool, How> {
        let mut stops = request.stops_reading;
        loop {
            let before = self.buffer.len();
            let is_done = body.take(&mut self.buffer);
            self.taken += (before - self.buffer.len()) as u64;
            if let Some((When::Reading(at), how)) = request.leaves
                && body.length() >= at
                && how != How::HalfCloses
            {
                self.ended(request, End::Abandoned, &body);
                return Err(how);
            }
            if let Some((_, pause)) = stops.take_if(|(at, _)| body.length() >= *at) {
                let (id, connection, read) = (request.id, self.connection, body.length());
                self.journal.note(Event::StopsReading { id, connection, pause, read });
                sleep(pause).await;
            }
            match is_done {
                Ok(true) => {
                    self.ended(request, End::Complete, &body);
                    return Ok(body.is_framed_by_the_end());
                }
                Ok(false) => {}
                Err(error) => {
                    self.ended(request, End::Malformed(error), &body);
                    return Ok(true);
                }
            }
            if let Err(end) = self.read_some().await {
                // The beginning of a chunk, perhaps.
                self.buffer.clear();
                let is_whole = body.is_framed_by_the_end() && end == End::Eof;
                self.ended(request, if is_whole { End::Complete } else { end }, &body);
                return Ok(true);
            }
        }
    }

    fn ended(&self, request: &RequestPlan, end: End, body: &Body) {
        let (id, written) = (request.id, self.handle.written(self.taken - 1));
        self.journal.note(Event::AnswerEnd { id, end, written, body: Blob(body.got()) });
    }

    async fn read_to_the_end(&mut self) {
        while self.read_some().await.is_ok() {}
    }

    fn note_surplus(&mut self) {
        if !self.buffer.is_empty() {
            let bytes = Blob(self.buffer.split().freeze());
            self.journal.note(Event::Surplus { connection: self.connection, bytes });
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
