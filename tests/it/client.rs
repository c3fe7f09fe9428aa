//! Raw clients, HTTP/1.1 here and HTTP/2 in [`h2`]. They send what they are told, and read answers more strictly than any
//! real one.

pub mod h2;
mod request;
mod response;
mod wire;

use std::net::Shutdown;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

pub use h2::H2Client;
pub use request::{Request, get, post, request};
pub use response::{Cut, Response};
use wire::Wire;

/// How long a client waits for an answer. Only a broken program makes it last that long.
const PATIENCE: Duration = Duration::from_secs(15);

/// One client connection.
pub struct Client {
    wire: Wire,
    buffer: Vec<u8>,
    /// Until when the read under way may last.
    until: Instant,
    /// The last bytes came at this moment.
    pub last_read: Instant,
}

impl Client {
    /// Connects to a port of this machine, as soon as somebody listens there.
    pub fn connect(port: u16) -> Self {
        Self::over(Wire::connect(port))
    }

    /// The same with TLS, its handshake done; or why it failed.
    pub fn connect_tls(port: u16, config: Arc<rustls::ClientConfig>) -> std::io::Result<Self> {
        Wire::connect_tls(port, config).map(Self::over)
    }

    fn over(wire: Wire) -> Self {
        Self { wire, buffer: Vec::new(), until: Instant::now(), last_read: Instant::now() }
    }

    /// What TLS agreed on; none in clear.
    pub fn tls(&self) -> Option<&rustls::ClientConnection> {
        self.wire.tls()
    }

    /// Writes all of it. A peer that answers early and closes is not an error of the writer.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.try_send(bytes);
    }

    /// Writes all of it; whether the peer still took it.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.wire.write_all(bytes.as_ref())
    }

    /// Sends a request and reads its answer.
    pub fn ask(&mut self, request: &Request) -> Response {
        self.send(request.bytes());
        self.read(request.method())
    }

    /// Reads one answer to its end.
    #[track_caller]
    pub fn read(&mut self, method: &str) -> Response {
        self.read_within(method, PATIENCE)
    }

    /// Reads one answer for at most that long. Look at `cut` for how it ended.
    #[track_caller]
    pub fn read_within(&mut self, method: &str, patience: Duration) -> Response {
        let mut response = self.read_head_within(method, patience);
        if response.cut.is_none() {
            self.read_on(&mut response, usize::MAX);
        }
        response
    }

    /// Reads only the head of an answer.
    #[track_caller]
    pub fn read_head(&mut self, method: &str) -> Response {
        self.read_head_within(method, PATIENCE)
    }

    #[track_caller]
    fn read_head_within(&mut self, method: &str, patience: Duration) -> Response {
        self.until = Instant::now() + patience;
        response::read_head(self, method)
    }

    /// Reads on until the body has at least that many bytes, or the answer ends.
    #[track_caller]
    pub fn read_body(&mut self, response: &mut Response, at_least: usize) {
        self.until = Instant::now() + PATIENCE;
        self.read_on(response, at_least);
    }

    /// Reads on to the end of the answer.
    #[track_caller]
    pub fn read_rest(&mut self, response: &mut Response) {
        self.read_body(response, usize::MAX);
    }

    /// Sends a request that asks for another protocol, and reads the answer: after a 101 what follows is not HTTP.
    #[track_caller]
    pub fn upgrade(&mut self, request: &Request) -> Response {
        self.send(request.bytes());
        self.read_switch()
    }

    /// Reads the answer to a `GET` that asked for another protocol.
    #[track_caller]
    pub fn read_switch(&mut self) -> Response {
        self.until = Instant::now() + PATIENCE;
        let mut response = response::read_head_or_switch(self, "GET");
        if response.cut.is_none() && response.status != 101 {
            self.read_on(&mut response, usize::MAX);
        }
        response
    }

    /// The next bytes, whatever they mean: so many, or fewer if the peer ends before.
    #[track_caller]
    pub fn take(&mut self, count: usize) -> Vec<u8> {
        self.until = Instant::now() + PATIENCE;
        while self.buffer.len() < count {
            match self.fill() {
                Ok(()) => {}
                Err(Cut::Timeout) => panic!("{} bytes instead of {count}", self.buffer.len()),
                Err(_) => break,
            }
        }
        let n = self.buffer.len().min(count);
        self.buffer.drain(..n).collect()
    }

    /// All bytes until the peer ends, and how it did.
    pub fn take_rest(&mut self) -> (Vec<u8>, Cut) {
        self.until = Instant::now() + PATIENCE;
        let cut = loop {
            if let Err(cut) = self.fill() {
                break cut;
            }
        };
        (std::mem::take(&mut self.buffer), cut)
    }

    #[track_caller]
    fn read_on(&mut self, response: &mut Response, at_least: usize) {
        response::read_body(self, response, at_least);
    }

    /// The status of one interim answer (1xx).
    #[track_caller]
    pub fn read_interim(&mut self) -> u16 {
        self.until = Instant::now() + PATIENCE;
        response::read_interim(self)
    }

    /// Whether the peer closes the connection in time; what still comes is dropped.
    pub fn is_closed(&mut self) -> bool {
        self.is_closed_within(PATIENCE)
    }

    /// Whether the peer closes the connection within that time; what still comes is dropped.
    pub fn is_closed_within(&mut self, patience: Duration) -> bool {
        self.until = Instant::now() + patience;
        loop {
            match self.fill() {
                Ok(()) => self.buffer.clear(),
                Err(Cut::Timeout) => return false,
                Err(_) => return true,
            }
        }
    }

    /// Sends a FIN, and goes on reading.
    pub fn end_sending(&self) {
        let _ = self.wire.socket().shutdown(Shutdown::Write);
    }

    /// Leaves with a FIN, but for a second the socket stays: nothing that is written to it is answered with a RST.
    pub fn finish_sending(self) {
        self.end_sending();
        thread::spawn(move || {
            thread::sleep(Duration::from_secs(1));
            drop(self);
        });
    }

    /// Leaves with a RST.
    pub fn reset(self) {
        SockRef::from(self.wire.socket()).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Takes few bytes at a time from the network, so that what is not read piles up at the sender.
    pub fn with_small_window(self) -> Self {
        SockRef::from(self.wire.socket()).set_recv_buffer_size(16 * 1024).unwrap();
        self
    }

    /// One line without its CRLF.
    #[track_caller]
    fn line(&mut self) -> Result<Vec<u8>, Cut> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|w| w == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..at + 2).take(at).collect();
                assert!(!line.iter().any(|b| b"\r\n\0".contains(b)), "a bare CR, LF or NUL in {}", line.escape_ascii());
                return Ok(line);
            }
            assert!(self.buffer.len() < 1 << 20, "a line that does not end");
            self.fill()?;
        }
    }

    /// Up to `most` bytes, at least one.
    fn some(&mut self, most: usize) -> Result<Vec<u8>, Cut> {
        if self.buffer.is_empty() {
            self.fill()?;
        }
        let n = self.buffer.len().min(most);
        Ok(self.buffer.drain(..n).collect())
    }

    fn fill(&mut self) -> Result<(), Cut> {
        self.wire.read_into(&mut self.buffer, self.until)?;
        self.last_read = Instant::now();
        Ok(())
    }
}
