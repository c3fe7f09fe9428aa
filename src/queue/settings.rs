//! What the queue is told by configuration (contract 3.7).

use std::time::Duration;

/// The queue of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// `ROLES`.
    pub roles: Roles,
    /// `JOBS_PATH`, without a trailing slash: everything below it is ours.
    pub jobs_path: String,
    /// `QUEUE_CONCURRENCY`: jobs executed at once by this process.
    pub concurrency: usize,
    /// `JOB_LEASE_SECONDS`: renewed every third of this.
    pub lease: Duration,
}

/// `ROLES`: which task sets a process runs. One of them at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    /// It serves clients.
    pub front: bool,
    /// It executes jobs.
    pub worker: bool,
}
