//! One connection of the upstream: read a request, play its behaviour, and again.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use socket2::SockRef;

use super::script::Step;
use super::{Behaviour, Framing, OnAccept, Seen, Shared};

/// How often a connection that waits for something else looks whether its peer is still there.
const LOOK: Duration = Duration::from_millis(10);

/// No behaviour lasts longer than this, whatever a broken program does.
const LONGEST: Duration = Duration::from_secs(60);

pub(super) fn serve(
    shared: &Arc<Shared>,
    id: usize,
    socket: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    first: OnAccept,
) {
    match first {
        OnAccept::Close => return shared.ledger.closed(id),
        OnAccept::NeverRead => {
            // A small window, so that the writer notices early.
            let _ = SockRef::from(&socket).set_recv_buffer_size(4096);
            let begin = Instant::now();
            while !shared.ledger.stopped() && begin.elapsed() < LONGEST {
                thread::sleep(LOOK);
            }
            return shared.ledger.closed(id);
        }
        OnAccept::Blurt => drop((&socket).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL")),
        OnAccept::Speak => {}
    }
    let _ = socket.set_nodelay(true);
    let _ = socket.set_read_timeout(Some(LOOK));
    let wire = match tls {
        None => Wire::Plain(socket),
        Some(config) => Wire::Tls(Box::new(StreamOwned::new(ServerConnection::new(config).unwrap(), socket))),
    };
    let mut connection = Connection { shared: Arc::clone(shared), id, wire, buffer: Vec::new(), requests: 0 };
    while let Ok(()) = connection.one_request() {}
    connection.finish();
}

/// The connection is over: the peer left, or the behaviour ended it.
struct Over;

enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Wire {
    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => tls.get_ref(),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(tls) => tls.read(buffer),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Plain(socket) => socket.write_all(bytes),
            Self::Tls(tls) => tls.write_all(bytes).and_then(|()| tls.flush()),
        }
    }
}

struct Connection {
    shared: Arc<Shared>,
    id: usize,
    wire: Wire,
    buffer: Vec<u8>,
    requests: usize,
}

impl Connection {
    fn one_request(&mut self) -> Result<(), Over> {
        let head = self.through(b"\r\n\r\n")?;
        self.requests += 1;
        let seen = Seen::of_head(self.id, self.requests, head);
        let ambiguous = !seen.problems.is_empty();
        let (number, behaviour) = self.shared.begin(seen.clone());
        if !behaviour.early {
            self.read_body(&seen, number)?;
        }
        let played = self.play(&behaviour, number);
        if played.is_err() {
            return Err(Over);
        }
        if behaviour.early {
            self.read_body(&seen, number)?;
        }
        if ambiguous { Err(Over) } else { Ok(()) }
    }

