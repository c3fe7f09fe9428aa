//! One try over a stream in memory, in paused time: what goes out, what comes back, and whose time it takes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use http_body::Frame;
use http_body_util::channel::{Channel, Sender};
use http_body_util::{BodyExt, StreamBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::sleep;

use super::{Breach, Failure, Head, Outbound, Phase, Pool, Progress, Timeouts, TransportSettings, attempt};
use crate::body::{Beginning, ClientFault, Limits, Passing, Payload, Quota, Snapshot};
use crate::time::LazyDeadline;

fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    fields.iter().map(|(k, v)| (HeaderName::from_static(k), HeaderValue::from_static(v))).collect()
}

fn outbound(method: Method, fields: &[(&'static str, &'static str)], body: Payload) -> Outbound {
    let is_upgrade = fields.iter().any(|(name, _)| *name == "upgrade");
    let mut headers = map(fields);
    headers.insert("host", HeaderValue::from_static("u"));
    Outbound { method, target: Uri::from_static("/x"), quotes: Vec::new(), headers, body, is_upgrade }
}

fn pool() -> (Arc<Pool>, UnboundedReceiver<DuplexStream>) {
    Pool::in_memory(TransportSettings::for_tests(10), Duration::ZERO)
}

async fn try_once(pool: &Arc<Pool>, outbound: &Outbound, progress: &Arc<Progress>) -> Result<Head, Failure> {
    attempt(pool, outbound, false, Timeouts::for_tests(), Arc::clone(progress)).await
}

/// A body that comes from the test as if it were the client.
fn passing() -> (Sender<Bytes, ()>, Payload) {
    let (sender, body) = Channel::<Bytes, ()>::new(4);
    (sender, Payload::Passing(Passing::new(Beginning::default(), body, Duration::from_secs(30))))
}

/// Reads until the end of what is expected.
async fn read_until(stream: &mut DuplexStream, end: &str) -> String {
    let mut seen = Vec::new();
    while !seen.ends_with(end.as_bytes()) {
        assert_ne!(stream.read_buf(&mut seen).await.unwrap(), 0, "{}", String::from_utf8_lossy(&seen));
    }
    String::from_utf8(seen).unwrap()
}

const UPGRADE: &[(&str, &str)] = &[("connection", "Upgrade"), ("upgrade", "websocket")];

