//! The cases: what is sent through each proxy, and which figure is taken.

use std::time::Duration;

use bed::Protocol::{self, Http1, Http2};
use bed::exchange::Exchange;

/// One row of the table.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Between client and proxy, and between proxy and upstream.
    pub(crate) protocols: (Protocol, Protocol),
    pub(crate) connections: usize,
    /// Exchanges at a time on each; 1 on HTTP/1.1.
    pub(crate) streams: usize,
    /// Connections that are open besides, and do nothing.
    pub(crate) idle: usize,
    pub(crate) load: Load,
    pub(crate) setting: Setting,
    pub(crate) about: &'static str,
}

/// What clients do.
#[derive(Clone, Copy)]
pub(crate) enum Load {
    /// One exchange after the other. The figure is processor time per request.
    Requests(fn() -> Exchange),
    /// One stream after the other, so many events each, one at each interval. Processor time per event.
    Events(usize, Duration),
    /// Streams that fall silent after their first event. Memory per stream.
    Silent,
    /// Requests whose first attempt is never answered. The median time until the answer.
    Stalled,
    /// This exchange, once. How much the peak of memory grows.
    Peak(fn() -> Exchange),
}

/// How the proxy is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    /// One upstream for all paths.
    Plain,
    /// 99 prefixes besides, which the requests do not have.
    Routes,
    /// After 200 ms without headers another attempt is made.
    Impatient,
    /// forebay alone: both deadlines are the same, so that no body is looked into.
    NoLook,
}

/// The unit of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    CpuMicros,
    KibPerStream,
    Millis,
    Kib,
}

impl Load {
    pub(crate) fn unit(self) -> Unit {
        match self {
            Self::Requests(_) | Self::Events(..) => Unit::CpuMicros,
            Self::Silent => Unit::KibPerStream,
            Self::Stalled => Unit::Millis,
            Self::Peak(_) => Unit::Kib,
        }
    }
}

const H1_H1: (Protocol, Protocol) = (Http1, Http1);
const H2_H1: (Protocol, Protocol) = (Http2, Http1);
const H2_H2: (Protocol, Protocol) = (Http2, Http2);

const CHAT: Case = Case {
    name: "chat",
    protocols: H1_H1,
    connections: 64,
    streams: 1,
    idle: 0,
    load: Load::Requests(Exchange::chat),
    setting: Setting::Plain,
    about: "2 KB POST, 0.7 KB JSON, 64 connections",
};

const SILENT: Case = Case {
    name: "idle",
    connections: 1000,
    load: Load::Silent,
    about: "1000 event streams that fell silent, opened over four seconds, a connection each",
    ..CHAT
};

pub(crate) const CASES: &[Case] = &[
    Case { name: "small", load: Load::Requests(Exchange::small), about: "GET, 13 bytes, 64 connections", ..CHAT },
    CHAT,
    Case {
        name: "chat-h2-h1",
        protocols: H2_H1,
        connections: 4,
        streams: 16,
        about: "the same from HTTP/2 clients, 4 connections of 16 streams",
        ..CHAT
    },
    Case {
        name: "chat-h2-h2",
        protocols: H2_H2,
        connections: 4,
        streams: 16,
        about: "the same with HTTP/2 on both sides",
        ..CHAT
    },
    Case { name: "chat-1", connections: 1, about: "chat on a single connection", ..CHAT },
    Case { name: "chat-100", connections: 100, about: "chat on 100 connections", ..CHAT },
    Case {
        name: "chat-10000",
        connections: 100,
        idle: 9900,
        about: "the same with 9,900 idle connections besides",
        ..CHAT
    },
    Case { name: "chat-routes", setting: Setting::Routes, about: "chat with 100 routes", ..CHAT },
    Case {
        name: "chat-3m",
        connections: 8,
        load: Load::Requests(Exchange::long_chat),
        about: "chat with questions of 3 MB, 8 connections",
        ..CHAT
    },
    Case {
        name: "chat-3m-no-look",
        connections: 8,
        load: Load::Requests(Exchange::long_chat),
        setting: Setting::NoLook,
        about: "the same where forebay need not look into the body",
        ..CHAT
    },
    Case {
        name: "body-1m",
        connections: 16,
        load: Load::Requests(Exchange::body_1m),
        about: "1 MiB each way, 16 connections",
        ..CHAT
    },
    Case {
        name: "sse",
        connections: 200,
        load: Load::Events(64, Duration::from_millis(20)),
        about: "200 streams, an event each 20 ms; per event",
        ..CHAT
    },
    SILENT,
    Case {
        name: "idle-h2-h1",
        protocols: H2_H1,
        connections: 20,
        streams: 50,
        about: "the same from HTTP/2 clients, 20 connections of 50 streams",
        ..SILENT
    },
    Case {
        name: "idle-h2-h2",
        protocols: H2_H2,
        connections: 20,
        streams: 50,
        about: "the same with HTTP/2 on both sides",
        ..SILENT
    },
    Case {
        name: "answer-64m",
        connections: 1,
        load: Load::Peak(Exchange::long_answer),
        about: "an answer of 64 MiB: growth of the peak of memory",
        ..CHAT
    },
    Case {
        name: "stall",
        connections: 16,
        load: Load::Stalled,
        setting: Setting::Impatient,
        about: "the first attempt is never answered, header timeout 200 ms",
        ..CHAT
    },
];
