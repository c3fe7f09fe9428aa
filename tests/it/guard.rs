//! What has two readings, what is too much, what is too slow (contract 3.4, 4, 5).

mod bad_answers;
pub mod corpus;
pub mod judge;
mod limits;
mod pipelining;
mod refusals;
mod slow_clients;

use super::forebay::Settings;
use super::upstream::FakeUpstream;

fn one_attempt(upstream: &FakeUpstream) -> Settings {
    Settings::in_front_of(upstream).set("RESPONSE_HEADER_TIMEOUT_SECONDS", 20).set("UPSTREAM_MAX_ATTEMPTS", 1)
}
