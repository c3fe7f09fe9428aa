//! The connections to one upstream: how many, who waits for one, how long an idle one is kept.
//!
//! A caller who finds no idle connection becomes a waiter and, while there is room, starts a connect. Whatever comes
//! first serves it: its own connect, somebody else's, or a connection that became idle. A connect runs in a task of its
//! own, so a caller who leaves never takes it away from those who need it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::connect::Connector;
use super::connection::Connection;
use super::failure::Failure;
#[cfg(test)]
use super::memory::Dial;
use super::resolve::Resolver;
use super::{Origin, Timeouts, TransportSettings};
use crate::shutdown::{Shutdown, Tasks};

/// How old a connection may become before it is not used again: long enough to cost nothing, short enough to follow a
/// load balancer or a name that points elsewhere. Each connection gets up to a fifth more or less.
const MAX_AGE: Duration = Duration::from_secs(600);
/// How long hyper may take to see the end of an exchange that was orderly, before its connection is given up.
const HAND_OVER: Duration = Duration::from_secs(10);

/// The connections to one origin, shared by every exchange that goes there.
pub struct Pool {
    connector: Connector,
    settings: TransportSettings,
    tasks: Tasks,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Newest at the back: the connection that was used last is used first, the others may expire.
    idle: VecDeque<Idle>,
    /// Sockets that are open or being opened.
    open: usize,
    /// Oldest at the front.
    waiters: VecDeque<Waiter>,
    next_waiter: u64,
}

struct Idle {
    connection: Connection,
    since: Instant,
    /// Bytes read when it became idle: if there are more, the upstream spoke out of turn.
    read: u64,
}

struct Waiter {
    id: u64,
    /// Only a connection that served nobody before will do.
    fresh: bool,
    /// A connect was started for it.
    connecting: bool,
    connect_timeout: Duration,
    answer: oneshot::Sender<Result<Connection, Failure>>,
}

/// The right to one socket. It lives as long as the socket does, and its end lets the next waiter connect.
pub(super) struct Slot(Arc<Pool>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.released();
    }
}

/// A connection for one exchange. Dropped without [`park`](Self::park), it is closed at once.
pub(super) struct Lease {
    pub(super) connection: Connection,
    pool: Arc<Pool>,
}

impl Lease {
    /// The exchange is over and was orderly: the connection may serve another one.
    pub(super) fn park(self) {
        self.pool.park(self.connection);
    }
}

impl Pool {
    /// An empty pool for an origin. Fails when TLS cannot be set up.
    pub fn new(
        origin: &Origin,
        settings: TransportSettings,
        resolver: Resolver,
        tasks: Tasks,
    ) -> Result<Arc<Self>, rustls::Error> {
        let connector = Connector::new(origin, &settings, resolver)?;
        Ok(Arc::new(Self { connector, settings, tasks, state: Mutex::default() }))
    }

    /// A pool whose upstream is whoever receives the other ends of the streams. Connecting takes `delay`.
    #[cfg(test)]
    pub(crate) fn in_memory(
        settings: TransportSettings,
        delay: Duration,
    ) -> (Arc<Self>, tokio::sync::mpsc::UnboundedReceiver<tokio::io::DuplexStream>) {
        let (dial, receiver) = Dial::to_channel(delay);
        (Self::dialling(settings, dial, Tasks::default()), receiver)
    }

    /// A pool whose connects are what a test says.
    #[cfg(test)]
    pub(crate) fn dialling(settings: TransportSettings, dial: Dial, tasks: Tasks) -> Arc<Self> {
        Arc::new(Self { connector: Connector::Memory(dial), settings, tasks, state: Mutex::default() })
    }

    /// Connections that are idle, and callers who wait for one.
    #[cfg(test)]
    pub(crate) fn idle_and_waiting(&self) -> (usize, usize) {
        let state = self.state();
        (state.idle.len(), state.waiters.len())
    }

    /// The settings that it was made with.
    pub fn settings(&self) -> &TransportSettings {
        &self.settings
    }

    /// Sockets that are open or being opened.
    pub fn open(&self) -> usize {
        self.state().open
    }

