//! One request to the upstream that several clients share: who has a place in it, and what has come of it so far.
//!
//! Whoever leads it tells it what happens; whoever has a [`Seat`] hears it, from the first byte on. While the answer may be
//! kept all of it is held, so that anybody can still join. Once it has become too long for that nobody joins any more, and
//! only a window of it is held, which moves with the slowest.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use smallvec::SmallVec;

use super::entry::Entry;
use super::tape::Tape;
use crate::body::{Held, Quota};
use crate::job::StoredHead;

/// How many bytes of an answer that is not kept are held, beyond which the upstream waits for the slowest.
pub(super) const WINDOW: u64 = 256 << 10;

/// A request under way. It never ends by itself: see [`Duty`](super::single_flight::Duty).
#[derive(Default)]
pub(super) struct Flight(Mutex<State>);

#[derive(Default)]
struct State {
    phase: Phase,
    places: BTreeMap<u64, Place>,
    next: u64,
    /// Whoever leads, while there is something for which it waits here.
    leader: Option<Waker>,
}

#[derive(Default)]
#[expect(clippy::large_enum_variant, reason = "there is one in each flight, and it becomes the large one")]
enum Phase {
    /// There is no head yet.
    #[default]
    Ahead,
    /// There is one, and its body comes or has come.
    Answered(Answer),
    /// It has nothing to share.
    Over(Verdict),
}

/// Why a flight has nothing to share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The answer is for the one who asked: the others go on alone.
    Private,
    /// There is no answer: another one may try.
    Failed,
}

struct Answer {
    head: Arc<StoredHead>,
    tape: Tape,
    /// How long the body is, where that was announced.
    length: Option<u64>,
    end: Option<End>,
    /// Anybody can still join, and will be told all of it; otherwise it is only passed on.
    is_kept: bool,
    /// None once there is nothing left of what was kept.
    keeping: Option<Keeping>,
    /// The leader waits for the slowest.
    is_full: bool,
}

enum End {
    Complete(HeaderMap),
    Broken,
}

/// How much may be kept, and what is.
pub(super) struct Keeping {
    max: u64,
    quota: Arc<Quota>,
    held: Held,
}

/// Where somebody is who has a seat.
#[derive(Default)]
struct Place {
    /// The next byte of the body.
    at: u64,
    waker: Option<Waker>,
}

/// What those without the lead hear first.
pub(super) enum News {
    Head(Arc<StoredHead>),
    Nothing(Verdict),
}

/// What a reader is given.
pub(super) enum Told {
    Data(Bytes),
    Complete(Option<HeaderMap>),
    /// The upstream broke off, or this reader was left behind.
    Broken,
}

/// What the leader finds when it looks around.
pub(super) enum Outlook {
    /// Nobody has a seat any more. Nobody can take one either.
    Abandoned,
    /// It has to wait for the one who is at this byte; whether others wait for him too.
    Full { slowest: u64, is_waited_for: bool },
    /// It can go on.
    Clear,
}

/// What became of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    Kept,
    /// From here on the answer is only passed on.
    Passed,
}

impl Flight {
    /// The leader's own seat.
    pub(super) fn first(self: &Arc<Self>) -> Seat {
        self.state().seat(self)
    }

    /// Takes a seat, if there still is something to come to.
    pub(super) fn join(self: &Arc<Self>) -> Option<Seat> {
        let mut state = self.state();
        let may_join = match &state.phase {
            Phase::Ahead => true,
            Phase::Answered(answer) => answer.is_kept && !matches!(answer.end, Some(End::Broken)),
            Phase::Over(_) => false,
        };
        may_join.then(|| state.seat(self))
    }

    /// Whether somebody has a seat.
    pub(super) fn is_followed(&self) -> bool {
        !self.state().places.is_empty()
    }

