//! What the upstream does with a request, as a list of steps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What happens to a connection when it is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnAccept {
    /// HTTP is spoken on it.
    Speak,
    /// It is accepted, and nothing is ever read from it.
    NeverRead,
    /// Somebody's answer is written before anything was asked; then HTTP is spoken on it.
    Blurt,
    /// It is closed at once.
    Close,
}

/// What the upstream does with one request.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// Begin when the head is there, without waiting for the body.
    pub(super) early: bool,
    pub(super) steps: Vec<Step>,
}

/// One step of a behaviour. After the last one the connection goes on with the next request.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Write these bytes.
    Send(Vec<u8>),
    /// Answer `200` with the request's own body.
    Echo,
    /// Take what comes until the peer's FIN, counted in `Seen::tunnelled`; and send it back.
    Bounce { echo: bool },
    /// Write this many bytes, counted in `Seen::flooded`, as fast as they are taken.
    Flood(usize),
    /// Wait, or end when the peer goes away.
    Pause(Duration),
    /// Wait for the test, or end when the peer goes away.
    Await(Gate),
    /// Wait for the test without reading anything, whatever the peer does.
    AwaitDeaf(Gate),
    /// Say nothing until the peer goes away.
    Stall,
    /// Send a FIN, and go on.
    EndSending,
    /// End the connection with a FIN: stop writing, and drop what still arrives.
    Close,
    /// Drop the connection as it is: a FIN, or a RST where something was not read.
    Abandon,
    /// End the connection with a RST.
    Reset,
}

