//! The queue: requests that become jobs, the workers that execute them, and what clients may ask of them.

mod settings;

pub use settings::{QueueSettings, Roles};
