//! Client connections over streams in memory, in paused time: each clock fires exactly when it should.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep, timeout};

use crate::edge::fixture::{HEADER_TIMEOUT, IDLE, LOCAL, WRITE_TIMEOUT, edge, edge_with};
use crate::edge::{Edge, serve};
use crate::routes::{Lane, Lanes};
use crate::shutdown::Tasks;

const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";

/// A client on a connection whose buffers hold so many bytes, and the end of serving it.
fn connect_with(edge: &Arc<Edge>, room: usize) -> (DuplexStream, Tasks) {
    let (client, server) = tokio::io::duplex(room);
    let tasks = Tasks::default();
    tasks.spawn(serve(Arc::clone(edge), server, LOCAL));
    (client, tasks)
}

fn connect(edge: &Arc<Edge>) -> DuplexStream {
    connect_with(edge, 1 << 20).0
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn closes(&self) -> bool {
        self.head.contains("\r\nconnection: close")
    }
}

/// Longer than all clocks of a connection together: what takes longer never ends.
const FOREVER: Duration = Duration::from_secs(24 * 60 * 60);

/// The next answer.
async fn answer(client: &mut DuplexStream) -> Answer {
    timeout(FOREVER, read_answer(client)).await.expect("an answer that never comes")
}

async fn read_answer(client: &mut DuplexStream) -> Answer {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(client.read_u8().await.unwrap());
    }
    let head = String::from_utf8(bytes).unwrap().to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1).unwrap().split('\r').next().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    client.read_exact(&mut body).await.unwrap();
    Answer { status: head[9..12].parse().unwrap(), head, body: String::from_utf8(body).unwrap() }
}

/// The connection ends here, without another byte.
async fn end(client: &mut DuplexStream) {
    let mut rest = Vec::new();
    timeout(FOREVER, client.read_to_end(&mut rest)).await.expect("a connection that never ends").unwrap();
    assert_eq!(String::from_utf8_lossy(&rest), "");
}

/// An answer of section 5, after which nothing comes.
async fn last_word(client: &mut DuplexStream, status: u16, code: &str) {
    let answer = answer(client).await;
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(answer.head.contains(&format!("\r\nx-forebay-error: {code}\r\n")), "{answer:?}");
    assert!(answer.head.contains("\r\nx-forebay-source: forebay\r\n"), "{answer:?}");
    assert!(answer.head.contains("\r\nx-forebay-attempts: 0\r\n"), "{answer:?}");
    assert!(answer.head.contains("\r\ncontent-type: application/json\r\n"), "{answer:?}");
    assert!(answer.body.contains(&format!("\"code\":\"{code}\"")) && answer.closes(), "{answer:?}");
    end(client).await;
}

