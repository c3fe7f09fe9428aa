//! Rolls: request bodies and recordings, in pieces.

use bytes::Bytes;
use rusqlite::params;

use super::desk::{Desk, Outcome, Trouble, int, size};
use crate::ids::JobId;
use crate::store::StoreError;

/// The largest row of a recording: whoever reads from its middle reads all of it.
const ROW: usize = 64 << 10;
/// Up to this length a roll is removed at once; a longer one bit by bit, so that nobody waits for it.
const AT_ONCE: u64 = 256 << 10;
/// How many pieces are removed by one step.
const STEP: u32 = 64;

/// Puts a piece of the body of a job that is to come. One that is there already stays as it is.
pub(super) fn put(desk: &Desk, job: JobId, index: u32, piece: &Bytes) -> Outcome<()> {
    let now = int(desk.now().get());
    let roll =
        desk.find("SELECT number FROM rolls WHERE body_of = ?1", [job.as_bytes()], |row| row.get::<_, i64>(0))?;
    if let Some(roll) = roll
        && desk.find("SELECT 1 FROM pieces WHERE roll = ?1 AND at = ?2", params![roll, index], |_| Ok(()))?.is_some()
    {
        return Ok(());
    }
    desk.require_room(piece.len() as u64)?;
    let roll = if let Some(roll) = roll {
        desk.run("UPDATE rolls SET put = ?2 WHERE number = ?1", [roll, now])?;
        roll
    } else {
        desk.run("INSERT INTO rolls (body_of, put) VALUES (?1, ?2)", params![job.as_bytes(), now])?;
        desk.sql.last_insert_rowid()
    };
    insert(desk, roll, index.into(), piece)?;
    lengthen(desk, roll, piece.len())?;
    Ok(())
}

/// The roll that was put for this job; from now on it is the job's. It must be whole.
pub(super) fn follow(desk: &Desk, job: JobId, count: u32, length: u64) -> Outcome<i64> {
    let put = desk.find("SELECT number, length FROM rolls WHERE body_of = ?1", [job.as_bytes()], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
    })?;
    let gone = || Trouble::Refused(StoreError::Unavailable("pieces of the request's body are gone".into()));
    let (roll, put) = put.ok_or_else(gone)?;
    let pieces = desk.find("SELECT count(*) FROM pieces WHERE roll = ?1", [roll], |row| row.get::<_, u32>(0))?;
    if size(put) != length || pieces != Some(count) {
        return Err(gone());
    }
    desk.run("UPDATE rolls SET body_of = NULL, put = NULL WHERE number = ?1", [roll])?;
    Ok(roll)
}

/// A new roll, for a recording.
pub(super) fn begin(desk: &Desk, head: Option<&Bytes>) -> rusqlite::Result<i64> {
    desk.run("INSERT INTO rolls (head) VALUES (?1)", [head.map(AsRef::<[u8]>::as_ref)])?;
    Ok(desk.sql.last_insert_rowid())
}

/// Adds to a recording that is `length` bytes long: of what begins at `at`, that which is not there yet.
pub(super) fn append(desk: &Desk, roll: i64, length: u64, at: u64, data: &[Bytes]) -> rusqlite::Result<()> {
    let (mut place, mut end, mut row) = (at, length, Vec::new());
    let mut flush = |row: &mut Vec<u8>| -> rusqlite::Result<()> {
        insert(desk, roll, int(end), row)?;
        end += row.len() as u64;
        row.clear();
        Ok(())
    };
    for piece in data {
        let known = usize::try_from(length.saturating_sub(place)).unwrap_or(usize::MAX).min(piece.len());
        place += piece.len() as u64;
        let mut rest = &piece[known..];
        while !rest.is_empty() {
            let (fits, others) = rest.split_at(rest.len().min(ROW - row.len()));
            row.extend_from_slice(fits);
            rest = others;
            if row.len() == ROW {
                flush(&mut row)?;
            }
        }
    }
    if !row.is_empty() {
        flush(&mut row)?;
    }
    if place > length {
        lengthen(desk, roll, usize::try_from(place - length).unwrap_or(usize::MAX))?;
    }
    Ok(())
}

/// Nobody needs this roll any more. What it holds counts for nothing from now on.
pub(super) fn discard(desk: &Desk, roll: i64) -> rusqlite::Result<()> {
    let length = desk.find("SELECT length FROM rolls WHERE number = ?1", [roll], |row| row.get(0))?;
    if size(length.unwrap_or_default()) > AT_ONCE {
        // The head may hold more than anybody should find.
        desk.run("UPDATE rolls SET is_dropped = 1, head = NULL, ending = NULL WHERE number = ?1", [roll])?;
        return Ok(());
    }
    desk.run("DELETE FROM pieces WHERE roll = ?1", [roll])?;
    desk.run("DELETE FROM rolls WHERE number = ?1", [roll])?;
    Ok(())
}

/// Removes some of what was discarded. True = there is more.
pub(super) fn remove_some(desk: &Desk) -> rusqlite::Result<bool> {
    let dropped = desk.find("SELECT number FROM rolls WHERE is_dropped LIMIT 1", [], |row| row.get::<_, i64>(0))?;
    let Some(roll) = dropped else { return Ok(false) };
    let removed = desk.run(
        "DELETE FROM pieces WHERE number IN (SELECT number FROM pieces WHERE roll = ?1 ORDER BY at LIMIT ?2)",
        params![roll, STEP],
    )?;
    if removed == 0 {
        desk.run("DELETE FROM rolls WHERE number = ?1", [roll])?;
    }
    Ok(true)
}

fn insert(desk: &Desk, roll: i64, at: i64, data: &[u8]) -> rusqlite::Result<usize> {
    desk.run("INSERT INTO pieces (roll, at, data) VALUES (?1, ?2, ?3)", params![roll, at, data])
}

fn lengthen(desk: &Desk, roll: i64, by: usize) -> rusqlite::Result<usize> {
    desk.run("UPDATE rolls SET length = length + ?2 WHERE number = ?1", [roll, int(by as u64)])
}
