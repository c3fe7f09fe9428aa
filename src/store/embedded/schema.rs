//! The format of the database, its versions, and how one becomes the next.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::folder::OpenError;

/// Marks a database as ours: "4bay".
const APPLICATION: i64 = 0x3462_6179;

/// What makes each version of the format out of the one before it. Steps are only ever added: what a released version
/// has written is out there.
const STEPS: [&str; 1] = [FIRST];

/// Version 1.
const FIRST: &str = "
-- Queues, by QUEUE_NAME.
CREATE TABLE queues (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;

-- Jobs. All that is large is elsewhere: these rows change often.
CREATE TABLE jobs (
    place INTEGER PRIMARY KEY,        -- the order of submission
    id BLOB NOT NULL UNIQUE,
    queue INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'waiting', 'completed', 'failed')),
    leased_until INTEGER,             -- running
    paused_until INTEGER,             -- waiting
    kept_until INTEGER,               -- completed and failed
    fence INTEGER NOT NULL,           -- of the newest lease
    settled INTEGER NOT NULL DEFAULT 0, -- the fence that settled it last
    executions INTEGER NOT NULL,
    retries INTEGER NOT NULL DEFAULT 0,
    crashes INTEGER NOT NULL DEFAULT 0,
    route TEXT NOT NULL,
    method TEXT NOT NULL,
    path TEXT NOT NULL,
    owner BLOB,
    created INTEGER NOT NULL,         -- times are milliseconds since 1970
    submitted INTEGER NOT NULL,       -- created, or when it was queued again by hand
    started INTEGER,
    completed INTEGER,
    error TEXT,
    retention INTEGER NOT NULL,       -- milliseconds, if it is parked
    scope BLOB,                       -- of its idempotency key
    fingerprint BLOB,                 -- of its request
    request INTEGER,                  -- null = erased
    body INTEGER,                     -- a roll; null = it is with the request
    pieces INTEGER,                   -- of that roll
    recording INTEGER                 -- a roll; null = nothing is recorded of this execution
) STRICT;
CREATE INDEX jobs_by_state ON jobs (queue, state);
CREATE INDEX jobs_by_lease ON jobs (queue, leased_until) WHERE leased_until IS NOT NULL;
CREATE INDEX jobs_by_pause ON jobs (queue, paused_until) WHERE paused_until IS NOT NULL;
CREATE INDEX jobs_by_end ON jobs (kept_until) WHERE kept_until IS NOT NULL;
CREATE UNIQUE INDEX jobs_by_scope ON jobs (scope) WHERE scope IS NOT NULL;

-- Requests, each with its body if that is small.
CREATE TABLE requests (number INTEGER PRIMARY KEY, request BLOB NOT NULL, body BLOB NOT NULL) STRICT;

-- A roll is something long in pieces: a large request body, or the recording of an execution with its head and end mark.
CREATE TABLE rolls (
    number INTEGER PRIMARY KEY,
    length INTEGER NOT NULL DEFAULT 0, -- of all pieces
    is_dropped INTEGER NOT NULL DEFAULT 0, -- nobody's any more; its pieces are removed bit by bit
    body_of BLOB,                      -- of which job, as long as that is not submitted
    put INTEGER,                       -- when its last piece was put, as long as that is so
    head BLOB,
    ending BLOB
) STRICT;
CREATE INDEX rolls_dropped ON rolls (number) WHERE is_dropped;
CREATE UNIQUE INDEX rolls_by_job ON rolls (body_of) WHERE body_of IS NOT NULL;
CREATE INDEX rolls_by_time ON rolls (put) WHERE put IS NOT NULL;

-- `at` is the number of a piece of a body, but the first byte of a piece of a recording.
CREATE TABLE pieces (number INTEGER PRIMARY KEY, roll INTEGER NOT NULL, at INTEGER NOT NULL, data BLOB NOT NULL) STRICT;
CREATE UNIQUE INDEX pieces_by_place ON pieces (roll, at);

CREATE TABLE cache (
    number INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, kept_until INTEGER NOT NULL, entry BLOB NOT NULL
) STRICT;
CREATE INDEX cache_by_end ON cache (kept_until);

-- How many jobs there are in each state, and how much is stored: kept by triggers, so that they cannot be wrong.
CREATE TABLE counts (queue INTEGER NOT NULL, state TEXT NOT NULL, jobs INTEGER NOT NULL, PRIMARY KEY (queue, state))
    STRICT, WITHOUT ROWID;
