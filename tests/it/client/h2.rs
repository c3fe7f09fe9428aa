//! An HTTP/2 client whose frames are written by hand: requests and answers the easy way, and below that any frame at all.
//!
//! One thread: frames are read only while something is waited for. Windows are what the test gives; by default the widest.

mod streams;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::request::{Body, Request};
use super::response::{Framing, Response};
use super::wire::Wire;
use super::{Cut, PATIENCE};
use crate::frames::{self, Frame};
use streams::Streams;

/// One client connection.
pub struct H2Client {
    wire: Wire,
    buffer: Vec<u8>,
    until: Instant,
    next_stream: u32,
    streams: Streams,
    /// How the connection ended.
    closed: Option<Cut>,
    /// SETTINGS and PING are answered.
    polite: bool,
}

impl H2Client {
    /// Prior knowledge: preface, SETTINGS, the widest windows. Nothing is waited for.
    pub fn connect(port: u16) -> Self {
        Self::with_stream_window(port, frames::LARGEST_WINDOW)
    }

    /// The same, but each stream may send only so many bytes until [`Self::grant`].
    pub fn with_stream_window(port: u16, window: u32) -> Self {
        let mut client = Self::silent(port);
        client.begin(window);
        client
    }

    /// Over TLS, with the `h2` of ALPN; or why the handshake failed.
    pub fn connect_tls(port: u16, config: Arc<rustls::ClientConfig>) -> std::io::Result<Self> {
        let mut client = Self::over(Wire::connect_tls(port, config)?);
        client.begin(frames::LARGEST_WINDOW);
        Ok(client)
    }

    /// Only a socket: even the preface is the test's.
    pub fn silent(port: u16) -> Self {
        Self::over(Wire::connect(port))
    }

    fn over(wire: Wire) -> Self {
        Self {
            wire,
            buffer: Vec::new(),
            until: Instant::now(),
            next_stream: 1,
            streams: Streams::new(),
            closed: None,
            polite: true,
        }
    }

    fn begin(&mut self, window: u32) {
        let ours = [(frames::ENABLE_PUSH, 0), (frames::INITIAL_WINDOW_SIZE, window)];
        self.write([frames::PREFACE, &frames::settings(&ours)].concat());
        self.grant(0, frames::LARGEST_WINDOW - 65_535);
    }

    /// Answers neither SETTINGS nor PING any more.
    pub fn impolite(mut self) -> Self {
        self.polite = false;
        self
    }

