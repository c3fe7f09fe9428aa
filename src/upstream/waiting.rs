//! Who waits for a connection, and which connect is under way for whom.
//!
//! On HTTP/1 everyone who waits has a connect of their own. One HTTP/2 connection serves many: there, and as long as nobody
//! knows what the upstream will speak, those who come soon after a connect was started *ride* on it. If it fails, or takes
//! too long to tell, each of them connects alone.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::failure::Failure;
use super::multiplex::MAX_STREAMS;
use super::pool::Lease;
use super::sharing::Seat;

/// How long after its start others ride on a connect, and how long they wait for one that is to tell the protocol.
pub(super) const RIDE: Duration = Duration::from_millis(300);

/// What will do for an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Any connection.
    Any,
    /// One that was opened for this, and for others who ask for it now.
    Fresh,
    /// One of its own that may leave HTTP/1.1: never from the pool, and never back to it.
    Upgrade,
}

/// What one gets.
pub(super) enum Grant {
    /// A connection alone.
    Whole(Lease),
    /// A stream among others.
    Seat(Seat),
}

/// What new connections speak, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// The first connection tells.
    Unknown,
    Http1,
    Http2,
}

type Answer = oneshot::Sender<Result<Grant, Failure>>;

/// One who waits.
pub(super) struct Waiter {
    pub(super) id: u64,
    pub(super) need: Need,
    pub(super) answer: Answer,
    hope: Hope,
    /// A ride came to nothing.
    is_alone: bool,
    connect_timeout: Duration,
}

/// What a waiter waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hope {
    /// That there is room for a connect.
    Room,
    /// A connect of their own.
    Connect,
    /// The connect that was started for this one.
    Ride(u64),
}

/// A connect, or a connection that does not know its limit yet, on which others may ride.
struct Ride {
    id: u64,
    since: Instant,
    seats: usize,
    /// The connection stands, and has not told its limit yet.
    is_connected: bool,
}

/// A connect to be started.
#[derive(Clone, Copy)]
pub(super) struct Order {
    /// Of the waiter for whom it is.
    pub(super) id: u64,
    pub(super) need: Need,
    pub(super) timeout: Duration,
}

/// Everyone who waits, oldest first.
pub(super) struct Queue {
    waiters: VecDeque<Waiter>,
    next_id: u64,
    rides: Vec<Ride>,
    protocol: Protocol,
    /// How many one HTTP/2 connection will serve, as the last one did.
    seats: usize,
}

impl Queue {
    pub(super) fn new(protocol: Protocol) -> Self {
        Self { waiters: VecDeque::new(), next_id: 0, rides: Vec::new(), protocol, seats: MAX_STREAMS }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }

    /// Who joins it next.
    pub(super) fn next_id(&self) -> u64 {
        self.next_id
    }

