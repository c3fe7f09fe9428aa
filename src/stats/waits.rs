//! How long attempts have waited for headers in the last hour.

use std::mem;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::time::Instant;

use super::Outlook;

/// Two generations are kept, so what is told covers the last half hour at least, and an hour at most.
const GENERATION: Duration = Duration::from_secs(1800);
/// Digits that count: p50 and p99 are exact to a percent.
const DIGITS: u8 = 2;

/// The waits under one deadline.
#[derive(Debug)]
pub struct Waits {
    name: &'static str,
    deadline: Duration,
    window: Mutex<Window>,
}

#[derive(Debug)]
struct Window {
    since: Instant,
    recent: Generation,
    before: Generation,
}

#[derive(Debug, Default)]
struct Generation {
    /// In microseconds. None until there is one: most routes have no more than one of the two deadlines.
    heads: Option<Histogram<u32>>,
    missed: u64,
}

impl Waits {
    /// None yet.
    pub(super) fn new(name: &'static str, deadline: Duration) -> Self {
        let window = Window { since: Instant::now(), recent: Generation::default(), before: Generation::default() };
        Self { name, deadline, window: Mutex::new(window) }
    }

    /// What people call the deadline.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The deadline.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// An attempt had its head after so long.
    pub(super) fn had_head(&self, after: Duration) {
        self.now(|window| window.recent.record(after));
    }

    /// An attempt has missed the deadline.
    pub(super) fn missed(&self) {
        self.now(|window| window.recent.missed += 1);
    }

    /// What they amount to.
    pub fn outlook(&self) -> Outlook {
        self.now(|window| {
            let generations = [&window.before, &window.recent];
            let missed = generations.iter().map(|generation| generation.missed).sum();
            let mut all: Option<Histogram<u32>> = None;
            for heads in generations.into_iter().filter_map(|generation| generation.heads.as_ref()) {
                match &mut all {
                    // It grows as it must: nothing can be out of its range.
                    Some(all) => {
                        let _ = all.add(heads);
                    }
                    None => all = Some(heads.clone()),
                }
            }
            let at = |quantile| {
                all.as_ref().map_or(Duration::ZERO, |all| Duration::from_micros(all.value_at_quantile(quantile)))
            };
            let heads = all.as_ref().map_or(0, Histogram::len);
            Outlook { deadline: self.deadline, heads, missed, p50: at(0.5), p99: at(0.99) }
        })
    }

    fn now<T>(&self, look: impl FnOnce(&mut Window) -> T) -> T {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        window.turn();
        look(&mut window)
    }
}

impl Window {
    /// Forgets what is too old.
    fn turn(&mut self) {
        let age = self.since.elapsed();
        if age < GENERATION {
            return;
        }
        self.before = mem::take(&mut self.recent);
        if age >= 2 * GENERATION {
            self.before = Generation::default();
        }
        self.since = Instant::now();
    }
}

impl Generation {
    fn record(&mut self, after: Duration) {
        if self.heads.is_none() {
            self.heads = Histogram::new(DIGITS).ok();
        }
        if let Some(heads) = &mut self.heads {
            // It grows as it must: only hundreds of thousands of years would be too long for it.
            let _ = heads.record(u64::try_from(after.as_micros()).unwrap_or(u64::MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn waits() -> Waits {
        Waits::new("header deadline", Duration::from_secs(30))
    }

    #[tokio::test(start_paused = true)]
    async fn half_of_the_heads_came_within_p50_and_one_in_a_hundred_after_p99() {
        let waits = waits();
        (1..=1000).for_each(|n| waits.had_head(Duration::from_millis(10 * n)));
        waits.missed();
        let Outlook { heads, missed, p50, p99, .. } = waits.outlook();
        assert_eq!((heads, missed), (1000, 1));
        assert!((p50.as_secs_f64() - 5.0).abs() < 0.05 && (p99.as_secs_f64() - 9.9).abs() < 0.1, "{p50:?} {p99:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_more_than_an_hour_old_is_forgotten() {
        let waits = waits();
        let seen = |waits: &Waits| (waits.outlook().heads, waits.outlook().missed);
        waits.had_head(Duration::from_secs(1));
        waits.missed();
        advance(GENERATION).await;
        waits.had_head(Duration::from_secs(2));
        assert_eq!(seen(&waits), (2, 1));
        advance(GENERATION).await;
        assert_eq!(seen(&waits), (1, 0));
        advance(2 * GENERATION).await;
        assert_eq!(seen(&waits), (0, 0));
        assert_eq!(waits.outlook().p99, Duration::ZERO);
    }
}