    /// Writes these bytes; whether the peer still took them.
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.wire.write_all(bytes.as_ref())
    }

    /// Writes these bytes, reading nothing meanwhile; whether the peer took them within that time.
    pub fn write_within(&mut self, bytes: &[u8], most: Duration) -> bool {
        self.wire.write_all_within(bytes, most)
    }

    /// Sends a whole request and reads its answer.
    #[track_caller]
    pub fn ask(&mut self, request: &Request) -> Response {
        let stream = self.send(request);
        self.read(stream)
    }

    /// Sends a whole request: its body as the peer's windows allow. The number of its stream.
    #[track_caller]
    pub fn send(&mut self, request: &Request) -> u32 {
        match request.content() {
            Body::None => self.send_fields(&request_fields(request), true),
            Body::Length(body) => {
                let stream = self.send_fields(&request_fields(request), body.is_empty());
                if !body.is_empty() {
                    self.data(stream, body, true);
                }
                stream
            }
            Body::Chunked(chunks) => {
                let stream = self.send_fields(&request_fields(request), false);
                for chunk in chunks {
                    self.data(stream, chunk, false);
                }
                self.data(stream, b"", true);
                stream
            }
        }
    }

    /// Sends the head of a request whose body is still to come.
    pub fn open(&mut self, request: &Request) -> u32 {
        self.send_fields(&request_fields(request), false)
    }

    /// Opens a stream with these fields, pseudo fields included, as they are.
    pub fn send_fields<N: AsRef<[u8]>, V: AsRef<[u8]>>(&mut self, fields: &[(N, V)], end: bool) -> u32 {
        self.send_block(&frames::block(fields), end)
    }

    /// Opens a stream with this field block.
    pub fn send_block(&mut self, block: &[u8], end: bool) -> u32 {
        let stream = self.next_stream();
        self.write(frames::headers(stream, end, block));
        stream
    }

    /// A stream number that was not used yet.
    pub fn next_stream(&mut self) -> u32 {
        let stream = self.next_stream;
        self.next_stream += 2;
        self.streams.open(stream);
        stream
    }

    /// Sends a part of a body as soon as the peer's windows allow. An answer that ends first makes it unnecessary.
    #[track_caller]
    pub fn data(&mut self, stream: u32, mut body: &[u8], end: bool) {
        self.until = Instant::now() + PATIENCE;
        while !body.is_empty() {
            let room = self.streams.room(stream).min(16 * 1024).min(body.len());
            if room == 0 {
                if self.closed.is_some() || self.streams.is_over(stream) {
                    return;
                }
                assert_ne!(self.pump(), Err(Cut::Timeout), "the peer gives no window for stream {stream}");
                continue;
            }
            let (now, later) = body.split_at(room);
            self.streams.spend(stream, room);
            let flags = if end && later.is_empty() { frames::END_STREAM } else { 0 };
            self.write(frames::frame(frames::DATA, flags, stream, now));
            body = later;
            if body.is_empty() {
                return;
            }
        }
        if end {
            self.write(frames::frame(frames::DATA, frames::END_STREAM, stream, []));
        }
    }

    /// Ends a request with trailers.
    pub fn trailers(&mut self, stream: u32, fields: &[(&str, &str)]) {
        self.write(frames::headers(stream, true, &frames::block(fields)));
    }

    /// Gives up a stream.
    pub fn reset(&mut self, stream: u32, code: u32) {
        self.write(frames::rst_stream(stream, code));
    }

    /// Allows the peer so many more bytes, on a stream or (0) on the connection.
    pub fn grant(&mut self, stream: u32, bytes: u32) {
        self.write(frames::window_update(stream, bytes));
    }

    /// Reads the answer on a stream to its end. Look at `cut` for how it ended.
    #[track_caller]
    pub fn read(&mut self, stream: u32) -> Response {
        self.read_until(stream, PATIENCE, |_| false)
    }

    /// Reads until the head of the answer is there.
    #[track_caller]
    pub fn read_head(&mut self, stream: u32) -> Response {
        self.read_until(stream, PATIENCE, |response| response.status != 0)
    }

    /// Reads until the body has at least so many bytes.
    #[track_caller]
    pub fn read_body(&mut self, stream: u32, at_least: usize) -> Response {
        self.read_until(stream, PATIENCE, |response| response.body.len() >= at_least)
    }

    /// Reads until the condition holds, the stream ends, or that long.
    #[track_caller]
    pub fn read_until(&mut self, stream: u32, most: Duration, enough: impl Fn(&Response) -> bool) -> Response {
        self.until = Instant::now() + most;
        loop {
            let response = self.streams.response(stream);
            let over = response.framing == Framing::Done || response.cut.is_some();
            if over || (response.status != 0 && enough(response)) {
                return response.clone();
            }
            if let Some(cut) = self.closed {
                return Response { cut: Some(cut), ..response.clone() };
            }
            if self.pump() == Err(Cut::Timeout) {
                return Response { cut: Some(Cut::Timeout), ..self.streams.response(stream).clone() };
            }
        }
    }

    /// Waits until everything that was sent so far was read by the peer: a PING is answered in order.
    #[track_caller]
    pub fn round_trip(&mut self) {
        let before = self.streams.pongs;
        self.write(frames::frame(frames::PING, 0, 0, *b"are you?"));
        self.wait("an answer to PING", |client| client.streams.pongs > before);
    }

    /// Waits for a GOAWAY: the last stream it names, and its code.
    #[track_caller]
    pub fn wait_for_goaway(&mut self) -> (u32, u32) {
        self.wait("a GOAWAY", |client| client.streams.goaway.is_some());
        self.streams.goaway.unwrap()
    }

    /// The last GOAWAY so far.
    pub fn goaway(&self) -> Option<(u32, u32)> {
        self.streams.goaway
    }

    /// A setting of the peer, as soon as its SETTINGS are there.
    #[track_caller]
    pub fn setting(&mut self, id: u16) -> Option<u32> {
        self.wait("SETTINGS", |client| client.streams.has_settings);
        self.streams.settings.get(&id).copied()
    }

    /// Whether the peer closes the connection in time.
    pub fn is_closed(&mut self) -> bool {
        self.is_closed_within(PATIENCE)
    }

    /// Whether the peer closes the connection within that time.
    pub fn is_closed_within(&mut self, most: Duration) -> bool {
        self.until = Instant::now() + most;
        while self.closed.is_none() {
            if self.pump() == Err(Cut::Timeout) {
                return false;
            }
        }
        true
    }

    /// Takes few bytes at a time from the network.
    pub fn with_small_receive_buffer(self) -> Self {
        socket2::SockRef::from(self.wire.socket()).set_recv_buffer_size(16 * 1024).unwrap();
        self
    }

    #[track_caller]
    fn wait(&mut self, what: &str, condition: impl Fn(&Self) -> bool) {
        self.until = Instant::now() + PATIENCE;
        while !condition(self) {
            assert!(self.closed.is_none(), "waited for {what}, but the connection ended: {:?}", self.closed);
            assert_ne!(self.pump(), Err(Cut::Timeout), "waited in vain for {what}");
        }
    }

    /// Reads one frame and does what it says.
    #[track_caller]
    fn pump(&mut self) -> Result<(), Cut> {
        let frame = loop {
            if let Some(frame) = Frame::take(&mut self.buffer) {
                break frame;
            }
            match self.wire.read_into(&mut self.buffer, self.until) {
                Ok(()) => {}
                Err(Cut::Timeout) => return Err(Cut::Timeout),
                Err(cut) => {
                    self.closed = Some(cut);
                    return Err(cut);
                }
            }
        };
        let is_answered = self.polite && !frame.has(frames::ACK);
        match frame.kind {
            frames::SETTINGS if is_answered => {
                self.write(frames::frame(frames::SETTINGS, frames::ACK, 0, []));
            }
            frames::PING if is_answered => {
                self.write(frames::frame(frames::PING, frames::ACK, 0, &frame.payload));
            }
            _ => {}
        }
        self.streams.take(&frame);
        Ok(())
    }
}

/// The fields of a request (RFC 9113 §8.3.1): its names in lower case, its values as they are.
pub fn request_fields(request: &Request) -> Vec<(String, Vec<u8>)> {
    let mut fields = vec![
        (":method".to_owned(), request.method().as_bytes().to_vec()),
        (":scheme".to_owned(), b"http".to_vec()),
        (":path".to_owned(), request.target().to_vec()),
    ];
    fields.extend(request.authority().map(|authority| (":authority".to_owned(), authority.to_vec())));
    fields.extend(request.fields().iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())));
    if let Body::Length(body) = request.content() {
        fields.push(("content-length".to_owned(), body.len().to_string().into_bytes()));
    }
    fields
}
