//! The journal, by request and by connection.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::simulation::client::{ClientPlan, RequestPlan};
use crate::simulation::journal::{Blob, End, Event, Id, Side, Stamp};
use crate::simulation::message::Head;
use crate::simulation::setting::Setting;
use crate::simulation::stream::Wire;
use crate::simulation::upstream::AnswerPlan;
use crate::simulation::world::Played;

/// How long a client's connection may last after the cut: half a second for the last bytes, two for the farewell, two
/// for what still comes.
pub(super) const AFTER_THE_CUT: Duration = Duration::from_secs(5);

pub(super) struct Books<'a> {
    pub(super) setting: &'a Setting,
    pub(super) dossiers: BTreeMap<Id, Dossier<'a>>,
    pub(super) clients: BTreeMap<usize, ClientSide>,
    pub(super) upstreams: BTreeMap<usize, UpstreamSide>,
    pub(super) answers: BTreeMap<usize, Answered<'a>>,
    pub(super) draining: Option<Stamp>,
    pub(super) cut: Option<Stamp>,
    /// The first connect that was refused.
    pub(super) refused: Option<Stamp>,
}

/// A request and all that is known of it.
pub(super) struct Dossier<'a> {
    pub(super) plan: &'a RequestPlan,
    pub(super) client: &'a ClientPlan,
    pub(super) connection: Option<usize>,
    pub(super) sending: Option<Stamp>,
    pub(super) sent: Option<Stamp>,
    pub(super) interim: usize,
    pub(super) reply: Option<Reply<'a>>,
    pub(super) no_answer: Option<(Stamp, &'a End)>,
    pub(super) tries: Vec<Try<'a>>,
    /// The client stopped reading the answer for so long, having read so many bytes of its body.
    pub(super) stop: Option<(Stamp, Duration, usize)>,
}

/// The final answer to a request.
pub(super) struct Reply<'a> {
    /// When its first byte was written.
    pub(super) written: Stamp,
    pub(super) head: &'a Head,
    pub(super) end: Option<(Stamp, &'a End, &'a Blob)>,
    /// When the last byte that came was written.
    pub(super) last: Stamp,
}

impl Reply<'_> {
    /// The number of the upstream's answer; none if it is forebay's own.
    pub(super) fn number(&self) -> Option<usize> {
        self.head.number("x-answer")
    }
}

/// A request as the upstream saw it.
pub(super) struct Try<'a> {
    pub(super) connection: usize,
    /// When its first byte was written.
    pub(super) written: Stamp,
    pub(super) head: &'a Head,
    /// When its last byte was written, how it ended, and its body.
    pub(super) end: Option<(Stamp, &'a End, &'a Blob)>,
    /// The connection was in the pool, whether it had served before or not.
    pub(super) was_kept: bool,
    /// The numbers of the answers that began on its connection while it was the latest request there.
    pub(super) answers: Vec<usize>,
}

pub(super) struct Answered<'a> {
    pub(super) connection: usize,
    pub(super) began: Stamp,
    pub(super) plan: &'a AnswerPlan,
    /// When its first byte was written.
    pub(super) spoke: Option<Stamp>,
    pub(super) head: Option<Stamp>,
    /// So many bytes of the framed body, and whether that is all.
    pub(super) written: Option<(Stamp, usize, bool)>,
}

#[derive(Default)]
pub(super) struct ClientSide {
    pub(super) accepted: Stamp,
    pub(super) left: Option<Stamp>,
    pub(super) longest_stop: Duration,
    /// The proxy has closed its end.
    pub(super) dropped: Option<Stamp>,
    /// In the order in which they were begun.
    pub(super) requests: Vec<Id>,
}

#[derive(Default)]
pub(super) struct UpstreamSide {
    pub(super) wire: Wire,
    dialled: Stamp,
    connected: Stamp,
    /// The proxy has closed its end.
    pub(super) dropped: Option<Stamp>,
    /// The upstream has closed its own.
    pub(super) ended: Option<Stamp>,
    pub(super) reset: Option<Stamp>,
    pub(super) requests: Vec<Id>,
}

