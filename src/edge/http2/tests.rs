//! HTTP/2 clients over streams in memory, in paused time.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{Method, Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep, timeout};

use crate::edge::fixture::{HEADER_TIMEOUT, IDLE, LOCAL, WRITE_TIMEOUT, edge, edge_with};
use crate::edge::{Edge, serve};
use crate::shutdown::Tasks;

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(super) const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
/// Longer than all clocks of a connection together: what takes longer never ends.
pub(super) const FOREVER: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) fn connect(edge: &Arc<Edge>) -> (DuplexStream, Tasks) {
    let (client, server) = tokio::io::duplex(1 << 20);
    let tasks = Tasks::default();
    tasks.spawn(serve(Arc::clone(edge), server, LOCAL));
    (client, tasks)
}

/// A client, and the end of its connection.
pub(super) async fn client(edge: &Arc<Edge>) -> (SendRequest<Bytes>, Tasks) {
    client_with_window(edge, 1000).await
}

/// The same, with what it gives each stream from the beginning.
async fn client_with_window(edge: &Arc<Edge>, window: u32) -> (SendRequest<Bytes>, Tasks) {
    let (stream, _) = connect(edge);
    let (send, connection) = h2::client::Builder::new().initial_window_size(window).handshake(stream).await.unwrap();
    let ended = Tasks::default();
    ended.spawn(async {
        let _ = connection.await;
    });
    (send, ended)
}

pub(super) fn get(send: &mut SendRequest<Bytes>, path: &str) -> ResponseFuture {
    begin(send, path, true).0
}

pub(super) fn begin(send: &mut SendRequest<Bytes>, path: &str, is_end: bool) -> (ResponseFuture, SendStream<Bytes>) {
    let method = if is_end { Method::GET } else { Method::POST };
    let request = Request::builder().method(method).uri(format!("http://a{path}")).body(()).unwrap();
    send.send_request(request, is_end).unwrap()
}

pub(super) async fn text(response: Response<RecvStream>) -> Result<String, h2::Error> {
    let (mut body, mut text) = (response.into_body(), Vec::new());
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        text.extend_from_slice(&chunk);
    }
    Ok(String::from_utf8(text).unwrap())
}

