//! Entries in the memory of this process: the least recently used ones leave first.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::entry::Entry;
use super::{CacheKey, MemorySettings};

/// The entries of all routes, within one bound of their number and one of their bytes.
///
/// Moka has one weight for both. An entry weighs what it takes, and at least its share of the room if there were as many
/// as there may be: so neither bound is ever passed, and one of the two is at least half used when entries have to leave.
pub(super) struct Memory(Cache<CacheKey, Timed>);

/// An entry, and for how long it is good.
#[derive(Clone)]
struct Timed {
    entry: Arc<Entry>,
    ttl: Duration,
}

impl Memory {
    pub(super) fn new(settings: MemorySettings) -> Self {
        let scale = Scale::new(settings);
        let cache = Cache::builder()
            .max_capacity(scale.room)
            .weigher(move |_, timed: &Timed| scale.weight(timed.entry.weight()))
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(Ttl)
            .build();
        Self(cache)
    }

    pub(super) fn get(&self, key: CacheKey) -> Option<Arc<Entry>> {
        self.0.get(&key).map(|timed| timed.entry)
    }

    /// Keeps an entry, in place of the one that was there.
    pub(super) fn insert(&self, key: CacheKey, entry: Arc<Entry>, ttl: Duration) {
        self.0.insert(key, Timed { entry, ttl });
        // Otherwise it would be done after a while, or after some more: too late for large ones.
        self.0.run_pending_tasks();
    }

    /// How many there are, and what they weigh by themselves.
    #[cfg(test)]
    fn held(&self) -> (u64, u64) {
        self.0.iter().fold((0, 0), |(count, weight), (_, timed)| (count + 1, weight + timed.entry.weight()))
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("entries", &self.0.entry_count()).finish_non_exhaustive()
    }
}

/// How bytes become weights, which have 32 bits: in units that are as small as the room allows.
#[derive(Clone, Copy, Debug)]
struct Scale {
    /// Bytes in a unit, as a power of two.
    shift: u32,
    /// Units for all entries together.
    room: u64,
    /// The least that one weighs.
    share: u64,
}

impl Scale {
    fn new(settings: MemorySettings) -> Self {
        let bytes = settings.max_bytes.get();
        let shift = (u64::BITS - bytes.leading_zeros()).saturating_sub(31);
        let room = bytes >> shift;
        // One more than there may be would not fit.
        let share = room / settings.max_entries.saturating_add(1) + 1;
        Self { shift, room, share }
    }

    fn weight(self, bytes: u64) -> u32 {
        let units = bytes.div_ceil(1 << self.shift).max(self.share);
        u32::try_from(units).unwrap_or(u32::MAX)
    }
}

/// Each entry has a time of its own, because routes differ. Moka keeps the old one's time unless it is told otherwise.
struct Ttl;

impl Expiry<CacheKey, Timed> for Ttl {
    fn expire_after_create(&self, _: &CacheKey, timed: &Timed, _: Instant) -> Option<Duration> {
        Some(timed.ttl)
    }

    fn expire_after_update(&self, _: &CacheKey, timed: &Timed, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(timed.ttl)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};
    use proptest::prelude::*;

    use super::*;
    use crate::job::StoredHead;
    use crate::size::ByteSize;

    const HOUR: Duration = Duration::from_secs(3600);

    fn memory(max_entries: u64, max_bytes: u64) -> Memory {
        Memory::new(MemorySettings { max_entries, max_bytes: ByteSize::new(max_bytes) })
    }

    fn entry(length: usize) -> Arc<Entry> {
        let head = StoredHead { status: StatusCode::OK, headers: HeaderMap::new() };
        Arc::new(Entry::new(head, &[Bytes::from(vec![0; length])], HeaderMap::new()))
    }

    const fn key(number: u8) -> CacheKey {
        CacheKey::for_tests(number)
    }

    #[test]
    fn the_least_recently_used_one_leaves_first() {
        let memory = memory(3, 1 << 20);
        for number in 1..=3 {
            memory.insert(key(number), entry(10), HOUR);
        }
        assert!(memory.get(key(1)).is_some());
        memory.insert(key(4), entry(10), HOUR);
        let left: Vec<bool> = (1..=4).map(|number| memory.get(key(number)).is_some()).collect();
        assert_eq!(left, [true, false, true, true]);
    }

    #[test]
    fn a_large_one_takes_the_place_of_several_and_one_that_is_too_large_that_of_none() {
        let memory = memory(100, 10_000);
        for number in 1..=4 {
            memory.insert(key(number), entry(1_500), HOUR);
        }
        memory.insert(key(9), entry(20_000), HOUR);
        assert!(memory.get(key(9)).is_none());
        assert!((1..=4).all(|number| memory.get(key(number)).is_some()));
        memory.insert(key(5), entry(5_000), HOUR);
        let left: Vec<bool> = (1..=5).map(|number| memory.get(key(number)).is_some()).collect();
        assert_eq!(left, [false, false, true, true, true]);
    }

    #[test]
    fn a_new_entry_takes_the_place_and_the_time_of_the_old_one() {
        let memory = memory(10, 1 << 20);
        memory.insert(key(1), entry(10), Duration::from_millis(1));
        std::thread::sleep(Duration::from_millis(5));
        assert!(memory.get(key(1)).is_none(), "its time is over");
        memory.insert(key(2), entry(10), Duration::from_millis(200));
        memory.insert(key(2), entry(20), HOUR);
        std::thread::sleep(Duration::from_millis(250));
        assert_eq!(memory.get(key(2)).unwrap().body.len(), 20);
    }

    #[test]
    fn as_many_as_there_may_be_fit_where_there_is_room() {
        for (max_entries, max_bytes) in [(1, 1 << 20), (2, 1 << 40), (7, 1 << 28), (100, u64::MAX)] {
            let memory = memory(max_entries, max_bytes);
            (0..=100).for_each(|number| memory.insert(key(number), entry(10), HOUR));
            assert_eq!(memory.held().0, max_entries, "{max_entries} in {max_bytes}");
        }
    }

    proptest! {
        #[test]
        fn neither_bound_is_ever_passed(
            max_entries in 0u64..8,
            max_bytes in 1u64..20_000,
            inserts in prop::collection::vec((0u8..12, 0usize..6_000), 0..40),
        ) {
            let memory = memory(max_entries, max_bytes);
            for (number, length) in inserts {
                memory.insert(key(number), entry(length), HOUR);
                let (count, weight) = memory.held();
                prop_assert!(count <= max_entries && weight <= max_bytes, "{count} entries of {weight} bytes");
            }
        }
    }
}
