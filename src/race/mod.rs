//! The race: attempts under a header deadline, replaced until one has headers.

mod policy;
mod retry_budget;

pub use policy::{Backoff, Expectation, Policy, Retry};
pub use retry_budget::BudgetSettings;
