//! The race: attempts under a header deadline, replaced until one has headers.

#[cfg(test)]
mod adoption_tests;
mod aside;
mod backoff;
mod coding;
mod hedge_budget;
#[cfg(test)]
mod hedge_tests;
#[cfg(test)]
mod http2_tests;
#[cfg(test)]
mod job_tests;
mod json;
#[cfg(test)]
mod json_tests;
mod look;
#[cfg(test)]
mod once_tests;
mod overflow;
#[cfg(test)]
mod overflow_properties;
#[cfg(test)]
mod overflow_tests;
mod plan;
#[cfg(test)]
mod plan_overflow_tests;
#[cfg(test)]
mod plan_properties;
#[cfg(test)]
mod plan_tests;
mod policy;
mod retry_after;
mod retry_budget;
mod run;
#[cfg(test)]
mod run_tests;
mod signals;
#[cfg(test)]
mod status_tests;
mod timeline;
#[cfg(test)]
mod track;
mod wording;

pub use aside::look;
pub use hedge_budget::HedgeBudget;
pub use json::{Malformed, ObjectScanner, Said};
pub use overflow::{Adopted, NoneInFlight, Overflowed, run_until_overflow};
pub use plan::Plan;
pub use policy::{Backoff, Expectation, Mode, OverflowPoint, Policy, Quality, Retry};
pub use retry_after::retry_after;
pub use retry_budget::{BudgetSettings, Further, RetryBudget, Waiting};
pub use run::{Committed, Course, Failed, RaceEnd, run};
pub use signals::{Input, Limits, Step, Trouble, Why};
pub use timeline::Timeline;
pub use wording::{client_fault, failure as failure_in_words};
