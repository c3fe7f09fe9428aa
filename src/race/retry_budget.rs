//! How many further attempts one upstream may see at once: an outage must not multiply its own load.

/// `RETRY_BUDGET_PERCENT`, `RETRY_BUDGET_MIN`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetSettings {
    /// Further attempts under way at once, as a share of the upstream's exchanges that still wait for headers.
    pub percent: u32,
    /// …and at least so many.
    pub min: usize,
}
