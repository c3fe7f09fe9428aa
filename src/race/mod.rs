//! The race: attempts under a header deadline, replaced until one has headers.

mod backoff;
#[cfg(test)]
mod http2_tests;
mod look;
mod plan;
#[cfg(test)]
mod plan_tests;
mod policy;
mod retry_budget;
mod run;
#[cfg(test)]
mod run_tests;
mod timeline;

pub use look::expectation;
pub use plan::{Input, Limits, Plan, Step, Trouble, Why};
pub use policy::{Backoff, Expectation, Policy, Retry};
pub use retry_budget::{BudgetSettings, Further, RetryBudget, Waiting};
pub use run::{Committed, Course, Failed, RaceEnd, run};
pub use timeline::Timeline;
