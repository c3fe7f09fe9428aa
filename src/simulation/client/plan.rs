//! What a client is going to do.

use std::time::Duration;

use super::Protocol;
use crate::simulation::dice::Dice;
use crate::simulation::journal::{Blob, Id};
use crate::simulation::message::chunked;
use crate::simulation::setting::Setting;
use crate::simulation::stream::Wire;

/// The plan of one client.
#[derive(Clone, Debug)]
pub(in crate::simulation) struct ClientPlan {
    pub(in crate::simulation) number: usize,
    pub(super) starts: Duration,
    pub(super) protocol: Protocol,
    pub(in crate::simulation) wire: Wire,
    pub(in crate::simulation) requests: Vec<RequestPlan>,
    /// It takes so many bytes at once, and then pauses.
    pub(super) bite: usize,
    pub(super) chew: Duration,
    /// It goes on sending when the answer is already there.
    pub(super) is_stubborn: bool,
    /// It waits for the end of the connection when all its requests are answered.
    pub(super) lingers: bool,
    /// It leaves when a connection has lasted so long.
    pub(super) patience: Duration,
}

/// The plan of one request.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools)] // each is true or false of a request by itself
pub(in crate::simulation) struct RequestPlan {
    pub(in crate::simulation) id: Id,
    pub(in crate::simulation) method: &'static str,
    pub(in crate::simulation) kind: Kind,
    pub(in crate::simulation) body: Body,
    pub(in crate::simulation) has_key: bool,
    pub(in crate::simulation) expects: bool,
    pub(in crate::simulation) closes: bool,
    /// HTTP/1.0.
    pub(in crate::simulation) is_old: bool,
    /// A head that nobody should understand.
    pub(in crate::simulation) is_malformed: bool,
    /// It does not wait for the answer before it.
    pub(super) is_pipelined: bool,
    pub(super) pause: Duration,
    /// It is sent in pieces of this length, with pauses between them.
    pub(super) piece: usize,
    pub(super) pace: Duration,
    /// Sending stalls at this byte for so long.
    pub(in crate::simulation) stall: Option<(usize, Duration)>,
    /// The client leaves.
    pub(in crate::simulation) leaves: Option<(When, How)>,
    /// Reading its answer stops after so many bytes for so long.
    pub(super) stops_reading: Option<(usize, Duration)>,
}

/// What sort of request it is, as far as the proxy cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::simulation) enum Kind {
    Plain,
    /// Asks for a stream of events, in OpenAI's words.
    Events,
    /// Like that, and nothing tells the dialect.
    PlainEvents,
    /// A generation that does not stream.
    Generation,
    /// A generation for Codex, which hears other statuses.
    Codex,
}

/// A body and its framing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::simulation) enum Body {
    None,
    Length(Blob),
    Chunked(Blob, Vec<usize>),
}

impl Body {
    pub(in crate::simulation) fn bytes(&self) -> &[u8] {
        match self {
            Self::None => &[],
            Self::Length(body) | Self::Chunked(body, _) => &body.0,
        }
    }
}

/// When a client leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::simulation) enum When {
    /// Having sent so many bytes of the request.
    Sending(usize),
    /// So long after having sent it.
    Waiting(Duration),
    /// Having read so many bytes of the answer's body.
    Reading(usize),
}

/// How a client leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::simulation) enum How {
    Closes,
    Resets,
    /// It closes its sending side, and goes on reading.
    HalfCloses,
}

impl ClientPlan {
    pub(in crate::simulation) fn draw(number: usize, setting: &Setting, dice: &mut Dice) -> Self {
        let requests = dice.number(1..=5);
        let is_slow = dice.chance(setting.client_faults);
        Self {
            number,
            starts: dice.pause(),
            protocol: Protocol::Http1,
            wire: setting.wire(dice),
            requests: (0..requests)
                .map(|n| RequestPlan::draw(Id { client: number, request: n }, setting, dice))
                .collect(),
            bite: if is_slow { dice.number(500..=5000) } else { 1 << 16 },
            chew: if is_slow { Duration::from_millis(dice.one_of(&[1, 10, 500])) } else { Duration::ZERO },
            is_stubborn: dice.chance(0.3),
            lingers: dice.chance(0.3),
            patience: Duration::from_secs(2 * 60 * 60),
        }
    }
}

impl ClientPlan {
    /// Whether it reads whatever comes, but for the stops that a request plans.
    pub(in crate::simulation) fn reads_at_once(&self) -> bool {
        self.chew.is_zero()
    }
}

impl RequestPlan {
    /// Whether `RETRY=safe` may repeat it.
    pub(in crate::simulation) fn is_safe(&self) -> bool {
        self.has_key || !matches!(self.method, "POST" | "PATCH")
    }

    /// Whether sending it takes so long, in one place or all together.
    pub(in crate::simulation) fn is_slower_than(&self, limit: Duration) -> bool {
        !self.pace.is_zero() || self.stall.is_some_and(|(_, pause)| pause >= limit)
    }

