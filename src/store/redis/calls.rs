//! The calls of a store, each as its command.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use redis::Cmd;

use super::failure::Failure;
use super::keys::{RECORD, SEGMENT};
use super::reply::{self, Elements, bytes, number, word};
use super::script::hexadecimal;
use super::{RedisStore, Turn};
use crate::ids::{ExecutionNo, Fence, JobId};
use crate::job::{Fault, Lease, Record, Status};
use crate::store::{
    ABANDONED_AFTER, Batch, Changes, Claims, Counts, MOST_CRASHES, NewBody, NewJob, PIECE, Page, Pending, Retried,
    Settle, Standing, Start, Store, StoreError, Submitted, Topic,
};

/// What a script is given at most at once.
const AT_ONCE: usize = 100;

impl Store for RedisStore {
    fn ping(&self) -> Pending<'_, ()> {
        Box::pin(async { Ok(self.send(&redis::cmd("PING")).await.map(drop)?) })
    }

    fn put_body(&self, job: JobId, index: u32, piece: Bytes) -> Pending<'_, ()> {
        Box::pin(async move {
            let mut call = self.scripts.put_body.call();
            call.arg(job.to_string()).arg(index).arg(&piece[..]).arg(self.max_bytes()).arg(millis(ABANDONED_AFTER));
            match word(&self.run(&self.scripts.put_body, call).await?)? {
                "ok" => Ok(()),
                "full" => Err(StoreError::Full),
                _ => Err(Failure::Odd.into()),
            }
        })
    }

    fn submit(&self, job: NewJob) -> Pending<'_, Submitted> {
        Box::pin(async move {
            let call = self.submission(&job);
            let mut answer = Elements::of(self.run(&self.scripts.submit, call).await?)?;
            match word(&answer.next()?)? {
                "accepted" => {}
                "existing" => return Ok(Submitted::Existing(answer.id()?)),
                "mismatch" => return Ok(Submitted::Mismatch),
                "deep" => return Err(StoreError::TooDeep),
                "full" => return Err(StoreError::Full),
                _ => return Err(Failure::Odd.into()),
            }
            match job.start {
                Start::Queued => {
                    self.changes.tell(Topic::Queue);
                    Ok(Submitted::Accepted(None))
                }
                Start::Adopted => {
                    let (fence, execution) = (Fence::new(answer.some()?), ExecutionNo::new(1));
                    Ok(Submitted::Accepted(Some(Lease { job: job.id, fence, execution })))
                }
            }
        })
    }

    fn claim(&self, most: usize) -> Pending<'_, Claims> {
        Box::pin(async move {
            let mut turn = self.claims.lock().await;
            let Turn { number, unanswered } = &mut *turn;
            *number += 1;
            // Until it is answered, which it is not if this future is dropped.
            let first = *unanswered.get_or_insert(*number);
            let mut call = self.scripts.claim.call();
            call.arg(&self.process).arg(*number).arg(first).arg(most.min(AT_ONCE)).arg(millis(self.settings.lease));
            call.arg(MOST_CRASHES).arg(Fault::poisoned().to_string());
            let mut claims = reply::claims(self.run_once(&self.scripts.claim, call).await?)?;
            *unanswered = None;
            if claims.jobs.len() == AT_ONCE && most > AT_ONCE {
                // There may be more.
                claims.next = Some(Duration::ZERO);
            }
            Ok(claims)
        })
    }

    fn body(&self, job: JobId, index: u32) -> Pending<'_, Option<Bytes>> {
        Box::pin(async move {
            let mut call = redis::cmd("HGET");
            call.arg(self.keys.body(job)).arg(index);
            Ok(bytes(self.send(&call).await?)?)
        })
    }

    fn renew(&self, leases: Vec<Lease>) -> Pending<'_, Vec<Lease>> {
        Box::pin(async move {
            let mut standing = Vec::with_capacity(leases.len());
            for some in leases.chunks(AT_ONCE) {
                let mut call = self.scripts.renew.call();
                call.arg(millis(self.settings.lease));
                for lease in some {
                    call.arg(lease.job.to_string()).arg(lease.fence.get());
                }
                let mut answer = Elements::of(self.run(&self.scripts.renew, call).await?)?;
                for lease in some {
                    standing.extend((answer.some::<u8>()? == 1).then_some(*lease));
                }
            }
            Ok(standing)
        })
    }

    fn record(&self, lease: Lease, batch: Batch) -> Pending<'_, Standing> {
        Box::pin(async move {
            let call = self.recording(lease, &batch);
            match word(&self.run(&self.scripts.record, call).await?)? {
                "held" => {}
                "lost" => return Ok(Standing::Lost),
                "full" => return Err(StoreError::Full),
                _ => return Err(Failure::Odd.into()),
            }
            self.changes.tell(Topic::Job(lease.job));
            if matches!(batch.settle, Some(Settle::HandedBack | Settle::Again { .. })) {
                // There is something to claim, or something that becomes due.
                self.changes.tell(Topic::Queue);
            }
            Ok(Standing::Held)
        })
    }

    fn status(&self, job: JobId) -> Pending<'_, Option<Record>> {
        Box::pin(async move {
            let mut call = redis::cmd("HMGET");
            call.arg(self.keys.job(job)).arg(&RECORD[..]);
            Ok(reply::record(job, &mut Elements::of(self.send(&call).await?)?)?)
        })
    }

    fn read(&self, job: JobId, from: u64, most: usize) -> Pending<'_, Option<Page>> {
        Box::pin(async move {
            let mut call = self.scripts.read.call();
            call.arg(job.to_string()).arg(from).arg(most.min(PIECE));
            Ok(reply::page(job, self.run(&self.scripts.read, call).await?)?)
        })
    }

    fn delete(&self, job: JobId) -> Pending<'_, bool> {
        Box::pin(async move {
            let mut call = self.scripts.delete.call();
            call.arg(&self.process).arg(job.to_string());
            let is_gone = number::<u8>(&self.run(&self.scripts.delete, call).await?)? == 1;
            self.changes.tell(Topic::Job(job));
            self.changes.tell(Topic::Cancelled(job));
            Ok(is_gone)
        })
    }

    fn retry(&self, job: JobId) -> Pending<'_, Retried> {
        Box::pin(async move {
            let mut call = self.scripts.retry.call();
            call.arg(&self.process).arg(job.to_string());
            match word(&self.run(&self.scripts.retry, call).await?)? {
                "queued" => {}
                "unknown" => return Ok(Retried::Unknown),
                "unfailed" => return Ok(Retried::NotFailed),
                "lost" => return Ok(Retried::Lost),
                _ => return Err(Failure::Odd.into()),
            }
            self.changes.tell(Topic::Job(job));
            self.changes.tell(Topic::Queue);
            Ok(Retried::Queued)
        })
    }

    fn list(&self, status: Option<Status>, behind: Option<JobId>, most: usize) -> Pending<'_, Vec<Record>> {
        Box::pin(async move {
            let mut listed: Vec<Record> = Vec::new();
            while listed.len() < most {
                let behind = listed.last().map(|record| record.id).or(behind);
                let wanted = (most - listed.len()).min(AT_ONCE);
                let mut call = self.scripts.list.call();
                call.arg(status.map_or("", Status::as_str));
                call.arg(behind.map_or_else(String::new, |job| job.to_string())).arg(wanted);
                let some = reply::records(self.run(&self.scripts.list, call).await?)?;
                if some.is_empty() {
                    break;
                }
                listed.extend(some);
            }
            Ok(listed)
        })
    }

    fn counts(&self) -> Pending<'_, Counts> {
        Box::pin(async move {
            let call = self.scripts.counts.call();
            Ok(reply::counts(self.run(&self.scripts.counts, call).await?)?)
        })
    }

    fn cached(&self, key: [u8; 32]) -> Pending<'_, Option<Bytes>> {
        Box::pin(async move {
            let mut call = redis::cmd("GET");
            call.arg(self.keys.cache(&hexadecimal(&key)));
            Ok(bytes(self.send(&call).await?)?)
        })
    }

    fn cache(&self, key: [u8; 32], entry: Bytes, ttl: Duration) -> Pending<'_, ()> {
        Box::pin(async move {
            let mut call = self.scripts.cache.call();
            call.arg(hexadecimal(&key)).arg(&entry[..]).arg(millis(ttl).max(1)).arg(self.max_bytes());
            match self.run(&self.scripts.cache, call).await {
                // No room is no error.
                Ok(_) | Err(Failure::Full) => Ok(()),
                Err(failure) => Err(failure.into()),
            }
        })
    }

    fn sweep(&self) -> Pending<'_, bool> {
        Box::pin(async move {
            let call = self.scripts.sweep.call();
            Ok(number::<u8>(&self.run(&self.scripts.sweep, call).await?)? == 1)
        })
    }

    fn changes(&self) -> &Changes {
        &self.changes
    }

    /// None while the server cannot be reached.
    fn warnings(&self) -> Pending<'_, Vec<String>> {
        Box::pin(async move { Ok(self.line.server().await.map(|server| server.warnings()).unwrap_or_default()) })
    }

    fn close(&self) -> Pending<'_, ()> {
        Box::pin(async move {
            self.closing.cancel();
            self.tasks.finished().await;
            Ok(())
        })
    }
}

