//! What goes in comes out (contract 4): methods, targets, fields, bodies, framing, streaming.

mod answers;
mod bodiless;
mod client_connections;
mod request_fields;
mod streaming;
mod targets;
mod tls;
mod uploads;

use super::forebay::{Forebay, Settings};
use super::upstream::FakeUpstream;

/// Nothing here is about time: no attempt is given up.
fn patient(upstream: &FakeUpstream) -> Settings {
    Settings::in_front_of(upstream).set("RESPONSE_HEADER_TIMEOUT_SECONDS", 30).set("UPSTREAM_MAX_ATTEMPTS", 1)
}

fn forebay_for(upstream: &FakeUpstream) -> Forebay {
    patient(upstream).start()
}