    /// A connection for one exchange: an idle one, unless it has to be `fresh`, or a new one.
    ///
    /// Waits up to `timeouts.pool` for room and `timeouts.connect` for a connect. Cancel-safe: a connect
    /// that was started for a caller who left goes on, and serves the next one.
    pub(super) async fn checkout(self: &Arc<Self>, fresh: bool, timeouts: Timeouts) -> Result<Lease, Failure> {
        let idle = if fresh { None } else { self.take_idle() };
        let connection = match idle {
            Some(connection) => connection,
            None => self.wait(fresh, timeouts).await?,
        };
        Ok(Lease { connection, pool: Arc::clone(self) })
    }

    fn take_idle(&self) -> Option<Connection> {
        let now = Instant::now();
        let mut state = self.state();
        let mut busy = Vec::new();
        let mut found = None;
        while let Some(idle) = state.idle.pop_back() {
            if self.is_unusable(&idle, now) {
                continue;
            }
            if idle.connection.is_ready() {
                found = Some(idle.connection);
                break;
            }
            // hyper has not seen the end of the last exchange yet: it will be ready in a moment, for somebody else.
            busy.push(idle);
        }
        state.idle.extend(busy.into_iter().rev());
        found
    }

    fn is_unusable(&self, idle: &Idle, now: Instant) -> bool {
        let connection = &idle.connection;
        connection.is_closed()
            || connection.expires <= now
            || now.duration_since(idle.since) >= self.settings.idle
            || connection.gauge.total_read() != idle.read
    }

    async fn wait(self: &Arc<Self>, fresh: bool, timeouts: Timeouts) -> Result<Connection, Failure> {
        let (mut waiting, mut answer) = self.enqueue(fresh, timeouts.connect);
        let patience = tokio::time::sleep(timeouts.pool);
        let result = tokio::select! {
            biased;
            result = &mut answer => result,
            () = patience => {
                if self.is_connecting(waiting.id) {
                    // There was room in time; the connect has a clock of its own, and this one is for the unforeseen.
                    let connect = timeouts.connect + timeouts.pool;
                    match tokio::time::timeout(connect, &mut answer).await {
                        Ok(result) => result,
                        Err(_) => return Err(Failure::ConnectTimeout(connect)),
                    }
                } else {
                    // It may have been served in this very moment.
                    match answer.try_recv() {
                        Ok(result) => Ok(result),
                        Err(_) => return Err(Failure::PoolTimeout(timeouts.pool)),
                    }
                }
            }
        };
        waiting.is_served = true;
        // The sender is only dropped together with the pool.
        result.unwrap_or(Err(Failure::PoolTimeout(timeouts.pool)))
    }

    fn enqueue(
        self: &Arc<Self>,
        fresh: bool,
        connect_timeout: Duration,
    ) -> (Waiting, oneshot::Receiver<Result<Connection, Failure>>) {
        let (answer, receiver) = oneshot::channel();
        let mut state = self.state();
        let id = state.next_waiter;
        state.next_waiter += 1;
        let connecting = state.open < self.settings.max_connections;
        state.waiters.push_back(Waiter { id, fresh, connecting, connect_timeout, answer });
        if connecting {
            state.open += 1;
            self.connect_for(id, connect_timeout);
        } else if fresh {
            // No room for a fresh connection, but some are idle: the oldest of them makes room.
            drop(state.idle.pop_front());
        } else if let Some(idle) = state.idle.pop_back() {
            // Idle, and still not taken a moment ago: hyper has not seen the end of its last exchange.
            self.hand_over_when_ready(idle.connection);
        }
        drop(state);
        (Waiting { pool: Arc::clone(self), id, is_served: false }, receiver)
    }

    fn is_connecting(&self, id: u64) -> bool {
        self.state().waiters.iter().any(|waiter| waiter.id == id && waiter.connecting)
    }

    /// Opens a connection in a task of its own. The caller has counted it as open.
    fn connect_for(self: &Arc<Self>, id: u64, timeout: Duration) {
        let pool = Arc::clone(self);
        self.tasks.spawn(async move {
            let slot = Slot(Arc::clone(&pool));
            let connection = match pool.connector.connect(timeout).await {
                Ok(stream) => Connection::open(stream, slot, &pool.tasks, jittered(MAX_AGE)).await,
                Err(failure) => Err(failure),
            };
            pool.deliver(id, connection);
        });
    }

