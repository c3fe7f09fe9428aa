//! Times: offsets within an exchange, durations as people write them, and a timer that is cheap to postpone.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{Instant, Sleep};

/// Time since an exchange began. The race's plan knows no other clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(Duration);

impl Offset {
    /// The beginning of the exchange.
    pub const ZERO: Self = Self(Duration::ZERO);

    /// So much after the beginning.
    pub const fn new(since_start: Duration) -> Self {
        Self(since_start)
    }

    /// The time since the beginning.
    pub const fn get(self) -> Duration {
        self.0
    }

    /// This much later. Saturates.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

/// A duration in the shortest exact form that configuration accepts: `250ms`, `30s`, `5m`, `1h30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Human(pub Duration);

impl fmt::Display for Human {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.subsec_nanos() {
            0 => {}
            nanos if nanos.is_multiple_of(1_000_000) && self.0.as_secs() == 0 => {
                return write!(f, "{}ms", nanos / 1_000_000);
            }
            // Not as a floating-point number: a long time with nanoseconds has more digits than one can hold.
            nanos => {
                let fraction = format!("{nanos:09}");
                return write!(f, "{}.{}s", self.0.as_secs(), fraction.trim_end_matches('0'));
            }
        }
        let seconds = self.0.as_secs();
        match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
            (0, 0, s) => write!(f, "{s}s"),
            (0, m, 0) => write!(f, "{m}m"),
            (0, 1, s) => write!(f, "{}s", 60 + s),
            (0, m, s) => write!(f, "{m}m{s}s"),
            (h, 0, 0) => write!(f, "{h}h"),
            (h, m, 0) => write!(f, "{h}h{m}m"),
            (h, m, s) => write!(f, "{h}h{m}m{s}s"),
        }
    }
}

/// A duration in seconds, with one decimal: `30.0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tenths(pub Duration);

impl fmt::Display for Tenths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // In whole numbers: a float would take longer to write than the rest of a log line.
        let tenths = self.0.saturating_add(Duration::from_millis(50)).as_millis() / 100;
        write!(f, "{}.{}", tenths / 10, tenths % 10)
    }
}

/// A point in time that outlives this process: milliseconds since 1970-01-01T00:00:00Z. Displayed as RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(u64);

impl UnixMillis {
    /// As a store keeps it.
    pub const fn new(millis: u64) -> Self {
        Self(millis)
    }

    /// By the clock of this machine, which may be wrong.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// The milliseconds.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// This much later. Saturates.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long it is since an earlier point; zero if that is the later one.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// The last moment that RFC 3339 has a name for.
const END_OF_YEAR_9999: Duration = Duration::from_secs(253_402_300_799);

impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = Duration::from_millis(self.0).min(END_OF_YEAR_9999);
        humantime::format_rfc3339_millis(UNIX_EPOCH + since).fmt(f)
    }
}

/// A deadline that moves far more often than it is reached, such as an idle limit.
///
/// Moving it *later* only stores a number: the timer underneath fires at the time it was last set to, sees that it is
/// too early, and goes on. Moving it *earlier* resets the timer. Nothing is registered until the first poll, so a
/// connection that never waits pays nothing.
#[derive(Debug, Default)]
pub struct LazyDeadline {
    at: Option<Instant>,
    /// Boxed: most connections of a busy server never wait long enough to need it.
    timer: Option<Pin<Box<Sleep>>>,
    /// Whom the timer wakes.
    waker: Option<Waker>,
}

impl LazyDeadline {
    /// Sets or moves the deadline.
    pub fn set(&mut self, at: Instant) {
        self.at = Some(at);
        if let Some(timer) = &mut self.timer
            && timer.deadline() > at
        {
            timer.as_mut().reset(at);
        }
    }

    /// There is no deadline any more.
    pub fn clear(&mut self) {
        self.at = None;
    }

    /// When it is due.
    pub fn at(&self) -> Option<Instant> {
        self.at
    }

