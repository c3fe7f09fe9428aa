//! Jobs: what is stored of an exchange that outlives its client, and the rules it follows. (p)
//!
//! A job is a request that a worker executes. Its states are `queued → running → completed | failed`; a job that waits for
//! a repeat is running. Whatever a worker writes carries the [`Lease`] under which it writes.

mod encoding;
mod fault;
mod idempotency;
mod lease;
mod owner;
mod policy;
mod record;
mod request;
mod response;
mod timeout;

pub use encoding::Damaged;
pub use fault::Fault;
pub use idempotency::{Fingerprint, Idempotency, KEY as IDEMPOTENCY_KEY};
pub use lease::Lease;
pub use owner::{Owner, OwnerRule};
pub use policy::JobPolicy;
pub use record::{Record, Status, Title};
pub use request::StoredRequest;
pub use response::{StoredEnd, StoredHead};
pub use timeout::{BadTimeout, requested as requested_timeout};
