//! The clients of a case: they keep asking until they are dropped, and count.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bed::Protocol;
use bed::client::Client;
use bed::exchange::{EVENT, Exchange};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::cases::{Case, Load};

/// No exchange of a case takes longer, on any machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Idle connections are opened so many at a time: the backlog of a listener may be short.
const AT_ONCE: usize = 100;

/// What all clients of a case have seen.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Requests answered, or events read.
    pub(crate) units: Cell<u64>,
    /// How long each answer took, since [`Tally::begin`].
    pub(crate) latencies: RefCell<Vec<Duration>>,
    /// What went wrong: how often, and the last one.
    pub(crate) errors: Cell<u64>,
    pub(crate) last_error: RefCell<String>,
    /// Tells stalled questions apart, across runs too.
    key: Cell<u64>,
}

impl Tally {
    /// Counts from here.
    pub(crate) fn begin(&self) {
        self.units.set(0);
        self.latencies.borrow_mut().clear();
    }

    fn fail(&self, error: &impl ToString) {
        self.errors.set(self.errors.get() + 1);
        error.to_string().clone_into(&mut self.last_error.borrow_mut());
    }
}

/// Clients at work; they stop when this is dropped.
#[derive(Debug)]
pub(crate) struct Clients {
    /// What they have seen so far.
    pub(crate) tally: Rc<Tally>,
    _at_work: JoinSet<()>,
    /// Connections that do nothing.
    _idle: Vec<Client>,
}

impl Clients {
    /// Connects all clients of a case and sets them to work.
    pub(crate) async fn start(case: &Case, proxy: SocketAddr) -> io::Result<Self> {
        let idle = idle_connections(case, proxy).await?;
        let tally = Rc::new(Tally::default());
        // Keys of another run at the same upstream must not come again.
        tally.key.set(u64::from(proxy.port()) << 32);
        let mut at_work = JoinSet::new();
        let all = case.connections * case.streams;
        for connection in 0..case.connections {
            let clients = timeout(PATIENCE, Client::connect(proxy, case.protocols.0, case.streams)).await??;
            for (stream, client) in clients.into_iter().enumerate() {
                let share = fraction(connection * case.streams + stream, all);
                at_work.spawn_local(work(client, case.load, share, Rc::clone(&tally)));
            }
        }
        Ok(Self { tally, _at_work: at_work, _idle: idle })
    }
}

#[allow(clippy::cast_precision_loss, reason = "numbers of clients are small")]
fn fraction(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}

/// HTTP/1.1. Each has asked once, so that the proxy has done with it all that it does with a connection.
async fn idle_connections(case: &Case, proxy: SocketAddr) -> io::Result<Vec<Client>> {
    let mut idle = Vec::with_capacity(case.idle);
    while idle.len() < case.idle {
        let mut opening = JoinSet::new();
        for _ in 0..AT_ONCE.min(case.idle - idle.len()) {
            opening.spawn_local(async move {
                let mut clients = timeout(PATIENCE, Client::connect(proxy, Protocol::Http1, 1)).await??;
                for client in &mut clients {
                    timeout(PATIENCE, client.ask(&Exchange::small(), |_| ())).await??;
                }
                Ok::<_, io::Error>(clients)
            });
        }
        while let Some(opened) = opening.join_next().await {
            idle.extend(opened.map_err(io::Error::other)??);
        }
    }
    Ok(idle)
}

/// So long takes it until all silent streams are open.
const RAMP: Duration = Duration::from_secs(4);

/// Asks again and again; the first error ends it.
async fn work(mut client: Client, load: Load, share: f64, tally: Rc<Tally>) {
    match load {
        // Streams do not beat in time…
        Load::Events(_, interval) => sleep(interval.mul_f64(share)).await,
        // …and do not come all at once.
        Load::Silent => sleep(RAMP.mul_f64(share)).await,
        Load::Requests(_) | Load::Peak(_) | Load::Stalled => {}
    }
    let fixed = match load {
        Load::Requests(exchange) | Load::Peak(exchange) => Some(exchange()),
        Load::Events(events, interval) => Some(Exchange::stream(events, Some(interval))),
        // The second event comes when nobody waits for it any more.
        Load::Silent => Some(Exchange::stream(2, Some(Duration::from_hours(1)))),
        Load::Stalled => None,
    };
    loop {
        let exchange = fixed.clone().unwrap_or_else(|| {
            tally.key.set(tally.key.get() + 1);
            Exchange::stalled(tally.key.get())
        });
        let began = Instant::now();
        let outcome = match load {
            Load::Events(..) => {
                let mut read = 0;
                let count = |piece: &[u8]| {
                    let before = read / EVENT.len();
                    read += piece.len();
                    add(&tally, read / EVENT.len() - before);
                };
                timeout(PATIENCE, client.ask(&exchange, count)).await
            }
            // It has come when it falls silent, and stays.
            Load::Silent => {
                let mut read = 0;
                let count = |piece: &[u8]| {
                    read += piece.len();
                    add(&tally, usize::from(read == EVENT.len()));
                };
                Ok(client.ask(&exchange, count).await)
            }
            Load::Requests(_) | Load::Peak(_) | Load::Stalled => {
                let outcome = timeout(PATIENCE, client.ask(&exchange, |_| ())).await;
                tally.latencies.borrow_mut().push(began.elapsed());
                add(&tally, 1);
                outcome
            }
        };
        if let Err(error) = outcome.map_err(io::Error::from).flatten() {
            tally.fail(&error);
            return;
        }
    }
}

fn add(tally: &Tally, units: usize) {
    tally.units.set(tally.units.get() + units as u64);
}