    fn play(&mut self, behaviour: &Behaviour, number: usize) -> Result<(), Over> {
        for step in &behaviour.steps {
            match step {
                Step::Send(bytes) => self.send(bytes, number)?,
                Step::Echo => {
                    let mut body = Vec::new();
                    self.shared.ledger.update(number, |seen| body.clone_from(&seen.body));
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                    self.send(&[head.as_bytes(), &body].concat(), number)?;
                }
                Step::Bounce { echo } => self.bounce(*echo, number)?,
                Step::Flood(total) => self.flood(*total, number)?,
                Step::Pause(pause) => {
                    let end = Instant::now() + *pause;
                    self.watch(number, || Instant::now() >= end)?;
                }
                Step::Await(gate) => self.watch(number, || gate.is_open())?,
                Step::AwaitDeaf(gate) => {
                    let begin = Instant::now();
                    while !gate.is_open() && !self.shared.ledger.stopped() && begin.elapsed() < LONGEST {
                        thread::sleep(LOOK);
                    }
                }
                Step::Stall => {
                    self.watch(number, || false)?;
                    return Err(Over);
                }
                Step::EndSending => drop(self.wire.socket().shutdown(Shutdown::Write)),
                Step::Close => {
                    let _ = self.wire.socket().shutdown(Shutdown::Write);
                    let _ = self.watch_quietly(Duration::from_secs(2));
                    return Err(Over);
                }
                Step::Abandon => return Err(Over),
                Step::Reset => {
                    let _ = SockRef::from(self.wire.socket()).set_linger(Some(Duration::ZERO));
                    return Err(Over);
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, bytes: &[u8], number: usize) -> Result<(), Over> {
        self.wire.write(bytes).map_err(|_| self.peer_left(number))
    }

    /// Takes what comes until the peer's FIN, and sends it back if it should.
    fn bounce(&mut self, echo: bool, number: usize) -> Result<(), Over> {
        let begin = Instant::now();
        loop {
            let bytes = std::mem::take(&mut self.buffer);
            self.shared.ledger.update(number, |seen| seen.tunnelled.extend_from_slice(&bytes));
            if echo && !bytes.is_empty() {
                self.send(&bytes, number)?;
            }
            if self.shared.ledger.stopped() || begin.elapsed() > LONGEST {
                return Err(Over);
            }
            if self.fill().is_err() {
                let _ = self.peer_left(number);
                return Ok(());
            }
        }
    }

    fn flood(&mut self, total: usize, number: usize) -> Result<(), Over> {
        let block = vec![b'f'; 64 * 1024];
        let mut sent = 0;
        while sent < total {
            let part = &block[..block.len().min(total - sent)];
            self.send(part, number)?;
            sent += part.len();
            self.shared.ledger.update(number, |seen| seen.flooded = sent);
        }
        Ok(())
    }

    /// Waits until `done`; ends when the peer leaves, at the latest after a minute.
    fn watch(&mut self, number: usize, mut done: impl FnMut() -> bool) -> Result<(), Over> {
        let begin = Instant::now();
        while !done() {
            if self.shared.ledger.stopped() || begin.elapsed() > LONGEST {
                return Err(Over);
            }
            if self.fill().is_err() {
                return Err(self.peer_left(number));
            }
        }
        Ok(())
    }

    /// Reads and drops until the peer closes too.
    fn watch_quietly(&mut self, longest: Duration) -> Result<(), Over> {
        let begin = Instant::now();
        while begin.elapsed() < longest && !self.shared.ledger.stopped() {
            self.fill()?;
            self.buffer.clear();
        }
        Ok(())
    }

    fn peer_left(&self, number: usize) -> Over {
        self.shared.ledger.update(number, |seen| seen.aborted = Some(Instant::now()));
        Over
    }

    /// Reads the body as strictly as its framing allows, and records what is not strict. What has come is in the record.
    fn read_body(&mut self, seen: &Seen, number: usize) -> Result<(), Over> {
        if !seen.all("transfer-encoding").is_empty() {
            self.shared.ledger.update(number, |s| s.framing = Framing::Chunked);
            self.chunks(number)?;
        } else if let Some(length) = seen.get("content-length") {
            self.shared.ledger.update(number, |s| s.framing = Framing::Length);
            self.body_bytes(length.parse().unwrap_or(0), number)?;
        }
        self.shared.ledger.update(number, |s| s.complete = true);
        Ok(())
    }

    fn body_bytes(&mut self, mut left: usize, number: usize) -> Result<(), Over> {
        while left > 0 {
            if self.buffer.is_empty() {
                self.fill_some()?;
            }
            let piece: Vec<u8> = self.buffer.drain(..left.min(self.buffer.len())).collect();
            left -= piece.len();
            self.shared.ledger.update(number, |s| s.body.extend(piece));
        }
        Ok(())
    }

    fn chunks(&mut self, number: usize) -> Result<(), Over> {
        loop {
            let line = self.through(b"\n")?;
            let digits = String::from_utf8_lossy(&line).trim_end_matches("\r\n").to_owned();
            let size = usize::from_str_radix(&digits, 16).ok().filter(|_| !digits.starts_with('+'));
            let Some(size) = size else {
                let problem = format!("the chunk line {}", line.escape_ascii());
                self.shared.ledger.update(number, |s| s.problems.push(problem));
                return Err(Over);
            };
            if size == 0 {
                return self.trailers(number);
            }
            self.body_bytes(size, number)?;
            if self.exactly(2)? != b"\r\n" {
                let problem = "a chunk that does not end with CRLF".to_owned();
                self.shared.ledger.update(number, |s| s.problems.push(problem));
                return Err(Over);
            }
        }
    }

    fn trailers(&mut self, number: usize) -> Result<(), Over> {
        loop {
            let line = self.through(b"\r\n")?;
            match super::record::split_field(&line[..line.len() - 2]) {
                _ if line == b"\r\n" => return Ok(()),
                Some(field) => self.shared.ledger.update(number, |s| s.trailers.push(field)),
                None => self.shared.ledger.update(number, |s| s.problems.push("a trailer without a colon".to_owned())),
            }
        }
    }

    fn through(&mut self, end: &[u8]) -> Result<Vec<u8>, Over> {
        let mut from = 0;
        loop {
            if let Some(at) = self.buffer[from..].windows(end.len()).position(|w| w == end) {
                return Ok(self.buffer.drain(..from + at + end.len()).collect());
            }
            from = self.buffer.len().saturating_sub(end.len());
            self.fill_some()?;
        }
    }

    fn exactly(&mut self, length: usize) -> Result<Vec<u8>, Over> {
        while self.buffer.len() < length {
            self.fill_some()?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    fn fill_some(&mut self) -> Result<(), Over> {
        let before = self.buffer.len();
        while self.buffer.len() == before {
            if self.shared.ledger.stopped() {
                return Err(Over);
            }
            self.fill()?;
        }
        Ok(())
    }

    /// One read: nothing may have come (for as long as [`LOOK`]), or the peer left.
    fn fill(&mut self) -> Result<(), Over> {
        let mut block = [0; 16 * 1024];
        match self.wire.read(&mut block) {
            Ok(0) => Err(Over),
            Ok(n) => {
                self.buffer.extend_from_slice(&block[..n]);
                Ok(())
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {
                Ok(())
            }
            Err(_) => Err(Over),
        }
    }

    /// Closes the socket: the handle that the upstream keeps goes first, then this one.
    fn finish(self) {
        self.shared.ledger.closed(self.id);
    }
}
