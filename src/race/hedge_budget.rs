//! How many hedges one route may start: a share of its exchanges, so that a slow upstream is not asked for twice as much.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::time::Instant;

/// Seconds over which exchanges and hedges are counted.
const WINDOW: usize = 10;

/// The budget of one route, shared by its exchanges.
#[derive(Debug)]
pub struct HedgeBudget {
    percent: u32,
    clock: Elapsed,
    window: Mutex<Window>,
    /// The hedge a second that is allowed in any case.
    minimum: RateLimiter<NotKeyed, InMemoryState, Elapsed, NoOpMiddleware<Duration>>,
}

impl HedgeBudget {
    /// A budget that nobody uses yet: `HEDGE_BUDGET_PERCENT` of the exchanges of ten seconds, and at least one a second.
    pub fn new(percent: u32) -> Arc<Self> {
        let clock = Elapsed(Instant::now());
        let minimum = RateLimiter::direct_with_clock(Quota::per_second(NonZeroU32::MIN), clock);
        Arc::new(Self { percent, clock, window: Mutex::default(), minimum })
    }

    /// Counts an exchange that may be hedged.
    pub fn exchange(&self) {
        let second = self.clock.now().as_secs();
        self.window.lock().unwrap_or_else(PoisonError::into_inner).at(second).exchanges += 1;
    }

    /// Takes one hedge, if the budget allows it: of the share first, and when that is used up of the minimum.
    pub fn hedge(&self) -> bool {
        let second = self.clock.now().as_secs();
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let (exchanges, hedges) = window.sums(second);
        let share = exchanges.saturating_mul(self.percent.into()) / 100;
        let allowed = hedges < share || self.minimum.check().is_ok();
        if allowed {
            window.at(second).hedges += 1;
        }
        allowed
    }
}

/// tokio's time as governor counts it, so that both follow the same clock, a paused one too.
#[derive(Clone, Copy, Debug)]
struct Elapsed(Instant);

impl Clock for Elapsed {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// What happened in the last ten seconds, second by second.
#[derive(Debug, Default)]
struct Window([Bucket; WINDOW]);

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    second: u64,
    exchanges: u64,
    hedges: u64,
}

impl Window {
    /// The bucket of this second. Whatever it held of an earlier one is forgotten.
    fn at(&mut self, second: u64) -> &mut Bucket {
        let bucket = &mut self.0[usize::try_from(second % WINDOW as u64).unwrap_or_default()];
        if bucket.second != second {
            *bucket = Bucket { second, ..Bucket::default() };
        }
        bucket
    }

    /// Exchanges and hedges of the ten seconds that end with this one.
    fn sums(&self, second: u64) -> (u64, u64) {
        let recent = self.0.iter().filter(|bucket| second.saturating_sub(bucket.second) < WINDOW as u64);
        recent.fold((0, 0), |(exchanges, hedges), bucket| (exchanges + bucket.exchanges, hedges + bucket.hedges))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::time::advance;

    use super::*;

    /// Takes hedges until one is refused.
    fn exhaust(budget: &HedgeBudget) -> usize {
        (0..1000).take_while(|_| budget.hedge()).count()
    }

    #[tokio::test(start_paused = true)]
    async fn the_share_of_ten_seconds_comes_first_and_one_a_second_in_any_case() {
        let budget = HedgeBudget::new(10);
        (0..50).for_each(|_| budget.exchange());
        assert_eq!(exhaust(&budget), 5 + 1, "a tenth of fifty, and the one of this second");
        advance(Duration::from_millis(900)).await;
        assert_eq!(exhaust(&budget), 0);
        advance(Duration::from_millis(100)).await;
        assert_eq!(exhaust(&budget), 1);
        (0..20).for_each(|_| budget.exchange());
        assert_eq!(exhaust(&budget), 0, "the share of seventy is seven, and seven were taken");
        advance(Duration::from_secs(9)).await;
        assert_eq!(exhaust(&budget), 1 + 1, "of the first second nothing is left but the twenty of the second one");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_share_there_is_still_one_a_second() {
        let budget = HedgeBudget::new(0);
        for _ in 0..20 {
            (0..1000).for_each(|_| budget.exchange());
            assert_eq!(exhaust(&budget), 1);
            advance(Duration::from_secs(1)).await;
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// Whenever exchanges come and hedges are asked for: the budget says what a ledger of every single one says, and
        /// over all time there were never more hedges than the share and one a second.
        #[test]
        fn it_keeps_the_ledger(
            percent in 0usize..150, steps in prop::collection::vec((0u64..3000, 0usize..20, 0usize..20), 1..40),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let budget = HedgeBudget::new(u32::try_from(percent).unwrap());
                let start = Instant::now();
                let (mut exchanges, mut hedges, mut minimum) = (Vec::new(), Vec::new(), None::<Duration>);
                for (pause, started, asked) in steps {
                    advance(Duration::from_millis(pause)).await;
                    let now = start.elapsed();
                    let recent = |times: &[Duration]| times.iter().filter(|t| t.as_secs() + 10 > now.as_secs()).count();
                    for _ in 0..started {
                        budget.exchange();
                        exchanges.push(now);
                    }
                    for _ in 0..asked {
                        let by_share = recent(&hedges) < recent(&exchanges) * percent / 100;
                        let by_minimum = !by_share && minimum.is_none_or(|last| now >= last + Duration::from_secs(1));
                        prop_assert_eq!(budget.hedge(), by_share || by_minimum, "at {:?}", now);
                        if by_minimum {
                            minimum = Some(now);
                        }
                        if by_share || by_minimum {
                            hedges.push(now);
                        }
                    }
                    let seconds = usize::try_from(now.as_secs()).unwrap();
                    prop_assert!(hedges.len() <= exchanges.len() * percent / 100 + 1 + seconds);
                }
                Ok(())
            })?;
        }
    }
}