/// Reads a request without a body.
pub(super) async fn read_head(stream: &mut DuplexStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// Answers whatever comes, after a second.
async fn answer_all(mut upstream: UnboundedReceiver<DuplexStream>) {
    while let Some(mut stream) = upstream.recv().await {
        Tasks::default().spawn(async move {
            let mut request = [0; 4096];
            while matches!(stream.read(&mut request).await, Ok(n) if n > 0) {
                sleep(Duration::from_secs(1)).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
        });
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_behind_its_preface_is_told_to_go() {
    let (edge, _upstream) = edge();
    let start = Instant::now();
    let (mut stream, served) = connect(&edge);
    stream.write_all(&[PREFACE, SETTINGS].concat()).await.unwrap();
    let mut said = Vec::new();
    timeout(FOREVER, stream.read_to_end(&mut said)).await.unwrap().unwrap();
    let goaway = said.windows(9).any(|w| w[3] == 7 && w[..3] == [0, 0, 8]);
    assert!(goaway, "{said:?}");
    assert!(start.elapsed() >= HEADER_TIMEOUT && start.elapsed() < HEADER_TIMEOUT * 2);
    drop(stream);
    served.finished().await;
}

#[tokio::test(start_paused = true)]
async fn half_a_preface_is_a_request_of_http1_that_never_came() {
    let (edge, _upstream) = edge();
    let start = Instant::now();
    let (mut stream, _served) = connect(&edge);
    stream.write_all(&PREFACE[..10]).await.unwrap();
    let mut said = Vec::new();
    stream.read_to_end(&mut said).await.unwrap();
    assert!(said.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&said));
    assert_eq!(start.elapsed(), HEADER_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_header_block_that_is_never_completed_has_its_time_from_its_first_byte() {
    // HEADERS without END_HEADERS, then CONTINUATION frames that end nothing; or a frame that stays in its middle.
    let headers = [0, 0, 1, 1, 0, 0, 0, 0, 1, 0x82];
    let continuation = [0, 0, 1, 9, 0, 0, 0, 0, 1, 0x86];
    let halves: [&[u8]; 2] = [&headers, &headers[..7]];
    for (begun, next) in halves.into_iter().zip([&continuation[..], &[]]) {
        let (edge, _upstream) = edge();
        let (mut stream, _served) = connect(&edge);
        stream.write_all(&[PREFACE, SETTINGS].concat()).await.unwrap();
        sleep(Duration::from_secs(4)).await;
        let start = Instant::now();
        stream.write_all(begun).await.unwrap();
        for _ in 0..4 {
            sleep(Duration::from_secs(1)).await;
            stream.write_all(next).await.unwrap();
        }
        let mut said = Vec::new();
        let _ = timeout(FOREVER, stream.read_to_end(&mut said)).await.unwrap();
        assert!(start.elapsed() <= HEADER_TIMEOUT + Duration::from_secs(2), "{:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_client_is_told_to_go_after_its_time_and_a_busy_one_is_not() {
    let (edge, upstream) = edge();
    Tasks::default().spawn(answer_all(upstream));
    let (mut send, ended) = client(&edge).await;
    for _ in 0..3 {
        assert_eq!(text(get(&mut send, "/x").await.unwrap()).await.unwrap(), "ok");
        sleep(IDLE.mul_f64(0.9)).await;
    }
    assert_eq!(text(get(&mut send, "/x").await.unwrap()).await.unwrap(), "ok");
    let start = Instant::now();
    let end = poll_fn(|cx| send.poll_ready(cx)).await;
    assert!(end.is_ok());
    ended.finished().await;
    assert!(start.elapsed() >= IDLE && start.elapsed() <= IDLE + Duration::from_secs(4), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_client_gives_no_window_is_taken_away_and_its_neighbours_go_on() {
    let (edge, mut upstream) = edge();
    let (mut send, _ended) = client(&edge).await;
    let hoarded = get(&mut send, "/hoarded");
    let mut stream = upstream.recv().await.unwrap();
    assert!(read_head(&mut stream).await.starts_with("GET /hoarded "));
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n").await.unwrap();
    let start = Instant::now();
    let flood = Tasks::default();
    flood.spawn(async move {
        let chunk = [7; 5000];
        while stream.write_all(&chunk).await.is_ok() {}
    });
    let hoarded = hoarded.await.unwrap();
    // A neighbour gets a byte now and then, all the time.
    let neighbour = get(&mut send, "/neighbour");
    let mut stream = upstream.recv().await.unwrap();
    read_head(&mut stream).await;
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n").await.unwrap();
    let neighbour = neighbour.await.unwrap();
    let drip = Tasks::default();
    drip.spawn(async move {
        for _ in 0..30 {
            sleep(Duration::from_secs(4)).await;
            stream.write_all(b".").await.unwrap();
        }
        stream.read_u8().await.unwrap_err();
    });
    flood.finished().await;
    let took = start.elapsed();
    assert!(took >= WRITE_TIMEOUT && took <= WRITE_TIMEOUT * 2, "the upstream is let go after {took:?}");
    assert_eq!(text(neighbour).await.unwrap().len(), 30);
    // Reading at last, its client learns that the stream was reset.
    let error = text(hoarded).await.unwrap_err();
    assert!(error.is_reset(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_gives_any_window_keeps_neither_the_upstream_nor_its_connection() {
    // Without window hyper does not even begin with the body.
    for path in ["/relayed", "/healthz"] {
        let (edge, mut upstream) = edge();
        let (mut send, ended) = client_with_window(&edge, 0).await;
        let start = Instant::now();
        let response = get(&mut send, path);
        if path == "/relayed" {
            let mut stream = upstream.recv().await.unwrap();
            read_head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n").await.unwrap();
            let chunk = [7; 5000];
            let flood = async { while stream.write_all(&chunk).await.is_ok() {} };
            timeout(WRITE_TIMEOUT * 2, flood).await.expect("the upstream is let go");
            assert!(start.elapsed() >= WRITE_TIMEOUT);
        }
        let response = response.await.unwrap();
        assert_eq!(response.status(), 200);
        // It answers every PING, and does nothing else.
        timeout((WRITE_TIMEOUT + IDLE) * 2, ended.finished()).await.expect("the connection is ended");
        assert!(start.elapsed() >= WRITE_TIMEOUT + IDLE);
        assert!(text(response).await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_slowly_is_not_hurried() {
    let (edge, mut upstream) = edge();
    let (mut send, _ended) = client(&edge).await;
    let response = get(&mut send, "/slow");
    let mut stream = upstream.recv().await.unwrap();
    read_head(&mut stream).await;
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n").await.unwrap();
    stream.write_all(&vec![b'.'; 20_000]).await.unwrap();
    let mut body = response.await.unwrap().into_body();
    let mut taken = 0;
    while let Some(chunk) = body.data().await {
        sleep(WRITE_TIMEOUT.mul_f64(0.9)).await;
        taken += chunk.as_ref().unwrap().len();
        body.flow_control().release_capacity(chunk.unwrap().len()).unwrap();
    }
    assert_eq!(taken, 20_000);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_resets_the_stream_behind_everything_that_came() {
    let (edge, mut upstream) = edge();
    let (mut send, _ended) = client(&edge).await;
    let response = get(&mut send, "/broken");
    let mut stream = upstream.recv().await.unwrap();
    read_head(&mut stream).await;
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nall that came").await.unwrap();
    drop(stream);
    let mut body = response.await.unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "all that came");
    let error = body.data().await.unwrap().unwrap_err();
    assert!(error.is_reset() && error.is_remote(), "{error:?}");
    assert_eq!(text(get(&mut send, "/healthz").await.unwrap()).await.unwrap(), "{\"ok\":true}");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_when_all_is_written_resets_the_stream_at_once() {
    let (edge, mut upstream) = edge();
    let (mut send, _ended) = client(&edge).await;
    let response = get(&mut send, "/broken");
    let mut stream = upstream.recv().await.unwrap();
    read_head(&mut stream).await;
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nall that came").await.unwrap();
    let mut body = response.await.unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "all that came");
    sleep(Duration::from_secs(5)).await;
    let start = Instant::now();
    drop(stream);
    assert!(body.data().await.unwrap().unwrap_err().is_reset());
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_resets_a_stream_cancels_its_attempt_and_nothing_else() {
    let (edge, mut upstream) = edge();
    let (mut send, _ended) = client(&edge).await;
    let (response, mut sending) = begin(&mut send, "/slow", true);
    let mut stream = upstream.recv().await.unwrap();
    read_head(&mut stream).await;
    sending.send_reset(Reason::CANCEL);
    drop(response);
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "the attempt goes on");
    assert_eq!(text(get(&mut send, "/healthz").await.unwrap()).await.unwrap(), "{\"ok\":true}");
}

#[tokio::test(start_paused = true)]
async fn draining_lets_what_runs_finish_and_takes_nothing_new() {
    let (edge, mut upstream) = edge();
    let (mut send, ended) = client(&edge).await;
    let (_idle, idle_ended) = client(&edge).await;
    let response = get(&mut send, "/slow");
    let mut stream = upstream.recv().await.unwrap();
    read_head(&mut stream).await;
    let start = Instant::now();
    edge.shutdown.drain();
    idle_ended.finished().await;
    assert!(start.elapsed() <= Duration::from_secs(4));
    sleep(Duration::from_secs(5)).await;
    assert!(poll_fn(|cx| send.poll_ready(cx)).await.is_err(), "a new stream is taken");
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
    assert_eq!(text(response.await.unwrap()).await.unwrap(), "ok");
    ended.finished().await;
}

#[tokio::test(start_paused = true)]
async fn once_the_process_is_cut_every_exchange_is_told_so() {
    let (edge, mut upstream) = edge();
    let (mut send, ended) = client(&edge).await;
    let waiting = get(&mut send, "/waiting");
    let mut first = upstream.recv().await.unwrap();
    read_head(&mut first).await;
    let streaming = get(&mut send, "/v1/streaming");
    let mut second = upstream.recv().await.unwrap();
    read_head(&mut second).await;
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    second.write_all(&[&head[..], b"9\r\ndata: 1\n\n\r\n"].concat()).await.unwrap();
    let streaming = streaming.await.unwrap();
    sleep(Duration::from_secs(1)).await;
    edge.shutdown.cut();
    let told = waiting.await.unwrap();
    assert_eq!(told.status(), 503);
    assert!(text(told).await.unwrap().contains("shutting_down"));
    let events = text(streaming).await.unwrap();
    assert!(events.starts_with("data: 1\n\ndata: {\"error\"") && events.contains("shutting_down"), "{events}");
    ended.finished().await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_one_exchange_ends_that_exchange_only() {
    // No point in time is so far away, and configuration refuses such a deadline: it stands for any bug in an exchange.
    let (edge, upstream) = edge_with(|settings| settings.policy.whole_answer_deadline = Duration::MAX);
    Tasks::default().spawn(answer_all(upstream));
    let (mut send, _ended) = client(&edge).await;
    let (bug, mut body) = begin(&mut send, "/v1/chat/completions", false);
    let neighbour = get(&mut send, "/neighbour");
    body.send_data(Bytes::from_static(b"{\"model\":\"m\"}"), true).unwrap();
    let end = timeout(FOREVER, bug).await.unwrap();
    assert!(end.is_err(), "{end:?}");
    assert_eq!(text(neighbour.await.unwrap()).await.unwrap(), "ok");
    assert_eq!(text(get(&mut send, "/later").await.unwrap()).await.unwrap(), "ok");
    drop((send, body));
    while !edge.streams.is_empty() {
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(edge.quota.used(), 0);
}
