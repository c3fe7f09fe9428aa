//! Identical misses at the same time: who leads, and who joins.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::CacheKey;
use super::entry::Entry;
use super::flight::{Flight, Seat};

/// The flights that can be joined, by what they are for.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<CacheKey, Arc<Flight>>>);

/// Who comes on board.
pub(super) enum Boarding {
    /// Nobody is on the way: this one leads.
    First(Duty, Seat),
    /// There is a flight already.
    Joined(Seat),
}

/// The lead of a flight. Whatever becomes of its holder, nobody waits for him in vain: dropped, the flight is over where it
/// has not come to an end, and nobody joins it any more.
pub(super) struct Duty {
    flights: Arc<Flights>,
    key: CacheKey,
    pub(super) flight: Arc<Flight>,
}

impl Flights {
    /// Joins the flight for this key, or begins it.
    pub(super) fn board(self: &Arc<Self>, key: CacheKey) -> Boarding {
        let mut flights = self.flights();
        if let Some(seat) = flights.get(&key).and_then(Flight::join) {
            return Boarding::Joined(seat);
        }
        let (duty, seat) = self.begin(key, &mut flights);
        drop(flights);
        Boarding::First(duty, seat)
    }

    /// Begins a flight even if there is one. That goes on for those who have joined it.
    pub(super) fn lead(self: &Arc<Self>, key: CacheKey) -> (Duty, Seat) {
        self.begin(key, &mut self.flights())
    }

    fn begin(self: &Arc<Self>, key: CacheKey, flights: &mut HashMap<CacheKey, Arc<Flight>>) -> (Duty, Seat) {
        let flight = Arc::new(Flight::default());
        let seat = flight.first();
        flights.insert(key, Arc::clone(&flight));
        (Duty { flights: Arc::clone(self), key, flight }, seat)
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<CacheKey, Arc<Flight>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Flights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights").field("under_way", &self.flights().len()).finish()
    }
}

impl Duty {
    /// For which key it is.
    pub(super) fn key(&self) -> CacheKey {
        self.key
    }

    /// The answer was there already: whoever has joined is told it.
    pub(super) fn has_been_kept(self, entry: &Entry) {
        self.flight.land_whole(entry);
    }

    /// Whether those who come now join it.
    pub(super) fn is_open(&self) -> bool {
        self.flights.flights().get(&self.key).is_some_and(|flight| Arc::ptr_eq(flight, &self.flight))
    }

    /// Nobody joins any more.
    pub(super) fn close(&self) {
        let mut flights = self.flights.flights();
        if flights.get(&self.key).is_some_and(|flight| Arc::ptr_eq(flight, &self.flight)) {
            flights.remove(&self.key);
        }
    }
}

impl Drop for Duty {
    fn drop(&mut self) {
        // In this order: who hears that it has failed finds it gone, and begins another.
        self.close();
        self.flight.fail();
    }
}

#[cfg(test)]
mod tests {
    use super::super::flight::{News, Verdict};
    use super::*;

    const KEY: CacheKey = CacheKey::for_tests(1);

    #[tokio::test]
    async fn there_is_one_leader_for_a_key_until_he_is_gone() {
        let flights = Arc::new(Flights::default());
        let Boarding::First(duty, _seat) = flights.board(KEY) else { panic!("nobody leads") };
        let Boarding::Joined(follower) = flights.board(KEY) else { panic!("two lead") };
        let Boarding::First(other, _other_seat) = flights.board(CacheKey::for_tests(2)) else { panic!("another key") };
        drop(duty);
        assert!(matches!(follower.news().await, News::Nothing(Verdict::Failed)));
        assert!(matches!(flights.board(KEY), Boarding::First(..)));
        drop(other);
        assert!(flights.flights().is_empty(), "what is over is forgotten");
    }

    #[tokio::test]
    async fn a_new_leader_takes_those_who_come_and_not_those_who_are_there() {
        let flights = Arc::new(Flights::default());
        let Boarding::First(first, _seat) = flights.board(KEY) else { panic!("nobody leads") };
        let Boarding::Joined(early) = flights.board(KEY) else { panic!("two lead") };
        let (second, _second_seat) = flights.lead(KEY);
        assert!(!first.is_open() && second.is_open());
        let Boarding::Joined(late) = flights.board(KEY) else { panic!("three lead") };
        drop(first);
        assert!(matches!(early.news().await, News::Nothing(Verdict::Failed)));
        assert!(second.is_open(), "who is gone takes nothing along");
        second.flight.keep_private();
        assert!(matches!(late.news().await, News::Nothing(Verdict::Private)));
    }
}