impl UpstreamSide {
    /// Whether what the upstream has said by then can be lost in a reset.
    pub(super) fn loses(&self, by: Duration) -> bool {
        self.wire.resets_lose && self.reset.is_some_and(|reset| reset.at <= by)
    }

    /// Whether the upstream had ended the connection by then.
    pub(super) fn had_ended(&self, by: Duration) -> bool {
        [self.ended, self.reset].into_iter().flatten().any(|end| end.at <= by)
    }
}

impl<'a> Books<'a> {
    pub(super) fn new(played: &'a Played) -> Self {
        let mut dossiers = BTreeMap::new();
        for client in &played.clients {
            for plan in &client.requests {
                dossiers.insert(plan.id, Dossier::new(plan, client));
            }
        }
        let mut books = Self {
            setting: &played.setting,
            dossiers,
            clients: BTreeMap::new(),
            upstreams: BTreeMap::new(),
            answers: BTreeMap::new(),
            draining: None,
            cut: None,
            refused: None,
        };
        for (stamp, event) in &played.journal {
            books.enter(*stamp, event);
        }
        for dossier in books.dossiers.values_mut() {
            // An upstream may read long after others what was written before.
            dossier.tries.sort_by_key(|this| this.written);
        }
        books
    }

    fn enter(&mut self, now: Stamp, event: &'a Event) {
        match event {
            Event::Accepted { connection, .. } => self.client(*connection).accepted = now,
            Event::Sending { id, connection } => {
                self.client(*connection).requests.push(*id);
                let dossier = self.dossier(*id);
                (dossier.sending, dossier.connection) = (Some(now), Some(*connection));
                // An earlier connection may have ended before it was begun.
                dossier.no_answer = None;
            }
            Event::Sent { id } => self.dossier(*id).sent = Some(now),
            Event::Left { connection, .. } => self.client(*connection).left = Some(now),
            Event::StopsReading { id, connection, pause, read } => {
                let client = self.client(*connection);
                client.longest_stop = client.longest_stop.max(*pause);
                self.dossier(*id).stop = Some((now, *pause, *read));
            }
            Event::Dropped { side: Side::ProxyToClient(connection) } => self.client(*connection).dropped = Some(now),
            Event::Answer { id, connection, written, head } => {
                let dossier = self.dossier(*id);
                dossier.connection = Some(*connection);
                if head.status() < 200 {
                    dossier.interim += 1;
                } else {
                    dossier.reply = Some(Reply { written: *written, head, end: None, last: *written });
                }
            }
            Event::AnswerEnd { id, end, written, body } => {
                if let Some(reply) = &mut self.dossier(*id).reply {
                    (reply.end, reply.last) = (Some((now, end, body)), *written);
                }
            }
            Event::NoAnswer { id, connection, end } => {
                let dossier = self.dossier(*id);
                dossier.connection = Some(*connection);
                dossier.no_answer = Some((now, end));
            }
            Event::Request { connection, id: Some(id), written, head } => {
                let upstream = self.upstream(*connection);
                let mut was_kept = !upstream.requests.is_empty() || upstream.connected.at < written.at;
                upstream.requests.push(*id);
                // A connect that was begun before the request was somebody else's.
                let dialled = upstream.dialled;
                was_kept |= self.dossier(*id).sending.is_some_and(|sending| dialled < sending);
                let (connection, written) = (*connection, *written);
                let this = Try { connection, written, head, end: None, was_kept, answers: Vec::new() };
                self.dossier(*id).tries.push(this);
            }
            Event::RequestEnd { connection, end, written, body } => {
                if let Some(this) = self.latest_try(*connection) {
                    this.end = Some((*written, end, body));
                }
            }
            Event::Answering { connection, number, plan } => {
                let answered =
                    Answered { connection: *connection, began: now, plan, spoke: None, head: None, written: None };
                self.answers.insert(*number, answered);
                if let Some(this) = self.latest_try(*connection) {
                    this.answers.push(*number);
                }
            }
            Event::Speaking { number, .. } => self.answered(*number).spoke = Some(now),
            Event::HeadWritten { number, .. } => self.answered(*number).head = Some(now),
            Event::AnswerWritten { number, sent, is_whole, .. } => {
                self.answered(*number).written = Some((now, *sent, *is_whole));
            }
            Event::Dialled { connection, wire, .. } => {
                let upstream = self.upstream(*connection);
                (upstream.dialled, upstream.wire) = (now, *wire);
            }
            Event::Connected { connection } => self.upstream(*connection).connected = now,
            Event::Refused { .. } => self.refused = self.refused.or(Some(now)),
            Event::Dropped { side: Side::ProxyToUpstream(connection) } => {
                self.upstream(*connection).dropped = Some(now);
            }
            Event::Dropped { side: Side::Upstream(connection) } => self.upstream(*connection).ended = Some(now),
            Event::Reset { by: Side::Upstream(connection) } => {
                let upstream = self.upstream(*connection);
                upstream.reset = upstream.reset.or(Some(now));
            }
            Event::Draining => self.draining = Some(now),
            Event::Cut => self.cut = Some(now),
            Event::Request { id: None, .. }
            | Event::Surplus { .. }
            | Event::Dropped { .. }
            | Event::Reset { .. }
            | Event::Shut { .. }
            | Event::Quiet => {}
        }
    }

