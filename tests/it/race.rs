//! The race against the header deadline (contract 2, 3.3): what is repeated, how often, and what never is.

mod connections;
mod deadlines;
mod never_after_headers;
mod replacement;
mod retry;
mod retry_safe;
mod retry_statuses;
mod timeline;
mod trace_context;

use super::upstream::{Behaviour, answer};

/// A good answer whose connection is not used again: the next attempt starts on a fresh one.
fn good(body: &str) -> Behaviour {
    Behaviour::from(answer(200).field("X-Up", "yes").field("Connection", "close").body(body)).then_close()
}
