//! Durations in buckets.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How many durations fell into which bucket, and their sum.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One more than bounds: what is above the last of them.
    counts: Box<[AtomicU64]>,
    nanos: AtomicU64,
}

/// What a histogram holds, as Prometheus wants it. Histograms of the same bounds can be added.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Buckets {
    /// Upper bounds in seconds, ascending, and how many durations are not above them.
    pub cumulative: Vec<(f64, u64)>,
    /// How many there are in all.
    pub count: u64,
    /// Their sum, in seconds.
    pub sum: f64,
}

impl Histogram {
    /// An empty one. The bounds, in seconds, ascend; a duration that equals one is within it.
    pub fn new(bounds: &'static [f64]) -> Self {
        let counts = std::iter::repeat_with(AtomicU64::default).take(bounds.len() + 1).collect();
        Self { bounds, counts, nanos: AtomicU64::new(0) }
    }

    /// One more.
    pub fn observe(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let index = self.bounds.partition_point(|bound| *bound < seconds);
        if let Some(count) = self.counts.get(index) {
            count.fetch_add(1, Relaxed);
        }
        self.nanos.fetch_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// What it holds now. The counts agree with each other; the sum may be one observation ahead or behind.
    pub fn buckets(&self) -> Buckets {
        let mut count = 0;
        let mut counts = self.counts.iter().map(|bucket| {
            count += bucket.load(Relaxed);
            count
        });
        let cumulative = self.bounds.iter().copied().zip(counts.by_ref()).collect();
        let count = counts.next().unwrap_or_default();
        Buckets { cumulative, count, sum: Duration::from_nanos(self.nanos.load(Relaxed)).as_secs_f64() }
    }
}

impl Buckets {
    /// Adds those of another histogram with the same bounds, or with none to begin with.
    pub fn add(&mut self, other: &Self) {
        if self.cumulative.is_empty() {
            self.cumulative = other.cumulative.iter().map(|(bound, _)| (*bound, 0)).collect();
        }
        for ((_, count), (_, more)) in self.cumulative.iter_mut().zip(&other.cumulative) {
            *count += more;
        }
        self.count += other.count;
        self.sum += other.sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(millis: &[u64]) -> Buckets {
        let histogram = Histogram::new(&[0.1, 1.0]);
        for millis in millis {
            histogram.observe(Duration::from_millis(*millis));
        }
        histogram.buckets()
    }

    #[test]
    fn a_duration_is_in_every_bucket_that_it_is_not_above() {
        let buckets = filled(&[0, 100, 101, 1000, 5000]);
        assert_eq!(buckets, Buckets { cumulative: vec![(0.1, 2), (1.0, 4)], count: 5, sum: 6.201 });
    }

    #[test]
    fn histograms_are_added_bucket_by_bucket() {
        let mut sum = Buckets::default();
        sum.add(&filled(&[50]));
        sum.add(&filled(&[500, 5000]));
        assert_eq!(sum, Buckets { cumulative: vec![(0.1, 1), (1.0, 2)], count: 3, sum: 5.55 });
    }
}
