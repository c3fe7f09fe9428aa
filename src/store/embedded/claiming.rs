//! Jobs go out under leases, and come back when those run out.

use std::time::Duration;

use bytes::Bytes;
use rusqlite::{Row, params};

use super::desk::{Desk, Outcome, int, size};
use super::rolls;
use crate::ids::{ExecutionNo, Fence, JobId};
use crate::job::{Fault, Lease};
use crate::store::{Claimed, Claims, MOST_CRASHES, NewBody, Topic};
use crate::time::UnixMillis;

/// How many jobs become due by one call. If there are more, the next call is due at once.
const AT_ONCE: u32 = 200;

/// See [`Store::claim`](crate::store::Store::claim).
pub(super) fn claim(desk: &Desk, most: usize) -> Outcome<Claims> {
    let now = desk.now();
    let mut claims = Claims::default();
    take_back(desk, now, &mut claims)?;
    end_pauses(desk, now)?;
    // Where there is nothing to take nothing is written, and nobody waits for the disk.
    let is_there =
        desk.find("SELECT 1 FROM jobs WHERE queue = ?1 AND state = 'queued' LIMIT 1", [desk.queue()], |_| Ok(()))?;
    if most > 0 && is_there.is_some() {
        claims.jobs = take(desk, now, most)?;
    }
    claims.next = next(desk, now)?;
    Ok(claims)
}

/// Queues jobs again whose worker fell silent, and parks those to which that happened too often.
fn take_back(desk: &Desk, now: UnixMillis, claims: &mut Claims) -> rusqlite::Result<()> {
    let silent = desk.all(
        "SELECT place, id, crashes, recording FROM jobs WHERE queue = ?1 AND leased_until <= ?2 LIMIT ?3",
        params![desk.queue(), int(now.get()), AT_ONCE],
        |row| Ok((row.get::<_, i64>(0)?, row.get(1)?, row.get::<_, u32>(2)?, row.get::<_, Option<i64>>(3)?)),
    )?;
    for (place, id, crashes, recording) in silent {
        if let Some(roll) = recording {
            rolls::discard(desk, roll)?;
        }
        if crashes + 1 < MOST_CRASHES {
            claims.taken_over += 1;
            desk.run(
                "UPDATE jobs SET state = 'queued', leased_until = NULL, crashes = crashes + 1, recording = NULL
                 WHERE place = ?1",
                [place],
            )?;
            desk.tell(Topic::Queue);
        } else {
            claims.parked += 1;
            desk.run(
                "UPDATE jobs SET state = 'failed', leased_until = NULL, crashes = crashes + 1, recording = NULL,
                     completed = ?2, kept_until = ?2 + min(retention, ?4), error = ?3
                 WHERE place = ?1",
                params![place, int(now.get()), Fault::poisoned().to_string(), i64::MAX - int(now.get())],
            )?;
        }
        desk.tell(Topic::Job(JobId::from_bytes(id)));
    }
    Ok(())
}

/// Queues jobs again whose pause is over.
fn end_pauses(desk: &Desk, now: UnixMillis) -> rusqlite::Result<()> {
    let over = desk.all(
        "SELECT place, id FROM jobs WHERE queue = ?1 AND paused_until <= ?2 LIMIT ?3",
        params![desk.queue(), int(now.get()), AT_ONCE],
        |row| Ok((row.get::<_, i64>(0)?, row.get(1)?)),
    )?;
    for (place, id) in over {
        desk.run("UPDATE jobs SET state = 'queued', paused_until = NULL WHERE place = ?1", [place])?;
        desk.tell(Topic::Queue);
        desk.tell(Topic::Job(JobId::from_bytes(id)));
    }
    Ok(())
}

/// A job that was taken, without what belongs to it.
struct Taken {
    place: i64,
    lease: Lease,
    retries: u32,
    request: Option<i64>,
    roll: Option<i64>,
    pieces: Option<u32>,
}