CREATE TRIGGER queues_put AFTER INSERT ON queues BEGIN
    INSERT INTO counts SELECT new.number, column1, 0
        FROM (VALUES ('queued'), ('running'), ('waiting'), ('completed'), ('failed'));
END;
CREATE TABLE totals (bytes INTEGER NOT NULL) STRICT;
INSERT INTO totals VALUES (0);

CREATE TRIGGER jobs_put AFTER INSERT ON jobs BEGIN
    UPDATE counts SET jobs = jobs + 1 WHERE queue = new.queue AND state = new.state;
    UPDATE totals SET bytes = bytes + 512;
END;
CREATE TRIGGER jobs_gone AFTER DELETE ON jobs BEGIN
    UPDATE counts SET jobs = jobs - 1 WHERE queue = old.queue AND state = old.state;
    UPDATE totals SET bytes = bytes - 512;
END;
CREATE TRIGGER jobs_changed AFTER UPDATE OF state ON jobs WHEN new.state <> old.state BEGIN
    UPDATE counts SET jobs = jobs - 1 WHERE queue = old.queue AND state = old.state;
    UPDATE counts SET jobs = jobs + 1 WHERE queue = new.queue AND state = new.state;
END;
CREATE TRIGGER requests_put AFTER INSERT ON requests BEGIN
    UPDATE totals SET bytes = bytes + length(new.request) + length(new.body);
END;
CREATE TRIGGER requests_gone AFTER DELETE ON requests BEGIN
    UPDATE totals SET bytes = bytes - length(old.request) - length(old.body);
END;
CREATE TRIGGER rolls_put AFTER INSERT ON rolls BEGIN
    UPDATE totals SET bytes = bytes + new.length + ifnull(length(new.head), 0) + ifnull(length(new.ending), 0);
END;
CREATE TRIGGER rolls_gone AFTER DELETE ON rolls WHEN NOT old.is_dropped BEGIN
    UPDATE totals SET bytes = bytes - old.length - ifnull(length(old.head), 0) - ifnull(length(old.ending), 0);
END;
CREATE TRIGGER rolls_changed AFTER UPDATE OF length, is_dropped, head, ending ON rolls BEGIN
    UPDATE totals SET bytes = bytes
        - (NOT old.is_dropped) * (old.length + ifnull(length(old.head), 0) + ifnull(length(old.ending), 0))
        + (NOT new.is_dropped) * (new.length + ifnull(length(new.head), 0) + ifnull(length(new.ending), 0));
END;
CREATE TRIGGER cache_put AFTER INSERT ON cache BEGIN
    UPDATE totals SET bytes = bytes + length(new.entry) + 128;
END;
CREATE TRIGGER cache_gone AFTER DELETE ON cache BEGIN
    UPDATE totals SET bytes = bytes - length(old.entry) - 128;
END;
";

/// What counts for a job besides its request and its result, and for a cache entry besides its bytes: see the triggers.
pub(super) const PER_JOB: u64 = 512;
pub(super) const PER_ENTRY: u64 = 128;

/// How long SQLite tries again when somebody else, such as a backup, has the database locked.
const BUSY: Duration = Duration::from_secs(2);

/// Opens the database to write, and brings its format up to date.
pub(super) fn open(path: &Path) -> Result<Connection, OpenError> {
    let failed = |error| OpenError::sqlite(path, error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut sql = connect(path, flags).map_err(failed)?;
    // First of all, so that what belongs to somebody else is left as it is.
    let version = version(&sql, path, STEPS.len())?;
    set_up(&sql).map_err(failed)?;
    migrate(&mut sql, version, &STEPS).map_err(failed)?;
    Ok(sql)
}

/// Opens a database that another connection of this process writes.
pub(super) fn open_to_read(path: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    connect(path, flags).map_err(|error| OpenError::sqlite(path, error))
}

/// What both connections have in common.
fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let sql = Connection::open_with_flags(path, flags)?;
    sql.busy_timeout(BUSY)?;
    // KiB.
    sql.pragma_update(None, "cache_size", -16_384)?;
    // Or else every query with a LIMIT is planned anew for every value of that.
    sql.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(sql)
}

