//! Jobs come in: new ones, and failed ones again.

use std::time::Duration;

use rusqlite::params;

use super::desk::{Desk, Outcome, Trouble, int, size};
use super::rolls;
use super::schema::PER_JOB;
use crate::ids::{ExecutionNo, Fence, JobId};
use crate::job::{Idempotency, Lease, Owner};
use crate::store::{NewBody, NewJob, Retried, Start, StoreError, Submitted, Topic};

/// Stores a job, unless it is there already or there is no room.
pub(super) fn submit(desk: &Desk, job: &NewJob) -> Outcome<Submitted> {
    let lease = match job.start {
        Start::Queued => None,
        Start::Adopted => Some(Lease { job: job.id, fence: Fence::new(1), execution: ExecutionNo::new(1) }),
    };
    if desk.find("SELECT 1 FROM jobs WHERE id = ?1", [job.id.as_bytes()], |_| Ok(()))?.is_some() {
        return Ok(Submitted::Accepted(lease));
    }
    if let Some(key) = &job.idempotency
        && let Some(known) = known(desk, key)?
    {
        return Ok(known);
    }
    if job.start == Start::Queued {
        require_depth(desk)?;
    }
    let body = if let NewBody::Inline(body) = &job.body { body.as_ref() } else { &[] };
    desk.require_room(PER_JOB + (job.request.len() + body.len()) as u64)?;
    let (roll, pieces) = match job.body {
        NewBody::Inline(_) => (None, None),
        NewBody::Pieces { count, length } => (Some(rolls::follow(desk, job.id, count, length)?), Some(count)),
    };
    desk.run("INSERT INTO requests (request, body) VALUES (?1, ?2)", params![job.request.as_ref(), body])?;
    let request = desk.sql.last_insert_rowid();
    insert(desk, job, lease, request, roll, pieces)?;
    if job.start == Start::Queued {
        desk.tell(Topic::Queue);
    }
    Ok(Submitted::Accepted(lease))
}

fn insert(
    desk: &Desk,
    job: &NewJob,
    lease: Option<Lease>,
    request: i64,
    body: Option<i64>,
    pieces: Option<u32>,
) -> rusqlite::Result<usize> {
    let now = desk.now();
    desk.run(
        "INSERT INTO jobs (id, queue, state, leased_until, fence, executions, started, created, submitted, route, method,
             path, owner, scope, fingerprint, retention, request, body, pieces)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
        params![
            job.id.as_bytes(),
            desk.queue(),
            if lease.is_some() { "running" } else { "queued" },
            lease.map(|_| int(now.after(desk.limits().lease).get())),
            lease.map_or(0, |lease| int(lease.fence.get())),
            lease.map_or(0, |lease| lease.execution.get()),
            lease.map(|_| int(now.get())),
            int(now.get()),
            job.title.route,
            job.title.method,
            job.title.path,
            job.owner.map(Owner::get),
            job.idempotency.map(|key| key.scope),
            job.idempotency.map(|key| key.fingerprint),
            millis(job.retention),
            request,
            body,
            pieces,
        ],
    )
}

/// What a request under this key is already, if it is anything.
fn known(desk: &Desk, key: &Idempotency) -> rusqlite::Result<Option<Submitted>> {
    let found = desk.find(
        "SELECT id, fingerprint, kept_until <= ?2, place FROM jobs WHERE scope = ?1",
        params![key.scope, int(desk.now().get())],
        |row| Ok((row.get(0)?, row.get::<_, [u8; 32]>(1)?, row.get::<_, Option<bool>>(2)?, row.get(3)?)),
    )?;
    let Some((id, fingerprint, is_over, place)) = found else { return Ok(None) };
    if is_over == Some(true) {
        // Its time is over, it was only not swept yet.
        super::forgetting::forget(desk, place)?;
        return Ok(None);
    }
    let is_same = fingerprint == key.fingerprint;
    Ok(Some(if is_same { Submitted::Existing(JobId::from_bytes(id)) } else { Submitted::Mismatch }))
}

/// Queues a failed job again: behind all others, and with everything before it.
pub(super) fn retry(desk: &Desk, job: JobId) -> Outcome<Retried> {
    let now = int(desk.now().get());
    let found = desk.find(
        "SELECT place, state = 'failed', request IS NOT NULL FROM jobs
         WHERE id = ?1 AND (kept_until IS NULL OR kept_until > ?2)",
        params![job.as_bytes(), now],
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, bool>(1)?, row.get::<_, bool>(2)?)),
    )?;
    let place = match found {
        None => return Ok(Retried::Unknown),
        Some((_, false, _)) => return Ok(Retried::NotFailed),
        Some((_, _, false)) => return Ok(Retried::Lost),
        Some((place, true, true)) => place,
    };
    require_depth(desk)?;
    desk.run(
        "UPDATE jobs SET place = (SELECT max(place) + 1 FROM jobs), state = 'queued', submitted = ?2, kept_until = NULL,
             started = NULL, completed = NULL, error = NULL, retries = 0, crashes = 0
         WHERE place = ?1",
        [place, now],
    )?;
    desk.tell(Topic::Queue);
    desk.tell(Topic::Job(job));
    Ok(Retried::Queued)
}

/// Refuses one more job that waits where there are enough.
fn require_depth(desk: &Desk) -> Outcome<()> {
    let depth =
        desk.find("SELECT jobs FROM counts WHERE queue = ?1 AND state = 'queued'", [desk.queue()], |row| row.get(0))?;
    let is_there = size(depth.unwrap_or_default()) < desk.limits().max_depth;
    if is_there { Ok(()) } else { Err(Trouble::Refused(StoreError::TooDeep)) }
}

/// Milliseconds, as SQLite stores them.
fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
