//! What workers write: the recording of an execution, and its end.

use bytes::Bytes;
use rusqlite::params;

use super::desk::{Desk, Outcome, int, size};
use super::rolls;
use crate::job::Lease;
use crate::store::{Batch, Settle, Standing, Topic};

/// The job of a lease, as far as it matters here.
struct Held {
    place: i64,
    is_running: bool,
    fence: u64,
    settled: u64,
    recording: Option<i64>,
    length: u64,
}

/// See [`Store::record`](crate::store::Store::record).
pub(super) fn record(desk: &Desk, lease: Lease, batch: &Batch) -> Outcome<Standing> {
    let found = desk.find(
        "SELECT place, state = 'running', fence, settled, recording, length
         FROM jobs LEFT JOIN rolls ON rolls.number = recording WHERE id = ?1",
        [lease.job.as_bytes()],
        |row| {
            Ok(Held {
                place: row.get(0)?,
                is_running: row.get(1)?,
                fence: size(row.get(2)?),
                settled: size(row.get(3)?),
                recording: row.get(4)?,
                length: size(row.get::<_, Option<i64>>(5)?.unwrap_or_default()),
            })
        },
    )?;
    let Some(job) = found else { return Ok(Standing::Lost) };
    if batch.settle.is_some() && job.settled == lease.fence.get() {
        // Its answer was lost.
        return Ok(Standing::Held);
    }
    if !job.is_running || job.fence != lease.fence.get() || batch.at > job.length && !batch.data.is_empty() {
        return Ok(Standing::Lost);
    }
    let recording = write(desk, &job, batch)?;
    if let Some(end) = &batch.settle {
        settle(desk, &job, recording, end)?;
    }
    desk.tell(Topic::Job(lease.job));
    Ok(Standing::Held)
}

/// Writes what is new of a batch. The answer is the roll that is written to, if there is one by now.
fn write(desk: &Desk, job: &Held, batch: &Batch) -> Outcome<Option<i64>> {
    let end = batch.at + batch.data.iter().map(|piece| piece.len() as u64).sum::<u64>();
    let head = batch.head.as_ref().filter(|_| job.recording.is_none());
    let is_longer = !batch.data.is_empty() && end > job.length;
    desk.require_room(head.map_or(0, |head| head.len() as u64) + if is_longer { end - job.length } else { 0 })?;
    let roll = match job.recording {
        Some(roll) => roll,
        None if head.is_some() || is_longer => begin(desk, job.place, head)?,
        None => return Ok(None),
    };
    if is_longer {
        rolls::append(desk, roll, job.length, batch.at, &batch.data)?;
    }
    Ok(Some(roll))
}

/// Begins the recording of an execution.
fn begin(desk: &Desk, place: i64, head: Option<&Bytes>) -> rusqlite::Result<i64> {
    let roll = rolls::begin(desk, head)?;
    desk.run("UPDATE jobs SET recording = ?2 WHERE place = ?1", [place, roll])?;
    Ok(roll)
}

/// Ends the execution.
fn settle(desk: &Desk, job: &Held, recording: Option<i64>, end: &Settle) -> rusqlite::Result<()> {
    let now = desk.now();
    let fence = int(job.fence);
    match end {
        Settle::Completed { end, retention } => {
            let roll = recording.map_or_else(|| begin(desk, job.place, None), Ok)?;
            desk.run("UPDATE rolls SET ending = ?2 WHERE number = ?1", params![roll, end.as_ref()])?;
            erase(desk, job.place)?;
            desk.run(
                "UPDATE jobs SET state = 'completed', leased_until = NULL, settled = ?2, completed = ?3, kept_until = ?4,
                     error = NULL, request = NULL, body = NULL
                 WHERE place = ?1",
                [job.place, fence, int(now.get()), int(now.after(*retention).get())],
            )?;
            return Ok(());
        }
        Settle::Failed { error, retention } => {
            desk.run(
                "UPDATE jobs SET state = 'failed', leased_until = NULL, settled = ?2, completed = ?3, kept_until = ?4,
                     error = ?5, recording = NULL
                 WHERE place = ?1",
                params![job.place, fence, int(now.get()), int(now.after(*retention).get()), error],
            )?;
        }
        Settle::Again { error, after } => {
            desk.run(
                "UPDATE jobs SET state = 'waiting', leased_until = NULL, settled = ?2, paused_until = ?3, error = ?4,
                     retries = retries + 1, recording = NULL
                 WHERE place = ?1",
                params![job.place, fence, int(now.after(*after).get()), error],
            )?;
            // It may become due before anything else does.
            desk.tell(Topic::Queue);
        }
        Settle::HandedBack => {
            desk.run(
                "UPDATE jobs SET state = 'queued', leased_until = NULL, settled = ?2, recording = NULL WHERE place = ?1",
                [job.place, fence],
            )?;
            desk.tell(Topic::Queue);
        }
    }
    recording.map_or(Ok(()), |roll| rolls::discard(desk, roll))
}

/// Removes the request of a job and its body.
pub(super) fn erase(desk: &Desk, place: i64) -> rusqlite::Result<()> {
    let parts = desk.find("SELECT request, body FROM jobs WHERE place = ?1", [place], |row| {
        Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<i64>>(1)?))
    })?;
    let (request, body) = parts.unwrap_or_default();
    if let Some(request) = request {
        desk.run("DELETE FROM requests WHERE number = ?1", [request])?;
    }
    body.map_or(Ok(()), |roll| rolls::discard(desk, roll))
}
