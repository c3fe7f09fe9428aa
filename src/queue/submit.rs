//! Makes a job of a request.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method};
use http_body::Body;

use super::{Queue, execution, unstored};
use crate::answer::{Answer, Code};
use crate::body::{Beginning, CollectError, Snapshot, next_frame};
use crate::ids::JobId;
use crate::job::{Fingerprint, IDEMPOTENCY_KEY, Idempotency, Lease, Owner, StoredRequest, Title};
use crate::store::{INLINE, NewBody, NewJob, PIECE, Start, Store, StoreError, Submitted};
use crate::time::LazyDeadline;

/// A request that is to become a job.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The route's label.
    pub route: String,
    /// Whose job it will be.
    pub owner: Option<Owner>,
    /// As the client sent it.
    pub method: Method,
    /// Path and query, as the client sent them.
    pub target: String,
    /// The fields that are kept.
    pub headers: HeaderMap,
    /// Whether it had a body, or said that it has none.
    pub was_framed: bool,
    /// What one execution may take.
    pub timeout: Duration,
    /// How long it can be seen when it is over.
    pub retention: Duration,
    /// `X-Forwarded-*` is forebay's own, or that of somebody who is believed.
    pub forwarded_is_known: bool,
}

impl Asked {
    /// What the log calls it.
    pub(super) fn title(&self) -> execution::Title {
        execution::Title::new(&self.route, &self.method, &self.target)
    }
}

/// A job that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Which one.
    pub job: JobId,
    /// The lease, where the one who submits it executes it as well.
    pub lease: Option<Lease>,
}

/// Why a body that comes from a client did not become a job.
#[derive(Debug)]
pub enum Unsubmitted<E> {
    /// It is longer than the cap.
    TooLarge,
    /// The client did not send all of it.
    Body(CollectError<E>),
    /// The store did not take it.
    Answer(Answer),
}

impl Queue {
    /// Stores a request whose body is kept. It is durable when this resolves.
    ///
    /// Dropping the future leaves a job behind, or none.
    pub async fn submit(&self, asked: Asked, body: &Snapshot, start: Start) -> Result<Ticket, Answer> {
        let mut intake = Intake::new(self.store(), &asked);
        for piece in body.pieces() {
            intake.push(piece.clone()).await.map_err(|error| unstored(&error))?;
        }
        self.finish(asked, intake, body.trailers().cloned().unwrap_or_default(), start).await
    }

    /// Stores a request whose body is still coming: `beginning`, then what is left in `body`, `most` bytes in all. `progress`
    /// is how long the client may send nothing.
    pub async fn submit_passing<B>(
        &self,
        asked: Asked,
        mut beginning: Beginning,
        body: &mut B,
        most: u64,
        progress: Duration,
        timer: &mut LazyDeadline,
    ) -> Result<Ticket, Unsubmitted<B::Error>>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let stored = |error: StoreError| Unsubmitted::Answer(unstored(&error).closing());
        let mut intake = Intake::new(self.store(), &asked);
        let mut trailers = HeaderMap::new();
        while let Some(piece) = beginning.next() {
            if intake.length + piece.len() as u64 > most {
                return Err(Unsubmitted::TooLarge);
            }
            intake.push(piece).await.map_err(stored)?;
        }
        while let Some(frame) = next_frame(Pin::new(&mut *body), timer, progress).await.map_err(Unsubmitted::Body)? {
            match frame.into_data() {
                // What is not taken need not be stored before that is said.
                Ok(data) if intake.length + data.len() as u64 > most => return Err(Unsubmitted::TooLarge),
                Ok(data) => intake.push(data).await.map_err(stored)?,
                Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
            }
        }
        self.finish(asked, intake, trailers, Start::Queued).await.map_err(Unsubmitted::Answer)
    }

    async fn finish(&self, asked: Asked, intake: Intake, trailers: HeaderMap, start: Start) -> Result<Ticket, Answer> {
        let job = intake.job;
        let (body, fingerprint) = intake.finish().await.map_err(|error| unstored(&error))?;
        let Asked { route, owner, method, target, headers, was_framed, timeout, retention, forwarded_is_known } = asked;
        let path = target.split('?').next().unwrap_or_default();
        let title = Title::new(&route, method.as_str(), path);
        // An empty key is none, as with every other field that is obeyed.
        let key = headers.get(IDEMPOTENCY_KEY).map(HeaderValue::as_bytes).filter(|key| !key.is_empty());
        let idempotency = key.map(|key| Idempotency::new(owner, &route, key, fingerprint));
        let request =
            StoredRequest { route, method, target, headers, was_framed, trailers, timeout, owner, forwarded_is_known };
        let request = request.encode().into();
        let new = NewJob { id: job, title, owner, request, body, idempotency, start, retention };
        match self.store().submit(new).await.map_err(|error| unstored(&error))? {
            Submitted::Accepted(lease) => {
                self.stats().submitted.count();
                Ok(Ticket { job, lease })
            }
            Submitted::Existing(job) => Ok(Ticket { job, lease: None }),
            Submitted::Mismatch => {
                let message = "This Idempotency-Key was used for another request. Use a new key for a new request.";
                Err(Answer::new(Code::IdempotencyMismatch, message))
            }
        }
    }
}

