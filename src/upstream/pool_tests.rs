//! The pool over streams in memory, in paused time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Uri};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep};

use super::{Failure, Outbound, Pool, Timeouts, TransportSettings, attempt};
use crate::body::Payload;
use crate::shutdown::Shutdown;

/// Connecting takes a second.
fn pool(max_connections: usize) -> (Arc<Pool>, UnboundedReceiver<DuplexStream>) {
    Pool::in_memory(TransportSettings::for_tests(max_connections), Duration::from_secs(1))
}

/// Sends a GET and reads the whole answer.
async fn get(pool: &Arc<Pool>, fresh: bool) -> Result<Bytes, Failure> {
    let headers = HeaderMap::from_iter([(http::header::HOST, HeaderValue::from_static("u"))]);
    let target = Uri::from_static("/x");
    let (body, quotes) = (Payload::default(), Vec::new());
    let outbound = Outbound { method: Method::GET, target, quotes, headers, body, is_upgrade: false };
    let head = attempt(pool, &outbound, fresh, Timeouts::for_tests(), Arc::default()).await?;
    Ok(head.body.collect().await.unwrap().to_bytes())
}

/// Answers every request on a connection with its number.
async fn answer(mut stream: DuplexStream, connection: usize, extra: &'static str) {
    let mut request = [0; 4096];
    while stream.read(&mut request).await.is_ok_and(|n| n > 0) {
        let response = format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{connection}{extra}");
        if stream.write_all(response.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Answers on every connection, numbered from 0.
async fn answer_all(mut upstream: UnboundedReceiver<DuplexStream>, extra: &'static str) {
    for connection in 0.. {
        let Some(stream) = upstream.recv().await else { return };
        tokio::spawn(answer(stream, connection, extra));
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_serves_again_unless_a_fresh_one_is_wanted() {
    let (pool, upstream) = pool(10);
    tokio::spawn(answer_all(upstream, ""));
    for (fresh, connection) in [(false, "0"), (false, "0"), (true, "1"), (false, "1")] {
        assert_eq!(get(&pool, fresh).await.unwrap(), connection);
        tokio::task::yield_now().await;
    }
    assert_eq!(pool.open(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_after_its_time() {
    let (pool, upstream) = pool(10);
    tokio::spawn(answer_all(upstream, ""));
    tokio::spawn(Arc::clone(&pool).maintain(Shutdown::default()));
    assert_eq!(get(&pool, false).await.unwrap(), "0");
    sleep(Duration::from_secs(50)).await;
    assert_eq!(get(&pool, false).await.unwrap(), "0");
    sleep(Duration::from_secs(80)).await;
    assert_eq!(pool.open(), 0);
    assert_eq!(get(&pool, false).await.unwrap(), "1");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_says_more_than_it_was_asked_is_not_used_again() {
    let (pool, upstream) = pool(10);
    tokio::spawn(answer_all(upstream, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL"));
    for connection in ["0", "1", "2"] {
        assert_eq!(get(&pool, false).await.unwrap(), connection);
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn everyone_is_served_over_few_connections() {
    let (pool, upstream) = pool(3);
    tokio::spawn(answer_all(upstream, ""));
    let mut all = tokio::task::JoinSet::new();
    for n in 0..200 {
        let pool = Arc::clone(&pool);
        all.spawn(async move { get(&pool, n % 40 == 0).await.unwrap() });
    }
    assert_eq!(all.join_all().await.len(), 200);
    assert!(pool.open() <= 3);
}

#[tokio::test(start_paused = true)]
async fn who_needs_a_fresh_connection_is_not_passed_over_by_those_who_do_not() {
    let (pool, upstream) = pool(2);
    tokio::spawn(answer_all(upstream, ""));
    for _ in 0..8 {
        let pool = Arc::clone(&pool);
        tokio::spawn(async move {
            loop {
                get(&pool, false).await.unwrap();
                sleep(Duration::from_millis(1)).await;
            }
        });
    }
    sleep(Duration::from_secs(2)).await;
    let start = Instant::now();
    get(&pool, true).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(2), "it waited for {:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_leaves_does_not_take_his_connect_from_the_next() {
    let (pool, upstream) = pool(1);
    tokio::spawn(answer_all(upstream, ""));
    let start = Instant::now();
    let leaves = tokio::time::timeout(Duration::from_millis(500), get(&pool, false));
    let stays = async {
        sleep(Duration::from_millis(100)).await;
        get(&pool, false).await
    };
    let (left, stayed) = tokio::join!(leaves, stays);
    assert!(left.is_err());
    assert_eq!(stayed.unwrap(), "0");
    assert_eq!(start.elapsed(), Duration::from_secs(1), "the connect of the one served the other");
}

#[tokio::test(start_paused = true)]
async fn a_fresh_connection_takes_the_place_of_an_idle_one_where_there_is_no_other() {
    let (pool, upstream) = pool(1);
    tokio::spawn(answer_all(upstream, ""));
    let start = Instant::now();
    assert_eq!(get(&pool, false).await.unwrap(), "0");
    assert_eq!(get(&pool, true).await.unwrap(), "1");
    assert_eq!(start.elapsed(), Duration::from_secs(2), "two connects, and nobody waited for the pool");
    assert_eq!(pool.open(), 1);
}
