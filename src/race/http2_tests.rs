//! The driver over HTTP/2 streams in memory, in paused time: what the upstream says it did not process costs nothing.

use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, HeaderValue, Method, Response, Uri};
use http_body_util::BodyExt;
use tokio::time::{Instant, sleep};

use super::{
    BudgetSettings, Course, Expectation, HedgeBudget, Mode, Policy, RaceEnd, Retry, RetryBudget, Timeline, run,
};
use crate::body::Payload;
use crate::time::LazyDeadline;
use crate::upstream::{Http2, Outbound, Pool, TransportSettings};

#[tokio::test(start_paused = true)]
async fn a_refused_stream_is_replaced_once_for_nothing_even_where_a_post_is_not_repeated() {
    for refusals in [1, 2] {
        let settings = TransportSettings { http2: Http2::PriorKnowledge, ..TransportSettings::for_tests(10) };
        let (pool, mut upstream) = Pool::in_memory(settings, Duration::ZERO);
        let policy = Policy { retry: Retry::Safe, ..Policy::for_tests(1) };
        let budget = RetryBudget::new(BudgetSettings { percent: 100, min: 10 });
        let headers = HeaderMap::from_iter([(http::header::HOST, HeaderValue::from_static("u"))]);
        let (target, body, quotes) = (Uri::from_static("/x"), Payload::default(), Vec::new());
        let outbound = Outbound { method: Method::POST, target, quotes, headers, body, is_upgrade: false };
        tokio::spawn(async move {
            for number in 0.. {
                let mut server = h2::server::handshake(upstream.recv().await.unwrap()).await.unwrap();
                let (_, mut respond) = server.accept().await.unwrap().unwrap();
                if number < refusals {
                    respond.send_reset(Reason::REFUSED_STREAM);
                } else {
                    let mut stream = respond.send_response(Response::new(()), false).unwrap();
                    stream.send_data(Bytes::from_static(b"ok"), true).unwrap();
                }
                tokio::spawn(async move { while let Some(Ok(_)) = server.accept().await {} });
                sleep(Duration::ZERO).await;
            }
        });
        let (mode, hedge_budget) = (Mode::Race, HedgeBudget::new(0));
        let course = Course { pool: &pool, policy: &policy, mode, budget: &budget, hedge_budget: &hedge_budget };
        let mut timeline = Timeline::default();
        let start = Instant::now();
        let end = run(course, &outbound, Expectation::EarlyHead, &mut LazyDeadline::default(), &mut timeline).await;
        assert_eq!(timeline.attempts(), 1);
        assert!(start.elapsed() < Duration::from_millis(250), "without a pause");
        match end {
            RaceEnd::Committed(won) if refusals == 1 => {
                assert_eq!(won.head.body.collect().await.unwrap().to_bytes(), "ok");
            }
            RaceEnd::Failed(failed) if refusals == 2 => assert_eq!(failed.failure.label(), "refused_stream"),
            other => panic!("{other:?}"),
        }
    }
}
