//! The cases.

use bed::Protocol::{self, Http1, Http2};
use bed::exchange::Exchange;

/// What is counted.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Between client and forebay.
    pub(crate) client: Protocol,
    /// Between forebay and upstream.
    pub(crate) upstream: Protocol,
    /// Whether each exchange is logged.
    pub(crate) logged: bool,
    /// How many requests make the difference between two runs.
    pub(crate) count: usize,
    pub(crate) load: Load,
}

/// What the client does so many times.
pub(crate) enum Load {
    /// This exchange, one after the other on one connection.
    Exchanges(fn() -> Exchange),
    /// One stream: so many events, each sent when the one before it has been read.
    Events,
}

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "small",
        client: Http1,
        upstream: Http1,
        logged: false,
        count: 500,
        load: Load::Exchanges(Exchange::small),
    },
    Case {
        name: "chat",
        client: Http1,
        upstream: Http1,
        logged: false,
        count: 500,
        load: Load::Exchanges(Exchange::chat),
    },
    Case {
        name: "chat-logged",
        client: Http1,
        upstream: Http1,
        logged: true,
        count: 500,
        load: Load::Exchanges(Exchange::chat),
    },
    Case { name: "sse-event", client: Http1, upstream: Http1, logged: false, count: 1000, load: Load::Events },
    Case {
        name: "body-1m",
        client: Http1,
        upstream: Http1,
        logged: false,
        count: 60,
        load: Load::Exchanges(Exchange::body_1m),
    },
    Case {
        name: "chat-h2-h1",
        client: Http2,
        upstream: Http1,
        logged: false,
        count: 500,
        load: Load::Exchanges(Exchange::chat),
    },
    Case {
        name: "chat-h2-h2",
        client: Http2,
        upstream: Http2,
        logged: false,
        count: 500,
        load: Load::Exchanges(Exchange::chat),
    },
];
