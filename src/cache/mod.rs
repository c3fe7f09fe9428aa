//! The cache: answers that are given again without asking the upstream (contract 7).
//!
//! Before its first attempt a request is looked for (`look`), under a key of all that it asks (`key`). What is not there is
//! asked for once, however many ask at the same time: the first of them leads (`lead`), the others follow (`single_flight`).
//! A task reads the answer (`pump`) and tells it to all (`flight`, `tape`), each at his own pace (`given`). Whether others
//! may have it at all, and whether it is kept when it is complete, is decided by its head (`rules`); where it is kept, by the
//! route (`shelves`, `memory`, `entry`).

mod entry;
#[cfg(test)]
mod fixture;
mod flight;
#[cfg(test)]
mod flight_tests;
mod given;
mod key;
mod lead;
#[cfg(test)]
mod lead_tests;
mod look;
mod memory;
mod pump;
#[cfg(test)]
mod pump_tests;
mod rules;
mod settings;
mod shelves;
#[cfg(test)]
mod shelves_tests;
mod single_flight;
mod tape;

pub use given::{AnswerBody, BrokenOff, Given};
pub use key::{Asked, CacheKey};
pub use lead::Lead;
pub use look::{Cache, Look};
pub use rules::is_credential;
pub use settings::{CacheKind, CacheSettings, MemorySettings};
