//! End to end: the real program, in front of a scripted upstream on raw sockets, with a client on raw sockets.
//!
//! The tests know the contract and nothing of the code. They wait for events, not for clocks: where a time is asserted,
//! the contract names it, and the bound above it is generous. Sections of the contract are named in the tests' comments.

// A failed expectation is how a test says so, in the kit as well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// The kit is one crate with its tests: `pub` says what the tests may use.
#![allow(unreachable_pub)]
// A setting is written where it is used: `set("NAME", 3)`, `set("NAME", "3s")`.
#![allow(clippy::needless_pass_by_value)]

mod client;
mod expect;
mod forebay;
mod frames;
mod outbound;
mod redis;
mod upstream;
mod websocket_peers;

mod cache;
mod forwarded;
mod guard;
mod h2;
mod h2_upstreams;
mod hedging;
mod hostile;
mod jobs;
mod kit;
mod lanes;
mod lifecycle;
mod metrics;
mod probe;
mod proxies;
mod race;
mod routes;
mod shape;
mod smuggling;
mod tls;
mod trailers;
mod transparency;
mod websocket;
