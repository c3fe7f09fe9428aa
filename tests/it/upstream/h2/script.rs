//! What an HTTP/2 upstream does with a request, as a list of acts.

use std::time::Duration;

use ::h2::Reason;
use http::{HeaderMap, HeaderName, HeaderValue, Response};

use super::super::Gate;

/// What the upstream does with one request.
#[derive(Clone)]
pub struct Play {
    /// Begin when the head is there, without waiting for the body.
    pub(super) early: bool,
    pub(super) acts: Vec<Act>,
}

#[derive(Clone)]
pub(super) enum Act {
    Interim(u16),
    Head(Reply, bool),
    /// DATA, and whether it ends the stream.
    Data(Vec<u8>, bool),
    /// `200`, and the request's own body.
    Echo,
    /// So many DATA frames of this size, each as soon as the windows allow, counted in `Seen::flooded`.
    Flood(usize, usize),
    Trailers(HeaderMap),
    /// Wait, or end when the peer resets the stream.
    Pause(Duration),
    Await(Gate),
    Stall,
    Reset(Reason),
    /// GOAWAY: what is under way is finished.
    GoAway,
    /// GOAWAY with this reason, and the end of the connection.
    Abort(Reason),
}

/// Read the request and never answer.
pub fn stall() -> Play {
    Play::of(Act::Stall)
}

/// RST_STREAM with `REFUSED_STREAM`: the request was not processed.
pub fn refuse() -> Play {
    Play::of(Act::Reset(Reason::REFUSED_STREAM)).early()
}

/// Read the request, and RST_STREAM with this reason.
pub fn reset(reason: Reason) -> Play {
    Play::of(Act::Reset(reason))
}

impl Play {
    /// Nothing, to begin with.
    pub fn new() -> Self {
        Self { early: false, acts: Vec::new() }
    }

    fn of(act: Act) -> Self {
        Self::new().then(act)
    }

    fn then(mut self, act: Act) -> Self {
        self.acts.push(act);
        self
    }

    /// Answer `200` with the request's own body.
    pub fn echo() -> Self {
        Self::of(Act::Echo)
    }

    /// Begin as soon as the head is there; the body is not read first.
    pub fn early(mut self) -> Self {
        self.early = true;
        self
    }

    /// Then an interim answer.
    pub fn then_interim(self, status: u16) -> Self {
        self.then(Act::Interim(status))
    }

    /// Then one DATA frame.
    pub fn then_data(self, data: impl AsRef<[u8]>) -> Self {
        self.then(Act::Data(data.as_ref().to_vec(), false))
    }

    /// Then the end of the stream.
    pub fn then_end(self) -> Self {
        self.then(Act::Data(Vec::new(), true))
    }

    /// Then so many DATA frames of this size.
    pub fn then_flood(self, frames: usize, size: usize) -> Self {
        self.then(Act::Flood(frames, size))
    }

    /// Then trailers, which end the stream.
    pub fn then_trailers(self, fields: &[(&'static str, &'static str)]) -> Self {
        let fields = fields.iter();
        let trailers =
            fields.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect();
        self.then(Act::Trailers(trailers))
    }

    /// Then wait for that long.
    pub fn then_pause(self, pause: Duration) -> Self {
        self.then(Act::Pause(pause))
    }

    /// Then wait until the test opens the gate.
    pub fn then_await(self, gate: &Gate) -> Self {
        self.then(Act::Await(gate.clone()))
    }

    /// Then say nothing more.
    pub fn then_stall(self) -> Self {
        self.then(Act::Stall)
    }

    /// Then RST_STREAM.
    pub fn then_reset(self, reason: Reason) -> Self {
        self.then(Act::Reset(reason))
    }

    /// Then GOAWAY; streams that are open go on.
    pub fn then_goaway(self) -> Self {
        self.then(Act::GoAway)
    }

    /// Then GOAWAY with a reason, and the connection ends.
    pub fn then_abort(self, reason: Reason) -> Self {
        self.then(Act::Abort(reason))
    }

    /// Then what the other play does.
    pub fn then_do(mut self, next: impl Into<Self>) -> Self {
        self.acts.extend(next.into().acts);
        self
    }
}

/// The head of an answer, and perhaps its body.
#[derive(Clone)]
pub struct Reply {
    status: u16,
    fields: HeaderMap,
    body: Vec<u8>,
}

/// An answer with this status and without a body.
pub fn reply(status: u16) -> Reply {
    Reply { status, fields: HeaderMap::new(), body: Vec::new() }
}

impl Reply {
    /// One more field line.
    pub fn field(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Self {
        self.fields.append(HeaderName::from_static(name), HeaderValue::from_bytes(value.as_ref()).unwrap());
        self
    }

    /// A body, in as few frames as possible.
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    /// Only the head: what follows is the test's business.
    pub fn open(self) -> Play {
        Play::of(Act::Head(self, false))
    }

    pub(super) fn response(&self) -> Response<()> {
        let mut response = Response::builder().status(self.status).body(()).unwrap();
        response.headers_mut().clone_from(&self.fields);
        response
    }
}

impl From<Reply> for Play {
    fn from(reply: Reply) -> Self {
        let body = reply.body.clone();
        let head = Self::of(Act::Head(reply, body.is_empty()));
        if body.is_empty() { head } else { head.then(Act::Data(body, true)) }
    }
}
