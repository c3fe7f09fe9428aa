//! What is counted of jobs.

use crate::stats::{Counter, Outcomes};

/// What is counted of the jobs of this process.
#[derive(Debug)]
pub struct QueueStats {
    /// Jobs that were stored by this process.
    pub submitted: Counter,
    /// Executions that ended, by how.
    pub executions: Outcomes<4>,
    /// Executions that will be repeated.
    pub repeated: Counter,
    /// Jobs that were taken back from a worker that fell silent.
    pub taken_over: Counter,
    /// Jobs that were parked because their workers died.
    pub parked: Counter,
}

impl Default for QueueStats {
    fn default() -> Self {
        Self {
            submitted: Counter::default(),
            executions: Outcomes::new(["completed", "failed", "repeated", "lost"]),
            repeated: Counter::default(),
            taken_over: Counter::default(),
            parked: Counter::default(),
        }
    }
}