/// A body on its way into the store: small ones stay with the job, larger ones go ahead in pieces.
struct Intake {
    store: Arc<dyn Store>,
    job: JobId,
    waiting: BytesMut,
    pieces: u32,
    length: u64,
    fingerprint: Fingerprint,
}

impl Intake {
    fn new(store: &Arc<dyn Store>, asked: &Asked) -> Self {
        let fingerprint = Fingerprint::of(asked.method.as_str(), &asked.target);
        Self {
            store: Arc::clone(store),
            job: JobId::random(),
            waiting: BytesMut::new(),
            pieces: 0,
            length: 0,
            fingerprint,
        }
    }

    async fn push(&mut self, data: Bytes) -> Result<(), StoreError> {
        self.fingerprint.update(&data);
        self.length += data.len() as u64;
        self.waiting.extend_from_slice(&data);
        while self.waiting.len() >= PIECE {
            let piece = self.waiting.split_to(PIECE).freeze();
            self.put(piece).await?;
        }
        Ok(())
    }

    async fn put(&mut self, piece: Bytes) -> Result<(), StoreError> {
        self.store.put_body(self.job, self.pieces, piece).await?;
        self.pieces += 1;
        Ok(())
    }

    async fn finish(mut self) -> Result<(NewBody, Fingerprint), StoreError> {
        let rest = self.waiting.split().freeze();
        if self.pieces == 0 && rest.len() <= INLINE {
            return Ok((NewBody::Inline(rest), self.fingerprint));
        }
        if !rest.is_empty() {
            self.put(rest).await?;
        }
        Ok((NewBody::Pieces { count: self.pieces, length: self.length }, self.fingerprint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::single::Single;

    fn asked() -> Asked {
        Asked {
            route: "default".into(),
            owner: None,
            method: Method::POST,
            target: "/x?y".into(),
            headers: HeaderMap::new(),
            was_framed: true,
            timeout: Duration::from_secs(300),
            retention: Duration::from_secs(3600),
            forwarded_is_known: false,
        }
    }

    #[tokio::test]
    async fn a_small_body_stays_with_its_job_and_a_large_one_goes_ahead_in_whole_pieces() {
        for (length, pieces) in [
            (0, &[][..]),
            (INLINE, &[]),
            (INLINE + 1, &[INLINE + 1]),
            (PIECE, &[PIECE]),
            (2 * PIECE + 1, &[PIECE, PIECE, 1]),
        ] {
            // However it comes.
            for chunk in [1000, PIECE - 1, 3 * PIECE] {
                let single = Single::new();
                let mut intake = Intake::new(&(Arc::clone(&single) as Arc<dyn Store>), &asked());
                for data in vec![7; length].chunks(chunk) {
                    intake.push(Bytes::copy_from_slice(data)).await.unwrap();
                }
                let body = intake.finish().await.unwrap().0;
                let put = single.pieces();
                let put: Vec<usize> = (0..).map_while(|index| put.get(&index).map(Bytes::len)).collect();
                assert_eq!(put, pieces, "{length} in chunks of {chunk}");
                match body {
                    NewBody::Inline(bytes) => assert_eq!((bytes.len(), pieces.len()), (length, 0)),
                    NewBody::Pieces { count, length: all } => {
                        assert_eq!((count as usize, all), (pieces.len(), length as u64));
                    }
                }
            }
        }
    }

    #[tokio::test]
    async fn a_store_that_is_away_is_said_to_be_so_at_once() {
        let single = Single::new();
        single.is_away_for(1);
        let mut intake = Intake::new(&(Arc::clone(&single) as Arc<dyn Store>), &asked());
        let pushed = intake.push(vec![0; PIECE].into()).await;
        assert!(matches!(pushed, Err(StoreError::Unavailable(_))));
    }
}
