//! Chance, from a seed.

use std::ops::RangeInclusive;
use std::time::Duration;

use fastrand::Rng;

/// A source of chance of its own for each actor: what one of them draws changes nothing for the others.
#[derive(Clone, Debug)]
pub(super) struct Dice(Rng);

impl Dice {
    /// The dice of one actor in one world.
    pub(super) fn new(seed: u64, actor: u64) -> Self {
        // Far apart, so that the worlds of neighbouring seeds have nothing in common.
        Self(Rng::with_seed(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ actor.wrapping_mul(0xD1B5_4A32_D192_ED03)))
    }

    /// True so often: 0.0 never, 1.0 always.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.0.f64() < probability
    }

    /// One of these, each as likely as the others.
    pub(super) fn one_of<T: Clone>(&mut self, among: &[T]) -> T {
        among[self.0.usize(..among.len())].clone()
    }

    /// A number in a range.
    pub(super) fn number(&mut self, range: RangeInclusive<usize>) -> usize {
        self.0.usize(range)
    }

    /// A time that is interesting beside a limit: much shorter, just short of it, on it, just or far above it.
    pub(super) fn around(&mut self, limit: Duration) -> Duration {
        match self.0.u8(..6) {
            0 | 1 => limit / 10,
            2 => limit.saturating_sub(Duration::from_millis(1)),
            3 => limit,
            4 => limit + Duration::from_millis(1),
            _ => limit * 2,
        }
    }

    /// A pause as they occur in networks: mostly none.
    pub(super) fn pause(&mut self) -> Duration {
        Duration::from_millis(self.one_of(&[0, 0, 0, 1, 10, 100, 1000, 10_000]))
    }

    /// A short piece of everything: lengths of bodies, mostly small, now and then larger than any buffer.
    pub(super) fn length(&mut self) -> usize {
        let most = self.one_of(&[0, 1, 40, 40, 40, 1000, 1000, 1000, 1000, 5000, 5000, 20_000]);
        match self.0.u8(..) {
            0 | 1 => self.number(750_000..=1_000_000),
            2..=7 => self.number(100_000..=200_000),
            _ => self.number(0..=most),
        }
    }

    /// So many bytes that nobody could guess.
    pub(super) fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.0.fill(&mut bytes);
        bytes
    }
}
