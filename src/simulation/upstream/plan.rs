//! What the upstream is going to do.

use std::time::Duration;

use bytes::Bytes;

use super::Protocol;
use crate::simulation::dice::Dice;
use crate::simulation::journal::{Blob, Id};
use crate::simulation::message::{Head, chunked};
use crate::simulation::setting::Setting;
use crate::simulation::stream::Wire;

/// The plan of one connection.
#[derive(Clone, Debug)]
pub(super) struct ConnectionPlan {
    pub(super) protocol: Protocol,
    pub(super) connect: Connect,
    pub(super) wire: Wire,
    /// It takes so many bytes at once, and then pauses.
    pub(super) bite: usize,
    pub(super) chew: Duration,
    /// It reads nothing before that.
    pub(super) deaf: Duration,
    pub(super) idle: Idle,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Connect {
    Takes(Duration),
    Refuses(Duration),
    Hangs,
}

/// What happens to a connection that waits for a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Idle {
    Stays,
    Closes(Duration),
    /// It says something that nobody asked for, and closes.
    Speaks(Duration),
}

impl ConnectionPlan {
    pub(super) fn draw(setting: &Setting, dice: &mut Dice) -> Self {
        let faults = setting.upstream_faults;
        let connect_timeout = setting.route.policy.timeouts.connect;
        let connect = match dice.number(0..=3) {
            0 if dice.chance(faults) => Connect::Refuses(dice.pause()),
            1 if dice.chance(faults / 2.0) => Connect::Hangs,
            2 if dice.chance(faults) => Connect::Takes(dice.around(connect_timeout)),
            _ => Connect::Takes(Duration::from_millis(dice.one_of(&[0, 0, 1, 50]))),
        };
        let is_slow = dice.chance(faults / 3.0);
        let pause = dice.one_of(&[0, 1, 100, 3000, 50_000]);
        let idle = match dice.number(0..=5) {
            0 | 1 if dice.chance(faults) => Idle::Closes(Duration::from_millis(pause)),
            2 if dice.chance(faults) => Idle::Speaks(Duration::from_millis(pause)),
            _ => Idle::Stays,
        };
        Self {
            protocol: Protocol::Http1,
            connect,
            wire: setting.wire(dice),
            bite: if is_slow { dice.number(500..=5000) } else { 1 << 16 },
            chew: if is_slow { Duration::from_millis(dice.one_of(&[1, 10, 500])) } else { Duration::ZERO },
            deaf: if dice.chance(faults / 5.0) {
                dice.around(setting.route.policy.timeouts.write)
            } else {
                Duration::ZERO
            },
            idle,
        }
    }
}

/// What becomes of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::simulation) struct AnswerPlan {
    /// What it is an answer to; none where nobody asked.
    pub(in crate::simulation) id: Option<Id>,
    pub(in crate::simulation) starts: Starts,
    /// After the start, before the head.
    pub(super) delay: Duration,
    /// Interim heads before the final one.
    pub(super) interim: usize,
    pub(in crate::simulation) shape: Shape,
    /// The head comes byte by byte, with pauses of this length.
    pub(super) drip: Duration,
    pub(in crate::simulation) status: u16,
    pub(in crate::simulation) is_event_stream: bool,
    pub(in crate::simulation) framing: Framed,
    pub(in crate::simulation) body: Blob,
    /// It comes in pieces of this length, with pauses between them.
    pub(super) piece: usize,
    pub(super) pace: Duration,
    /// Sending stalls at this byte of the framed body for so long.
    pub(in crate::simulation) stall: Option<(usize, Duration)>,
    pub(in crate::simulation) after: After,
}

/// When the upstream begins to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::simulation) enum Starts {
    /// As it should.
    AfterTheRequest,
    /// Having read the head only; it reads the rest meanwhile.
    AfterTheHead,
    /// Having read the head only, and the rest is not read at all.
    InsteadOfTheRequest,
}

/// What its head is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::simulation) enum Shape {
    Good,
    /// HTTP/1.0.
    Old,
    /// A length beside a transfer coding.
    TwoLengths,
    /// Only so many bytes of it come, and then what comes after an answer.
    Torn(usize),
    NoHttp,
    TooLarge,
    OddCoding,
    /// Another protocol, unasked.
    Switching,
    /// There is none, and never will be.
    Missing,
}

