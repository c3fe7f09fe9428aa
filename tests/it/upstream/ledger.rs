//! What an upstream has seen, whichever protocol it speaks.

use std::collections::HashMap;
use std::net::{Shutdown, TcpStream};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::{PATIENCE, Seen};

/// The requests and connections of one upstream.
pub struct Ledger {
    pages: Mutex<Pages>,
    changed: Condvar,
}

struct Pages {
    seen: Vec<Seen>,
    /// How many requests [`Ledger::forget`] dropped; the number of a request counts them.
    forgotten: usize,
    accepted: usize,
    /// The open connections by id. Removed before a connection is closed: the last handle closes the socket.
    open: HashMap<usize, TcpStream>,
    stopped: bool,
}

impl Ledger {
    pub(super) fn new() -> Self {
        let pages = Pages { seen: Vec::new(), forgotten: 0, accepted: 0, open: HashMap::new(), stopped: false };
        Self { pages: Mutex::new(pages), changed: Condvar::new() }
    }

    /// Every request so far, in the order in which their heads arrived.
    pub fn seen(&self) -> Vec<Seen> {
        self.pages().seen.clone()
    }

    /// How many connections were accepted so far.
    pub fn accepted(&self) -> usize {
        self.pages().accepted
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.pages().open.len()
    }

    /// Forgets what was seen, between two cases that share one upstream.
    pub fn forget(&self) {
        let mut pages = self.pages();
        pages.forgotten += pages.seen.len();
        pages.seen.clear();
    }

    /// Waits until the heads of at least `count` requests have arrived.
    #[track_caller]
    pub fn wait_seen(&self, count: usize) -> Vec<Seen> {
        self.wait(&format!("{count} requests at the upstream"), |seen| seen.len() >= count)
    }

    /// Waits until what was seen fulfils the condition.
    #[track_caller]
    pub fn wait(&self, what: &str, mut condition: impl FnMut(&[Seen]) -> bool) -> Vec<Seen> {
        self.wait_pages(|pages| condition(&pages.seen), |pages| format!("{what}; seen: {:#?}", pages.seen));
        self.seen()
    }

    /// Waits until every connection is closed.
    #[track_caller]
    pub fn wait_all_closed(&self) {
        self.wait_pages(
            |pages| pages.open.is_empty(),
            |pages| format!("the end of {} upstream connections", pages.open.len()),
        );
    }

    #[track_caller]
    fn wait_pages(&self, mut condition: impl FnMut(&Pages) -> bool, what: impl Fn(&Pages) -> String) {
        let end = Instant::now() + PATIENCE;
        let mut pages = self.pages();
        while !condition(&pages) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let what = what(&pages);
                drop(pages);
                panic!("waited in vain for {what}");
            }
            pages = self.changed.wait_timeout(pages, left).unwrap().0;
        }
    }

    /// Asserts that exactly `count` requests have arrived, and that no further one comes for a while.
    ///
    /// The while can only be too short to notice a bug, never turn a good run red.
    #[track_caller]
    pub fn assert_no_more_than(&self, count: usize, a_while: Duration) {
        thread::sleep(a_while);
        let seen = self.seen();
        assert_eq!(seen.len(), count, "requests at the upstream: {seen:#?}");
    }

    /// Asserts that nothing that arrived has two readings.
    #[track_caller]
    pub fn assert_unambiguous(&self) {
        for seen in self.seen() {
            assert!(seen.problems.is_empty(), "an ambiguous request reached the upstream: {seen:#?}");
        }
    }

    pub(super) fn stopped(&self) -> bool {
        self.pages().stopped
    }

    /// Closes every connection. A failed test may have poisoned the lock; what is left must still be closed.
    pub(super) fn stop(&self) {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        pages.stopped = true;
        for socket in pages.open.values() {
            let _ = socket.shutdown(Shutdown::Both);
        }
        drop(pages);
        self.changed.notify_all();
    }

    /// Counts a connection; none when it is over.
    pub(super) fn opened(&self, socket: &TcpStream) -> Option<usize> {
        let mut pages = self.pages();
        if pages.stopped {
            return None;
        }
        pages.accepted += 1;
        let id = pages.accepted;
        pages.open.insert(id, socket.try_clone().unwrap());
        drop(pages);
        self.changed.notify_all();
        Some(id)
    }

    /// The handle that is kept here goes first, then the connection's own.
    pub(super) fn closed(&self, id: usize) {
        self.pages().open.remove(&id);
        self.changed.notify_all();
    }

    /// Records a request, together with what is chosen for it: its number, and the choice.
    pub(super) fn begin<T>(&self, seen: Seen, choose: impl FnOnce(&Seen) -> T) -> (usize, T) {
        let mut pages = self.pages();
        let number = pages.forgotten + pages.seen.len();
        let chosen = choose(&seen);
        pages.seen.push(seen);
        drop(pages);
        self.changed.notify_all();
        (number, chosen)
    }

    /// Adds to what is known of a request.
    pub(super) fn update(&self, number: usize, change: impl FnOnce(&mut Seen)) {
        let mut pages = self.pages();
        if let Some(index) = number.checked_sub(pages.forgotten)
            && let Some(seen) = pages.seen.get_mut(index)
        {
            change(seen);
        }
        drop(pages);
        self.changed.notify_all();
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap()
    }
}
