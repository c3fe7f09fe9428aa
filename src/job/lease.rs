//! Who executes a job, for the time being.

use crate::ids::{ExecutionNo, Fence, JobId};

/// The right to execute a job and to write its result, until it runs out or another has it.
///
/// Every write of a worker carries it, and a store refuses one whose fence is not the job's newest. When it runs out is
/// decided by the store's clock alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// Of which job.
    pub job: JobId,
    /// Which of its leases.
    pub fence: Fence,
    /// The execution that it is for.
    pub execution: ExecutionNo,
}
