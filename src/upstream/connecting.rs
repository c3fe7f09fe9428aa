//! How a caller without a connection comes to one: it waits, and a connect is started where one is needed.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};

use super::Timeouts;
use super::connect::Speak;
use super::connection::Connection;
use super::failure::Failure;
use super::multiplex::Multiplex;
use super::pool::{Pool, Slot, State};
use super::waiting::{Grant, Need, Order, Protocol, RIDE};

/// How old a connection may become before it is not used again: long enough to cost nothing, short enough to follow a
/// load balancer or a name that points elsewhere. Each connection gets up to a fifth more or less.
const MAX_AGE: Duration = Duration::from_secs(600);
/// What a connect made.
enum Opened {
    Whole(Connection),
    Shared(Arc<Multiplex>),
}

impl Pool {
    pub(super) async fn wait(self: &Arc<Self>, need: Need, timeouts: Timeouts) -> Result<Grant, Failure> {
        let (mut waiting, mut answer) = self.enqueue(need, timeouts.connect);
        let patience = Instant::now() + timeouts.pool;
        let mut result = None;
        if self.state().queue.awaits_protocol(waiting.id) {
            match timeout(RIDE.min(timeouts.pool), &mut answer).await {
                Ok(served) => result = Some(served),
                Err(_) => self.go_alone(waiting.id),
            }
        }
        let result = match result {
            Some(result) => result,
            None => match timeout_at(patience, &mut answer).await {
                Ok(result) => result,
                // There was room in time; the connect has a clock of its own, and this one is for the unforeseen.
                Err(_) if self.state().queue.is_connecting(waiting.id) => {
                    let connect = timeouts.connect + timeouts.pool;
                    let result = timeout(connect, &mut answer).await;
                    result.map_err(|_| Failure::ConnectTimeout(connect))?
                }
                // It may have been served in this very moment.
                Err(_) => Ok(answer.try_recv().map_err(|_| Failure::PoolTimeout(timeouts.pool))?),
            },
        };
        waiting.is_served = true;
        // The sender is only dropped together with the pool.
        result.unwrap_or(Err(Failure::PoolTimeout(timeouts.pool)))
    }

    fn enqueue(
        self: &Arc<Self>,
        need: Need,
        connect_timeout: Duration,
    ) -> (Waiting, oneshot::Receiver<Result<Grant, Failure>>) {
        let (answer, receiver) = oneshot::channel();
        let mut state = self.state();
        let id = state.queue.push(need, connect_timeout, answer);
        self.place(&mut state, Some(id));
        if !state.queue.is_connecting(id) {
            if need != Need::Any {
                // No room for a new connection, but some are idle: the oldest of them makes room.
                if state.idle.pop_front().is_none() {
                    state.sharing.close_idle();
                }
            } else if let Some(idle) = state.idle.pop_back() {
                // Idle, and still not taken a moment ago: hyper has not seen the end of its last exchange.
                self.hand_over_when_ready(idle.connection);
            }
        }
        drop(state);
        (Waiting { pool: Arc::clone(self), id, is_served: false }, receiver)
    }

    fn go_alone(self: &Arc<Self>, id: u64) {
        let mut state = self.state();
        state.queue.go_alone(id);
        self.place(&mut state, Some(id));
    }

    /// Starts the connects that are needed and for which there is room: for everyone, or for one waiter.
    pub(super) fn place(self: &Arc<Self>, state: &mut State, only: Option<u64>) {
        while let Some(order) = state.queue.place(only, state.open < self.settings.max_connections) {
            state.open += 1;
            self.connect_for(order);
        }
    }

    /// Opens a connection in a task of its own. The caller has counted it as open.
    fn connect_for(self: &Arc<Self>, order: Order) {
        let pool = Arc::clone(self);
        self.tasks.spawn(async move {
            let slot = Slot(Arc::clone(&pool));
            let result = pool.open_connection(order, slot).await;
            pool.deliver(order, result);
        });
    }

    async fn open_connection(self: &Arc<Self>, order: Order, slot: Slot) -> Result<Opened, Failure> {
        let is_upgrade = order.need == Need::Upgrade;
        let speak = if is_upgrade { Speak::Http1 } else { Speak::AsSet };
        let start = Instant::now();
        let (stream, is_http2) = self.connector.connect(order.timeout, speak).await?;
        self.connect_time.observe(start.elapsed());
        let age = jittered(MAX_AGE);
        if !is_http2 {
            let connection = Connection::open(stream, slot, &self.tasks, age, is_upgrade).await?;
            return Ok(Opened::Whole(connection));
        }
        let pool = Arc::clone(self);
        let has_room = move || pool.settled(order.id);
        Multiplex::open(stream, slot, &self.tasks, age, order.timeout, has_room).await.map(Opened::Shared)
    }

    /// Hands a new connection to the waiter it was opened for, or to others, or keeps it. An error concerns only the waiter
    /// it was opened for; who rode on it connects alone.
    fn deliver(self: &Arc<Self>, order: Order, result: Result<Opened, Failure>) {
        let mut state = self.state();
        match result {
            Err(failure) => {
                state.queue.end_ride(order.id, true);
                if let Some(waiter) = state.queue.remove(order.id) {
                    // An error means that the waiter left in this moment.
                    drop(waiter.answer.send(Err(failure)));
                } else {
                    tracing::debug!(%failure, "a connect failed that nobody waits for any more");
                }
            }
            Ok(Opened::Whole(connection)) => {
                if order.need != Need::Upgrade {
                    state.queue.learn(Protocol::Http1);
                }
                state.queue.end_ride(order.id, false);
                self.hand_out(&mut state, order, connection);
            }
            Ok(Opened::Shared(connection)) => {
                state.queue.learn(Protocol::Http2);
                state.queue.connected(order.id);
                if connection.is_settled() {
                    state.queue.settled(order.id, connection.room());
                }
                let before = state.queue.next_id();
                state.sharing.add(order.id, before, connection);
                self.seat(&mut state);
            }
        }
        self.place(&mut state, None);
        state.make_room();
    }

    /// Gives a new connection to the waiter it was opened for, to another, or keeps it.
    fn hand_out(self: &Arc<Self>, state: &mut State, order: Order, mut connection: Connection) {
        // What was opened for an upgrade is nobody else's.
        let for_others = order.need != Need::Upgrade;
        let mut next = state.queue.position(|waiter| waiter.id == order.id);
        loop {
            let other = || state.queue.position(|waiter| for_others && waiter.need != Need::Upgrade);
            let Some(waiter) = next.or_else(other).and_then(|index| state.queue.take(index)) else { break };
            match waiter.answer.send(Ok(self.lease(connection, waiter.need))) {
                Err(Ok(Grant::Whole(lease))) => connection = lease.connection,
                _ => return,
            }
            next = None;
        }
        if for_others {
            state.keep(connection, Instant::now());
        }
    }

    /// The HTTP/2 connection that was opened for this waiter knows how many streams it may have, or another number of them,
    /// or has ended.
    fn settled(self: &Arc<Self>, id: u64) {
        let mut state = self.state();
        match state.sharing.opened_for(id).filter(|connection| connection.is_open()).map(Multiplex::room) {
            Some(room) => state.queue.settled(id, room),
            None => state.queue.lost(id),
        }
        self.seat(&mut state);
        self.place(&mut state, None);
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
            drop(self.pool.state().queue.remove(self.id));
        }
    }
}

/// Up to a fifth more or less, so that connections that were opened together do not end together.
fn jittered(age: Duration) -> Duration {
    age.mul_f64(0.8 + 0.4 * fastrand::f64())
}
