//! What is deleted, and what is past its time.

use rusqlite::params;

use super::desk::{Desk, Outcome, int};
use super::{recording, rolls};
use crate::ids::JobId;
use crate::store::{ABANDONED_AFTER, Topic};

/// How many jobs, bodies or entries one call removes at most: the others have to wait so long.
const STEP: u32 = 32;
/// Free pages that stay in the file, to be used again: 16 MiB.
const FREE: i64 = 4096;

/// See [`Store::delete`](crate::store::Store::delete).
pub(super) fn delete(desk: &Desk, job: JobId) -> Outcome<bool> {
    let found = desk.find(
        "SELECT place, kept_until <= ?2 FROM jobs WHERE id = ?1",
        params![job.as_bytes(), int(desk.now().get())],
        |row| Ok((row.get(0)?, row.get::<_, Option<bool>>(1)?)),
    )?;
    let Some((place, is_over)) = found else { return Ok(false) };
    forget(desk, place)?;
    desk.tell(Topic::Cancelled(job));
    desk.tell(Topic::Job(job));
    Ok(is_over != Some(true))
}

/// Removes a job and all that belongs to it.
pub(super) fn forget(desk: &Desk, place: i64) -> rusqlite::Result<()> {
    recording::erase(desk, place)?;
    let roll = desk.find("SELECT recording FROM jobs WHERE place = ?1", [place], |row| row.get::<_, Option<i64>>(0))?;
    desk.run("DELETE FROM jobs WHERE place = ?1", [place])?;
    roll.flatten().map_or(Ok(()), |roll| rolls::discard(desk, roll))
}

/// See [`Store::sweep`](crate::store::Store::sweep).
pub(super) fn sweep(desk: &Desk) -> Outcome<bool> {
    let is_more = forget_finished(desk)? | drop_abandoned(desk)? | drop_entries(desk)? | rolls::remove_some(desk)?;
    if is_more || shrink(desk)? {
        return Ok(true);
    }
    desk.found_clean();
    Ok(false)
}

/// Forgets jobs that can be fetched no longer.
fn forget_finished(desk: &Desk) -> rusqlite::Result<bool> {
    let over = desk.all(
        "SELECT place, id FROM jobs WHERE kept_until <= ?1 LIMIT ?2",
        params![int(desk.now().get()), STEP],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let is_more = over.len() == STEP as usize;
    for (place, id) in over {
        forget(desk, place)?;
        desk.tell(Topic::Job(JobId::from_bytes(id)));
    }
    Ok(is_more)
}

/// Drops request bodies that no job has followed.
fn drop_abandoned(desk: &Desk) -> rusqlite::Result<bool> {
    let latest = desk.now().get().saturating_sub(u64::try_from(ABANDONED_AFTER.as_millis()).unwrap_or(u64::MAX));
    let abandoned =
        desk.all("SELECT number FROM rolls WHERE put <= ?1 LIMIT ?2", params![int(latest), STEP], |row| row.get(0))?;
    for roll in &abandoned {
        desk.run("UPDATE rolls SET body_of = NULL, put = NULL WHERE number = ?1", [roll])?;
        rolls::discard(desk, *roll)?;
    }
    Ok(abandoned.len() == STEP as usize)
}

/// Drops cache entries whose time is over.
fn drop_entries(desk: &Desk) -> rusqlite::Result<bool> {
    let dropped = desk.run(
        "DELETE FROM cache WHERE number IN (SELECT number FROM cache WHERE kept_until <= ?1 LIMIT ?2)",
        params![int(desk.now().get()), STEP],
    )?;
    Ok(dropped == STEP as usize)
}

/// Gives some room back to the file system, if there is much. True = there is more.
fn shrink(desk: &Desk) -> rusqlite::Result<bool> {
    let free = || desk.find("PRAGMA freelist_count", [], |row| row.get::<_, i64>(0)).map(Option::unwrap_or_default);
    let before = free()?;
    if before <= FREE {
        return Ok(false);
    }
    // Each row of its answer is a page that is given back.
    desk.all("PRAGMA incremental_vacuum(512)", [], |_| Ok(()))?;
    Ok(free()? < before)
}
