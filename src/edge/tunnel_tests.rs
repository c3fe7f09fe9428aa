//! The tunnel between two streams in memory, in paused time.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufStream, DuplexStream, duplex};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use super::carry;
use crate::answer::Breakage;
use crate::body::End;
use crate::shutdown::{Shutdown, Tasks};

const IDLE: Duration = Duration::from_secs(100);
const PATIENCE: Duration = Duration::from_secs(60);
/// More than one read of the tunnel, and more than a stream in memory holds here.
const MUCH: usize = 50_000;
const ROOM: usize = 4096;

/// A tunnel, and how it ends.
struct Tunnel {
    start: Instant,
    ended: oneshot::Receiver<(End, u64)>,
    shutdown: Shutdown,
}

impl Tunnel {
    fn between<C, U>(client: C, upstream: U, idle: Option<Duration>) -> Self
    where
        C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        U: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (end, ended) = oneshot::channel();
        let shutdown = Shutdown::default();
        let stage = shutdown.clone();
        Tasks::default().spawn(async move {
            let _ = end.send(carry(client, upstream, idle, PATIENCE, &stage).await);
        });
        Self { start: Instant::now(), ended, shutdown }
    }

    /// How it ended, how many bytes it saw, and when.
    async fn end(self) -> (End, u64, Duration) {
        let (end, bytes) = timeout(Duration::from_secs(86_400), self.ended).await.expect("it ends").unwrap();
        (end, bytes, self.start.elapsed())
    }

    fn is_over(&mut self) -> bool {
        self.ended.try_recv().is_ok()
    }
}

/// A client, an upstream, and the tunnel between them.
fn tunnel(idle: Option<Duration>) -> (DuplexStream, DuplexStream, Tunnel) {
    let ((client, near), (upstream, far)) = (duplex(ROOM), duplex(ROOM));
    (client, upstream, Tunnel::between(near, far, idle))
}

fn much() -> Vec<u8> {
    (0..MUCH).map(|i| u8::try_from(i % 251).unwrap()).collect()
}

async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    bytes
}

#[tokio::test(start_paused = true)]
async fn what_one_side_says_reaches_the_other_in_order_and_its_end_behind_it() {
    let (mut client, mut upstream, tunnel) = tunnel(Some(IDLE));
    let asks = async {
        client.write_all(&much()).await.unwrap();
        client.shutdown().await.unwrap();
        rest(&mut client).await
    };
    let answers = async {
        let asked = rest(&mut upstream).await;
        // Half-closed, the tunnel goes on the other way, and for as long as bytes come.
        for piece in asked.chunks(MUCH / 4) {
            sleep(IDLE.mul_f64(0.9)).await;
            upstream.write_all(piece).await.unwrap();
        }
        upstream.shutdown().await.unwrap();
    };
    let (answered, ()) = tokio::join!(asks, answers);
    assert!(answered == much(), "{} bytes came back", answered.len());
    let (end, bytes, _) = tunnel.end().await;
    assert_eq!((end, bytes), (End::Complete, 2 * MUCH as u64));
}

