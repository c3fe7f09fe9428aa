//! How time to headers and the deadline relate, in words for people. (p)

use std::fmt;
use std::time::Duration;

/// So few heads say nothing about p99.
const FEW: u64 = 20;
/// A deadline of so many times p99 notices silence late.
const GENEROUS: f64 = 100.0;
/// Below so many times p99 it comes close to answers that are only slow.
const TIGHT: f64 = 2.0;
/// Where the deadline is tight, one missed in so many attempts means that it is too short for some.
const OFTEN: u64 = 100;

/// What the recent waits under a deadline amount to. Displayed as `time to headers p50 0.4s, p99 3.2s (1234 heads, 5
/// missed the deadline): your deadline is 9 x p99`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// The deadline.
    pub deadline: Duration,
    /// How many attempts had a head.
    pub heads: u64,
    /// How many missed the deadline.
    pub missed: u64,
    /// Half of the heads came within this.
    pub p50: Duration,
    /// All but one in a hundred came within this.
    pub p99: Duration,
}

impl Outlook {
    /// Whether there was any attempt to speak of.
    pub fn is_empty(&self) -> bool {
        self.heads == 0 && self.missed == 0
    }

    fn ratio(&self) -> f64 {
        self.deadline.as_secs_f64() / self.p99.as_secs_f64().max(1e-6)
    }
}

impl fmt::Display for Outlook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("no attempt in the last hour");
        }
        let Self { heads, missed, .. } = *self;
        let noun = if heads == 1 { "head" } else { "heads" };
        if heads < FEW {
            return write!(f, "too few to tell ({heads} {noun}, {missed} missed the deadline)");
        }
        let (p50, p99) = (Seconds(self.p50), Seconds(self.p99));
        write!(f, "time to headers p50 {p50}, p99 {p99} ({heads} {noun}, {missed} missed the deadline): ")?;
        let ratio = self.ratio();
        if ratio < 10.0 {
            let text = format!("{ratio:.1}");
            write!(f, "your deadline is {} x p99", text.trim_end_matches(".0"))?;
        } else {
            write!(f, "your deadline is {ratio:.0} x p99")?;
        }
        if ratio >= GENEROUS {
            f.write_str("; a silent attempt is noticed late, and a shorter one would do")
        } else if ratio >= TIGHT {
            Ok(())
        } else if missed.saturating_mul(OFTEN) >= heads.saturating_add(missed) {
            f.write_str("; some of those that missed it may only have been slow, and a longer one would serve them")
        } else {
            f.write_str("; it comes close to answers that are only slow")
        }
    }
}

/// Seconds with two digits that count.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        let digits = match seconds {
            10.0.. => 0,
            1.0.. => 1,
            0.1.. => 2,
            0.01.. => 3,
            _ => 4,
        };
        write!(f, "{seconds:.digits$}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outlook(heads: u64, missed: u64, p99: u64) -> String {
        let (p50, p99) = (Duration::from_millis(p99 / 4), Duration::from_millis(p99));
        Outlook { deadline: Duration::from_secs(30), heads, missed, p50, p99 }.to_string()
    }

    #[test]
    fn the_deadline_is_put_as_a_multiple_of_p99() {
        for (heads, missed, p99, words) in [
            (0, 0, 0, "no attempt in the last hour"),
            (1, 0, 100, "too few to tell (1 head, 0 missed the deadline)"),
            (19, 40, 100, "too few to tell (19 heads, 40 missed the deadline)"),
            (
                20,
                0,
                3200,
                "time to headers p50 0.80s, p99 3.2s (20 heads, 0 missed the deadline): your deadline is 9.4 x p99",
            ),
            (
                1234,
                500,
                3000,
                "time to headers p50 0.75s, p99 3.0s (1234 heads, 500 missed the deadline): your deadline is 10 x p99",
            ),
            (
                50,
                0,
                60,
                "time to headers p50 0.015s, p99 0.060s (50 heads, 0 missed the deadline): your deadline is 500 x p99; a \
                 silent attempt is noticed late, and a shorter one would do",
            ),
            (
                200,
                1,
                20_000,
                "time to headers p50 5.0s, p99 20s (200 heads, 1 missed the deadline): your deadline is 1.5 x p99; it comes \
                 close to answers that are only slow",
            ),
            (
                198,
                2,
                30_000,
                "time to headers p50 7.5s, p99 30s (198 heads, 2 missed the deadline): your deadline is 1 x p99; some of \
                 those that missed it may only have been slow, and a longer one would serve them",
            ),
        ] {
            assert_eq!(outlook(heads, missed, p99), words);
        }
    }

    #[test]
    fn answers_without_any_delay_are_no_division_by_zero() {
        assert!(outlook(20, 0, 0).contains("your deadline is 30000000 x p99;"));
    }
}
