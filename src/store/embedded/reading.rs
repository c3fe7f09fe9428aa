//! What is known of jobs, and what is recorded of their responses.

use bytes::Bytes;
use rusqlite::{Row, params};

use super::desk::{Desk, Outcome, int, size};
use crate::ids::{ExecutionNo, JobId};
use crate::job::{Owner, Record, Status, Title};
use crate::store::{Counts, PIECE, Page};
use crate::time::UnixMillis;

/// A query for what `record` reads, and more.
macro_rules! select_record {
    ($rest:literal) => {
        concat!("SELECT id, route, method, path, owner, state, created, started, completed, executions, error", $rest)
    };
}

/// See [`Store::status`](crate::store::Store::status).
pub(super) fn status(desk: &Desk, job: JobId) -> Outcome<Option<Record>> {
    let sql = select_record!(" FROM jobs WHERE id = ?1 AND (kept_until IS NULL OR kept_until > ?2)");
    Ok(desk.find(sql, params![job.as_bytes(), int(desk.now().get())], record)?)
}

/// See [`Store::read`](crate::store::Store::read).
pub(super) fn read(desk: &Desk, job: JobId, from: u64, most: usize) -> Outcome<Option<Page>> {
    let sql = select_record!(
        ", recording, head, ending, length FROM jobs LEFT JOIN rolls ON rolls.number = recording
           WHERE id = ?1 AND (kept_until IS NULL OR kept_until > ?2)"
    );
    let found = desk.find(sql, params![job.as_bytes(), int(desk.now().get())], |row| {
        let bytes = |index| row.get::<_, Option<Vec<u8>>>(index).map(|bytes| bytes.map(Bytes::from));
        let page = Page {
            record: record(row)?,
            head: bytes(12)?,
            data: Vec::new(),
            length: size(row.get::<_, Option<i64>>(14)?.unwrap_or_default()),
            end: bytes(13)?,
        };
        Ok((page, row.get::<_, Option<i64>>(11)?))
    })?;
    let Some((mut page, roll)) = found else { return Ok(None) };
    if let Some(roll) = roll
        && from < page.length
    {
        page.data = pieces(desk, roll, from, most.clamp(1, PIECE))?;
    }
    Ok(Some(page))
}

/// So many bytes of a recording from this one on.
fn pieces(desk: &Desk, roll: i64, from: u64, most: usize) -> rusqlite::Result<Vec<Bytes>> {
    let mut statement = desk.sql.prepare_cached(
        "SELECT at, data FROM pieces
         WHERE roll = ?1 AND at >= (SELECT max(at) FROM pieces WHERE roll = ?1 AND at <= ?2) ORDER BY at",
    )?;
    let mut rows = statement.query([roll, int(from)])?;
    let (mut data, mut rest) = (Vec::new(), most);
    while let Some(row) = rows.next()? {
        let mut piece = Bytes::from(row.get::<_, Vec<u8>>(1)?);
        let skipped = usize::try_from(from.saturating_sub(size(row.get(0)?))).unwrap_or(usize::MAX).min(piece.len());
        piece = piece.slice(skipped..);
        piece.truncate(rest);
        rest -= piece.len();
        data.push(piece);
        if rest == 0 {
            break;
        }
    }
    Ok(data)
}

/// See [`Store::body`](crate::store::Store::body).
pub(super) fn body(desk: &Desk, job: JobId, index: u32) -> Outcome<Option<Bytes>> {
    let piece = desk.find(
        "SELECT data FROM jobs JOIN pieces ON roll = body WHERE id = ?1 AND at = ?2",
        params![job.as_bytes(), index],
        |row| row.get::<_, Vec<u8>>(0),
    )?;
    Ok(piece.map(Bytes::from))
}

/// See [`Store::list`](crate::store::Store::list).
pub(super) fn list(desk: &Desk, status: Option<Status>, behind: Option<JobId>, most: usize) -> Outcome<Vec<Record>> {
    let mut place = i64::MAX;
    if let Some(job) = behind {
        let last = desk.find("SELECT place FROM jobs WHERE id = ?1", [job.as_bytes()], |row| row.get(0))?;
        // Nothing is behind a job that is gone: nobody knows where it was.
        place = last.unwrap_or(i64::MIN);
    }
    let kinds: &[&str] = match status {
        None => &["queued", "running", "waiting", "completed", "failed"],
        Some(Status::Queued) => &["queued"],
        Some(Status::Running) => &["running", "waiting"],
        Some(Status::Completed) => &["completed"],
        Some(Status::Failed) => &["failed"],
    };
    let sql = select_record!(
        ", place FROM jobs
           WHERE queue = ?1 AND state = ?2 AND place < ?3 AND (kept_until IS NULL OR kept_until > ?4)
           ORDER BY place DESC LIMIT ?5"
    );
    let mut records: Vec<(i64, Record)> = Vec::new();
    for state in kinds {
        let params = params![desk.queue(), state, place, int(desk.now().get()), int(most as u64)];
        records.extend(desk.all(sql, params, |row| Ok((row.get(11)?, record(row)?)))?);
    }
    records.sort_unstable_by_key(|(place, _)| std::cmp::Reverse(*place));
    Ok(records.into_iter().map(|(_, record)| record).take(most).collect())
}

/// See [`Store::counts`](crate::store::Store::counts).
pub(super) fn counts(desk: &Desk) -> Outcome<Counts> {
    let mut counts = Counts { bytes: desk.bytes()?, ..Counts::default() };
    let states = desk.all("SELECT state, jobs FROM counts WHERE queue = ?1", [desk.queue()], |row| {
        Ok((row.get::<_, String>(0)?, size(row.get(1)?)))
    })?;
    for (state, jobs) in states {
        match state.as_str() {
            "queued" => counts.queued = jobs,
            "running" => counts.running = jobs,
            "waiting" => counts.waiting = jobs,
            "completed" => counts.completed = jobs,
            _ => counts.failed = jobs,
        }
    }
    let oldest = desk.find(
        "SELECT submitted FROM jobs WHERE queue = ?1 AND state = 'queued' ORDER BY place LIMIT 1",
        [desk.queue()],
        |row| row.get(0),
    )?;
    counts.oldest = oldest.map(|millis| UnixMillis::new(size(millis)));
    Ok(counts)
}

fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    let time = |index| row.get::<_, Option<i64>>(index).map(|millis| millis.map(|at| UnixMillis::new(size(at))));
    Ok(Record {
        id: JobId::from_bytes(row.get(0)?),
        title: Title { route: row.get(1)?, method: row.get(2)?, path: row.get(3)? },
        owner: row.get::<_, Option<[u8; 32]>>(4)?.map(Owner::new),
        status: match row.get_ref(5)?.as_str()? {
            "queued" => Status::Queued,
            "completed" => Status::Completed,
            "failed" => Status::Failed,
            _ => Status::Running,
        },
        created: UnixMillis::new(size(row.get(6)?)),
        started: time(7)?,
        completed: time(8)?,
        executions: ExecutionNo::new(row.get(9)?),
        error: row.get(10)?,
    })
}