    /// For the leader: looks around, and is woken when that would change.
    pub(super) fn look_around(&self, cx: &Context<'_>) -> Outlook {
        let mut state = self.state();
        if state.places.is_empty() {
            state.fail();
            return Outlook::Abandoned;
        }
        if !state.leader.as_ref().is_some_and(|leader| leader.will_wake(cx.waker())) {
            state.leader = Some(cx.waker().clone());
        }
        let State { phase: Phase::Answered(answer), places, .. } = &mut *state else { return Outlook::Clear };
        if answer.is_kept {
            return Outlook::Clear;
        }
        let end = answer.tape.end();
        let slowest = places.values().map(|place| place.at).min().unwrap_or(end);
        answer.tape.free_before(slowest);
        answer.is_full = answer.tape.held() >= WINDOW;
        if !answer.is_full {
            answer.keeping = None;
            return Outlook::Clear;
        }
        Outlook::Full { slowest, is_waited_for: places.values().any(|place| place.at == end) }
    }

    /// Resolves when nobody has a seat any more. Cancel-safe.
    pub(super) async fn abandoned(&self) {
        poll_fn(|cx| if matches!(self.look_around(cx), Outlook::Abandoned) { Poll::Ready(()) } else { Poll::Pending })
            .await;
    }

    /// There is a head, and what follows may be shared.
    pub(super) fn land(&self, head: StoredHead, length: Option<u64>, keeping: Keeping) {
        let (head, tape) = (Arc::new(head), Tape::default());
        let answer = Answer { head, tape, length, end: None, is_kept: true, keeping: Some(keeping), is_full: false };
        self.change(|state| state.phase = Phase::Answered(answer));
    }

    /// There is the whole answer.
    pub(super) fn land_whole(&self, entry: &Entry) {
        let mut tape = Tape::default();
        tape.push(entry.body.clone());
        let (head, end) = (Arc::new(entry.head.clone()), Some(End::Complete(entry.trailers.clone())));
        let answer = Answer { head, tape, length: None, end, is_kept: true, keeping: None, is_full: false };
        self.change(|state| state.phase = Phase::Answered(answer));
    }

    /// The next bytes of the body. If they are the last ones, nobody ever sees them without the end.
    pub(super) fn push(&self, chunk: Bytes, is_last: bool) -> Pushed {
        self.change(|state| {
            let Phase::Answered(answer) = &mut state.phase else { return Pushed::Passed };
            let keeping = answer.keeping.as_mut().filter(|_| answer.is_kept);
            answer.is_kept = keeping.is_some_and(|keeping| keeping.has_room(&answer.tape, chunk.len()));
            answer.tape.push(chunk);
            if is_last {
                answer.end = Some(End::Complete(HeaderMap::new()));
            }
            if answer.is_kept { Pushed::Kept } else { Pushed::Passed }
        })
    }

    /// The body is complete.
    pub(super) fn complete(&self, trailers: HeaderMap) {
        self.change(|state| {
            if let Phase::Answered(answer) = &mut state.phase {
                answer.end = Some(End::Complete(trailers));
            }
        });
    }

    /// There is an answer, and it is not for others.
    pub(super) fn keep_private(&self) {
        self.change(|state| state.phase = Phase::Over(Verdict::Private));
    }

    /// Whatever has not come yet will not come.
    pub(super) fn fail(&self) {
        self.change(State::fail);
    }

    /// The whole answer, if it may be kept.
    pub(super) fn whole(&self) -> Option<(Arc<StoredHead>, Vec<Bytes>, HeaderMap)> {
        let mut state = self.state();
        match &mut state.phase {
            Phase::Answered(Answer { head, tape, is_kept: true, end: Some(End::Complete(trailers)), .. }) => {
                Some((Arc::clone(head), tape.pieces(), trailers.clone()))
            }
            _ => None,
        }
    }

    /// Takes the seats of those who are at this byte: all others wait for them.
    pub(super) fn leave_behind(&self, at: u64) {
        let left: SmallVec<[Place; 4]> =
            self.state().places.extract_if(.., |_, place| place.at == at).map(|(_, place)| place).collect();
        left.into_iter().filter_map(|place| place.waker).for_each(Waker::wake);
    }

    /// Changes something, and wakes all who wait for it.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let result = change(&mut state);
        let wakers: SmallVec<[Waker; 4]> = state.places.values_mut().filter_map(|place| place.waker.take()).collect();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        result
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn seat(&mut self, flight: &Arc<Flight>) -> Seat {
        let id = self.next;
        self.next += 1;
        self.places.insert(id, Place::default());
        Seat { flight: Arc::clone(flight), id }
    }

