//! What has come on the streams of one connection so far, and what the peer's windows allow.

use std::collections::HashMap;

use super::super::response::{Framing, Response};
use super::Cut;
use crate::frames::{self, Frame};

pub(super) struct Streams {
    decoder: loona_hpack::Decoder<'static>,
    by_number: HashMap<u32, Stream>,
    /// HEADERS whose CONTINUATION is still to come: its flags, its stream, its block.
    block: Option<(bool, u32, Vec<u8>)>,
    /// What may still be sent on the connection.
    window: i64,
    pub(super) settings: HashMap<u16, u32>,
    pub(super) has_settings: bool,
    /// Answers to PING.
    pub(super) pongs: usize,
    /// The last stream and the code of the last GOAWAY.
    pub(super) goaway: Option<(u32, u32)>,
}

struct Stream {
    response: Response,
    window: i64,
}

impl Streams {
    pub(super) fn new() -> Self {
        Self {
            decoder: loona_hpack::Decoder::new(),
            by_number: HashMap::new(),
            block: None,
            window: 65_535,
            settings: HashMap::new(),
            has_settings: false,
            pongs: 0,
            goaway: None,
        }
    }

    pub(super) fn open(&mut self, number: u32) {
        let window = i64::from(self.initial_window());
        let response = Response { version: "HTTP/2".to_owned(), framing: Framing::UntilClose, ..Response::empty() };
        self.by_number.insert(number, Stream { response, window });
    }

    fn initial_window(&self) -> u32 {
        self.settings.get(&frames::INITIAL_WINDOW_SIZE).copied().unwrap_or(65_535)
    }

    #[track_caller]
    pub(super) fn response(&self, number: u32) -> &Response {
        &self.by_number.get(&number).expect("a stream that was opened").response
    }

    /// Whether no more body is wanted on it.
    pub(super) fn is_over(&self, number: u32) -> bool {
        let response = self.response(number);
        response.cut.is_some() || response.framing == Framing::Done
    }

    /// How many bytes may be sent on a stream now.
    pub(super) fn room(&self, number: u32) -> usize {
        let stream = self.by_number.get(&number).map_or(0, |s| s.window);
        usize::try_from(stream.min(self.window)).unwrap_or(0)
    }

    pub(super) fn spend(&mut self, number: u32, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap();
        self.window -= bytes;
        if let Some(stream) = self.by_number.get_mut(&number) {
            stream.window -= bytes;
        }
    }

    #[track_caller]
    pub(super) fn take(&mut self, frame: &Frame) {
        let continues = frame.kind == frames::CONTINUATION;
        assert_eq!(self.block.is_some(), continues, "a field block is not interrupted: {frame:?}");
        match frame.kind {
            frames::DATA => {
                let response = self.of(frame.stream);
                assert_ne!(response.status, 0, "DATA before HEADERS: {frame:?}");
                assert_eq!(response.framing, Framing::UntilClose, "DATA after the end: {frame:?}");
                response.body.extend_from_slice(frame.content());
                if frame.has(frames::END_STREAM) {
                    end(response);
                }
            }
            frames::HEADERS => {
                self.block = Some((frame.has(frames::END_STREAM), frame.stream, frame.content().to_vec()));
            }
            frames::CONTINUATION => {
                let (_, stream, block) = self.block.as_mut().unwrap();
                assert_eq!(*stream, frame.stream, "a field block goes on where it began");
                block.extend_from_slice(&frame.payload);
            }
            frames::RST_STREAM => {
                let code = frame.number(0);
                let response = self.of(frame.stream);
                // After a whole answer NO_ERROR says that the rest of the request is not wanted (RFC 9113 §8.1).
                if response.framing != Framing::Done || code != frames::NO_ERROR {
                    response.cut = Some(Cut::Stream(code));
                }
            }
            frames::SETTINGS if !frame.has(frames::ACK) => self.take_settings(&frame.payload),
            frames::PING if frame.has(frames::ACK) => self.pongs += 1,
            frames::GOAWAY => self.goaway = Some((frame.number(0), frame.number(4))),
            frames::WINDOW_UPDATE if frame.stream == 0 => self.window += i64::from(frame.number(0)),
            frames::WINDOW_UPDATE => {
                if let Some(stream) = self.by_number.get_mut(&frame.stream) {
                    stream.window += i64::from(frame.number(0));
                }
            }
            frames::PUSH_PROMISE => panic!("a push that was forbidden"),
            _ => {}
        }
        if matches!(frame.kind, frames::HEADERS | frames::CONTINUATION) && frame.has(frames::END_HEADERS) {
            let (end_stream, stream, block) = self.block.take().unwrap();
            self.take_block(end_stream, stream, &block);
        }
    }

    #[track_caller]
    fn of(&mut self, number: u32) -> &mut Response {
        &mut self.by_number.get_mut(&number).expect("a frame on a stream that was opened").response
    }

    fn take_settings(&mut self, payload: &[u8]) {
        let before = i64::from(self.initial_window());
        for pair in payload.chunks_exact(6) {
            let id = u16::from_be_bytes([pair[0], pair[1]]);
            self.settings.insert(id, u32::from_be_bytes([pair[2], pair[3], pair[4], pair[5]]));
        }
        self.has_settings = true;
        let change = i64::from(self.initial_window()) - before;
        for stream in self.by_number.values_mut() {
            stream.window += change;
        }
    }

    /// A head, an interim head, or trailers.
    #[track_caller]
    fn take_block(&mut self, end_stream: bool, number: u32, block: &[u8]) {
        let decoded = self.decoder.decode(block).expect("a field block");
        let fields: Vec<(String, Vec<u8>)> =
            decoded.into_iter().map(|(name, value)| (String::from_utf8(name).unwrap(), value)).collect();
        for (name, value) in &fields {
            assert!(!name.bytes().any(|b| b.is_ascii_uppercase()), "an upper-case name: {name}");
            let hop = ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "te"];
            assert!(!hop.contains(&name.as_str()), "a field of HTTP/1.1 (RFC 9113 §8.2.2): {name}");
            assert!(!value.iter().any(|b| b"\r\n\0".contains(b)), "a CR, LF or NUL in {name}");
        }
        let response = self.of(number);
        assert_eq!(response.framing, Framing::UntilClose, "HEADERS after the end: {fields:?}");
        if response.status != 0 {
            assert!(end_stream && fields.iter().all(|(n, _)| !n.starts_with(':')), "trailers: {fields:?}");
            response.trailers = fields;
            return end(response);
        }
        let (pseudo, fields): (Vec<_>, Vec<_>) = fields.into_iter().partition(|(n, _)| n.starts_with(':'));
        let [(name, status)] = &pseudo[..] else { panic!("one pseudo field: {pseudo:?}") };
        assert_eq!(name, ":status");
        let status: u16 = String::from_utf8_lossy(status).parse().expect("a status");
        if (100..200).contains(&status) {
            assert!(!end_stream, "an interim answer ends nothing");
            return response.interim.push(status);
        }
        (response.status, response.fields) = (status, fields);
        if end_stream {
            end(response);
        }
    }
}

/// The answer has ended; whatever announced its length was right. To HEAD and 304 a length says something else.
#[track_caller]
fn end(response: &mut Response) {
    response.framing = Framing::Done;
    if let Some(length) = response.get("content-length").filter(|_| !response.body.is_empty()) {
        assert_eq!(length, response.body.len().to_string(), "the length that was announced: {response:?}");
    }
}