/// A door that a test opens. Behaviours that wait at it make a test independent of the clock.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<AtomicBool>);

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets everybody through, now and later.
    pub fn open(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether it was opened.
    pub fn is_open(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Read the request and never answer.
pub fn stall() -> Behaviour {
    Behaviour::of(Step::Stall)
}

/// Read the request and reset the connection.
pub fn reset() -> Behaviour {
    Behaviour::of(Step::Reset)
}

/// Read the request and close the connection.
pub fn close() -> Behaviour {
    Behaviour::of(Step::Close)
}

/// Answer with the request's own body.
pub fn echo() -> Behaviour {
    Behaviour::of(Step::Echo)
}

/// Write these bytes as they are.
pub fn raw(bytes: impl AsRef<[u8]>) -> Behaviour {
    Behaviour::of(Step::Send(bytes.as_ref().to_vec()))
}

impl Behaviour {
    fn of(step: Step) -> Self {
        Self { early: false, steps: vec![step] }
    }

    fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Begin as soon as the head is there; the body is not read first.
    pub fn early(mut self) -> Self {
        self.early = true;
        self
    }

    /// Then write these bytes.
    pub fn then_send(self, bytes: impl AsRef<[u8]>) -> Self {
        self.then(Step::Send(bytes.as_ref().to_vec()))
    }

    /// Then write one chunk of a chunked body.
    pub fn then_chunk(self, data: impl AsRef<[u8]>) -> Self {
        self.then_send(chunk(data))
    }

    /// Then write the end of a chunked body.
    pub fn then_last_chunk(self) -> Self {
        self.then_send("0\r\n\r\n")
    }

    /// Then send back whatever comes, until the peer's FIN.
    pub fn then_echo_bytes(self) -> Self {
        self.then(Step::Bounce { echo: true })
    }

    /// Then take whatever comes, until the peer's FIN.
    pub fn then_take_bytes(self) -> Self {
        self.then(Step::Bounce { echo: false })
    }

    /// Then send a FIN, and go on with what comes next.
    pub fn then_end_sending(self) -> Self {
        self.then(Step::EndSending)
    }

    /// Then write very many bytes.
    pub fn then_flood(self, total: usize) -> Self {
        self.then(Step::Flood(total))
    }

    /// Then wait for that long.
    pub fn then_pause(self, pause: Duration) -> Self {
        self.then(Step::Pause(pause))
    }

    /// Then wait until the test opens the gate.
    pub fn then_await(self, gate: &Gate) -> Self {
        self.then(Step::Await(gate.clone()))
    }

    /// Then wait until the test opens the gate, and read nothing meanwhile.
    pub fn then_await_deaf(self, gate: &Gate) -> Self {
        self.then(Step::AwaitDeaf(gate.clone()))
    }

    /// Then do what the other behaviour does.
    pub fn then_do(mut self, next: impl Into<Self>) -> Self {
        self.steps.extend(next.into().steps);
        self
    }

    /// Then say nothing more.
    pub fn then_stall(self) -> Self {
        self.then(Step::Stall)
    }

    /// Then close the connection.
    pub fn then_close(self) -> Self {
        self.then(Step::Close)
    }

    /// Then drop the connection, whatever was not read of it.
    pub fn then_abandon(self) -> Self {
        self.then(Step::Abandon)
    }

    /// Then reset the connection.
    pub fn then_reset(self) -> Self {
        self.then(Step::Reset)
    }
}

/// A well-formed answer. `204`, `304` and answers to `HEAD` are the caller's to shape: see [`Self::no_framing`].
#[derive(Clone, Debug)]
pub struct Answer {
    status: u16,
    reason: String,
    interim: Vec<u8>,
    fields: Vec<u8>,
    body: Body,
}

#[derive(Clone, Debug)]
enum Body {
    Length(Vec<u8>),
    Chunked(Vec<Vec<u8>>),
    Trailers(Vec<u8>, Vec<(String, String)>),
    UntilClose(Vec<u8>),
    None,
}

/// An answer with this status and an empty body with `Content-Length: 0`.
pub fn answer(status: u16) -> Answer {
    let reason = match status {
        200 => "OK",
        204 => "No Content",
        304 => "Not Modified",
        404 => "Not Found",
        500 => "Internal Server Error",
        _ => "Some Reason",
    };
    Answer {
        status,
        reason: reason.to_owned(),
        interim: Vec::new(),
        fields: Vec::new(),
        body: Body::Length(Vec::new()),
    }
}

impl Answer {
    /// One more field line; the value is written as it is.
    pub fn field(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.fields.extend([name.as_bytes(), b": ", value.as_ref(), b"\r\n"].concat());
        self
    }

    /// Another reason phrase.
    pub fn reason(mut self, reason: &str) -> Self {
        reason.clone_into(&mut self.reason);
        self
    }

    /// An interim answer (1xx) before this one.
    pub fn after_interim(mut self, status: u16) -> Self {
        self.interim.extend(format!("HTTP/1.1 {status} Interim\r\nLink: </a>\r\n\r\n").into_bytes());
        self
    }

    /// A body with `Content-Length`.
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = Body::Length(body.as_ref().to_vec());
        self
    }

    /// A chunked body.
    pub fn chunks<const N: usize>(mut self, chunks: [&str; N]) -> Self {
        self.body = Body::Chunked(chunks.iter().map(|c| c.as_bytes().to_vec()).collect());
        self
    }

    /// A chunked body with trailers behind it.
    pub fn trailers(mut self, body: &str, trailers: &[(&str, &str)]) -> Self {
        let trailers = trailers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.body = Body::Trailers(body.as_bytes().to_vec(), trailers);
        self
    }

    /// A body that ends where the connection ends.
    pub fn body_until_close(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = Body::UntilClose(body.as_ref().to_vec());
        self
    }

    /// Neither a body nor a field that says how long it is.
    pub fn no_framing(mut self) -> Self {
        self.body = Body::None;
        self
    }

    /// Only the head, as `field` wrote it: what follows is the test's business.
    pub fn head(&self) -> Behaviour {
        raw(self.head_bytes(""))
    }

    /// The head of a chunked answer; chunks follow with [`Behaviour::then_chunk`].
    pub fn chunked_head(&self) -> Behaviour {
        raw(self.head_bytes("Transfer-Encoding: chunked\r\n"))
    }

    fn head_bytes(&self, framing: &str) -> Vec<u8> {
        let status = format!("HTTP/1.1 {} {}\r\n", self.status, self.reason);
        [&self.interim, status.as_bytes(), &self.fields, framing.as_bytes(), b"\r\n"].concat()
    }
}

impl From<Answer> for Behaviour {
    fn from(answer: Answer) -> Self {
        match &answer.body {
            Body::Length(body) => {
                raw(answer.head_bytes(&format!("Content-Length: {}\r\n", body.len()))).merged_with(body)
            }
            Body::Chunked(chunks) => {
                let body: Vec<u8> = chunks.iter().flat_map(chunk).chain(b"0\r\n\r\n".iter().copied()).collect();
                raw(answer.head_bytes("Transfer-Encoding: chunked\r\n")).merged_with(&body)
            }
            Body::Trailers(body, trailers) => {
                let trailers = trailers.iter().flat_map(|(name, value)| format!("{name}: {value}\r\n").into_bytes());
                let body: Vec<u8> = chunk(body).into_iter().chain(*b"0\r\n").chain(trailers).chain(*b"\r\n").collect();
                raw(answer.head_bytes("Transfer-Encoding: chunked\r\n")).merged_with(&body)
            }
            Body::UntilClose(body) => raw(answer.head_bytes("Connection: close\r\n")).merged_with(body).then_close(),
            Body::None => answer.head(),
        }
    }
}

impl Behaviour {
    /// Head and body in one write, as most servers send a small answer.
    fn merged_with(mut self, body: &[u8]) -> Self {
        if let Some(Step::Send(bytes)) = self.steps.last_mut() {
            bytes.extend_from_slice(body);
        }
        self
    }
}

/// One chunk of a chunked body.
fn chunk(data: impl AsRef<[u8]>) -> Vec<u8> {
    let data = data.as_ref();
    [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat()
}
