//! Clients on HTTP/2, with prior knowledge (contract 3.4, 4, 5); over TLS it is the same behind `tls.rs`.

mod basics;
mod clocks;
mod ends;
mod heads;
mod refusals;
mod streams;
mod uploads;

use super::forebay::{Forebay, Settings};
use super::upstream::FakeUpstream;

/// Nothing here is about the race: no attempt is given up.
fn patient(upstream: &FakeUpstream) -> Settings {
    Settings::in_front_of(upstream).set("RESPONSE_HEADER_TIMEOUT_SECONDS", 30).set("UPSTREAM_MAX_ATTEMPTS", 1)
}

fn forebay_for(upstream: &FakeUpstream) -> Forebay {
    patient(upstream).start()
}