    /// Joins it at its end.
    pub(super) fn push(&mut self, need: Need, connect_timeout: Duration, answer: Answer) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.waiters.push_back(Waiter { id, need, answer, hope: Hope::Room, is_alone: false, connect_timeout });
        id
    }

    /// Leaves it.
    pub(super) fn remove(&mut self, id: u64) -> Option<Waiter> {
        let index = self.index_of(id)?;
        self.take(index)
    }

    /// Ids ascend.
    fn index_of(&self, id: u64) -> Option<usize> {
        self.waiters.binary_search_by_key(&id, |waiter| waiter.id).ok()
    }

    pub(super) fn position(&self, is_it: impl FnMut(&Waiter) -> bool) -> Option<usize> {
        self.waiters.iter().position(is_it)
    }

    pub(super) fn get(&self, index: usize) -> Option<&Waiter> {
        self.waiters.get(index)
    }

    pub(super) fn take(&mut self, index: usize) -> Option<Waiter> {
        self.waiters.remove(index)
    }

    /// Whether a connect is under way that is to serve this one.
    pub(super) fn is_connecting(&self, id: u64) -> bool {
        self.index_of(id).is_some_and(|index| self.waiters[index].hope != Hope::Room)
    }

    /// Whether this one waits for another's connect to tell the protocol.
    pub(super) fn awaits_protocol(&self, id: u64) -> bool {
        let rides = |index: usize| matches!(self.waiters[index].hope, Hope::Ride(_));
        self.protocol == Protocol::Unknown && self.index_of(id).is_some_and(rides)
    }

    /// Places the oldest who has no hope yet, or the one of this id: on somebody's connect, or, if there is room, on one of
    /// their own, which is to be started. None when there is nothing to start.
    pub(super) fn place(&mut self, only: Option<u64>, has_room: bool) -> Option<Order> {
        let now = Instant::now();
        let (protocol, seats) = (self.protocol, self.seats);
        let range = match only {
            Some(id) => self.index_of(id).map_or(0..0, |index| index..index + 1),
            None => 0..self.waiters.len(),
        };
        for waiter in self.waiters.range_mut(range).filter(|waiter| waiter.hope == Hope::Room) {
            let may_share = waiter.need != Need::Upgrade && !waiter.is_alone && protocol != Protocol::Http1;
            let is_open = |ride: &&mut Ride| ride.seats > 0 && now.duration_since(ride.since) < RIDE;
            if may_share && let Some(ride) = self.rides.iter_mut().find(is_open) {
                ride.seats -= 1;
                waiter.hope = Hope::Ride(ride.id);
            } else if has_room {
                waiter.hope = Hope::Connect;
                if may_share {
                    // As long as the protocol is not known, everybody waits for it.
                    let seats = if protocol == Protocol::Unknown { usize::MAX } else { seats - 1 };
                    self.rides.push(Ride { id: waiter.id, since: now, seats, is_connected: false });
                }
                return Some(Order { id: waiter.id, need: waiter.need, timeout: waiter.connect_timeout });
            } else if self.rides.is_empty() {
                return None;
            }
        }
        None
    }

    /// A new connection speaks this.
    pub(super) fn learn(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// The connect of this one became an HTTP/2 connection. As many as it is expected to serve wait for it to tell its limit.
    pub(super) fn connected(&mut self, id: u64) {
        let mut seats = self.seats;
        for waiter in &mut self.waiters {
            let hopes = waiter.hope == Hope::Ride(id) || (waiter.id == id && waiter.hope == Hope::Connect);
            if hopes {
                waiter.hope = if seats > 0 { Hope::Ride(id) } else { Hope::Room };
                seats = seats.saturating_sub(1);
            }
        }
        match self.rides.iter_mut().find(|ride| ride.id == id) {
            Some(ride) => (ride.seats, ride.is_connected) = (seats, true),
            // It was opened for one who had given up on riding, and he waits for its limit like everybody else.
            None => self.rides.push(Ride { id, since: Instant::now(), seats, is_connected: true }),
        }
    }

    /// The HTTP/2 connection of this one has told its limit: who finds no seat on it looks for another.
    pub(super) fn settled(&mut self, id: u64, seats: usize) {
        self.seats = seats.max(1);
        self.end_ride(id, false);
    }

    /// The HTTP/2 connection of this one ended before it told its limit: who waits for that looks after himself. If it is
    /// not known here yet, its delivery sees to it.
    pub(super) fn lost(&mut self, id: u64) {
        if self.rides.iter().any(|ride| ride.id == id && ride.is_connected) {
            self.end_ride(id, true);
        }
    }

    /// The connect of this one helps nobody else: it failed, or became an HTTP/1 connection.
    pub(super) fn end_ride(&mut self, id: u64, has_failed: bool) {
        if let Some(index) = self.rides.iter().position(|ride| ride.id == id) {
            self.rides.swap_remove(index);
            for waiter in self.waiters.iter_mut().filter(|waiter| waiter.hope == Hope::Ride(id)) {
                waiter.hope = Hope::Room;
                waiter.is_alone |= has_failed;
            }
        }
    }

    /// This one waits for nobody else any more.
    pub(super) fn go_alone(&mut self, id: u64) {
        let Some(index) = self.index_of(id) else { return };
        let waiter = &mut self.waiters[index];
        if matches!(waiter.hope, Hope::Ride(_)) {
            waiter.hope = Hope::Room;
            waiter.is_alone = true;
        }
    }
}

impl Waiter {
    /// Whether nothing is under way for this one, because there was no room.
    pub(super) fn has_no_hope(&self) -> bool {
        self.hope == Hope::Room
    }
}
