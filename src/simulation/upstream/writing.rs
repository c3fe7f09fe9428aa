//! What the upstream says.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::io::{AsyncWriteExt, WriteHalf};
use tokio::time::sleep;

use super::Upstream;
use super::plan::{After, AnswerPlan};
use crate::simulation::journal::Event;
use crate::simulation::stream::{Handle, Stream};

/// Longer than any client waits.
const AGES: Duration = Duration::from_secs(3 * 60 * 60);

/// The writing side of a connection.
pub(super) struct Writing<'a> {
    pub(super) upstream: &'a Upstream,
    pub(super) connection: usize,
    pub(super) write: WriteHalf<Stream>,
    pub(super) handle: Handle,
}

impl Writing<'_> {
    /// Answers as planned. None when the connection has ended.
    pub(super) async fn answer(&mut self, plan: &AnswerPlan, method: &str) -> Option<After> {
        let connection = self.connection;
        let number = self.begin(plan);
        let journal = &self.upstream.journal;
        self.sleep(plan.delay).await?;
        let head = plan.head(number);
        if !head.is_empty() {
            journal.note(Event::Speaking { connection, number });
        }
        if plan.drip.is_zero() {
            self.write.write_all(&head).await.ok()?;
        } else {
            for (index, byte) in head.into_iter().enumerate() {
                self.sleep(plan.drip * u32::from(index > 0)).await?;
                self.write.write_all(&[byte]).await.ok()?;
            }
        }
        if !plan.shape.is_good() {
            return self.after(plan).await;
        }
        journal.note(Event::HeadWritten { connection, number });
        let has_body = method != "HEAD" && !matches!(plan.status, 204 | 304);
        let framed = if has_body { plan.framed() } else { Vec::new() };
        let to = match plan.after {
            After::CutAt(at) | After::ResetAt(at) | After::StallsAt(at) => at.min(framed.len()),
            After::Stays | After::Closes { .. } | After::SaysMore => framed.len(),
        };
        let sent = self.body(plan, &framed[..to]).await;
        let is_whole = sent == framed.len();
        self.upstream.journal.note(Event::AnswerWritten { connection, number, sent, is_whole });
        if sent < to {
            return None;
        }
        self.after(plan).await
    }

    fn begin(&self, plan: &AnswerPlan) -> usize {
        let (connection, number) = (self.connection, self.upstream.answers.fetch_add(1, Relaxed));
        self.upstream.journal.note(Event::Answering { connection, number, plan: Box::new(plan.clone()) });
        number
    }

    /// How many bytes of it went.
    async fn body(&mut self, plan: &AnswerPlan, framed: &[u8]) -> usize {
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
                let unasked = AnswerPlan::unasked();
                let number = self.begin(&unasked);
                let more = [unasked.head(number), unasked.framed()].concat();
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
}