/// How the connection that writes goes about it.
fn set_up(sql: &Connection) -> rusqlite::Result<()> {
    // Before the first table; later it says nothing.
    sql.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    // It answers with the mode.
    sql.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    // A commit is on the disk when it returns, even if the power fails.
    sql.pragma_update(None, "synchronous", "FULL")?;
    // What is erased is overwritten: requests hold credentials.
    sql.pragma_update(None, "secure_delete", "ON")?;
    // Pages in the log before they move into the database, about 8 MiB.
    sql.pragma_update(None, "wal_autocheckpoint", 2000)?;
    sql.pragma_update(None, "temp_store", "MEMORY")
}

/// Which version of the format this database has; 0 = it is new. Those of others are refused.
fn version(sql: &Connection, path: &Path, known: usize) -> Result<usize, OpenError> {
    let mark = |name| sql.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let marks = || -> rusqlite::Result<_> {
        let tables: i64 = sql.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        Ok((mark("application_id")?, mark("user_version")?, tables))
    };
    let (application, version, tables) = marks().map_err(|error| OpenError::sqlite(path, error))?;
    let path = || path.to_owned();
    match usize::try_from(version) {
        Ok(0) if application == 0 && tables == 0 => Ok(0),
        _ if application != APPLICATION => Err(OpenError::Foreign { path: path() }),
        Ok(version) if version <= known => Ok(version),
        _ => Err(OpenError::Newer { path: path(), found: version, known }),
    }
}

/// Takes the steps that this database has not taken yet, each with its mark in one transaction.
fn migrate(sql: &mut Connection, version: usize, steps: &[&str]) -> rusqlite::Result<()> {
    for (done, step) in steps.iter().enumerate().skip(version) {
        let transaction = sql.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", super::desk::int(done as u64 + 1))?;
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: &str = "ALTER TABLE queues ADD COLUMN note TEXT NOT NULL DEFAULT 'none'";

    fn first_version() -> Connection {
        let mut sql = Connection::open_in_memory().unwrap();
        migrate(&mut sql, 0, &[FIRST]).unwrap();
        sql.execute("INSERT INTO queues (name) VALUES ('default')", []).unwrap();
        sql
    }

    fn version_of(sql: &Connection, known: usize) -> Result<usize, OpenError> {
        version(sql, Path::new("store.db"), known)
    }

    #[test]
    fn an_older_format_is_brought_up_to_date_with_what_it_holds() {
        let mut sql = first_version();
        assert_eq!(version_of(&sql, 2).unwrap(), 1);
        migrate(&mut sql, 1, &[FIRST, SECOND]).unwrap();
        assert_eq!(version_of(&sql, 2).unwrap(), 2);
        let queue = sql.query_row("SELECT name, note FROM queues", [], |row| Ok((row.get(0)?, row.get(1)?)));
        assert_eq!(queue, Ok(("default".to_owned(), "none".to_owned())));
        assert!(matches!(version_of(&sql, 1), Err(OpenError::Newer { found: 2, known: 1, .. })));
    }

    #[test]
    fn a_new_database_takes_every_step() {
        let mut sql = Connection::open_in_memory().unwrap();
        assert_eq!(version_of(&sql, 2).unwrap(), 0);
        migrate(&mut sql, 0, &[FIRST, SECOND]).unwrap();
        assert_eq!(version_of(&sql, 2).unwrap(), 2);
        // Taken again from the beginning they would fail.
        migrate(&mut sql, 2, &[FIRST, SECOND]).unwrap();
    }

    #[test]
    fn a_step_that_fails_is_not_taken_at_all() {
        let mut sql = first_version();
        assert!(migrate(&mut sql, 1, &[FIRST, "CREATE TABLE half (made); and then nonsense"]).is_err());
        assert_eq!(version_of(&sql, 2).unwrap(), 1);
        assert!(sql.prepare("SELECT * FROM half").is_err());
        migrate(&mut sql, 1, &[FIRST, SECOND]).unwrap();
        assert_eq!(version_of(&sql, 2).unwrap(), 2);
    }

    #[test]
    fn what_is_counted_by_triggers_is_what_the_program_reckons_with() {
        for (what, bytes) in [("512", PER_JOB), ("128", PER_ENTRY)] {
            assert_eq!(FIRST.matches(&format!("+ {what}")).count(), 1);
            assert_eq!(FIRST.matches(&format!("- {what}")).count(), 1);
            assert_eq!(bytes.to_string(), what);
        }
    }
}
