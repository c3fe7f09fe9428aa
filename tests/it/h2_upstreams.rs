//! Upstreams on HTTP/2 (3.2 `UPSTREAM_HTTP2`, 3.3): chosen by ALPN, several connections, refused streams, neighbours.

mod choice;
mod connections;
mod exchanges;
mod neighbours;
mod refused;

use super::forebay::Settings;
use super::upstream::H2Upstream;

/// Nothing here is about the header deadline.
fn patient(upstream: &H2Upstream) -> Settings {
    Settings::in_front_of_h2(upstream).set("RESPONSE_HEADER_TIMEOUT_SECONDS", 30)
}
