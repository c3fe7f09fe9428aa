//! HTTP/2 frames by hand (RFC 9113 §4, §6), and the plainest HPACK (RFC 7541 §6): what no library would send can be sent.

/// Frame types (§6).
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

/// Flags (§6).
pub const END_STREAM: u8 = 0x1;
pub const ACK: u8 = 0x1;
pub const END_HEADERS: u8 = 0x4;
pub const PADDED: u8 = 0x8;
pub const PRIORITIZED: u8 = 0x20;

/// Error codes (§7).
pub const NO_ERROR: u32 = 0;
pub const REFUSED_STREAM: u32 = 7;
pub const CANCEL: u32 = 8;
pub const ENHANCE_YOUR_CALM: u32 = 11;

/// Settings (§6.5.2).
pub const ENABLE_PUSH: u16 = 2;
pub const MAX_CONCURRENT_STREAMS: u16 = 3;
pub const INITIAL_WINDOW_SIZE: u16 = 4;
pub const MAX_FRAME_SIZE: u16 = 5;

/// The largest window (§6.9.1).
pub const LARGEST_WINDOW: u32 = (1 << 31) - 1;

/// What a client says first (§3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// Takes the first frame out of what was read, if it is there as a whole.
    pub fn take(buffer: &mut Vec<u8>) -> Option<Self> {
        let head: [u8; 9] = buffer.get(..9)?.try_into().ok()?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        if buffer.len() < 9 + length {
            return None;
        }
        let payload = buffer[9..9 + length].to_vec();
        buffer.drain(..9 + length);
        let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        Some(Self { kind: head[3], flags: head[4], stream, payload })
    }

    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The payload without padding, and without what PRIORITY adds to HEADERS.
    pub fn content(&self) -> &[u8] {
        let mut content = self.payload.as_slice();
        if self.has(PADDED) && matches!(self.kind, DATA | HEADERS) {
            let padding = usize::from(content[0]);
            content = &content[1..content.len() - padding];
        }
        if self.has(PRIORITIZED) && self.kind == HEADERS {
            content = &content[5..];
        }
        content
    }

    /// The 32-bit number at this place of the payload, without its reserved bit.
    pub fn number(&self, at: usize) -> u32 {
        let bytes = self.payload.get(at..at + 4).expect("four bytes");
        u32::from_be_bytes(bytes.try_into().unwrap()) & LARGEST_WINDOW
    }
}

/// The bytes of a frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let length = u32::try_from(payload.len()).unwrap();
    assert!(length < 1 << 24, "a frame has a length of 24 bits");
    [&length.to_be_bytes()[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

pub fn settings(pairs: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> =
        pairs.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
    frame(SETTINGS, 0, 0, payload)
}

pub fn rst_stream(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, code.to_be_bytes())
}

pub fn window_update(stream: u32, increment: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, increment.to_be_bytes())
}

pub fn goaway(last: u32, code: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, [last.to_be_bytes(), code.to_be_bytes()].concat())
}

/// HEADERS, and as many CONTINUATIONs as frames of 16 KiB need.
pub fn headers(stream: u32, end_stream: bool, block: &[u8]) -> Vec<u8> {
    let mut pieces: Vec<&[u8]> = block.chunks(16 * 1024).collect();
    if pieces.is_empty() {
        pieces.push(&[]);
    }
    let last = pieces.len() - 1;
    let frames = pieces.into_iter().enumerate().flat_map(|(n, piece)| {
        let end_headers = if n == last { END_HEADERS } else { 0 };
        let end_stream = if n == 0 && end_stream { END_STREAM } else { 0 };
        frame(if n == 0 { HEADERS } else { CONTINUATION }, end_headers | end_stream, stream, piece)
    });
    frames.collect()
}

/// A field block of literals: nothing is indexed, nothing is Huffman coded, nothing is checked.
pub fn block<N: AsRef<[u8]>, V: AsRef<[u8]>>(fields: &[(N, V)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| literal(name, value)).collect()
}

/// One field that is not put into the dynamic table.
pub fn literal(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
    [vec![0x00], string(name.as_ref()), string(value.as_ref())].concat()
}

/// One field that is put into the dynamic table, as entry 62.
pub fn inserted(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
    [vec![0x40], string(name.as_ref()), string(value.as_ref())].concat()
}

/// The field at this place of the tables.
pub fn indexed(place: usize) -> Vec<u8> {
    integer(place, 7, 0x80)
}

fn string(text: &[u8]) -> Vec<u8> {
    [integer(text.len(), 7, 0), text.to_vec()].concat()
}

/// RFC 7541 §5.1.
fn integer(mut value: usize, prefix: u32, first: u8) -> Vec<u8> {
    let most = (1 << prefix) - 1;
    if value < most {
        return vec![first | u8::try_from(value).unwrap()];
    }
    let mut bytes = vec![first | u8::try_from(most).unwrap()];
    value -= most;
    while value >= 128 {
        bytes.push(u8::try_from(value % 128).unwrap() | 0x80);
        value /= 128;
    }
    bytes.push(u8::try_from(value).unwrap());
    bytes
}