    /// Ready once the deadline has passed; pending without one.
    ///
    /// The waker is woken at the deadline, and sometimes earlier for nothing.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else { return Poll::Pending };
        if self.will_wake(cx.waker()) {
            return Poll::Pending;
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        loop {
            if timer.as_mut().poll(cx).is_pending() {
                self.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            if timer.deadline() >= at {
                return Poll::Ready(());
            }
            timer.as_mut().reset(at);
        }
    }

    /// Whether the timer is under way and wakes this one: polled again it would do the same, but not as fast.
    fn will_wake(&self, waker: &Waker) -> bool {
        let is_known = self.waker.as_ref().is_some_and(|known| known.will_wake(waker));
        is_known && self.timer.as_ref().is_some_and(|timer| !timer.is_elapsed())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    use std::task::Wake;

    use super::*;

    #[test]
    fn durations_are_shown_as_configuration_takes_them() {
        for (millis, text) in [
            (0, "0s"),
            (250, "250ms"),
            (1_500, "1.5s"),
            (30_000, "30s"),
            (75_000, "75s"),
            (290_000, "4m50s"),
            (300_000, "5m"),
            (5_400_000, "1h30m"),
        ] {
            assert_eq!(Human(Duration::from_millis(millis)).to_string(), text);
        }
        assert_eq!(Human(Duration::new(31_535_999, 999_999_999)).to_string(), "31535999.999999999s");
        assert_eq!(Human(Duration::new(0, 10)).to_string(), "0.00000001s");
    }

    #[test]
    fn seconds_are_rounded_to_tenths() {
        for (millis, text) in [(0, "0.0"), (49, "0.0"), (50, "0.1"), (1_949, "1.9"), (1_950, "2.0"), (30_000, "30.0")] {
            assert_eq!(Tenths(Duration::from_millis(millis)).to_string(), text);
        }
        assert_eq!(Tenths(Duration::MAX).to_string(), "18446744073709551615.9");
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_was_moved_later_fires_at_the_later_time() {
        let start = Instant::now();
        let mut deadline = LazyDeadline::default();
        deadline.set(start + Duration::from_secs(1));
        let first = std::future::poll_fn(|cx| Poll::Ready(deadline.poll(cx))).await;
        assert!(first.is_pending());
        deadline.set(start + Duration::from_secs(3));
        std::future::poll_fn(|cx| deadline.poll(cx)).await;
        assert_eq!(start.elapsed().as_secs(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_was_moved_earlier_fires_at_the_earlier_time() {
        let start = Instant::now();
        let mut deadline = LazyDeadline::default();
        deadline.set(start + Duration::from_secs(60));
        let first = std::future::poll_fn(|cx| Poll::Ready(deadline.poll(cx))).await;
        assert!(first.is_pending());
        deadline.set(start + Duration::from_secs(1));
        std::future::poll_fn(|cx| deadline.poll(cx)).await;
        assert_eq!(start.elapsed().as_secs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_polled_last_is_woken() {
        let mut deadline = LazyDeadline::default();
        deadline.set(Instant::now() + Duration::from_secs(1));
        let counters = [(); 2].map(|()| Arc::new(Counter::default()));
        for counter in [0, 0, 1, 1, 0, 1].map(|index: usize| &counters[index]) {
            let waker = Waker::from(Arc::clone(counter));
            assert!(deadline.poll(&mut Context::from_waker(&waker)).is_pending());
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(counters.map(|counter| counter.0.load(Relaxed)), [0, 1]);
        assert!(deadline.poll(&mut Context::from_waker(Waker::noop())).is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn a_waker_that_a_shorter_deadline_woke_is_woken_by_the_next_one_too() {
        let start = Instant::now();
        let mut deadline = LazyDeadline::default();
        let counter = Arc::new(Counter::default());
        let waker = Waker::from(Arc::clone(&counter));
        for second in 1..=3 {
            deadline.set(start + Duration::from_secs(second));
            assert!(deadline.poll(&mut Context::from_waker(&waker)).is_pending());
            deadline.set(start + Duration::from_secs(second + 1));
            assert!(deadline.poll(&mut Context::from_waker(&waker)).is_pending());
            tokio::time::sleep_until(start + Duration::from_millis(1000 * second + 500)).await;
            assert_eq!(counter.0.load(Relaxed), second);
        }
    }

    #[derive(Default)]
    struct Counter(AtomicU64);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }
}
