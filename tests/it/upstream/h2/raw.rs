//! An HTTP/2 upstream whose every frame is the test's: for what no library would send.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::super::{Ledger, PATIENCE};
use crate::frames::{self, Frame};

/// A running upstream. Dropped, it closes its listener and all its connections.
pub struct RawH2Upstream {
    ledger: Arc<Ledger>,
    address: SocketAddr,
}

impl RawH2Upstream {
    /// In clear. The story is told for every connection, its preface and its first SETTINGS read and answered; given is
    /// the number of the connection, from 1. When the story ends, the connection is drained until the peer closes it.
    pub fn start(story: impl Fn(&mut Peer, usize) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (ledger, story) = (Arc::new(Ledger::new()), Arc::new(story));
        let accepting = Arc::clone(&ledger);
        thread::spawn(move || {
            for socket in listener.incoming() {
                let Ok(socket) = socket else { continue };
                let Some(id) = accepting.opened(&socket) else { return };
                let (ledger, story) = (Arc::clone(&accepting), Arc::clone(&story));
                thread::spawn(move || {
                    let _ = socket.set_nodelay(true);
                    let mut peer = Peer {
                        socket,
                        buffer: Vec::new(),
                        ledger: Arc::clone(&ledger),
                        decoder: loona_hpack::Decoder::new(),
                    };
                    if peer.begin() {
                        story(&mut peer, id);
                        while peer.next().is_some() {}
                    }
                    ledger.closed(id);
                });
            }
        });
        Self { ledger, address }
    }

    /// `UPSTREAM_BASE_URL`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Its connections; requests are not recorded.
impl std::ops::Deref for RawH2Upstream {
    type Target = Ledger;

    fn deref(&self) -> &Ledger {
        &self.ledger
    }
}

impl Drop for RawH2Upstream {
    fn drop(&mut self) {
        self.ledger.stop();
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_millis(200));
    }
}

/// The client at the other end of a connection.
pub struct Peer {
    socket: TcpStream,
    buffer: Vec<u8>,
    ledger: Arc<Ledger>,
    decoder: loona_hpack::Decoder<'static>,
}

impl Peer {
    fn begin(&mut self) -> bool {
        while self.buffer.len() < frames::PREFACE.len() {
            if !self.fill() {
                return false;
            }
        }
        let preface: Vec<u8> = self.buffer.drain(..frames::PREFACE.len()).collect();
        preface == frames::PREFACE && self.send(frames::settings(&[]))
    }

    /// The next frame that is no SETTINGS and no PING: those are answered. None when the peer has closed.
    pub fn next(&mut self) -> Option<Frame> {
        loop {
            let Some(frame) = Frame::take(&mut self.buffer) else {
                if self.fill() {
                    continue;
                }
                return None;
            };
            match frame.kind {
                frames::SETTINGS | frames::PING if frame.has(frames::ACK) => {}
                frames::SETTINGS => drop(self.send(frames::frame(frames::SETTINGS, frames::ACK, 0, []))),
                frames::PING => drop(self.send(frames::frame(frames::PING, frames::ACK, 0, &frame.payload))),
                _ => return Some(frame),
            }
        }
    }

    /// The stream and the path of the next request whose head is there.
    pub fn next_request(&mut self) -> Option<(u32, String)> {
        let mut block = Vec::new();
        loop {
            let frame = self.next()?;
            if !matches!(frame.kind, frames::HEADERS | frames::CONTINUATION) {
                continue;
            }
            block.extend_from_slice(frame.content());
            if frame.has(frames::END_HEADERS) {
                let fields = self.decoder.decode(&block).expect("a field block");
                let path = fields.into_iter().find(|(name, _)| name == b":path").map(|(_, value)| value);
                return Some((frame.stream, String::from_utf8_lossy(&path.unwrap_or_default()).into_owned()));
            }
        }
    }

    /// Writes these bytes; whether the peer still took them.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let _ = self.socket.set_write_timeout(Some(PATIENCE));
        self.socket.write_all(bytes.as_ref()).is_ok()
    }

    /// A whole answer.
    pub fn answer(&mut self, stream: u32, status: u16, body: &str) -> bool {
        self.head(stream, status, false) && self.send(frames::frame(frames::DATA, frames::END_STREAM, stream, body))
    }

    /// The head of an answer.
    pub fn head(&mut self, stream: u32, status: u16, end: bool) -> bool {
        self.send(frames::headers(stream, end, &frames::block(&[(":status", status.to_string())])))
    }

    /// Ends the connection.
    pub fn hang_up(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    fn fill(&mut self) -> bool {
        let begin = Instant::now();
        let mut block = [0; 16 * 1024];
        let _ = self.socket.set_read_timeout(Some(Duration::from_millis(100)));
        while !self.ledger.stopped() && begin.elapsed() < 4 * PATIENCE {
            match self.socket.read(&mut block) {
                Ok(0) => return false,
                Ok(n) => {
                    self.buffer.extend_from_slice(&block[..n]);
                    return true;
                }
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {}
                Err(_) => return false,
            }
        }
        false
    }
}