    fn draw(id: Id, setting: &Setting, dice: &mut Dice) -> Self {
        let faults = setting.client_faults;
        let kind = dice.one_of(&[
            Kind::Plain,
            Kind::Plain,
            Kind::Plain,
            Kind::Events,
            Kind::PlainEvents,
            Kind::Generation,
            Kind::Codex,
        ]);
        let is_generation = matches!(kind, Kind::Generation | Kind::Codex);
        let methods = ["GET", "POST", "POST", "PUT", "PATCH", "HEAD", "DELETE"];
        let method = if is_generation { "POST" } else { dice.one_of(&methods) };
        let body = match kind {
            _ if is_generation => {
                let padding = "x".repeat(dice.length());
                Some(format!("{{\"model\":\"m\",\"id\":\"{id}\",\"padding\":\"{padding}\"}}").into_bytes())
            }
            _ if matches!(method, "POST" | "PUT" | "PATCH") || dice.chance(0.05) => {
                let length = dice.length();
                Some(dice.bytes(length))
            }
            _ => None,
        };
        let is_old = dice.chance(0.03);
        let body = match body.map(|body| Blob(body.into())) {
            None => Body::None,
            Some(body) if dice.chance(0.3) && !is_old => {
                let sizes = [1, 10, 1000, 5000, 100_000];
                Body::Chunked(body, (0..3).map(|_| dice.one_of(&sizes)).collect())
            }
            Some(body) => Body::Length(body),
        };
        let is_slow = dice.chance(faults);
        let mut plan = Self {
            id,
            method,
            kind,
            body,
            has_key: dice.chance(0.3),
            expects: !is_old && dice.chance(0.1),
            closes: dice.chance(0.05),
            is_old,
            is_malformed: dice.chance(faults / 10.0),
            is_pipelined: dice.chance(0.2),
            pause: match id.request {
                // A first request that comes too late is no more than that.
                0 if dice.chance(0.95) => Duration::from_millis(dice.one_of(&[0, 0, 1, 100])),
                _ if dice.chance(0.1) => dice.around(setting.edge.idle),
                _ => dice.pause().min(setting.edge.idle / 2),
            },
            piece: if is_slow { dice.number(200..=10_000) } else { 1 << 20 },
            pace: if is_slow { dice.pause() } else { Duration::ZERO },
            stall: None,
            leaves: None,
            stops_reading: None,
        };
        plan.misbehave(setting, dice);
        plan
    }

    fn misbehave(&mut self, setting: &Setting, dice: &mut Dice) {
        let (head, whole) = (self.head().len(), self.image().len());
        let place = if dice.chance(0.5) { 1..=head } else { head..=whole };
        if dice.chance(setting.client_faults / 2.0) {
            let limit = if *place.end() <= head { setting.edge.header_timeout } else { setting.edge.body_timeout };
            self.stall = Some((dice.number(place.clone()), dice.around(limit)));
        }
        if dice.chance(setting.client_faults / 2.0) {
            let when = match dice.number(0..=2) {
                0 => When::Sending(dice.number(place)),
                1 => When::Waiting(dice.pause()),
                _ => When::Reading(dice.length()),
            };
            self.leaves = Some((when, dice.one_of(&[How::Closes, How::Resets, How::HalfCloses])));
        }
        if dice.chance(setting.client_faults / 2.0) {
            self.stops_reading = Some((dice.length(), dice.around(setting.edge.write_timeout)));
        }
    }

    /// The path as the client sends it.
    pub(in crate::simulation) fn target(&self) -> String {
        let prefix = match self.kind {
            Kind::Events => "/v1",
            Kind::Plain | Kind::PlainEvents | Kind::Generation | Kind::Codex => "",
        };
        format!("{prefix}/world/{}?q=%20{}&x=\"y\"", self.id, self.id.request)
    }

    pub(in crate::simulation) fn head(&self) -> String {
        let mut lines = vec![format!("{} {} HTTP/1.{}", self.method, self.target(), u8::from(!self.is_old))];
        if self.is_malformed {
            lines.push("No field".to_owned());
        }
        lines.push(format!("Host: proxy\r\nX-Id: {}", self.id));
        lines.push("Connection: X-Hop\r\nX-Hop: 1\r\nX-Forebay-Attempts: 77".to_owned());
        match &self.body {
            Body::None => {}
            Body::Length(body) => lines.push(format!("Content-Length: {}", body.0.len())),
            Body::Chunked(..) => lines.push("Transfer-Encoding: chunked".to_owned()),
        }
        for (is, field) in [
            (matches!(self.kind, Kind::Events | Kind::PlainEvents), "Accept: text/event-stream"),
            (self.kind == Kind::Codex, "originator: codex_sim"),
            (self.has_key, "Idempotency-Key: k"),
            (self.expects && self.body != Body::None, "Expect: 100-continue"),
            (self.closes, "Connection: close"),
        ] {
            lines.extend(is.then(|| field.to_owned()));
        }
        lines.join("\r\n") + "\r\n\r\n"
    }

    /// The request as it is on the wire.
    pub(in crate::simulation) fn image(&self) -> Vec<u8> {
        let mut image = self.head().into_bytes();
        match &self.body {
            Body::None => {}
            Body::Length(body) => image.extend_from_slice(&body.0),
            Body::Chunked(body, sizes) => image.extend_from_slice(&chunked(&body.0, sizes)),
        }
        image
    }
}
