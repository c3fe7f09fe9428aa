//! The upstream: answers from memory what [`exchange`](crate::exchange) asks.

mod http1;
mod http2;

use std::cell::{OnceCell, RefCell};
use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep, sleep_until};

use crate::Protocol;
use crate::exchange::{DONE, EVENT, LONG, SMALL, completion};

/// A permit for each event of the streams that have no interval: whoever reads an event asks for the next one here.
pub type Pace = Rc<Semaphore>;

/// An upstream on a port of its own. It is served by tasks of the current `LocalSet` until that ends.
#[derive(Debug)]
pub struct Upstream {
    /// Where it listens.
    pub address: SocketAddr,
    /// Paces its streams.
    pub pace: Pace,
}

impl Upstream {
    /// Starts one; it speaks one protocol only.
    pub async fn start(protocol: Protocol) -> io::Result<Self> {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let desk = Rc::new(Desk::new());
        let pace = Rc::clone(&desk.pace);
        tokio::task::spawn_local(async move {
            loop {
                // That there are no more files is the clients' to report: they count what is not answered.
                let Ok((stream, _)) = listener.accept().await else {
                    sleep(Duration::from_millis(10)).await;
                    continue;
                };
                let _ = stream.set_nodelay(true);
                let desk = Rc::clone(&desk);
                // Connections end when the proxy closes them, in whatever way.
                tokio::task::spawn_local(async move {
                    let _ = match protocol {
                        Protocol::Http1 => http1::serve(stream, &desk).await,
                        Protocol::Http2 => http2::serve(stream, desk).await,
                    };
                });
            }
        });
        Ok(Self { address, pace })
    }
}

/// What the upstream knows.
struct Desk {
    small: Bytes,
    completion: Bytes,
    mebibyte: Bytes,
    /// Made when it is asked for.
    long: OnceCell<Bytes>,
    pace: Pace,
    /// Questions that were left without an answer once.
    stalled: RefCell<HashSet<String>>,
}

/// How a request is answered.
enum Answer {
    /// With 200 and this.
    Whole(Bytes),
    /// With events.
    Events(Events),
    /// Not at all, until the proxy gives up.
    Never,
}

impl Desk {
    fn new() -> Self {
        Self {
            small: Bytes::from_static(SMALL),
            completion: completion(),
            mebibyte: vec![b'y'; 1 << 20].into(),
            long: OnceCell::new(),
            pace: Rc::new(Semaphore::new(0)),
            stalled: RefCell::default(),
        }
    }

    fn answer(&self, target: &str) -> Answer {
        let parameter = |name: &str| {
            let query = target.split_once('?').map_or("", |(_, query)| query);
            query.split('&').find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name)).map(|(_, v)| v)
        };
        if let Some(events) = parameter("events") {
            let interval = parameter("interval").and_then(|v| v.parse().ok()).map(Duration::from_millis);
            let left = events.parse().unwrap_or_default();
            return Answer::Events(Events { left, next: Instant::now(), interval, pace: Rc::clone(&self.pace) });
        }
        if let Some(key) = parameter("stall")
            && self.stalled.borrow_mut().insert(key.to_owned())
        {
            return Answer::Never;
        }
        match target {
            "/small" => Answer::Whole(self.small.clone()),
            "/mebibyte" => Answer::Whole(self.mebibyte.clone()),
            "/long" => Answer::Whole(self.long.get_or_init(|| vec![b'z'; LONG].into()).clone()),
            _ => Answer::Whole(self.completion.clone()),
        }
    }
}

/// The events of one stream, each when its time has come.
struct Events {
    left: usize,
    next: Instant,
    interval: Option<Duration>,
    pace: Pace,
}

impl Events {
    /// The next event, and whether it is the last one.
    async fn next(&mut self) -> (&'static [u8], bool) {
        if self.left == 0 {
            return (DONE, true);
        }
        match self.interval {
            Some(interval) => {
                sleep_until(self.next).await;
                self.next += interval;
            }
            // The semaphore is never closed.
            None => drop(self.pace.acquire().await.map(SemaphorePermit::forget)),
        }
        self.left -= 1;
        (EVENT, false)
    }
}
