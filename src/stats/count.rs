//! Numbers that many tasks count at once.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn count(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }

    /// How many there were.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// How many of something there are now.
#[derive(Debug, Default)]
pub struct Level(AtomicU64);

impl Level {
    /// One more.
    pub fn rise(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// One less. Each was counted by [`rise`](Self::rise) before.
    pub fn fall(&self) {
        self.0.fetch_sub(1, Relaxed);
    }

    /// How many there are.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// How often something ended in which way.
///
/// The common outcomes have their places, the most frequent first; the rare ones, which fail anyway, are kept as they come,
/// so that no route shows dozens of series in which nothing ever happens.
#[derive(Debug)]
pub struct Outcomes<const N: usize> {
    common: [(&'static str, Counter); N],
    rare: Mutex<Vec<(&'static str, u64)>>,
}

impl<const N: usize> Outcomes<N> {
    /// None yet; these are the common ones.
    pub fn new(common: [&'static str; N]) -> Self {
        Self { common: common.map(|outcome| (outcome, Counter::default())), rare: Mutex::default() }
    }

    /// One more that ended so.
    pub fn count(&self, outcome: &'static str) {
        if let Some((_, counter)) = self.common.iter().find(|(common, _)| *common == outcome) {
            return counter.count();
        }
        let mut rare = self.rare.lock().unwrap_or_else(PoisonError::into_inner);
        match rare.iter_mut().find(|(known, _)| *known == outcome) {
            Some((_, count)) => *count += 1,
            None => rare.push((outcome, 1)),
        }
    }

    /// How many ended so.
    pub fn of(&self, outcome: &str) -> u64 {
        self.all().into_iter().find(|(known, _)| *known == outcome).map_or(0, |(_, count)| count)
    }

    /// All that there are: the common ones, and those that have happened.
    pub fn all(&self) -> Vec<(&'static str, u64)> {
        let mut all: Vec<_> = self.common.iter().map(|(outcome, counter)| (*outcome, counter.get())).collect();
        all.extend(self.rare.lock().unwrap_or_else(PoisonError::into_inner).iter());
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_outcomes_are_there_from_the_start_and_rare_ones_once_they_happen() {
        let outcomes = Outcomes::new(["good", "bad"]);
        assert_eq!(outcomes.all(), [("good", 0), ("bad", 0)]);
        for outcome in ["bad", "odd", "good", "odd", "strange", "bad"] {
            outcomes.count(outcome);
        }
        assert_eq!(outcomes.all(), [("good", 1), ("bad", 2), ("odd", 2), ("strange", 1)]);
        assert_eq!((outcomes.of("odd"), outcomes.of("unheard of")), (2, 0));
    }
}