#[tokio::test(start_paused = true)]
async fn silence_ends_it_after_its_time_and_not_before() {
    let (mut client, mut upstream, mut tunnel) = tunnel(Some(IDLE));
    for _ in 0..3 {
        sleep(IDLE.mul_f64(0.9)).await;
        client.write_all(b"a").await.unwrap();
        assert_eq!(upstream.read_u8().await.unwrap(), b'a');
        sleep(IDLE.mul_f64(0.9)).await;
        upstream.write_all(b"b").await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'b');
    }
    assert!(!tunnel.is_over());
    tunnel.start = Instant::now();
    let (end, bytes, took) = tunnel.end().await;
    assert_eq!((end, bytes, took.as_secs()), (End::Broken(Breakage::Stalled), 6, IDLE.as_secs()));
    assert!(rest(&mut client).await.is_empty() && rest(&mut upstream).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn without_an_idle_time_silence_lasts() {
    let (mut client, mut upstream, mut tunnel) = tunnel(None);
    sleep(Duration::from_secs(86_400)).await;
    assert!(!tunnel.is_over());
    client.write_all(b"a").await.unwrap();
    assert_eq!(upstream.read_u8().await.unwrap(), b'a');
}

#[tokio::test(start_paused = true)]
async fn a_side_that_takes_its_bytes_slowly_is_no_silence() {
    let (mut client, mut upstream, mut tunnel) = tunnel(Some(PATIENCE));
    let reply = vec![7; 3 * ROOM];
    upstream.write_all(&reply[..2 * ROOM]).await.unwrap();
    upstream.write_all(&reply[2 * ROOM..]).await.unwrap();
    let mut taken = vec![0; ROOM / 4];
    for _ in 0..8 {
        sleep(PATIENCE.mul_f64(0.9)).await;
        assert!(!tunnel.is_over());
        client.read_exact(&mut taken).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_ends_it() {
    let (mut client, mut upstream, tunnel) = tunnel(None);
    let floods = async { while upstream.write_all(&[7; 1000]).await.is_ok() {} };
    // It goes on talking, which is not what is waited for.
    let talks = async {
        while client.write_all(b"more").await.is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
    };
    let ((), (), (end, _, took)) = tokio::join!(floods, talks, tunnel.end());
    assert_eq!((end, took.as_secs()), (End::ClientGone, PATIENCE.as_secs()));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_ends_it_behind_a_buffer_too() {
    // TLS keeps what its socket does not take: the write succeeds, and only the flush waits.
    let ((_client, near), (mut upstream, far)) = (duplex(1), duplex(ROOM));
    let tunnel = Tunnel::between(BufStream::new(near), far, None);
    upstream.write_all(b"a few").await.unwrap();
    let (end, _, took) = tunnel.end().await;
    assert_eq!((end, took.as_secs()), (End::ClientGone, PATIENCE.as_secs()));
}

#[tokio::test(start_paused = true)]
async fn what_is_said_is_flushed_before_more_is_waited_for() {
    let ((mut client, near), (mut upstream, far)) = (duplex(ROOM), duplex(ROOM));
    let _tunnel = Tunnel::between(BufStream::new(near), BufStream::new(far), Some(IDLE));
    for word in [b"ping", b"pong"] {
        let mut heard = [0; 4];
        client.write_all(word).await.unwrap();
        upstream.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, *word);
        upstream.write_all(word).await.unwrap();
        client.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, *word);
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_words_of_an_upstream_reach_a_client_that_still_talks() {
    let (client, mut upstream, tunnel) = tunnel(Some(IDLE));
    let (mut listener, mut talker) = tokio::io::split(client);
    upstream.write_all(&[7; ROOM]).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    // Its receiving side is gone with what it did not read.
    upstream.write_all(b"bye").await.unwrap();
    drop(upstream);
    talker.write_all(&much()[..ROOM]).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    let mut heard = vec![0; ROOM + 3];
    listener.read_exact(&mut heard).await.unwrap();
    assert!(heard.ends_with(b"\x07bye"));
    assert_eq!(listener.read(&mut [0]).await.unwrap(), 0, "its end follows");
    drop((listener, talker));
    assert_eq!(tunnel.end().await.0, End::Complete);
}

#[tokio::test(start_paused = true)]
async fn the_last_words_of_a_client_reach_the_upstream_it_did_not_listen_to() {
    let (mut client, mut upstream, tunnel) = tunnel(Some(IDLE));
    client.write_all(&[7; ROOM]).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    client.write_all(b"bye").await.unwrap();
    drop(client);
    upstream.write_all(&much()[..ROOM]).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    let heard = rest(&mut upstream).await;
    assert!(heard.len() == ROOM + 3 && heard.ends_with(b"bye"));
    assert_eq!(tunnel.end().await.0, End::Complete);
}

#[tokio::test(start_paused = true)]
async fn once_a_side_is_gone_the_other_does_not_keep_the_tunnel() {
    // The upstream takes nothing, and nothing is there to end: only the client, which has left, is missed.
    let (mut client, mut upstream, tunnel) = tunnel(None);
    client.write_all(&[7; ROOM]).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    client.write_all(&[7; ROOM]).await.unwrap();
    drop(client);
    upstream.write_all(b"a").await.unwrap();
    let (end, _, took) = tunnel.end().await;
    assert_eq!((end, took.as_secs()), (End::Broken(Breakage::Stalled), PATIENCE.as_secs() + 1));
}

#[tokio::test(start_paused = true)]
async fn the_cut_of_the_process_ends_it_at_once() {
    let (mut client, mut upstream, tunnel) = tunnel(Some(IDLE));
    sleep(Duration::from_secs(1)).await;
    tunnel.shutdown.drain();
    client.write_all(b"a").await.unwrap();
    assert_eq!(upstream.read_u8().await.unwrap(), b'a', "draining ends no tunnel");
    tunnel.shutdown.cut();
    let (end, _, took) = tunnel.end().await;
    assert_eq!((end, took.as_secs()), (End::Broken(Breakage::ShuttingDown), 1));
}
