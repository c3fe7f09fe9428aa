//! The connections to one upstream: how many, who gets one, how long an idle one is kept.
//!
//! A caller who finds no connection that will do becomes a waiter and, while there is room, starts a connect. It is
//! served by whatever comes first: its own connect, somebody else's, a connection that became idle, or a place on a shared
//! one. A connect runs in a task of its own, so a caller who leaves never takes it away from those who need it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::connect::Connector;
use super::connection::Connection;
use super::failure::Failure;
#[cfg(test)]
use super::memory::Dial;
use super::multiplex::Multiplex;
use super::resolve::Resolver;
use super::sharing::{Seat, Sharing};
use super::stages::Stages;
use super::waiting::{Grant, Need, Protocol, Queue, Waiter};
use super::{Http2, Origin, Timeouts, TransportSettings};
use crate::shutdown::{Shutdown, Tasks};
use crate::stats::Histogram;

/// How long hyper may take to see the end of an exchange that was orderly, before its connection is given up.
const HAND_OVER: Duration = Duration::from_secs(10);

/// The upper bounds of the buckets for the time of a connect, in seconds.
const CONNECT_TIME: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The connections to one origin, shared by every exchange that goes there.
pub struct Pool {
    pub(super) connector: Connector,
    is_https: bool,
    pub(super) settings: TransportSettings,
    pub(super) tasks: Tasks,
    state: Mutex<State>,
    /// How long it took to have a new connection: DNS, TCP, proxy and TLS together.
    pub(super) connect_time: Histogram,
}

/// What a pool holds at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Sockets that are open or being opened.
    pub open: usize,
    /// Connections that serve nobody and may serve the next.
    pub idle: usize,
    /// Callers who wait for a connection.
    pub waiting: usize,
}

pub(super) struct State {
    /// HTTP/1. Newest at the back: the connection that was used last is used first, the others may expire.
    pub(super) idle: VecDeque<Idle>,
    /// HTTP/2.
    pub(super) sharing: Sharing,
    /// Sockets that are open or being opened.
    pub(super) open: usize,
    pub(super) queue: Queue,
}

pub(super) struct Idle {
    pub(super) connection: Connection,
    since: Instant,
    /// Bytes read when it became idle: if there are more, the upstream spoke out of turn.
    read: u64,
}

/// The right to one socket. It lives as long as the socket does, and its end lets the next waiter connect.
pub(super) struct Slot(pub(super) Arc<Pool>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.released();
    }
}

/// A connection for one exchange. Dropped without [`park`](Self::park), it is closed at once.
pub(super) struct Lease {
    pub(super) connection: Connection,
    may_return: bool,
    pool: Arc<Pool>,
}

impl Lease {
    /// The exchange is over and was orderly: the connection may serve another one.
    pub(super) fn park(self) {
        if self.may_return {
            self.pool.park(self.connection);
        }
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
        Self::watched(origin, settings, resolver, tasks, Stages::default())
    }

    /// The same, with somebody who watches its connects.
    pub fn watched(
        origin: &Origin,
        settings: TransportSettings,
        resolver: Resolver,
        tasks: Tasks,
        stages: Stages,
    ) -> Result<Arc<Self>, rustls::Error> {
        let connector = Connector::new(origin, &settings, resolver, stages)?;
        Ok(Arc::new(Self::with(connector, origin.is_https(), settings, tasks)))
    }

    fn with(connector: Connector, is_https: bool, settings: TransportSettings, tasks: Tasks) -> Self {
        let protocol = match settings.http2 {
            Http2::Auto if is_https => Protocol::Unknown,
            Http2::Auto | Http2::Off => Protocol::Http1,
            Http2::PriorKnowledge => Protocol::Http2,
        };
        let (idle, sharing, queue) = (VecDeque::new(), Sharing::default(), Queue::new(protocol));
        let state = Mutex::new(State { idle, sharing, open: 0, queue });
        Self { connector, is_https, settings, tasks, state, connect_time: Histogram::new(CONNECT_TIME) }
    }