impl Shape {
    /// Whether a head like this is to be accepted.
    pub(in crate::simulation) fn is_good(self) -> bool {
        matches!(self, Self::Good | Self::Old | Self::TwoLengths)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::simulation) enum Framed {
    Length,
    Chunked,
    /// By the end of the connection.
    Close,
}

/// What comes after an answer, or after the part of it that is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::simulation) enum After {
    /// The whole answer, and the connection stays.
    Stays,
    /// The whole answer, and the connection closes, announced or not.
    Closes { announced: bool },
    /// The whole answer, and more than that.
    SaysMore,
    /// So many bytes of the framed body, and the connection closes.
    CutAt(usize),
    /// …and it is reset.
    ResetAt(usize),
    /// …and nothing more ever.
    StallsAt(usize),
}

impl AnswerPlan {
    /// Whether nothing is waited for in front of the head or in it.
    pub(in crate::simulation) fn comes_at_once(&self) -> bool {
        self.delay.is_zero() && self.drip.is_zero()
    }

    /// Whether its head ends the attempt as soon as it comes.
    pub(in crate::simulation) fn is_refused_at_once(&self) -> bool {
        matches!(self.shape, Shape::NoHttp | Shape::TooLarge | Shape::OddCoding | Shape::Switching)
    }

    /// What nobody asked for.
    pub(super) fn unasked() -> Self {
        Self {
            id: None,
            starts: Starts::AfterTheRequest,
            delay: Duration::ZERO,
            interim: 0,
            shape: Shape::Good,
            drip: Duration::ZERO,
            status: 408,
            is_event_stream: false,
            framing: Framed::Length,
            body: Blob(Bytes::from_static(b"unasked")),
            piece: 1 << 20,
            pace: Duration::ZERO,
            stall: None,
            after: After::Closes { announced: true },
        }
    }

    pub(super) fn draw(request: &Head, setting: &Setting, dice: &mut Dice) -> Self {
        let id = request.number("x-id").unwrap_or_default();
        let wants_events = request.field("accept") == Some("text/event-stream");
        let is_large = request.number("content-length").is_some_and(|length: usize| length > 90_000);
        let faults = setting.upstream_faults;
        let policy = &setting.route.policy;
        let is_bad = dice.chance(faults);
        let is_event_stream = wants_events && dice.chance(0.8);
        let framing = dice.one_of(&[Framed::Length, Framed::Length, Framed::Chunked, Framed::Close]);
        let mut plan = Self {
            id: Some(id),
            starts: match dice.number(0..=9) {
                0..=2 if dice.chance(faults) => Starts::AfterTheHead,
                3 if dice.chance(faults) => Starts::InsteadOfTheRequest,
                _ => Starts::AfterTheRequest,
            },
            delay: dice.pause().min(policy.header_deadline / 2),
            interim: dice.one_of(&[0, 0, 0, 0, 1, 3]),
            shape: dice.one_of(&[
                Shape::Good,
                Shape::Good,
                Shape::Good,
                Shape::Good,
                Shape::Good,
                Shape::Old,
                Shape::TwoLengths,
            ]),
            drip: Duration::ZERO,
            status: dice.one_of(&[200, 200, 200, 200, 200, 204, 304, 404, 429, 500, 503]),
            is_event_stream,
            framing: if is_event_stream { dice.one_of(&[Framed::Chunked, Framed::Close]) } else { framing },
            body: Blob(body(id, is_event_stream, dice)),
            piece: 1 << 20,
            pace: Duration::ZERO,
            stall: None,
            after: match dice.number(0..=9) {
                0 => After::Closes { announced: dice.chance(0.5) },
                _ => After::Stays,
            },
        };
        if plan.shape == Shape::Old {
            plan.framing = Framed::Close;
        }
        if plan.shape == Shape::TwoLengths {
            plan.framing = Framed::Chunked;
        }
        if is_large && dice.chance(faults) {
            // That is too much.
            plan.starts = dice.one_of(&[Starts::AfterTheHead, Starts::InsteadOfTheRequest]);
            plan.delay = Duration::ZERO;
            // It takes its time to say so.
            plan.body = Blob(dice.bytes(5000).into());
            (plan.piece, plan.pace) = (1000, Duration::from_secs(1));
        }
        if dice.chance(0.3) {
            plan.piece = dice.number(1..=100) * (1 + plan.body.0.len() / 500);
            plan.pace = Duration::from_millis(dice.one_of(&[0, 1, 100]));
        }
        if is_bad {
            plan.spoil(setting, dice);
        }
        if (plan.framing == Framed::Close || plan.starts == Starts::InsteadOfTheRequest)
            && !matches!(plan.after, After::CutAt(_) | After::ResetAt(_) | After::StallsAt(_))
        {
            plan.after = After::Closes { announced: true };
        }
        plan
    }

