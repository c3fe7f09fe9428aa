//! Answers that are kept for others.

use std::time::Duration;

use bytes::Bytes;
use rusqlite::params;

use super::desk::{Desk, Outcome, int, size};
use super::schema::PER_ENTRY;

/// The entry under this key.
pub(super) fn cached(desk: &Desk, key: [u8; 32]) -> Outcome<Option<Bytes>> {
    let entry = desk.find(
        "SELECT entry FROM cache WHERE key = ?1 AND kept_until > ?2",
        params![key, int(desk.now().get())],
        |row| row.get::<_, Vec<u8>>(0),
    )?;
    Ok(entry.map(Bytes::from))
}

/// Keeps an entry in the place of the one before it. Refused = there is no room.
pub(super) fn cache(desk: &Desk, key: [u8; 32], entry: &Bytes, ttl: Duration) -> Outcome<()> {
    let old = desk.find("SELECT length(entry) FROM cache WHERE key = ?1", [key], |row| row.get::<_, i64>(0))?.map(size);
    let needed = entry.len() as u64 + PER_ENTRY;
    desk.require_room(needed.saturating_sub(old.map_or(0, |length| length + PER_ENTRY)))?;
    desk.run("DELETE FROM cache WHERE key = ?1", [key])?;
    desk.run(
        "INSERT INTO cache (key, kept_until, entry) VALUES (?1, ?2, ?3)",
        params![key, int(desk.now().after(ttl).get()), entry.as_ref()],
    )?;
    Ok(())
}
