//! The HTTP/2 connections of a pool, and who sits on them.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::multiplex::Multiplex;
use super::pool::Pool;

/// A place on a shared connection, for one exchange. Dropped, it is free for the next.
pub(super) struct Seat {
    connection: Arc<Multiplex>,
    /// None once somebody else has given the place back.
    pool: Option<Arc<Pool>>,
}

impl Seat {
    pub(super) fn new(connection: Arc<Multiplex>, pool: &Arc<Pool>) -> Self {
        Self { connection, pool: Some(Arc::clone(pool)) }
    }

    /// What it is on.
    pub(super) fn connection(&self) -> &Arc<Multiplex> {
        &self.connection
    }

    /// Whether the upstream is an https origin.
    pub(super) fn is_https(&self) -> bool {
        self.pool.as_ref().is_some_and(|pool| pool.is_https())
    }

    /// Nobody took it. The one who holds the pool's lock gives the place back.
    pub(super) fn refused(mut self) -> Arc<Multiplex> {
        self.pool = None;
        Arc::clone(&self.connection)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.take() {
            pool.leave(&self.connection);
        }
    }
}

/// The connections that take new streams, oldest first. One that is out of service is not here any more, and lives as long
/// as somebody sits on it.
#[derive(Default)]
pub(super) struct Sharing(Vec<Shared>);

struct Shared {
    /// The waiter for whom it was opened.
    id: u64,
    /// The first waiter who came after it.
    before: u64,
    connection: Arc<Multiplex>,
    taken: usize,
    idle_since: Instant,
}

impl Sharing {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many serve nobody.
    pub(super) fn idle(&self) -> usize {
        self.0.iter().filter(|shared| shared.taken == 0).count()
    }

    /// Takes a new connection into service. It was opened for this waiter, and came before that one.
    pub(super) fn add(&mut self, id: u64, before: u64, connection: Arc<Multiplex>) {
        self.0.push(Shared { id, before, connection, taken: 0, idle_since: Instant::now() });
    }

    /// The connection that was opened for this waiter.
    pub(super) fn opened_for(&self, id: u64) -> Option<&Multiplex> {
        self.0.iter().find(|shared| shared.id == id).map(|shared| shared.connection.as_ref())
    }

    /// Takes a seat on the oldest connection that has one, so that the newer ones may become idle; on one that came
    /// after this waiter, where that is asked for. Those that take no more streams leave the service.
    pub(super) fn take(&mut self, after: Option<u64>, idle: Duration) -> Option<Arc<Multiplex>> {
        if self.is_empty() {
            return None;
        }
        let now = Instant::now();
        let mut index = 0;
        while let Some(shared) = self.0.get_mut(index) {
            let has_room = shared.taken < shared.connection.room();
            if !has_room || after.is_some_and(|waiter| shared.before <= waiter) {
                index += 1;
            } else if shared.is_usable(now, idle) {
                shared.taken += 1;
                return Some(Arc::clone(&shared.connection));
            } else {
                self.0.remove(index);
            }
        }
        None
    }

    /// Gives a seat back.
    pub(super) fn leave(&mut self, connection: &Arc<Multiplex>) {
        let Some(index) = self.0.iter().position(|shared| Arc::ptr_eq(&shared.connection, connection)) else { return };
        let shared = &mut self.0[index];
        shared.taken -= 1;
        if shared.taken == 0 {
            let now = Instant::now();
            shared.idle_since = now;
            if !shared.is_usable(now, Duration::MAX) {
                self.0.remove(index);
            }
        }
    }

    /// Closes one on which nobody sits, the newest. False if there is none.
    pub(super) fn close_idle(&mut self) -> bool {
        let idle = self.0.iter().rposition(|shared| shared.taken == 0);
        idle.map(|index| self.0.remove(index)).is_some()
    }

    /// Closes all that are closed, too old, or idle for this long.
    pub(super) fn expire(&mut self, idle: Duration) {
        let now = Instant::now();
        self.0.retain(|shared| shared.is_usable(now, idle));
    }
}

impl Shared {
    fn is_usable(&self, now: Instant, idle: Duration) -> bool {
        let is_idle = self.taken == 0 && now.duration_since(self.idle_since) >= idle;
        !is_idle && now < self.connection.expires && self.connection.is_open()
    }
}
