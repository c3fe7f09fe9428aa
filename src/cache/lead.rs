//! A miss: the one who asks the upstream, for himself and for all who ask the same meanwhile.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::Body;
use tokio::runtime::Handle;

use super::flight::{Keeping, Seat};
use super::given::{AnswerBody, Given};
use super::pump::pump;
use super::rules::Conditions;
use super::single_flight::Duty;
use super::{Cache, CacheKind};
use crate::headers::hop;
use crate::job::StoredHead;
use crate::stats::RouteStats;

/// The lead of all who ask the same: whoever has it asks the upstream. Dropped, another one takes over.
pub struct Lead {
    pub(super) seat: Seat,
    pub(super) errand: Errand,
}

/// What there is to do for those who follow, whether the leader stays or not.
pub(super) struct Errand {
    pub(super) cache: Arc<Cache>,
    pub(super) duty: Duty,
    pub(super) conditions: Conditions,
    pub(super) kind: CacheKind,
    pub(super) ttl: Duration,
    pub(super) stats: Arc<RouteStats>,
}

impl Lead {
    /// Asks the upstream: `work` does, and what it returns is given back, the answer with a body that others may read as
    /// well. If it has none, another one takes over.
    ///
    /// Dropped before there is a head – the client left – the work is dropped too, unless somebody follows: then it goes on
    /// in the background. With a body that is shared it is the same.
    pub async fn run<W, T, B, E>(self, work: W) -> (T, Result<Response<AnswerBody<B>>, E>)
    where
        W: Future<Output = (T, Result<Response<B>, E>)> + Send + 'static,
        T: 'static,
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        E: 'static,
    {
        let aboard = Aboard { work: Box::pin(work), seat: self.seat, errand: self.errand };
        let way = Way { aboard: Some(aboard), go_on: Errand::go_on_aside };
        let ((note, result), seat, errand) = way.await;
        (note, result.map(|response| errand.share(seat, response)))
    }
}

impl Errand {
    /// Lets the others have the answer too, if they may.
    fn share<B>(self, seat: Seat, response: Response<B>) -> Response<AnswerBody<B>>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        if !self.land(&response) {
            return response.map(AnswerBody::Own);
        }
        let (head, body) = response.into_parts();
        let tasks = self.cache.tasks.clone();
        tasks.spawn(self.deliver(body));
        Response::from_parts(head, Given::live(seat).into())
    }

    /// As [`go_on`](Self::go_on), in the background.
    fn go_on_aside<W, T, B, E>(self, work: Pin<Box<W>>)
    where
        W: Future<Output = (T, Result<Response<B>, E>)> + Send + 'static,
        T: 'static,
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        E: 'static,
    {
        let tasks = self.cache.tasks.clone();
        tasks.spawn(self.go_on(work));
    }

    /// Goes on without the leader, for those who follow.
    async fn go_on<W, T, B, E>(self, work: Pin<Box<W>>)
    where
        W: Future<Output = (T, Result<Response<B>, E>)>,
        B: Body<Data = Bytes> + Unpin,
    {
        let response = tokio::select! {
            biased;
            () = self.duty.flight.abandoned() => return,
            (_, result) = work => result.ok(),
        };
        if let Some(response) = response
            && self.land(&response)
        {
            self.deliver(response.into_body()).await;
        }
    }

    /// Tells the others that there is a head. False = it is not for them.
    fn land<B: Body>(&self, response: &Response<B>) -> bool {
        let flight = &self.duty.flight;
        if !self.conditions.allow(response) {
            self.duty.close();
            flight.keep_private();
            return false;
        }
        let mut head = StoredHead { status: response.status(), headers: response.headers().clone() };
        hop::strip_for_cache(&mut head.headers, true);
        let keeping = Keeping::new(self.conditions.max_length, &self.cache.quota);
        flight.land(head, response.body().size_hint().exact(), keeping);
        true
    }

    /// Tells them the body, and keeps the whole. Until the entry can be found, the flight can.
    async fn deliver<B: Body<Data = Bytes> + Unpin>(self, body: B) {
        let Some(entry) = pump(&self.duty, body).await else { return };
        // One who did not want what is kept has asked since then, and has the newer answer.
        let is_newest = self.duty.is_open();
        if is_newest && self.cache.shelves.put(self.kind, self.duty.key(), entry, self.ttl).await {
            self.stats.cache.stored.count();
        }
    }
}

/// The way to a head.
struct Way<W> {
    /// None once it is there.
    aboard: Option<Aboard<W>>,
    go_on: fn(Errand, Pin<Box<W>>),
}

struct Aboard<W> {
    work: Pin<Box<W>>,
    seat: Seat,
    errand: Errand,
}

impl<W: Future> Future for Way<W> {
    type Output = (W::Output, Seat, Errand);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(mut aboard) = self.aboard.take() else { return Poll::Pending };
        match aboard.work.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready((output, aboard.seat, aboard.errand)),
            Poll::Pending => {
                self.aboard = Some(aboard);
                Poll::Pending
            }
        }
    }
}

impl<W> Drop for Way<W> {
    fn drop(&mut self) {
        let Some(Aboard { work, seat, errand }) = self.aboard.take() else { return };
        drop(seat);
        // Without a runtime the process is ending, and there is nobody left to follow.
        if errand.duty.flight.is_followed() && Handle::try_current().is_ok() {
            (self.go_on)(errand, work);
        }
    }
}

impl fmt::Debug for Lead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lead").field("key", &self.errand.duty.key()).finish_non_exhaustive()
    }
}