#[tokio::test(start_paused = true)]
async fn a_101_hands_over_the_connection_with_what_came_behind_it() {
    let (pool, mut upstream) = pool();
    let script = async {
        let mut stream = upstream.recv().await.unwrap();
        let request = read_until(&mut stream, "\r\n\r\n").await;
        assert!(request.contains("connection: Upgrade\r\n") && request.contains("upgrade: websocket\r\n"), "{request}");
        let head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\n\r\nearly";
        stream.write_all(head).await.unwrap();
        assert_eq!(read_until(&mut stream, "ping").await, "ping");
        stream.write_all(b" late").await.unwrap();
        stream
    };
    let client = async {
        let outbound = outbound(Method::GET, UPGRADE, Payload::default());
        let head = try_once(&pool, &outbound, &Arc::default()).await.unwrap();
        assert_eq!(head.parts.status, 101);
        let mut tunnel = head.switched.unwrap();
        tunnel.write_all(b"ping").await.unwrap();
        let mut seen = [0; 10];
        tunnel.read_exact(&mut seen).await.unwrap();
        assert_eq!(&seen, b"early late");
        tunnel
    };
    let (mut stream, tunnel) = tokio::join!(script, client);
    assert_eq!(pool.open(), 1, "a tunnel has its place among the connections");
    drop(tunnel);
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(pool.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_takes_no_connection_from_the_pool_and_gives_none_back() {
    let (pool, mut upstream) = pool();
    let script = async {
        let mut streams = Vec::new();
        for _ in 0..3 {
            let mut stream = upstream.recv().await.unwrap();
            read_until(&mut stream, "\r\n\r\n").await;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno").await.unwrap();
            streams.push(stream);
        }
        streams
    };
    let client = async {
        for fields in [&[][..], UPGRADE, UPGRADE] {
            let outbound = outbound(Method::GET, fields, Payload::default());
            let head = try_once(&pool, &outbound, &Arc::default()).await.unwrap();
            assert!(head.switched.is_none());
            assert_eq!(head.body.collect().await.unwrap().to_bytes(), "no");
        }
    };
    let (_streams, ()) = tokio::join!(script, client);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(pool.open(), 1, "only that of the first is kept");
}

#[tokio::test(start_paused = true)]
async fn a_101_that_nobody_asked_for_or_to_something_else_is_malformed() {
    for (fields, protocol) in [(&[][..], "websocket"), (UPGRADE, "h2c"), (UPGRADE, "websocket\r\nUpgrade: h2c")] {
        let (pool, mut upstream) = pool();
        let script = async {
            let mut stream = upstream.recv().await.unwrap();
            read_until(&mut stream, "\r\n\r\n").await;
            let head =
                format!("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: {protocol}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
        };
        let outbound = outbound(Method::GET, fields, Payload::default());
        let progress = Arc::<Progress>::default();
        let ((), end) = tokio::join!(script, try_once(&pool, &outbound, &progress));
        assert!(matches!(end, Err(Failure::Broken(Breach::Malformed, ..))), "{protocol}: {end:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_passing_body_goes_on_as_it_comes_and_its_clients_pauses_cost_the_upstream_nothing() {
    for method in [Method::POST, Method::GET] {
        let (pool, mut upstream) = pool();
        let (mut sender, body) = passing();
        let outbound = outbound(method, &[], body);
        let progress = Arc::<Progress>::default();
        let script = async {
            let mut stream = upstream.recv().await.unwrap();
            let head = read_until(&mut stream, "\r\n\r\n").await;
            assert!(head.contains("transfer-encoding: chunked\r\n"), "{head}");
            for _ in 0..3 {
                sleep(Duration::from_secs(29)).await;
                let Phase::Writing { progress } = progress.phase() else { panic!("{:?}", progress.phase()) };
                assert!(progress.elapsed().is_zero(), "the write clock ran for {:?}", progress.elapsed());
                sender.send_data(Bytes::from_static(b"abc")).await.unwrap();
                assert_eq!(read_until(&mut stream, "abc\r\n").await, "3\r\nabc\r\n");
            }
            drop(sender);
            assert_eq!(read_until(&mut stream, "0\r\n\r\n").await, "0\r\n\r\n");
            assert!(matches!(progress.phase(), Phase::Written { at } if at.elapsed().is_zero()));
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        };
        let ((), end) = tokio::join!(script, try_once(&pool, &outbound, &progress));
        assert_eq!(end.unwrap().parts.status, 204);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stops_or_breaks_off_is_to_blame_and_not_the_upstream() {
    for breaks_off in [false, true] {
        let (pool, mut upstream) = pool();
        let (mut sender, body) = passing();
        let outbound = outbound(Method::POST, &[], body);
        let script = async {
            let mut stream = upstream.recv().await.unwrap();
            sender.send_data(Bytes::from_static(b"abc")).await.unwrap();
            read_until(&mut stream, "abc\r\n").await;
            if breaks_off {
                sender.abort(());
            } else {
                sleep(Duration::from_secs(60)).await;
            }
            let mut rest = String::new();
            stream.read_to_string(&mut rest).await.unwrap();
            assert_eq!(rest, "", "the upstream must not take it for complete");
        };
        let progress = Arc::<Progress>::default();
        let ((), end) = tokio::join!(script, try_once(&pool, &outbound, &progress));
        let fault = if breaks_off { ClientFault::Broken } else { ClientFault::Stalled(Duration::from_secs(30)) };
        let failure = end.unwrap_err();
        assert!(matches!(failure, Failure::Client(of) if of == fault), "{failure:?}");
        assert!(failure.may_have_reached() && failure.label() == "client");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_of_known_length_is_written_with_its_last_byte_even_if_its_end_is_not_seen_yet() {
    let (pool, mut upstream) = pool();
    let (mut sender, body) = passing();
    let outbound = outbound(Method::POST, &[("content-length", "3")], body);
    let progress = Arc::<Progress>::default();
    let script = async {
        let mut stream = upstream.recv().await.unwrap();
        sender.send_data(Bytes::from_static(b"abc")).await.unwrap();
        let request = read_until(&mut stream, "abc").await;
        assert!(!request.contains("transfer-encoding"), "{request}");
        sleep(Duration::from_secs(1)).await;
        assert!(matches!(progress.phase(), Phase::Written { .. }), "{:?}", progress.phase());
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        drop(sender);
        stream
    };
    let (_stream, end) = tokio::join!(script, try_once(&pool, &outbound, &progress));
    drop(end.unwrap().body);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(pool.open(), 1, "the connection serves on");
}

#[tokio::test(start_paused = true)]
async fn announced_trailers_pass_behind_kept_and_passing_bodies() {
    let fields = map(&[("x-sum", "1"), ("content-length", "7")]);
    let frames = [Ok::<_, ()>(Frame::data(Bytes::from_static(b"abc"))), Ok(Frame::trailers(fields.clone()))];
    let limits = Limits { max: 100, progress: Duration::from_secs(1) };
    let mut body = StreamBody::new(futures_of(frames));
    let kept = Snapshot::collect(&mut body, limits, &Quota::new(100), &mut LazyDeadline::default()).await.unwrap();
    let crate::body::Collected::Whole(kept) = kept else { panic!("{kept:?}") };
    let (mut sender, passing) = passing();
    sender.send_data(Bytes::from_static(b"abc")).await.unwrap();
    sender.send_trailers(fields).await.unwrap();
    for body in [Payload::Kept(kept), passing] {
        let (pool, mut upstream) = pool();
        let outbound = outbound(Method::POST, &[("trailer", "x-sum")], body);
        let progress = Arc::<Progress>::default();
        let script = async {
            let mut stream = upstream.recv().await.unwrap();
            let request = read_until(&mut stream, "x-sum: 1\r\n\r\n").await;
            assert!(request.ends_with("\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n"), "{request}");
            sleep(Duration::from_secs(1)).await;
            assert!(matches!(progress.phase(), Phase::Written { .. }), "{:?}", progress.phase());
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        };
        let ((), end) = tokio::join!(script, try_once(&pool, &outbound, &progress));
        assert_eq!(end.unwrap().parts.status, 204);
    }
}

#[tokio::test(start_paused = true)]
async fn a_responses_trailers_pass_without_what_may_not_stand_there_and_its_connection_serves_on() {
    let (pool, mut upstream) = pool();
    let outbound = outbound(Method::GET, &[], Payload::default());
    let script = async {
        let mut stream = upstream.recv().await.unwrap();
        for trailers in ["x-sum: 1\r\nContent-Length: 3\r\n", "transfer-encoding: gzip\r\n", ""] {
            read_until(&mut stream, "\r\n\r\n").await;
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n";
            stream.write_all(format!("{head}2\r\nok\r\n0\r\n{trailers}\r\n").as_bytes()).await.unwrap();
        }
        stream
    };
    let client = async {
        for expected in [Some(map(&[("x-sum", "1")])), None, None] {
            let head = try_once(&pool, &outbound, &Arc::default()).await.unwrap();
            let body = head.body.collect().await.unwrap();
            assert_eq!(body.trailers().cloned(), expected);
            assert_eq!(body.to_bytes(), "ok");
            sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::join!(script, client);
}

/// The frames, one after the other.
fn futures_of<const N: usize>(
    frames: [Result<Frame<Bytes>, ()>; N],
) -> impl futures_core::Stream<Item = Result<Frame<Bytes>, ()>> + Unpin {
    struct Frames<I>(I);
    impl<I: Iterator + Unpin> futures_core::Stream for Frames<I> {
        type Item = I::Item;
        fn poll_next(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<I::Item>> {
            std::task::Poll::Ready(self.0.next())
        }
    }
    Frames(frames.into_iter())
}
