//! Lanes other than the race (contract 2, 3.6), and bodies that the race cannot hold (3.3).

mod oversize;
mod paths;
mod redirect;
mod stream;
mod stream_failures;

use super::forebay::Settings;
use super::upstream::FakeUpstream;

/// The stream lane, where nothing is about the header deadline.
fn streaming(upstream: &FakeUpstream) -> Settings {
    Settings::in_front_of(upstream).set("LANE", "stream").set("RESPONSE_HEADER_TIMEOUT_SECONDS", 30)
}