/// Takes the oldest jobs.
fn take(desk: &Desk, now: UnixMillis, most: usize) -> rusqlite::Result<Vec<Claimed>> {
    let until = now.after(desk.limits().lease);
    let mut taken = desk.all(
        "UPDATE jobs SET state = 'running', leased_until = ?3, fence = fence + 1, executions = executions + 1, started = ?4
         WHERE place IN (SELECT place FROM jobs WHERE queue = ?1 AND state = 'queued' ORDER BY place LIMIT ?2)
         RETURNING place, id, fence, executions, retries, request, body, pieces",
        [desk.queue(), int(most as u64), int(until.get()), int(now.get())],
        taken,
    )?;
    // In whatever order SQLite has changed them.
    taken.sort_unstable_by_key(|job| job.place);
    taken.iter().map(|job| furnish(desk, job)).collect()
}

fn taken(row: &Row<'_>) -> rusqlite::Result<Taken> {
    Ok(Taken {
        place: row.get(0)?,
        lease: Lease {
            job: JobId::from_bytes(row.get(1)?),
            fence: Fence::new(size(row.get(2)?)),
            execution: ExecutionNo::new(row.get(3)?),
        },
        retries: row.get(4)?,
        request: row.get(5)?,
        roll: row.get(6)?,
        pieces: row.get(7)?,
    })
}

/// Adds the request and the body. What is not there is empty: the job is lost.
fn furnish(desk: &Desk, job: &Taken) -> rusqlite::Result<Claimed> {
    let request = desk.find("SELECT request, body FROM requests WHERE number = ?1", [job.request], |row| {
        Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?))
    })?;
    let (request, inline) = request.unwrap_or_default();
    let body = match job.pieces {
        None => NewBody::Inline(inline.into()),
        Some(count) => {
            let length = desk.find("SELECT length FROM rolls WHERE number = ?1", [job.roll], |row| row.get(0))?;
            NewBody::Pieces { count, length: size(length.unwrap_or_default()) }
        }
    };
    desk.tell(Topic::Job(job.lease.job));
    Ok(Claimed { lease: job.lease, request: Bytes::from(request), body, retries: job.retries })
}

/// How long it is until the next job becomes due by time alone.
fn next(desk: &Desk, now: UnixMillis) -> rusqlite::Result<Option<Duration>> {
    let soonest = desk.find(
        "SELECT min(until) FROM (
             SELECT min(leased_until) AS until FROM jobs WHERE queue = ?1 AND leased_until IS NOT NULL
             UNION ALL SELECT min(paused_until) FROM jobs WHERE queue = ?1 AND paused_until IS NOT NULL)",
        [desk.queue()],
        |row| row.get::<_, Option<i64>>(0),
    )?;
    Ok(soonest.flatten().map(|until| UnixMillis::new(size(until)).since(now)))
}

/// Queues jobs again that nobody began with: a lease that is still the newest is given back, and counts as nothing.
pub(super) fn hand_back(desk: &Desk, leases: &[Lease]) -> Outcome<()> {
    for lease in leases {
        let handed_back = desk.run(
            "UPDATE jobs SET state = 'queued', leased_until = NULL WHERE id = ?1 AND state = 'running' AND fence = ?2",
            params![lease.job.as_bytes(), int(lease.fence.get())],
        )?;
        if handed_back > 0 {
            desk.tell(Topic::Queue);
            desk.tell(Topic::Job(lease.job));
        }
    }
    Ok(())
}

/// See [`Store::renew`](crate::store::Store::renew).
pub(super) fn renew(desk: &Desk, leases: &[Lease]) -> Outcome<Vec<Lease>> {
    let until = int(desk.now().after(desk.limits().lease).get());
    let mut standing = Vec::with_capacity(leases.len());
    for lease in leases {
        let renewed = desk.run(
            "UPDATE jobs SET leased_until = ?3 WHERE id = ?1 AND state = 'running' AND fence = ?2",
            params![lease.job.as_bytes(), int(lease.fence.get()), until],
        )?;
        if renewed > 0 {
            standing.push(*lease);
        }
    }
    Ok(standing)
}
