//! Recordings: stored responses, written by one and read by many, also while they are being written.
//!
//! A recording is a head, the body's bytes in order, and an end mark. It belongs to one execution of a job: when the job
//! runs again its readers are cut, never spliced.

mod reader;
#[cfg(test)]
mod reader_tests;
mod writer;
#[cfg(test)]
mod writer_tests;

pub use reader::{Reader, Unread};
pub use writer::{Unwritten, Writer};