    /// Hands a new connection to the waiter it was opened for, or to the next one, or keeps it. An error concerns only
    /// the waiter it was opened for.
    fn deliver(&self, id: u64, result: Result<Connection, Failure>) {
        let mut state = self.state();
        let own = state.waiters.iter().position(|waiter| waiter.id == id);
        let own = own.and_then(|index| state.waiters.remove(index));
        let mut connection = match (result, own) {
            (result, Some(waiter)) => match waiter.answer.send(result) {
                Ok(()) | Err(Err(_)) => return,
                Err(Ok(connection)) => connection,
            },
            (Ok(connection), None) => connection,
            (Err(failure), None) => {
                tracing::debug!(%failure, "a connect failed that nobody waits for any more");
                return;
            }
        };
        while let Some(waiter) = state.waiters.pop_front() {
            match waiter.answer.send(Ok(connection)) {
                Ok(()) | Err(Err(_)) => return,
                Err(Ok(back)) => connection = back,
            }
        }
        state.keep(connection);
    }

    /// Takes back a connection whose exchange is over.
    fn park(self: &Arc<Self>, connection: Connection) {
        if connection.is_closed() || connection.expires <= Instant::now() {
            return;
        }
        let mut state = self.state();
        if state.waiters.is_empty() {
            state.keep(connection);
        } else {
            drop(state);
            self.hand_over_when_ready(connection);
        }
    }

    /// Serves a waiter with a connection as soon as hyper has seen the end of its last exchange.
    fn hand_over_when_ready(self: &Arc<Self>, mut connection: Connection) {
        let pool = Arc::clone(self);
        self.tasks.spawn(async move {
            if let Ok(true) = tokio::time::timeout(HAND_OVER, connection.ready()).await {
                pool.hand_over(connection);
            }
        });
    }

    /// Gives a used connection to the oldest waiter that it can serve, unless an older one needs its place for a fresh
    /// one: then it is closed, and [`released`](Self::released) goes on from there.
    fn hand_over(&self, mut connection: Connection) {
        connection.gauge.kept();
        let mut state = self.state();
        while let Some(index) = state.waiters.iter().position(|waiter| !waiter.fresh || !waiter.connecting) {
            if state.waiters[index].fresh {
                return;
            }
            let Some(waiter) = state.waiters.remove(index) else { break };
            match waiter.answer.send(Ok(connection)) {
                Ok(()) | Err(Err(_)) => return,
                Err(Ok(back)) => connection = back,
            }
        }
        state.keep(connection);
    }

    /// A socket was closed: its place goes to the first waiter that has no connect yet.
    fn released(self: &Arc<Self>) {
        let mut state = self.state();
        state.open -= 1;
        if state.open < self.settings.max_connections
            && let Some(waiter) = state.waiters.iter_mut().find(|waiter| !waiter.connecting)
        {
            waiter.connecting = true;
            let (id, timeout) = (waiter.id, waiter.connect_timeout);
            state.open += 1;
            self.connect_for(id, timeout);
        }
    }

    /// Closes what has been idle for too long, until the process drains; then everything idle.
    pub async fn maintain(self: Arc<Self>, shutdown: Shutdown) {
        let pause = (self.settings.idle / 4).clamp(Duration::from_millis(50), Duration::from_secs(15));
        let mut draining = std::pin::pin!(shutdown.draining());
        while tokio::time::timeout(pause, draining.as_mut()).await.is_err() {
            let now = Instant::now();
            self.state().idle.retain(|idle| !self.is_unusable(idle, now));
        }
        self.state().idle.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn keep(&mut self, connection: Connection) {
        connection.gauge.kept();
        let read = connection.gauge.total_read();
        self.idle.push_back(Idle { connection, since: Instant::now(), read });
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// A place in the queue, given up when its owner leaves.
struct Waiting {
    pool: Arc<Pool>,
    id: u64,
    is_served: bool,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.is_served {
            self.pool.state().waiters.retain(|waiter| waiter.id != self.id);
        }
    }
}

/// Up to a fifth more or less, so that connections that were opened together do not end together.
fn jittered(age: Duration) -> Duration {
    age.mul_f64(0.8 + 0.4 * fastrand::f64())
}
