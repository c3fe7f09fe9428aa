//! How many further attempts one upstream may see at once: an outage must not multiply its own load.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// `RETRY_BUDGET_PERCENT`, `RETRY_BUDGET_MIN`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetSettings {
    /// Further attempts under way at once, as a share of the upstream's exchanges that still wait for headers.
    pub percent: u32,
    /// …and at least so many.
    pub min: usize,
}

/// The budget of one upstream, shared by its exchanges.
#[derive(Debug)]
pub struct RetryBudget {
    settings: BudgetSettings,
    waiting: AtomicUsize,
    further: AtomicUsize,
}

/// An exchange that waits for headers. Counts until it is dropped.
#[derive(Debug)]
pub struct Waiting(Arc<RetryBudget>);

/// A further attempt that the budget allows. Counts until it is dropped.
#[derive(Debug)]
pub struct Further(Arc<RetryBudget>);

impl RetryBudget {
    /// A budget that nobody uses yet.
    pub fn new(settings: BudgetSettings) -> Arc<Self> {
        Arc::new(Self { settings, waiting: AtomicUsize::new(0), further: AtomicUsize::new(0) })
    }

    /// Counts an exchange that waits for headers.
    pub fn wait(self: &Arc<Self>) -> Waiting {
        self.waiting.fetch_add(1, Relaxed);
        Waiting(Arc::clone(self))
    }

    /// Exchanges that wait for headers, and further attempts under way.
    #[cfg(test)]
    pub(crate) fn in_use(&self) -> (usize, usize) {
        (self.waiting.load(Relaxed), self.further.load(Relaxed))
    }

    fn limit(&self) -> usize {
        let share = self.waiting.load(Relaxed).saturating_mul(self.settings.percent as usize) / 100;
        share.max(self.settings.min)
    }
}

impl Waiting {
    /// One further attempt for this exchange, if the budget allows it.
    pub fn further(&self) -> Option<Further> {
        let budget = &self.0;
        let limit = budget.limit();
        let allowed = budget.further.fetch_update(Relaxed, Relaxed, |now| (now < limit).then_some(now + 1));
        allowed.ok().map(|_| Further(Arc::clone(budget)))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}

impl Drop for Further {
    fn drop(&mut self) {
        self.0.further.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_waiting_exchanges_or_the_minimum_whichever_is_more() {
        let budget = RetryBudget::new(BudgetSettings { percent: 50, min: 2 });
        let first = budget.wait();
        let held: Vec<_> = (0..3).map_while(|_| first.further()).collect();
        assert_eq!(held.len(), 2, "the minimum");
        let others: Vec<_> = (0..9).map(|_| budget.wait()).collect();
        let more: Vec<_> = (0..9).map_while(|_| first.further()).collect();
        assert_eq!(more.len(), 3, "half of ten exchanges, two of which are taken");
        drop(held);
        assert!(first.further().is_some());
        drop((others, more));
        assert_eq!((budget.waiting.load(Relaxed), budget.further.load(Relaxed)), (1, 0));
    }

    #[test]
    fn a_budget_of_nothing_allows_nothing() {
        let budget = RetryBudget::new(BudgetSettings { percent: 0, min: 0 });
        assert!(budget.wait().further().is_none());
    }
}
