//! Any behaviour of the two sides of a tunnel: what was said arrives, in order and with its end, every clock keeps its
//! time, and every tunnel ends.
//!
//! An input is a header – idle time (0 = off) and patience in seconds from three on, how much each stream holds, whether the
//! sides leave in the end – and then two bytes for each step: who does what, and how much of it.

#![no_main]

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use forebay::answer::Breakage;
use forebay::body::End;
use forebay::edge::carry;
use forebay::shutdown::Shutdown;
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::time::{Instant, sleep};

const CLIENT: usize = 0;
const UPSTREAM: usize = 1;
/// A timer's grain, and the moment that follows each step.
const GRAIN: Duration = Duration::from_millis(3);
/// How long a client's last bytes are read and dropped.
const LINGER: Duration = Duration::from_secs(2);
/// A pause, per unit.
const PAUSE: Duration = Duration::from_millis(700);

fuzz_target!(|data: &[u8]| {
    let [idle, patience, room, leave, steps @ ..] = data else { return };
    let seconds = |byte: u8| Duration::from_secs(3 + u64::from(byte) % 32);
    let clocks = Clocks { idle: (*idle > 0).then(|| seconds(*idle)), patience: seconds(*patience) };
    let leaves = clocks.idle.is_none() || leave & 1 == 1;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime without I/O").block_on(async {
        let mut scene = Scene::new(clocks, [room >> 4, room & 15].map(|room| 1 << (room % 15)));
        for step in steps.chunks_exact(2).take(200) {
            scene.step(step[0], step[1]).await;
            scene.check();
        }
        scene.last_act(leaves).await;
    });
});

#[derive(Clone, Copy, Debug)]
struct Clocks {
    idle: Option<Duration>,
    patience: Duration,
}

/// What the tunnel's ends of the streams saw.
#[derive(Debug)]
struct Seen {
    /// When a byte last moved.
    moved: Instant,
    /// A side took nothing any more.
    is_refused: bool,
    /// Since when data has waited for the client.
    blocked: Option<Instant>,
    has_ended: Option<(End, u64, Instant)>,
    resets: [bool; 2],
    /// The tunnel's task, to be told of a reset.
    waker: Option<Waker>,
}

impl Seen {
    /// What the other side has said has its time from now on.
    fn refuses(&mut self) {
        (self.is_refused, self.moved) = (true, Instant::now());
    }
}

type Shared = Arc<Mutex<Seen>>;

fn seen(shared: &Shared) -> MutexGuard<'_, Seen> {
    shared.lock().expect("one thread")
}

/// The tunnel's end of a stream.
struct Near {
    stream: DuplexStream,
    who: usize,
    shared: Shared,
}

impl Near {
    /// Reports what the tunnel is told.
    fn tell<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut DuplexStream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        seen(&self.shared).waker = Some(cx.waker().clone());
        if seen(&self.shared).resets[self.who] {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        poll(Pin::new(&mut self.stream), cx)
    }
}

impl AsyncRead for Near {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = self.tell(cx, |stream, cx| stream.poll_read(cx, buf));
        if buf.filled().len() > before {
            seen(&self.shared).moved = Instant::now();
        }
        result
    }
}

impl AsyncWrite for Near {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = self.tell(cx, |stream, cx| stream.poll_write(cx, buf));
        let is_client = self.who == CLIENT;
        let mut seen = seen(&self.shared);
        match &result {
            Poll::Ready(Ok(_)) => seen.moved = Instant::now(),
            Poll::Ready(Err(_)) => seen.refuses(),
            Poll::Pending => {}
        }
        if is_client {
            let since = seen.blocked.unwrap_or_else(Instant::now);
            seen.blocked = result.is_pending().then_some(since);
        }
        drop(seen);
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tell(cx, |stream, cx| stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = self.tell(cx, |stream, cx| stream.poll_shutdown(cx));
        if matches!(result, Poll::Ready(Err(_))) {
            seen(&self.shared).refuses();
        }
        result
    }
}

