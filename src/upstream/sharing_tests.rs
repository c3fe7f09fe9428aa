//! Who shares an HTTP/2 connection, who gets a new one, and that nobody harms a neighbour. In paused time, over streams
//! in memory with h2's server on their other ends.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use http_body_util::BodyExt;
use http_body_util::channel::{Channel, Sender};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::multiplex::SETTINGS_GRACE;
use super::{Breach, Failure, Head, Http2, Outbound, Pool, Timeouts, TransportSettings, attempt};
use crate::body::{Beginning, Passing, Payload};
use crate::shutdown::Shutdown;

pub(super) type Upstream = UnboundedReceiver<DuplexStream>;
pub(super) type Server = Connection<DuplexStream, Bytes>;

/// A pool whose connects take so many milliseconds.
pub(super) fn pool(http2: Http2, max_connections: usize, connect: u64) -> (Arc<Pool>, Upstream) {
    let settings = TransportSettings { http2, ..TransportSettings::for_tests(max_connections) };
    Pool::in_memory(settings, Duration::from_millis(connect))
}

pub(super) fn outbound(method: Method, path: &'static str, body: Payload) -> Outbound {
    let headers = HeaderMap::from_iter([(http::header::HOST, HeaderValue::from_static("u.example:8443"))]);
    Outbound { method, target: Uri::from_static(path), quotes: Vec::new(), headers, body, is_upgrade: false }
}

pub(super) fn get(path: &'static str) -> Outbound {
    outbound(Method::GET, path, Payload::default())
}

pub(super) async fn send(pool: &Arc<Pool>, outbound: &Outbound) -> Result<Head, Failure> {
    attempt(pool, outbound, false, Timeouts::for_tests(), Arc::default()).await
}

pub(super) async fn fetch(pool: &Arc<Pool>, path: &'static str) -> Result<Bytes, Failure> {
    Ok(send(pool, &get(path)).await?.body.collect().await.unwrap().to_bytes())
}

pub(super) fn passing() -> (Sender<Bytes, ()>, Payload) {
    let (sender, body) = Channel::<Bytes, ()>::new(4);
    (sender, Payload::Passing(Passing::new(Beginning::default(), body, Duration::from_secs(30))))
}

pub(super) async fn serve_one(upstream: &mut Upstream, max_streams: u32) -> Server {
    let stream = upstream.recv().await.unwrap();
    Builder::new().max_concurrent_streams(max_streams).handshake(stream).await.unwrap()
}

pub(super) async fn next(server: &mut Server) -> (Request<RecvStream>, SendResponse<Bytes>) {
    server.accept().await.unwrap().unwrap()
}

pub(super) fn answer(respond: &mut SendResponse<Bytes>, body: impl Into<Bytes>) {
    respond.send_response(Response::new(()), false).unwrap().send_data(body.into(), true).unwrap();
}

/// Serves everyone on every connection, each answer after `delay`. Counts the connections.
pub(super) fn serve_all(mut upstream: Upstream, max_streams: u32, delay: Duration) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    tokio::spawn(async move {
        while let Some(stream) = upstream.recv().await {
            let number = counter.fetch_add(1, Relaxed).to_string();
            tokio::spawn(async move {
                let mut server = Builder::new().max_concurrent_streams(max_streams).handshake(stream).await.unwrap();
                while let Some(Ok((_, mut respond))) = server.accept().await {
                    let number = number.clone();
                    tokio::spawn(async move {
                        sleep(delay).await;
                        answer(&mut respond, number);
                    });
                }
            });
        }
    });
    count
}

/// Runs the upstream's side of a connection while something else happens.
pub(super) async fn while_serving<T>(server: &mut Server, something: impl Future<Output = T>) -> T {
    tokio::select! {
        accepted = server.accept() => panic!("nothing was expected here: {accepted:?}"),
        result = something => result,
    }
}