    fn latest_try(&mut self, connection: usize) -> Option<&mut Try<'a>> {
        let id = self.upstreams.get(&connection).and_then(|upstream| upstream.requests.last().copied())?;
        self.dossier(id).tries.iter_mut().rev().find(|this| this.connection == connection)
    }

    fn dossier(&mut self, id: Id) -> &mut Dossier<'a> {
        self.dossiers.get_mut(&id).unwrap()
    }

    fn answered(&mut self, number: usize) -> &mut Answered<'a> {
        self.answers.get_mut(&number).unwrap()
    }

    fn client(&mut self, connection: usize) -> &mut ClientSide {
        self.clients.entry(connection).or_default()
    }

    fn upstream(&mut self, connection: usize) -> &mut UpstreamSide {
        self.upstreams.entry(connection).or_default()
    }

    /// The client's side of a request's connection.
    pub(super) fn client_of(&self, dossier: &Dossier<'_>) -> Option<&ClientSide> {
        self.clients.get(&dossier.connection?)
    }

    /// The connection of a try.
    pub(super) fn upstream_of(&self, this: &Try<'_>) -> &UpstreamSide {
        &self.upstreams[&this.connection]
    }

    /// Whether the upstream ever says something unasked on a connection.
    pub(super) fn speaks_unasked(&self, connection: usize) -> bool {
        self.answers.values().any(|answered| answered.connection == connection && answered.plan.id.is_none())
    }

    /// Whether the client of a request had left by then.
    pub(super) fn had_left(&self, dossier: &Dossier<'_>, by: Duration) -> bool {
        self.client_of(dossier).and_then(|client| client.left).is_some_and(|left| left.at <= by)
    }

    /// Whether the process was cut by then.
    pub(super) fn was_cut(&self, by: Duration) -> bool {
        self.cut.is_some_and(|cut| cut.at <= by)
    }

    /// The request before this one on the same connection.
    pub(super) fn before(&self, dossier: &Dossier<'_>) -> Option<&Dossier<'a>> {
        let requests = &self.client_of(dossier)?.requests;
        let index = requests.iter().position(|id| *id == dossier.plan.id).unwrap_or(requests.len());
        self.dossiers.get(requests.get(index.checked_sub(1)?)?)
    }
}

impl<'a> Dossier<'a> {
    fn new(plan: &'a RequestPlan, client: &'a ClientPlan) -> Self {
        Self {
            plan,
            client,
            connection: None,
            sending: None,
            sent: None,
            interim: 0,
            reply: None,
            no_answer: None,
            tries: Vec::new(),
            stop: None,
        }
    }

    /// The code of forebay's own error, if that is what it was answered with.
    pub(super) fn error(&self) -> Option<(&'a Head, &'a str)> {
        let reply = self.reply.as_ref().filter(|reply| reply.number().is_none())?;
        Some((reply.head, reply.head.field("x-forebay-error").unwrap_or_default()))
    }
}