/// One side, and what it did.
struct Side {
    /// None once it has left.
    stream: Option<DuplexStream>,
    said: Vec<u8>,
    heard: Vec<u8>,
    has_ended: bool,
    heard_end: bool,
}

impl Side {
    fn new(stream: DuplexStream) -> Self {
        Self { stream: Some(stream), said: Vec::new(), heard: Vec::new(), has_ended: false, heard_end: false }
    }

    /// Says so many bytes, or as many of them as are taken at once. No two neighbours say the same.
    async fn say(&mut self, who: usize, length: usize) {
        let Some(stream) = self.stream.as_mut().filter(|_| !self.has_ended) else { return };
        let from = self.said.len() + who;
        let bytes: Vec<u8> = (from..from + length).map(|i| u8::try_from(i % 251).expect("small")).collect();
        let taken = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *stream).poll_write(cx, &bytes))).await;
        if let Poll::Ready(Ok(taken)) = taken {
            self.said.extend(&bytes[..taken]);
        }
    }

    async fn end(&mut self) {
        if let Some(stream) = &mut self.stream {
            self.has_ended = true;
            let end = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *stream).poll_shutdown(cx))).await;
            assert!(end.is_ready());
        }
    }

    /// Hears up to so many bytes of what is there. Whether there were any.
    async fn hear(&mut self, length: usize) -> bool {
        let Some(stream) = &mut self.stream else { return false };
        let mut bytes = vec![0; length];
        let mut buffer = ReadBuf::new(&mut bytes);
        let read = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *stream).poll_read(cx, &mut buffer))).await;
        self.heard.extend(buffer.filled());
        let is_any = !buffer.filled().is_empty();
        self.heard_end |= length > 0 && !is_any && matches!(read, Poll::Ready(Ok(())));
        is_any
    }
}

/// Lets the tunnel do all that it can do now.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

struct Scene {
    clocks: Clocks,
    sides: [Side; 2],
    shared: Shared,
    shutdown: Shutdown,
    cut: Option<Instant>,
}

impl Scene {
    fn new(clocks: Clocks, rooms: [usize; 2]) -> Self {
        let now = Instant::now();
        let seen =
            Seen { moved: now, is_refused: false, blocked: None, has_ended: None, resets: [false; 2], waker: None };
        let (shared, shutdown) = (Arc::new(Mutex::new(seen)), Shutdown::default());
        let [client, upstream] = rooms.map(tokio::io::duplex);
        let near = |who, stream| Near { stream, who, shared: Arc::clone(&shared) };
        let (near_client, near_upstream) = (near(CLIENT, client.1), near(UPSTREAM, upstream.1));
        let (end, stage) = (Arc::clone(&shared), shutdown.clone());
        tokio::spawn(async move {
            let (how, bytes) = carry(near_client, near_upstream, clocks.idle, clocks.patience, &stage).await;
            self::seen(&end).has_ended = Some((how, bytes, Instant::now()));
        });
        Self { clocks, sides: [Side::new(client.0), Side::new(upstream.0)], shared, shutdown, cut: None }
    }

    async fn step(&mut self, what: u8, detail: u8) {
        let who = usize::from(what & 1);
        let side = &mut self.sides[who];
        match what >> 1 & 7 {
            0 => side.say(who, usize::from(detail) + 1).await,
            1 => side.say(who, (usize::from(detail) + 1) * 100).await,
            2 => drop(side.hear(usize::from(detail) + 1).await),
            3 => while side.hear(4096).await {},
            4 => sleep(PAUSE * detail.into()).await,
            5 if detail < 128 => side.end().await,
            5 => side.stream = None,
            6 if detail < 64 => {
                side.stream = None;
                let mut seen = seen(&self.shared);
                seen.resets[who] = true;
                seen.waker.take().into_iter().for_each(Waker::wake);
            }
            7 if detail == 255 => {
                self.shutdown.cut();
                self.cut.get_or_insert_with(Instant::now);
            }
            _ => {}
        }
        settle().await;
    }