    /// A pool whose upstream is whoever receives the other ends of the streams. Connecting takes `delay`. With
    /// `Http2::Auto` the upstream is an https origin that chooses HTTP/2.
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
        Arc::new(Self::with(Connector::dialling(&settings, dial), true, settings, tasks))
    }

    /// Connections that are idle, and callers who wait for one.
    #[cfg(test)]
    pub(crate) fn idle_and_waiting(&self) -> (usize, usize) {
        let state = self.state();
        (state.idle.len(), state.queue.len())
    }

    /// From now on the upstream of [`in_memory`](Self::in_memory) chooses HTTP/1.1, or HTTP/2 again.
    #[cfg(test)]
    pub(super) fn negotiate_http2(&self, http2: bool) {
        self.connector.negotiate_http2(http2);
    }

    /// The settings that it was made with.
    pub fn settings(&self) -> &TransportSettings {
        &self.settings
    }

    /// Sockets that are open or being opened.
    pub fn open(&self) -> usize {
        self.state().open
    }

    /// What it holds now.
    pub fn holdings(&self) -> Holdings {
        let state = self.state();
        let idle = state.idle.len() + state.sharing.idle();
        Holdings { open: state.open, idle, waiting: state.queue.len() }
    }

    /// How long its connects took: DNS, TCP, proxy and TLS together. Those that failed are not in it.
    pub fn connect_time(&self) -> &Histogram {
        &self.connect_time
    }

    pub(super) fn is_https(&self) -> bool {
        self.is_https
    }

    /// A connection for one exchange, or a place on one: an idle one, if that will do, or a new one.
    ///
    /// Waits up to `timeouts.pool` for room and `timeouts.connect` for a connect. Cancel-safe: a connect
    /// that was started for a caller who left goes on, and serves the next one.
    pub(super) async fn checkout(self: &Arc<Self>, need: Need, timeouts: Timeouts) -> Result<Grant, Failure> {
        let idle = if need == Need::Any { self.take() } else { None };
        match idle {
            Some(grant) => Ok(grant),
            None => self.wait(need, timeouts).await,
        }
    }

    fn take(self: &Arc<Self>) -> Option<Grant> {
        let now = Instant::now();
        let mut state = self.state();
        if let Some(connection) = state.sharing.take(None, self.settings.idle) {
            return Some(Grant::Seat(Seat::new(connection, self)));
        }
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
        found.map(|connection| self.lease(connection, Need::Any))
    }

    pub(super) fn lease(self: &Arc<Self>, connection: Connection, need: Need) -> Grant {
        Grant::Whole(Lease { connection, may_return: need != Need::Upgrade, pool: Arc::clone(self) })
    }

    fn is_unusable(&self, idle: &Idle, now: Instant) -> bool {
        let connection = &idle.connection;
        connection.is_closed()
            || connection.expires <= now
            || now.duration_since(idle.since) >= self.settings.idle
            || connection.gauge.total_read() != idle.read
    }

    /// Gives free places on HTTP/2 connections to those who wait.
    pub(super) fn seat(self: &Arc<Self>, state: &mut State) {
        let (mut index, mut is_full) = (0, state.sharing.is_empty());
        while !is_full && let Some(waiter) = state.queue.get(index) {
            let after = match waiter.need {
                Need::Any => None,
                Need::Fresh => Some(waiter.id),
                Need::Upgrade => {
                    index += 1;
                    continue;
                }
            };
            let Some(connection) = state.sharing.take(after, self.settings.idle) else {
                is_full = after.is_none();
                index += 1;
                continue;
            };
            let Some(waiter) = state.queue.take(index) else { break };
            if let Err(Ok(Grant::Seat(seat))) = waiter.answer.send(Ok(Grant::Seat(Seat::new(connection, self)))) {
                state.sharing.leave(&seat.refused());
            }
        }
    }

    /// A place on an HTTP/2 connection is free again.
    pub(super) fn leave(self: &Arc<Self>, connection: &Arc<Multiplex>) {
        let mut state = self.state();
        state.sharing.leave(connection);
        self.seat(&mut state);
        state.make_room();
    }

    /// Takes back an HTTP/1 connection whose exchange is over.
    fn park(self: &Arc<Self>, connection: Connection) {
        let now = Instant::now();
        if connection.is_closed() || connection.expires <= now {
            return;
        }
        let mut state = self.state();
        if state.queue.is_empty() {
            state.keep(connection, now);
        } else {
            drop(state);
            self.hand_over_when_ready(connection);
        }
    }

    /// Serves a waiter with a connection as soon as hyper has seen the end of its last exchange.
    pub(super) fn hand_over_when_ready(self: &Arc<Self>, mut connection: Connection) {
        let pool = Arc::clone(self);
        self.tasks.spawn(async move {
            if let Ok(true) = timeout(HAND_OVER, connection.ready()).await {
                pool.hand_over(connection);
            }
        });
    }

    /// Gives a used connection to the oldest waiter that it can serve, unless an older one needs its place for a new one:
    /// then it is closed, and [`released`](Self::released) goes on from there.
    fn hand_over(self: &Arc<Self>, mut connection: Connection) {
        connection.gauge.kept();
        let mut state = self.state();
        while let Some(index) = state.queue.position(|waiter| waiter.need == Need::Any || waiter.has_no_hope()) {
            if state.queue.get(index).is_none_or(|waiter| waiter.need != Need::Any) {
                return;
            }
            let Some(waiter) = state.queue.take(index) else { return };
            match waiter.answer.send(Ok(self.lease(connection, Need::Any))) {
                Err(Ok(Grant::Whole(lease))) => connection = lease.connection,
                _ => return,
            }
        }
        state.keep(connection, Instant::now());
    }

    /// A socket was closed: its place goes to the first waiter that has no connect yet.
    fn released(self: &Arc<Self>) {
        let mut state = self.state();
        state.open -= 1;
        self.place(&mut state, None);
    }

    /// Closes what has been idle for too long, until the process drains; then everything idle.
    pub async fn maintain(self: Arc<Self>, shutdown: Shutdown) {
        let pause = (self.settings.idle / 4).clamp(Duration::from_millis(50), Duration::from_secs(15));
        let mut draining = std::pin::pin!(shutdown.draining());
        while timeout(pause, draining.as_mut()).await.is_err() {
            let now = Instant::now();
            let mut state = self.state();
            state.idle.retain(|idle| !self.is_unusable(idle, now));
            state.sharing.expire(self.settings.idle);
        }
        let mut state = self.state();
        state.idle.clear();
        state.sharing.expire(Duration::ZERO);
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(super) fn keep(&mut self, connection: Connection, now: Instant) {
        connection.gauge.kept();
        let read = connection.gauge.total_read();
        self.idle.push_back(Idle { connection, since: now, read });
    }

    /// Closes an idle connection where somebody whom it cannot serve needs its place for a new one. The oldest goes first.
    pub(super) fn make_room(&mut self) {
        let needs_room = |waiter: &Waiter| waiter.need != Need::Any && waiter.has_no_hope();
        if self.queue.position(needs_room).is_some() && self.idle.pop_front().is_none() {
            self.sharing.close_idle();
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("settings", &self.settings).finish_non_exhaustive()
    }
}