impl RedisStore {
    fn max_bytes(&self) -> u64 {
        self.settings.max_bytes.get()
    }

    /// The call that stores a job.
    fn submission(&self, job: &NewJob) -> Cmd {
        let mut call = self.scripts.submit.call();
        call.arg(&self.process).arg(job.id.to_string()).arg(self.settings.max_depth).arg(self.max_bytes());
        match job.start {
            Start::Queued => call.arg(""),
            Start::Adopted => call.arg(millis(self.settings.lease)),
        };
        match &job.idempotency {
            Some(key) => call.arg(hexadecimal(&key.scope)).arg(&key.fingerprint[..]),
            None => call.arg("").arg(""),
        };
        let (body, before) = match &job.body {
            NewBody::Inline(body) => (body.len() as u64, 0),
            NewBody::Pieces { length, .. } => (*length, *length),
        };
        call.arg(job.request.len() as u64 + body).arg(before);
        call.arg("route").arg(&job.title.route).arg("method").arg(&job.title.method).arg("path").arg(&job.title.path);
        call.arg("retention").arg(millis(job.retention)).arg("request").arg(&job.request[..]);
        match &job.body {
            NewBody::Inline(body) if body.is_empty() => {}
            NewBody::Inline(body) => drop(call.arg("body").arg(&body[..])),
            NewBody::Pieces { count, length } => drop(call.arg("pieces").arg(count).arg("length").arg(length)),
        }
        if let Some(owner) = job.owner {
            call.arg("owner").arg(&owner.get()[..]);
        }
        call
    }