    fn spoil(&mut self, setting: &Setting, dice: &mut Dice) {
        let policy = &setting.route.policy;
        let at = dice.number(0..=self.framed().len());
        let end = dice.one_of(&[After::CutAt(at), After::ResetAt(at), After::StallsAt(at)]);
        let bare_end = dice.one_of(&[After::CutAt(0), After::ResetAt(0), After::StallsAt(0)]);
        match dice.number(0..=9) {
            0 => {
                let deadline = dice.one_of(&[policy.header_deadline, policy.whole_answer_deadline]);
                self.delay = dice.around(deadline);
            }
            1 => {
                self.shape = dice.one_of(&[Shape::NoHttp, Shape::TooLarge, Shape::OddCoding, Shape::Switching]);
                self.after = dice.one_of(&[After::Stays, bare_end]);
            }
            2 => (self.shape, self.after) = (Shape::Torn(dice.number(0..=60)), bare_end),
            3 | 4 => (self.shape, self.after) = (Shape::Missing, bare_end),
            5 | 6 => self.after = end,
            7 => {
                let limit = setting.route.stream_idle.unwrap_or(Duration::from_secs(600));
                self.stall = Some((at, dice.around(limit)));
            }
            8 => self.drip = Duration::from_millis(dice.one_of(&[1, 100, 2000])),
            _ => self.after = After::SaysMore,
        }
    }

    /// The head on the wire.
    pub(super) fn head(&self, number: usize) -> Vec<u8> {
        let interim = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".repeat(self.interim);
        let has_body = !matches!(self.status, 204 | 304);
        let mut lines = vec![match self.shape {
            Shape::NoHttp => "\u{16}\u{3}\u{1}\0".to_owned(),
            Shape::Old => format!("HTTP/1.0 {} Sim", self.status),
            Shape::Switching => "HTTP/1.1 101 Sim".to_owned(),
            _ => format!("HTTP/1.1 {} Sim", self.status),
        }];
        lines.push(format!("X-Answer: {number}\r\nX-Hop: 2\r\nConnection: x-hop\r\nKeep-Alive: timeout=9"));
        lines.push("X-Forebay-Error: spoofed\r\nX-Forebay-Source: spoofed\r\nX-Two: a\r\nX-Two: b".to_owned());
        lines.extend(self.id.map(|id| format!("X-Id: {id}")));
        if has_body && self.framing == Framed::Length {
            lines.push(format!("Content-Length: {}", self.body.0.len()));
        }
        for (is, field) in [
            (self.is_event_stream, "Content-Type: text/event-stream"),
            (self.announces_its_end() && self.shape != Shape::Old, "Connection: close"),
            (has_body && self.framing == Framed::Chunked, "Transfer-Encoding: chunked"),
            (has_body && self.shape == Shape::TwoLengths, "Content-Length: 3"),
            (self.shape == Shape::OddCoding, "Transfer-Encoding: gzip"),
        ] {
            lines.extend(is.then(|| field.to_owned()));
        }
        if self.shape == Shape::TooLarge {
            lines.push(format!("X-Large: {}", "l".repeat(300_000)));
        }
        let head = interim + &lines.join("\r\n") + "\r\n\r\n";
        let mut head = head.into_bytes();
        match self.shape {
            Shape::Torn(at) => head.truncate(at.min(head.len() - 1)),
            Shape::Missing => head.clear(),
            _ => {}
        }
        head
    }

    fn announces_its_end(&self) -> bool {
        matches!(self.after, After::Closes { announced: true })
    }

    /// The body on the wire, all of it.
    pub(super) fn framed(&self) -> Vec<u8> {
        match self.framing {
            Framed::Length | Framed::Close => self.body.0.to_vec(),
            Framed::Chunked => chunked(&self.body.0, &[1000, 1, 50_000]),
        }
    }
}

fn body(id: Id, is_event_stream: bool, dice: &mut Dice) -> Bytes {
    if !is_event_stream {
        let length = dice.length();
        return dice.bytes(length).into();
    }
    let events = dice.number(0..=20);
    let event =
        |n: usize| format!("event: e\ndata: {{\"id\":\"{id}\",\"n\":{n},\"x\":\"{}\"}}\n\n", "y".repeat(n * 7 % 50));
    (0..events).map(event).collect::<String>().into()
}