#[tokio::test(start_paused = true)]
async fn a_burst_opens_as_many_connections_as_its_streams_need() {
    for (http2, requests, max_streams, sockets) in [
        (Http2::PriorKnowledge, 250, 100, 3),
        (Http2::PriorKnowledge, 250, 1000, 3),
        (Http2::PriorKnowledge, 30, 10, 3),
        (Http2::PriorKnowledge, 3, 1, 3),
        (Http2::Auto, 80, 100, 1),
        (Http2::Auto, 250, 100, 3),
    ] {
        let (pool, upstream) = pool(http2, 100, 100);
        let count = serve_all(upstream, max_streams, Duration::from_secs(5));
        let mut all = JoinSet::new();
        for _ in 0..requests {
            let pool = Arc::clone(&pool);
            all.spawn(async move { fetch(&pool, "/").await.unwrap() });
        }
        assert_eq!(all.join_all().await.len(), requests);
        assert_eq!(count.load(Relaxed), sockets, "{http2:?}, {requests} requests, {max_streams} streams");
        // …and the next ones find them.
        assert!(fetch(&pool, "/").await.is_ok());
        assert_eq!(count.load(Relaxed), sockets);
    }
}

#[tokio::test(start_paused = true)]
async fn those_for_whom_there_is_no_connection_wait_for_a_stream() {
    let (pool, upstream) = pool(Http2::PriorKnowledge, 1, 1000);
    let count = serve_all(upstream, 10, Duration::from_secs(1));
    let mut all = JoinSet::new();
    for _ in 0..50 {
        let pool = Arc::clone(&pool);
        all.spawn(async move { fetch(&pool, "/").await.unwrap() });
    }
    let start = Instant::now();
    assert_eq!(all.join_all().await.len(), 50);
    assert_eq!((count.load(Relaxed), start.elapsed().as_secs()), (1, 6), "a connect, and five times ten");
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_turns_out_to_speak_http1_gives_everyone_a_connection() {
    let (pool, mut upstream) = pool(Http2::Auto, 100, 1000);
    pool.negotiate_http2(false);
    let count = tokio::spawn(async move {
        let mut count = 0;
        while let Ok(Some(mut stream)) = timeout(Duration::from_secs(9), upstream.recv()).await {
            count += 1;
            tokio::spawn(async move {
                while stream.read_buf(&mut Vec::new()).await.unwrap() > 0 {
                    stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
                }
            });
        }
        count
    });
    let mut all = JoinSet::new();
    for _ in 0..8 {
        let pool = Arc::clone(&pool);
        all.spawn(async move { fetch(&pool, "/").await.unwrap() });
    }
    assert_eq!(all.join_all().await.len(), 8);
    // The grace is shorter than the connect: nobody waited for the first connection to tell.
    assert_eq!(count.await.unwrap(), 8);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_anothers_connect_connects_alone_when_it_fails_or_takes_too_long() {
    for hangs in [false, true] {
        let (pool, upstream) = pool(Http2::Auto, 100, if hangs { 60_000 } else { 100 });
        drop(upstream);
        let mut all = JoinSet::new();
        for _ in 0..5 {
            let pool = Arc::clone(&pool);
            all.spawn(async move { fetch(&pool, "/").await.unwrap_err() });
        }
        sleep(Duration::from_millis(310)).await;
        assert_eq!(pool.open(), if hangs { 5 } else { 0 });
        for failure in all.join_all().await {
            assert_eq!(failure.label(), if hangs { "connect_timeout" } else { "refused" });
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_connection_to_tell_its_limit_connects_himself_when_it_ends_instead() {
    for http2 in [Http2::PriorKnowledge, Http2::Auto] {
        let (pool, mut upstream) = pool(http2, 100, 10);
        let server = tokio::spawn(async move {
            // Closed before its SETTINGS.
            drop(upstream.recv().await);
            serve_all(upstream, 100, Duration::ZERO)
        });
        let start = Instant::now();
        let (first, second, third) = tokio::join!(fetch(&pool, "/"), fetch(&pool, "/"), fetch(&pool, "/"));
        assert!(matches!(first, Err(Failure::Broken(..))), "{http2:?} {first:?}");
        assert!(second.is_ok() && third.is_ok(), "{http2:?} {second:?} {third:?}");
        assert!(start.elapsed() < SETTINGS_GRACE, "{http2:?} {:?}", start.elapsed());
        drop(server.await);
        // …and nobody rides on what is gone.
        assert!(fetch(&pool, "/").await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn a_fresh_connection_is_a_new_one_and_an_idle_one_is_closed_after_its_time() {
    let (pool, upstream) = pool(Http2::PriorKnowledge, 10, 1000);
    let _count = serve_all(upstream, 100, Duration::ZERO);
    tokio::spawn(Arc::clone(&pool).maintain(Shutdown::default()));
    assert_eq!(fetch(&pool, "/").await.unwrap(), "0");
    assert_eq!(fetch(&pool, "/").await.unwrap(), "0");
    let fresh = attempt(&pool, &get("/"), true, Timeouts::for_tests(), Arc::default()).await.unwrap();
    assert_eq!(fresh.body.collect().await.unwrap().to_bytes(), "1");
    for _ in 0..3 {
        sleep(Duration::from_secs(45)).await;
        assert_eq!(fetch(&pool, "/").await.unwrap(), "0", "the oldest serves, so that the others may go");
    }
    assert_eq!(pool.open(), 1);
    sleep(Duration::from_secs(80)).await;
    assert_eq!(pool.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn goaway_takes_a_connection_out_of_service_and_lets_its_streams_finish() {
    let (pool, mut upstream) = pool(Http2::PriorKnowledge, 10, 1000);
    let script = async {
        let mut first = serve_one(&mut upstream, 100).await;
        let (_, mut respond) = next(&mut first).await;
        first.graceful_shutdown();
        let first = tokio::spawn(async move { while let Some(Ok(_)) = first.accept().await {} });
        sleep(Duration::from_secs(1)).await;
        let mut second = serve_one(&mut upstream, 100).await;
        answer(&mut next(&mut second).await.1, "second");
        tokio::spawn(async move { while let Some(Ok(_)) = second.accept().await {} });
        sleep(Duration::from_secs(5)).await;
        answer(&mut respond, "first");
        first.await.unwrap();
    };
    let client = async {
        let (first, ()) = tokio::join!(fetch(&pool, "/"), async {
            sleep(Duration::from_secs(2)).await;
            assert_eq!(fetch(&pool, "/").await.unwrap(), "second");
        });
        assert_eq!(first.unwrap(), "first");
    };
    tokio::join!(script, client);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(pool.open(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_resets_one_stream_and_leaves_the_neighbours_alone() {
    let (pool, mut upstream) = pool(Http2::PriorKnowledge, 10, 1000);
    let script = async {
        let mut server = serve_one(&mut upstream, 100).await;
        let (request, mut stays) = next(&mut server).await;
        assert_eq!(request.uri().path(), "/stays");
        let (_, mut leaves) = next(&mut server).await;
        let reason = while_serving(&mut server, std::future::poll_fn(|cx| leaves.poll_reset(cx))).await;
        assert_eq!(reason.unwrap(), Reason::CANCEL);
        answer(&mut stays, "here");
        while_serving(&mut server, sleep(Duration::from_secs(1))).await;
    };
    let client = async {
        let gone = get("/gone");
        let (while_connecting, stays, leaves) = tokio::join!(
            timeout(Duration::from_millis(500), send(&pool, &gone)),
            fetch(&pool, "/stays"),
            timeout(Duration::from_secs(3), fetch(&pool, "/leaves")),
        );
        assert!(while_connecting.is_err() && leaves.is_err());
        assert_eq!(stays.unwrap(), "here");
    };
    tokio::join!(script, client);
    assert_eq!(pool.open(), 1, "the connect of the one who left served the others");
}

#[tokio::test(start_paused = true)]
async fn clients_that_read_nothing_harm_no_stream_beside_their_own() {
    let (pool, mut upstream) = pool(Http2::PriorKnowledge, 1, 1000);
    let frames = 10_000;
    tokio::spawn(async move {
        let mut server = serve_one(&mut upstream, 100).await;
        while let Some(Ok((_, mut respond))) = server.accept().await {
            tokio::spawn(async move {
                let mut stream = respond.send_response(Response::new(()), false).unwrap();
                for number in 0..frames {
                    let token = Bytes::from(vec![b'x'; 100]);
                    stream.reserve_capacity(token.len());
                    while stream.capacity() < token.len() {
                        if !matches!(std::future::poll_fn(|cx| stream.poll_capacity(cx)).await, Some(Ok(_))) {
                            return;
                        }
                    }
                    stream.send_data(token, number + 1 == frames).unwrap();
                    tokio::task::yield_now().await;
                }
            });
        }
    });
    // Several: what one leaves unread, h2 would bear with the windows of hyper's default too.
    let mut stalled = Vec::new();
    for _ in 0..8 {
        stalled.push(send(&pool, &get("/stalled")).await.unwrap());
    }
    let reads = fetch(&pool, "/reads").await.unwrap();
    assert_eq!(reads.len(), frames * 100);
    // …and they get all of their own when they read again.
    for head in stalled {
        assert_eq!(head.body.collect().await.unwrap().to_bytes().len(), frames * 100);
    }
    assert_eq!(pool.open(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_does_not_answer_a_ping_is_given_up() {
    let (pool, mut upstream) = pool(Http2::PriorKnowledge, 1, 1000);
    let script = async {
        let mut server = serve_one(&mut upstream, 1).await;
        let held = next(&mut server).await;
        // Nobody reads the connection from here on, and nobody closes it.
        sleep(Duration::from_secs(60)).await;
        drop((server, held));
    };
    let client = async {
        let start = Instant::now();
        let failure = fetch(&pool, "/").await.unwrap_err();
        assert!(matches!(failure, Failure::Broken(Breach::Closed, ..)), "{failure:?}");
        assert!((25..=41).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
        sleep(Duration::from_millis(1)).await;
        assert_eq!(pool.open(), 0);
    };
    tokio::join!(script, client);
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_is_http1_even_where_everything_else_is_http2() {
    let (pool, mut upstream) = pool(Http2::PriorKnowledge, 2, 1000);
    let mut upgrade = get("/");
    upgrade.is_upgrade = true;
    upgrade.headers.insert("connection", HeaderValue::from_static("Upgrade"));
    upgrade.headers.insert("upgrade", HeaderValue::from_static("websocket"));
    let script = async {
        let mut server = serve_one(&mut upstream, 1).await;
        answer(&mut next(&mut server).await.1, "h2");
        let serving = tokio::spawn(async move { while let Some(Ok(_)) = server.accept().await {} });
        let mut stream = upstream.recv().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            stream.read_buf(&mut request).await.unwrap();
        }
        assert!(request.starts_with(b"GET / HTTP/1.1\r\n"));
        let head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
        stream.write_all(head).await.unwrap();
        (stream, serving)
    };
    let client = async {
        assert_eq!(fetch(&pool, "/").await.unwrap(), "h2");
        let head = send(&pool, &upgrade).await.unwrap();
        assert!(head.switched.is_some());
        assert_eq!(pool.open(), 2);
    };
    let _ends = tokio::join!(script, client);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_nobody_takes_makes_room_for_an_upgrade() {
    for http2 in [Http2::Off, Http2::PriorKnowledge] {
        let (pool, mut upstream) = pool(http2, 1, 1000);
        let mut upgrade = get("/");
        upgrade.is_upgrade = true;
        let script = async {
            let mut first = upstream.recv().await.unwrap();
            while first.read_buf(&mut Vec::new()).await.is_ok_and(|read| read > 0) {}
            let mut second = upstream.recv().await.unwrap();
            second.read_buf(&mut Vec::new()).await.unwrap();
            second.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        };
        let client = async {
            let gone = get("/gone");
            let (left, head) =
                tokio::join!(timeout(Duration::from_millis(500), send(&pool, &gone)), send(&pool, &upgrade));
            assert!(left.is_err());
            assert_eq!(head.unwrap().parts.status, 204, "{http2:?}");
        };
        tokio::join!(timeout(Duration::from_secs(60), script), client).0.unwrap();
    }
}
