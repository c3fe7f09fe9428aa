//! The pauses before further attempts. backon is their source; the loop is the plan's.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use super::Backoff;

/// The pauses of one race.
pub(super) struct Pauses(ExponentialBackoff);

impl Backoff {
    /// The pauses before the second attempt, the third, …: doubled each time up to `max`, each with jitter of ±20 %, so
    /// that exchanges which failed together do not come back together.
    pub(super) fn pauses(self) -> Pauses {
        let doubling = ExponentialBuilder::new()
            .with_min_delay(self.first)
            .with_max_delay(self.max)
            .with_factor(2.0)
            .without_max_times()
            .build();
        Pauses(doubling)
    }
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.0.next().map(|pause| pause.mul_f64(0.8 + 0.4 * fastrand::f64()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within(pause: Duration, millis: u64) -> bool {
        let expected = Duration::from_millis(millis);
        pause >= expected.mul_f64(0.799) && pause <= expected.mul_f64(1.201)
    }

    #[test]
    fn pauses_double_up_to_the_limit_with_a_fifth_of_jitter() {
        let backoff = Backoff { first: Duration::from_millis(250), max: Duration::from_secs(1) };
        for _ in 0..100 {
            let pauses: Vec<Duration> = backoff.pauses().take(5).collect();
            for (pause, millis) in pauses.iter().zip([250, 500, 1000, 1000, 1000]) {
                assert!(within(*pause, millis), "{pauses:?}");
            }
        }
    }

    #[test]
    fn no_backoff_means_no_pause() {
        let backoff = Backoff { first: Duration::ZERO, max: Duration::from_secs(5) };
        assert!(backoff.pauses().take(9).all(|pause| pause.is_zero()));
    }
}
