//! `MAX_BUFFERED_BYTES`: all buffered bodies together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A number of bytes that all buffered bodies share. What cannot be held is refused, and the process lives.
#[derive(Debug)]
pub struct Quota {
    limit: usize,
    used: AtomicUsize,
}

/// There is no room for so much more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// A part of the quota, given back when dropped.
#[derive(Debug)]
pub struct Held {
    quota: Arc<Quota>,
    bytes: usize,
}

impl Quota {
    /// So many bytes for all together.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicUsize::new(0) })
    }

    /// How many bytes are held now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// How many bytes there are for all together.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// A part of no bytes yet.
    pub fn hold(self: &Arc<Self>) -> Held {
        Held { quota: Arc::clone(self), bytes: 0 }
    }
}

impl Held {
    /// Takes so many bytes more, or none.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Full> {
        let quota = &self.quota;
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= quota.limit);
        quota.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).map_err(|_| Full)?;
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.quota.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However parts grow, are refused and are dropped: never more than the limit, and nothing is lost.
        #[test]
        fn the_balance_holds(steps in prop::collection::vec((0usize..6, prop::option::of(0usize..60)), 0..80)) {
            let quota = Quota::new(100);
            let mut parts: Vec<Held> = (0..6).map(|_| quota.hold()).collect();
            let mut expected = [0usize; 6];
            for (who, step) in steps {
                if let Some(bytes) = step {
                    let fits = expected.iter().sum::<usize>() + bytes <= 100;
                    prop_assert_eq!(parts[who].grow(bytes).is_ok(), fits);
                    if fits {
                        expected[who] += bytes;
                    }
                } else {
                    parts[who] = quota.hold();
                    expected[who] = 0;
                }
                prop_assert_eq!(quota.used(), expected.iter().sum::<usize>());
            }
            drop(parts);
            prop_assert_eq!(quota.used(), 0);
        }
    }
}
