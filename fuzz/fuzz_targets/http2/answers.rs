//! What the client heard is HTTP/2, and every answer is one of forebay's.

use std::collections::BTreeMap;

use super::client::Client;
use super::frames::{
    CONTINUATION, DATA, END_HEADERS, Frame, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, WINDOW_UPDATE,
    decoder, fields, frames,
};

/// What no frame may be longer than that goes to a client that did not ask for more (RFC 9113 §4.2).
const MAX_FRAME: usize = 16 * 1024;

/// What has been heard of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Answered,
    Ended,
    Reset,
}

pub fn check(client: &Client, heard: &[u8]) {
    if !client.says().starts_with(PREFACE) {
        let shown = String::from_utf8_lossy(heard);
        // In the client's version, if it named one.
        let is_answer = heard.starts_with(b"HTTP/1.1 ") || heard.starts_with(b"HTTP/1.0 ");
        assert!(heard.is_empty() || is_answer, "no answer of HTTP/1: {shown:?}");
        return;
    }
    let (frames, rest) = frames(heard);
    // A client that takes nothing may be cut in the middle of a frame.
    assert!(rest.is_empty() || !client.listens(), "half a frame: {rest:?} behind {frames:?} for {client:?}");
    if let Some(first) = frames.first() {
        assert!(first.kind == SETTINGS && first.flags & 1 == 0, "SETTINGS do not come first: {frames:?}");
    }
    let (mut streams, mut decoder) = (BTreeMap::new(), decoder());
    let mut block: Option<(u32, bool, Vec<u8>)> = None;
    for frame in &frames {
        let shown = || format!("{frame:?} in {frames:?} for {client:?}");
        assert!(frame.payload.len() <= MAX_FRAME && frame.stream >> 31 == 0, "{}", shown());
        assert!(block.is_none() || frame.kind == CONTINUATION, "a header block is interrupted: {}", shown());
        let of_stream = matches!(frame.kind, DATA | HEADERS | RST_STREAM | CONTINUATION);
        assert!(!of_stream || frame.stream % 2 == 1, "on a stream that no client opens: {}", shown());
        let stage = streams.get(&frame.stream).copied();
        match frame.kind {
            HEADERS => {
                assert_eq!(stage, None, "a second head: {}", shown());
                block = Some((frame.stream, frame.ends_stream(), Vec::new()));
            }
            DATA => {
                assert_eq!(stage, Some(Stage::Answered), "{}", shown());
                if frame.ends_stream() {
                    streams.insert(frame.stream, Stage::Ended);
                }
            }
            RST_STREAM => {
                assert!(frame.payload.len() == 4 && stage != Some(Stage::Reset), "{}", shown());
                streams.insert(frame.stream, Stage::Reset);
            }
            CONTINUATION => assert!(block.as_ref().is_some_and(|block| block.0 == frame.stream), "{}", shown()),
            SETTINGS => assert!(frame.stream == 0 && frame.payload.len() % 6 == 0, "{}", shown()),
            PING => assert!(frame.stream == 0 && frame.payload.len() == 8, "{}", shown()),
            GOAWAY => assert!(frame.stream == 0 && frame.payload.len() >= 8, "{}", shown()),
            WINDOW_UPDATE => assert!(frame.payload.len() == 4 && frame.payload != [0; 4], "{}", shown()),
            _ => panic!("no frame that a server sends: {}", shown()),
        }
        if let Some((_, _, so_far)) = &mut block {
            so_far.extend(&frame.payload);
            if frame.flags & END_HEADERS != 0 {
                let (stream, ends, block) = block.take().unwrap_or_default();
                streams.insert(stream, if ends { Stage::Ended } else { Stage::Answered });
                answer(&fields(&mut decoder, &block), frame);
            }
        }
    }
}

/// An answer's head.
fn answer(fields: &[(String, Vec<u8>)], frame: &Frame) {
    let values = |name: &str| -> Vec<&[u8]> {
        fields.iter().filter(|(field, _)| field == name).map(|(_, value)| &value[..]).collect()
    };
    let shown = || format!("{fields:?} in {frame:?}");
    let status = values(":status");
    let [status] = status[..] else { panic!("not one status: {}", shown()) };
    let is_known =
        [&b"200"[..], b"307", b"400", b"405", b"408", b"413", b"417", b"431", b"503", b"504"].contains(&status);
    assert!(is_known, "{}", shown());
    let are_lower = fields.iter().all(|(name, _)| !name.bytes().any(|byte| byte.is_ascii_uppercase()));
    assert!(are_lower && fields[0].0 == ":status", "{}", shown());
    for name in ["connection", "keep-alive", "transfer-encoding", "upgrade", "proxy-connection"] {
        assert!(values(name).is_empty(), "{}", shown());
    }
    // Above twice the size it is h2 that answers.
    if status != b"431" {
        assert_eq!(values("x-forebay-source"), [b"forebay"], "{}", shown());
        assert_eq!(values("x-forebay-error").len(), usize::from(status >= &b"400"[..]), "{}", shown());
    }
}
