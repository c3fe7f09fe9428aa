//! What a clerk works with: a connection, the clock, the limits.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension, Params, Row};

use super::folder::{self, OpenError};
use super::schema;
use crate::store::{StoreError, StoreSettings, Topic};
use crate::time::UnixMillis;

/// What an operation comes to.
pub(super) type Outcome<T> = Result<T, Trouble>;

/// Why an operation did nothing.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It may not. Found out before anything was written: the rest of the group goes on.
    Refused(StoreError),
    /// SQLite could not.
    Failed(rusqlite::Error),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error)
    }
}

/// What `StoreSettings` allow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) max_bytes: u64,
    pub(super) max_depth: u64,
    pub(super) lease: Duration,
}

impl Limits {
    pub(super) fn new(settings: &StoreSettings) -> Self {
        Self { max_bytes: settings.max_bytes.get(), max_depth: settings.max_depth, lease: settings.lease }
    }
}

/// The time of the store. Within a process it never jumps, whatever happens to the clock of the machine: no lease runs out
/// early, and none never.
#[derive(Clone, Copy, Debug)]
struct Clock {
    begin: UnixMillis,
    since: Instant,
}

impl Clock {
    fn now(&self) -> UnixMillis {
        self.begin.after(self.since.elapsed())
    }
}

/// What the desks of one store have in common.
#[derive(Clone, Debug)]
pub(super) struct Share {
    database: PathBuf,
    queue: i64,
    limits: Limits,
    clock: Clock,
}

/// What a clerk works with.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) sql: Connection,
    share: Share,
    /// What there is to tell once the transaction is done.
    news: RefCell<Vec<Topic>>,
    /// Whether there is nothing to sweep any more.
    is_clean: Cell<bool>,
    /// Held until the connection is gone, therefore below it.
    _lock: Option<File>,
}

impl Desk {
    /// Takes the folder and opens its database, which is made or brought up to date where necessary.
    pub(super) fn writing(folder: &Path, queue: &str, limits: Limits) -> Result<Self, OpenError> {
        let (database, lock) = folder::take(folder)?;
        let sql = schema::open(&database)?;
        let clock = Clock { begin: UnixMillis::now(), since: Instant::now() };
        let queue = begin(&sql, queue, clock.now(), limits.lease).map_err(|error| OpenError::sqlite(folder, error))?;
        let share = Share { database, queue, limits, clock };
        Ok(Self::new(sql, share, Some(lock)))
    }

    /// The desk of one who only reads what another desk writes.
    pub(super) fn reading(share: Share) -> Result<Self, OpenError> {
        let sql = schema::open_to_read(&share.database)?;
        Ok(Self::new(sql, share, None))
    }

    fn new(sql: Connection, share: Share, lock: Option<File>) -> Self {
        sql.set_prepared_statement_cache_capacity(128);
        Self { sql, share, news: RefCell::default(), is_clean: Cell::new(false), _lock: lock }
    }

    /// What another desk needs to be of the same store.
    pub(super) fn share(&self) -> Share {
        self.share.clone()
    }

    /// The number of this process's queue.
    pub(super) fn queue(&self) -> i64 {
        self.share.queue
    }

    /// What is allowed.
    pub(super) fn limits(&self) -> Limits {
        self.share.limits
    }

    /// The time, by the only clock that counts.
    pub(super) fn now(&self) -> UnixMillis {
        self.share.clock.now()
    }

    /// There will be news of this topic once the transaction is done.
    pub(super) fn tell(&self, topic: Topic) {
        self.news.borrow_mut().push(topic);
    }

    /// Takes what there is to tell.
    pub(super) fn told(&self) -> Vec<Topic> {
        self.news.take()
    }

    /// There is nothing to sweep any more.
    pub(super) fn found_clean(&self) {
        self.is_clean.set(true);
    }

    /// Between two transactions: what was erased is to leave the log as well. If that cannot be now, it can be later.
    pub(super) fn tidy_up(&self) {
        if self.is_clean.take() {
            let _ = self.sql.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        }
    }

    /// What counts for `STORE_MAX_BYTES`.
    pub(super) fn bytes(&self) -> rusqlite::Result<u64> {
        Ok(size(self.find("SELECT bytes FROM totals", [], |row| row.get(0))?.unwrap_or_default()))
    }

    /// Refuses what there is no room for.
    pub(super) fn require_room(&self, bytes: u64) -> Outcome<()> {
        let is_there = bytes == 0 || self.bytes()?.saturating_add(bytes) <= self.limits().max_bytes;
        if is_there { Ok(()) } else { Err(Trouble::Refused(StoreError::Full)) }
    }

    /// Runs a statement. The answer is how many rows it changed.
    pub(super) fn run(&self, sql: &str, params: impl Params) -> rusqlite::Result<usize> {
        self.sql.prepare_cached(sql)?.execute(params)
    }

    /// The first row of a query.
    pub(super) fn find<T>(
        &self,
        sql: &str,
        params: impl Params,
        row: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Option<T>> {
        self.sql.prepare_cached(sql)?.query_row(params, row).optional()
    }

    /// All rows of a query.
    pub(super) fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        row: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Vec<T>> {
        self.sql.prepare_cached(sql)?.query_map(params, row)?.collect()
    }
}

/// The number of the queue of this name. What the process before left leased is seen to.
fn begin(sql: &Connection, queue: &str, now: UnixMillis, lease: Duration) -> rusqlite::Result<i64> {
    sql.execute("INSERT INTO queues (name) VALUES (?1) ON CONFLICT DO NOTHING", [queue])?;
    // See `EmbeddedStore::open`. No lease is longer than one of now, even if the machine's clock was set back.
    sql.execute(
        "UPDATE jobs SET leased_until = CASE WHEN crashes = 0 THEN ?1 ELSE min(leased_until, ?2) END
         WHERE leased_until IS NOT NULL",
        [int(now.get()), int(now.after(lease).get())],
    )?;
    sql.query_row("SELECT number FROM queues WHERE name = ?1", [queue], |row| row.get(0))
}

/// A number as SQLite stores it. It has no room for the upper half, which nothing that is counted here reaches.
pub(super) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number as it was before it was stored.
pub(super) fn size(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
