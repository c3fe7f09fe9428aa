//! What the driver's tests run on: streams in memory, in paused time. Hours pass in milliseconds, and no socket is
//! involved.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Uri};
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncReadExt, DuplexStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, sleep};

use super::{
    BudgetSettings, Course, Expectation, HedgeBudget, Mode, OverflowPoint, Overflowed, Policy, RaceEnd, RetryBudget,
    Timeline, run, run_until_overflow,
};
use crate::body::{Collected, Limits, Payload, Quota, Snapshot};
use crate::time::LazyDeadline;
use crate::upstream::{Outbound, Pool, TransportSettings};

/// More than the streams between us hold.
pub(super) static BODY: [u8; 400_000] = [7; 400_000];
pub(super) const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// One route, and the other ends of its connections.
pub(super) struct Track {
    pub(super) pool: Arc<Pool>,
    pub(super) policy: Policy,
    pub(super) mode: Mode,
    pub(super) budget: Arc<RetryBudget>,
    pub(super) hedge_budget: Arc<HedgeBudget>,
    pub(super) upstream: UnboundedReceiver<DuplexStream>,
}

pub(super) fn track(max_attempts: u32) -> Track {
    let (pool, upstream) = Pool::in_memory(TransportSettings::for_tests(2), Duration::ZERO);
    let policy = Policy::for_tests(max_attempts);
    let budget = RetryBudget::new(BudgetSettings { percent: 100, min: 10 });
    Track { pool, policy, mode: Mode::Race, budget, hedge_budget: HedgeBudget::new(10), upstream }
}

impl Track {
    /// The other ends, for the script that plays the upstream.
    pub(super) fn take_upstream(&mut self) -> UnboundedReceiver<DuplexStream> {
        std::mem::replace(&mut self.upstream, unbounded_channel().1)
    }
}

pub(super) async fn outbound(body: &'static [u8]) -> Outbound {
    let limits = Limits { max: 1 << 30, progress: Duration::from_secs(1) };
    let collected = Snapshot::collect(
        &mut Full::new(Bytes::from_static(body)),
        limits,
        &Quota::new(1 << 30),
        &mut LazyDeadline::default(),
    )
    .await;
    let Ok(Collected::Whole(body)) = collected else { panic!("{collected:?}") };
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("upstream"));
    headers.insert("content-length", HeaderValue::from(body.len()));
    let (target, body) = (Uri::from_static("/x"), Payload::Kept(body));
    Outbound { method: Method::POST, target, quotes: Vec::new(), headers, body, is_upgrade: false }
}

/// Reads until a request of this length of body is complete.
pub(super) async fn read_request(stream: &mut DuplexStream, body: usize) -> Vec<u8> {
    let mut request = Vec::new();
    loop {
        let end = request.windows(4).position(|w| w == b"\r\n\r\n");
        if end.is_some_and(|end| request.len() >= end + 4 + body) {
            return request;
        }
        assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0, "closed in the middle of a request");
    }
}

/// The next connection, and the whole request on it.
pub(super) async fn next(upstream: &mut UnboundedReceiver<DuplexStream>) -> DuplexStream {
    let mut stream = upstream.recv().await.unwrap();
    read_request(&mut stream, 5).await;
    stream
}

pub(super) async fn is_closed(stream: &mut DuplexStream) -> bool {
    stream.read(&mut [0]).await.unwrap() == 0
}

pub(super) async fn race(track: &Track, outbound: &Outbound, timeline: &mut Timeline) -> RaceEnd {
    let Track { pool, policy, mode, budget, hedge_budget, .. } = track;
    let course = Course { pool, policy, mode: *mode, budget, hedge_budget };
    run(course, outbound, Expectation::EarlyHead, &mut LazyDeadline::default(), timeline).await
}

pub(super) async fn body_of(end: RaceEnd) -> Bytes {
    match end {
        RaceEnd::Committed(committed) => committed.head.body.collect().await.unwrap().to_bytes(),
        RaceEnd::Failed(failed) => panic!("{failed:?}"),
    }
}

pub(super) fn after(seconds: u64) -> OverflowPoint {
    OverflowPoint::new(Some(Duration::from_secs(seconds)), None)
}

pub(super) fn at_last_deadline() -> OverflowPoint {
    OverflowPoint::new(None, None)
}

/// An exchange of which something may go on.
pub(super) struct Exchange {
    pub(super) timer: LazyDeadline,
    pub(super) timeline: Timeline,
    pub(super) start: Instant,
}

impl Exchange {
    pub(super) fn new() -> Self {
        Self { timer: LazyDeadline::default(), timeline: Timeline::default(), start: Instant::now() }
    }

    /// Its race, which must overflow after so many seconds.
    pub(super) async fn overflows<'a>(
        &mut self,
        track: &'a Track,
        outbound: &'a Outbound,
        overflow: OverflowPoint,
        seconds: u64,
    ) -> Overflowed<'a> {
        let end = self.race(track, outbound, overflow).await;
        assert_eq!(self.start.elapsed().as_secs(), seconds);
        let RaceEnd::Overflowed(overflowed) = end else { panic!("{end:?}") };
        overflowed
    }

    pub(super) async fn race<'a>(
        &mut self,
        track: &'a Track,
        outbound: &'a Outbound,
        overflow: OverflowPoint,
    ) -> RaceEnd<Overflowed<'a>> {
        let Track { pool, policy, mode, budget, hedge_budget, .. } = track;
        let course = Course { pool, policy, mode: *mode, budget, hedge_budget };
        let (timer, timeline) = (&mut self.timer, &mut self.timeline);
        run_until_overflow(course, outbound, Expectation::EarlyHead, overflow, timer, timeline).await
    }

    /// Stores the job, which takes so many seconds.
    pub(super) async fn stores<'a>(&mut self, overflowed: Overflowed<'a>, seconds: u64) -> RaceEnd<Overflowed<'a>> {
        let stored = sleep(Duration::from_secs(seconds));
        overflowed.during(stored, &mut self.timer, &mut self.timeline).await.1
    }

    pub(super) async fn goes_on(&mut self, overflowed: Overflowed<'_>) -> RaceEnd {
        overflowed.go_on(&mut self.timer, &mut self.timeline).await
    }
}