    /// How long silence lasts: not long once a side is known to be gone.
    fn silence(&self, is_refused: bool) -> Option<Duration> {
        let Clocks { idle, patience } = self.clocks;
        if is_refused { Some(idle.map_or(patience, |idle| idle.min(patience))) } else { idle }
    }

    /// What holds at any time.
    fn check(&self) {
        let seen = seen(&self.shared);
        let now = Instant::now();
        let silence = self.silence(seen.is_refused);
        match seen.has_ended {
            None => {
                let due = silence.map(|silence| seen.moved + silence + LINGER + GRAIN);
                assert!(due.is_none_or(|due| now <= due), "silence does not end it: {seen:?} {:?}", self.clocks);
                let due = seen.blocked.map(|since| since + self.clocks.patience + LINGER + GRAIN);
                assert!(due.is_none_or(|due| now <= due), "a client that takes nothing does not: {seen:?}");
                // It may have ended already, and be reading what a client still says.
                assert!(self.cut.is_none_or(|cut| now <= cut + LINGER + GRAIN), "the cut does not end it");
            }
            Some((End::Broken(Breakage::Stalled), _, at)) => {
                let due = seen.moved + silence.expect("there is a limit");
                assert!(at >= due && at <= due + GRAIN, "not after its time, {due:?}: {seen:?}");
            }
            Some((End::ClientGone, _, at)) => {
                let due = seen.blocked.expect("it takes nothing") + self.clocks.patience;
                assert!(at >= due && at <= due + GRAIN, "not after its time, {due:?}: {seen:?}");
            }
            Some((End::Broken(Breakage::ShuttingDown), _, at)) => assert_eq!(Some(at), self.cut, "not with the cut"),
            Some((End::Complete, ..)) => {}
            Some(other) => panic!("it ends for a reason that it cannot have: {other:?}"),
        }
        for (who, side) in self.sides.iter().enumerate() {
            let other = &self.sides[1 - who];
            assert!(other.said.starts_with(&side.heard), "another order, or bytes from nowhere");
            if side.heard_end && seen.has_ended.is_none() {
                assert!(other.has_ended || other.stream.is_none(), "an end that nobody said");
                assert!(side.heard == other.said || seen.resets[1 - who], "the end overtook bytes");
            }
        }
    }

    /// Both sides listen to all that comes. Then they leave, or fall silent; it ends, and what was said has arrived.
    async fn last_act(&mut self, leaves: bool) {
        loop {
            let mut is_any = false;
            for side in &mut self.sides {
                while side.hear(4096).await {
                    is_any = true;
                }
            }
            settle().await;
            self.check();
            if !is_any {
                break;
            }
        }
        let is_whole = self.sides.iter().all(|side| side.stream.is_some());
        let has_ended = seen(&self.shared).has_ended;
        if is_whole && has_ended.is_none() {
            for who in [CLIENT, UPSTREAM] {
                let (side, other) = (&self.sides[who], &self.sides[1 - who]);
                assert!(side.heard == other.said, "{} of {} bytes arrived", side.heard.len(), other.said.len());
                assert!(side.heard_end == other.has_ended, "an end did not arrive");
            }
        }
        if let Some((End::Complete, bytes, _)) = has_ended {
            assert!(bytes <= self.sides.iter().map(|side| side.said.len() as u64).sum());
            for who in [CLIENT, UPSTREAM] {
                let (side, other) = (&self.sides[who], &self.sides[1 - who]);
                let is_due = side.stream.is_some() && !seen(&self.shared).resets[1 - who];
                assert!(!is_due || side.heard == other.said, "{} of {} bytes", side.heard.len(), other.said.len());
            }
        }
        if leaves {
            self.sides.iter_mut().for_each(|side| side.stream = None);
        }
        let rest = if leaves { LINGER } else { self.clocks.idle.unwrap_or_default() + self.clocks.patience + LINGER };
        sleep(rest + 2 * GRAIN).await;
        self.check();
        assert!(seen(&self.shared).has_ended.is_some(), "it never ends");
    }
}