    fn fail(&mut self) {
        match &mut self.phase {
            Phase::Ahead => self.phase = Phase::Over(Verdict::Failed),
            Phase::Answered(answer) => {
                answer.end.get_or_insert(End::Broken);
            }
            Phase::Over(_) => {}
        }
    }

    fn wait(&mut self, id: u64, cx: &Context<'_>) {
        if let Some(place) = self.places.get_mut(&id)
            && !place.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            place.waker = Some(cx.waker().clone());
        }
    }
}

impl Keeping {
    /// Up to so many bytes (`CACHE_MAX_ENTRY_BYTES`). They are taken from the quota of all buffered bodies; but those of
    /// requests come first, so one half of it is theirs alone.
    pub(super) fn new(max: u64, quota: &Arc<Quota>) -> Self {
        Self { max, quota: Arc::clone(quota), held: quota.hold() }
    }

    /// Takes so many bytes more, if there is room.
    fn has_room(&mut self, tape: &Tape, more: usize) -> bool {
        tape.end() + more as u64 <= self.max
            && self.quota.used() < self.quota.limit() / 2
            && self.held.grow(more).is_ok()
    }
}

/// A place in a flight, given back when dropped.
pub(super) struct Seat {
    flight: Arc<Flight>,
    id: u64,
}

impl Seat {
    /// Resolves when there is a head, or it is clear that there will be none. Cancel-safe.
    pub(super) async fn news(&self) -> News {
        poll_fn(|cx| {
            let mut state = self.flight.state();
            match &state.phase {
                Phase::Ahead => {
                    state.wait(self.id, cx);
                    Poll::Pending
                }
                // He has told his client nothing yet.
                Phase::Answered(Answer { end: Some(End::Broken), .. }) => Poll::Ready(News::Nothing(Verdict::Failed)),
                Phase::Answered(answer) => Poll::Ready(News::Head(Arc::clone(&answer.head))),
                Phase::Over(verdict) => Poll::Ready(News::Nothing(*verdict)),
            }
        })
        .await
    }

    /// What comes next of the body.
    pub(super) fn poll_told(&self, cx: &Context<'_>) -> Poll<Told> {
        let mut state = self.flight.state();
        let State { phase, places, leader, .. } = &mut *state;
        let (Phase::Answered(answer), Some(place)) = (phase, places.get_mut(&self.id)) else {
            return Poll::Ready(Told::Broken);
        };
        let leader = if answer.is_full { leader.take() } else { None };
        let told = if let Some(data) = answer.tape.read(place.at) {
            place.at += data.len() as u64;
            Poll::Ready(Told::Data(data))
        } else {
            match &answer.end {
                Some(End::Complete(trailers)) => {
                    Poll::Ready(Told::Complete(Some(trailers).filter(|trailers| !trailers.is_empty()).cloned()))
                }
                Some(End::Broken) => Poll::Ready(Told::Broken),
                None => {
                    state.wait(self.id, cx);
                    Poll::Pending
                }
            }
        };
        drop(state);
        if let Some(leader) = leader {
            leader.wake();
        }
        told
    }

    /// How many bytes are still to come, where that is known; and whether nothing is, no trailers either.
    pub(super) fn rest(&self) -> (Option<u64>, bool) {
        let state = self.flight.state();
        let (Phase::Answered(answer), Some(place)) = (&state.phase, state.places.get(&self.id)) else {
            return (None, false);
        };
        match &answer.end {
            Some(End::Complete(trailers)) if trailers.is_empty() => {
                let rest = answer.tape.end() - place.at;
                (Some(rest), rest == 0)
            }
            _ => (answer.length.map(|length| length.saturating_sub(place.at)), false),
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.flight.state();
        state.places.remove(&self.id);
        let is_full = matches!(&state.phase, Phase::Answered(Answer { is_full: true, .. }));
        let leader = if is_full || state.places.is_empty() { state.leader.take() } else { None };
        drop(state);
        if let Some(leader) = leader {
            leader.wake();
        }
    }
}