#[tokio::test(start_paused = true)]
async fn a_first_head_that_does_not_come_in_time_from_accept_is_told_so_once() {
    for said in [&b""[..], b"\r\n", b"GET /healthz HTTP/1.1\r\nHost: a\r\n"] {
        let (edge, _upstream) = edge();
        let start = Instant::now();
        let mut client = connect(&edge);
        sleep(Duration::from_secs(3)).await;
        client.write_all(said).await.unwrap();
        last_word(&mut client, 408, "client_timeout").await;
        assert_eq!(start.elapsed(), HEADER_TIMEOUT, "{said:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_later_head_has_its_time_from_its_first_byte_however_it_drips() {
    let (edge, _upstream) = edge();
    let mut client = connect(&edge);
    for _ in 0..3 {
        client.write_all(HEALTH).await.unwrap();
        assert_eq!(answer(&mut client).await.status, 200);
        sleep(Duration::from_secs(70)).await;
    }
    let start = Instant::now();
    for byte in &HEALTH[..4] {
        client.write_all(&[*byte]).await.unwrap();
        sleep(Duration::from_secs(2)).await;
    }
    last_word(&mut client, 408, "client_timeout").await;
    assert_eq!(start.elapsed(), HEADER_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_without_a_word() {
    for empty_lines in [&b""[..], b"\r\n\r\n"] {
        let (edge, _upstream) = edge();
        let (mut client, served) = connect_with(&edge, 1 << 20);
        client.write_all(HEALTH).await.unwrap();
        assert_eq!(answer(&mut client).await.status, 200);
        let start = Instant::now();
        client.write_all(empty_lines).await.unwrap();
        end(&mut client).await;
        assert_eq!(start.elapsed(), IDLE);
        served.finished().await;
        assert_eq!(start.elapsed(), IDLE, "nothing is waited for after it");
    }
}

/// An upstream that answers each request with its body and a second's delay, one at a time; what it saw.
async fn echo(mut upstream: UnboundedReceiver<DuplexStream>, under_way: Arc<AtomicUsize>, seen: Arc<AtomicUsize>) {
    while let Some(mut stream) = upstream.recv().await {
        let (under_way, seen) = (Arc::clone(&under_way), Arc::clone(&seen));
        Tasks::default().spawn(async move {
            while let Some(body) = read_request(&mut stream).await {
                assert_eq!(under_way.fetch_add(1, Relaxed), 0, "two at a time");
                sleep(Duration::from_secs(1)).await;
                seen.fetch_add(1, Relaxed);
                under_way.fetch_sub(1, Relaxed);
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                stream.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
            }
        });
    }
}

/// The body of the next request; none once the stream has ended.
async fn read_request(stream: &mut DuplexStream) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    assert!(!head.contains("transfer-encoding"), "{head}");
    let length = head.split("content-length: ").nth(1).map_or("0", |rest| rest.split('\r').next().unwrap());
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    Some(body)
}

#[tokio::test(start_paused = true)]
async fn pipelined_requests_are_answered_in_order_one_at_a_time_however_they_are_cut() {
    let requests = [
        &b"POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nfirst\r\n0\r\n\nX: y\r\nZ: a\r\n\r\n"[..],
        HEALTH,
        b"\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nsecond",
        b"GET /3 HTTP/1.1\nHost: a\n\n",
        HEALTH,
    ]
    .concat();
    for cut in 1..requests.len() {
        let (edge, upstream) = edge();
        let seen = Arc::<AtomicUsize>::default();
        let upstream = Tasks::default().spawn(echo(upstream, Arc::default(), Arc::clone(&seen)));
        let mut client = connect(&edge);
        client.write_all(&requests[..cut]).await.unwrap();
        // By then all that came is answered, and the rest comes to a connection that waits.
        sleep(Duration::from_secs(5)).await;
        client.write_all(&requests[cut..]).await.unwrap();
        for body in ["first", "{\"ok\":true}", "second", "", "{\"ok\":true}"] {
            let answer = answer(&mut client).await;
            assert_eq!((answer.status, answer.body.as_str(), answer.closes()), (200, body, false), "cut at {cut}");
        }
        assert_eq!(seen.load(Relaxed), 3, "cut at {cut}");
        let start = Instant::now();
        end(&mut client).await;
        assert_eq!(start.elapsed(), IDLE, "cut at {cut}");
        upstream.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_while_a_pipelined_request_waits_cancels_the_exchange() {
    let (edge, mut upstream) = edge();
    let (mut client, served) = connect_with(&edge, 1 << 20);
    client.write_all(&[b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n", HEALTH].concat()).await.unwrap();
    let mut stream = upstream.recv().await.unwrap();
    assert_eq!(read_request(&mut stream).await.unwrap(), b"");
    sleep(Duration::from_secs(5)).await;
    let start = Instant::now();
    drop(client);
    assert!(read_request(&mut stream).await.is_none(), "the attempt goes on");
    served.finished().await;
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_is_given_up_after_the_write_timeout() {
    let (edge, mut upstream) = edge();
    let (mut client, served) = connect_with(&edge, 1024);
    client.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut stream = upstream.recv().await.unwrap();
    read_request(&mut stream).await.unwrap();
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n").await.unwrap();
    let start = Instant::now();
    let chunk = [7; 1000];
    while timeout(FOREVER, stream.write_all(&chunk)).await.expect("a client that is waited for").is_ok() {}
    assert_eq!(start.elapsed(), WRITE_TIMEOUT);
    served.finished().await;
    assert!(start.elapsed() <= WRITE_TIMEOUT + Duration::from_secs(4));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_slowly_is_not() {
    let (edge, mut upstream) = edge();
    let (mut client, _served) = connect_with(&edge, 1024);
    client.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut stream = upstream.recv().await.unwrap();
    read_request(&mut stream).await.unwrap();
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n").await.unwrap();
    let body = vec![b'.'; 20_000];
    stream.write_all(&body).await.unwrap();
    let mut taken = Vec::new();
    while !taken.ends_with(&body) {
        sleep(WRITE_TIMEOUT.mul_f64(0.9)).await;
        assert_ne!(client.read_buf(&mut taken).await.unwrap(), 0, "cut after {} bytes", taken.len());
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_during_the_upload_is_with_the_client_whole_however_little_the_socket_holds() {
    let (edge, _upstream) = edge();
    let (mut client, served) = connect_with(&edge, 64);
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n").await.unwrap();
    sleep(Duration::from_secs(1)).await;
    last_word(&mut client, 413, "payload_too_large").await;
    drop(client);
    served.finished().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_on_its_way_behind_the_last_answer_does_not_reset_the_connection() {
    let (edge, _upstream) = edge();
    let (mut client, served) = connect_with(&edge, 1 << 20);
    client.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    assert!(answer(&mut client).await.closes());
    let start = Instant::now();
    sleep(Duration::from_secs(1)).await;
    client.write_all(HEALTH).await.expect("the connection is read until the client knows");
    end(&mut client).await;
    served.finished().await;
    assert_eq!(start.elapsed(), Duration::from_secs(2));
}

fn with_fields(count: usize) -> Vec<u8> {
    let fields = "X: y\r\n".repeat(count - 1);
    format!("GET /healthz HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes()
}

fn long(target: usize, field: usize) -> Vec<u8> {
    format!("GET /{} HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "t".repeat(target), "f".repeat(field)).into_bytes()
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_refused_once_behind_every_good_answer_and_in_front_of_nothing() {
    let cases: [(Vec<u8>, u16, &str); 8] = [
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n".to_vec(), 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n".to_vec(), 400, "bad_request"),
        (b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), 400, "bad_request"),
        (b"\x16\x03\x01\x02\x00\x01\n\n".to_vec(), 400, "bad_request"),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), 400, "bad_request"),
        (with_fields(129), 431, "headers_too_large"),
        (long(1, 200_000), 431, "headers_too_large"),
        (long(66_000, 1), 414, "uri_too_long"),
    ];
    for (refused, status, code) in cases {
        for good in [0, 1, 2] {
            let (edge, _upstream) = edge();
            let start = Instant::now();
            let mut client = connect(&edge);
            client.write_all(&[&HEALTH.repeat(good), refused.as_slice(), HEALTH].concat()).await.unwrap();
            for _ in 0..good {
                assert_eq!(answer(&mut client).await.status, 200);
            }
            last_word(&mut client, status, code).await;
            assert_eq!(start.elapsed(), Duration::ZERO, "{code} behind {good}");
        }
    }
    let (edge, _upstream) = edge();
    let mut client = connect(&edge);
    client.write_all(&with_fields(128)).await.unwrap();
    assert_eq!(answer(&mut client).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn while_draining_an_idle_connection_ends_at_once_and_a_partial_head_is_still_served() {
    let (edge, _upstream) = edge();
    let (mut new, mut idle, mut partial) = (connect(&edge), connect(&edge), connect(&edge));
    idle.write_all(HEALTH).await.unwrap();
    assert!(!answer(&mut idle).await.closes());
    partial.write_all(&HEALTH[..9]).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    let start = Instant::now();
    edge.shutdown.drain();
    end(&mut new).await;
    end(&mut idle).await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    sleep(Duration::from_secs(5)).await;
    partial.write_all(&[&HEALTH[9..], HEALTH].concat()).await.unwrap();
    let last = answer(&mut partial).await;
    assert!(last.status == 200 && last.closes(), "{last:?}");
    end(&mut partial).await;
}

#[tokio::test(start_paused = true)]
async fn once_the_process_is_cut_an_exchange_is_told_so() {
    let (edge, mut upstream) = edge();
    let mut client = connect(&edge);
    client.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut stream = upstream.recv().await.unwrap();
    read_request(&mut stream).await.unwrap();
    edge.shutdown.cut();
    let last = answer(&mut client).await;
    assert!(last.status == 503 && last.closes() && last.body.contains("shutting_down"), "{last:?}");
    end(&mut client).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_forebays_own_before_the_end_of_the_request_says_that_the_connection_closes() {
    for (target, status) in [("GET /healthz", 200), ("POST /x", 502)] {
        let (edge, mut upstream) = edge_with(|settings| settings.lanes = Lanes::always(Lane::Stream));
        Tasks::default().spawn(async move { while upstream.recv().await.is_some() {} });
        let mut client = connect(&edge);
        client
            .write_all(format!("{target} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let answer = answer(&mut client).await;
        assert!(answer.status == status && answer.closes(), "{answer:?}");
        end(&mut client).await;
    }
}

#[tokio::test(start_paused = true)]
async fn codex_is_told_of_a_silent_websocket_before_its_own_patience_ends() {
    let (edge, mut upstream) = edge();
    let mut client = connect(&edge);
    let handshake = "GET /responses HTTP/1.1\r\nHost: a\r\nOriginator: codex_cli_rs\r\nConnection: Upgrade\r\n\
                     Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let start = Instant::now();
    client.write_all(handshake.as_bytes()).await.unwrap();
    let mut stream = upstream.recv().await.unwrap();
    assert_eq!(read_request(&mut stream).await.unwrap(), b"");
    let told = answer(&mut client).await;
    assert!(told.status == 426 && told.head.contains("\r\nupgrade: websocket\r\n"), "{told:?}");
    assert_eq!(start.elapsed(), Duration::from_secs(10));
    assert!(read_request(&mut stream).await.is_none(), "the attempt goes on");
}