    /// The call that writes a batch.
    fn recording(&self, lease: Lease, batch: &Batch) -> Cmd {
        let mut call = self.scripts.record.call();
        call.arg(&self.process).arg(lease.job.to_string()).arg(lease.fence.get()).arg(self.max_bytes()).arg(batch.at);
        match &batch.settle {
            None => call.arg("").arg("").arg(0),
            Some(Settle::Completed { end, retention }) => call.arg("completed").arg(&end[..]).arg(millis(*retention)),
            Some(Settle::Failed { error, retention }) => call.arg("failed").arg(error).arg(millis(*retention)),
            Some(Settle::Again { error, after }) => call.arg("again").arg(error).arg(millis(*after)),
            Some(Settle::HandedBack) => call.arg("back").arg("").arg(0),
        };
        call.arg(batch.head.as_deref().unwrap_or_default());
        for piece in cut(batch.at, &batch.data) {
            call.arg(&piece[..]);
        }
        call
    }
}

/// The same bytes in pieces of which none reaches over the end of a segment.
fn cut(at: u64, data: &[Bytes]) -> Vec<Bytes> {
    let within = usize::try_from(at % SEGMENT as u64).unwrap_or_default();
    let (mut pieces, mut piece, mut room) = (Vec::new(), BytesMut::new(), SEGMENT - within);
    for bytes in data {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(room.min(rest.len()));
            piece.extend_from_slice(now);
            room -= now.len();
            rest = later;
            if room == 0 {
                pieces.push(piece.split().freeze());
                room = SEGMENT;
            }
        }
    }
    if !piece.is_empty() {
        pieces.push(piece.freeze());
    }
    pieces
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_batch_is_cut_where_segments_end(
            at in 0..3 * SEGMENT as u64,
            lengths in prop::collection::vec(prop_oneof![0..100usize, 0..2 * SEGMENT], 0..6),
        ) {
            let data: Vec<Bytes> =
                lengths.iter().zip(0..).map(|(length, fill)| Bytes::from(vec![fill; *length])).collect();
            let pieces = cut(at, &data);
            prop_assert!(pieces.concat() == data.concat());
            let mut position = at;
            for (number, piece) in pieces.iter().enumerate() {
                prop_assert!(!piece.is_empty());
                let end = position + piece.len() as u64;
                prop_assert_eq!(position / SEGMENT as u64, (end - 1) / SEGMENT as u64);
                prop_assert!(end.is_multiple_of(SEGMENT as u64) || number + 1 == pieces.len());
                position = end;
            }
        }
    }
}
