//! HTTP/2 as bytes: frames that are written by hand, and those that are read back.

use loona_hpack::Decoder;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
/// Of DATA and HEADERS; of SETTINGS and PING it is ACK.
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// A frame as it stands on the wire. Longer payloads than a length can say are cut.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).min((1 << 24) - 1);
    let [_, high, middle, low] = length.to_be_bytes();
    [&[high, middle, low, kind, flags], &stream.to_be_bytes()[..], &payload[..length as usize]].concat()
}

/// A field that is neither indexed nor compressed (RFC 7541 §6.2.2).
pub fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut block = vec![0];
    for text in [name, value] {
        // A length of seven bits, and what is above them in groups of seven.
        match text.len() {
            length @ ..127 => block.push(u8::try_from(length).unwrap_or_default()),
            length => {
                block.push(127);
                let mut rest = length - 127;
                while rest >= 128 {
                    block.push(u8::try_from(rest % 128).unwrap_or_default() | 128);
                    rest /= 128;
                }
                block.push(u8::try_from(rest).unwrap_or_default());
            }
        }
        block.extend(text);
    }
    block
}

/// A request's header block.
pub fn request(method: &[u8], path: &[u8], authority: &[u8], fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let pseudo: [(&[u8], &[u8]); 4] =
        [(b":method", method), (b":scheme", b"http"), (b":path", path), (b":authority", authority)];
    pseudo.iter().chain(fields).flat_map(|(name, value)| literal(name, value)).collect()
}

/// A frame that was read.
#[derive(Clone, Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn ends_stream(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }
}

/// The whole frames at the beginning of what was written, and what is left behind them.
pub fn frames(mut written: &[u8]) -> (Vec<Frame>, &[u8]) {
    let mut frames = Vec::new();
    while let [high, middle, low, kind, flags, a, b, c, d, rest @ ..] = written {
        let length = usize::from(*high) << 16 | usize::from(*middle) << 8 | usize::from(*low);
        let Some((payload, behind)) = rest.split_at_checked(length) else { break };
        let stream = u32::from_be_bytes([*a, *b, *c, *d]);
        frames.push(Frame { kind: *kind, flags: *flags, stream, payload: payload.to_vec() });
        written = behind;
    }
    (frames, written)
}

/// An answer's fields, with `:status` among them. Blocks must be read in the order in which they came.
pub fn fields(decoder: &mut Decoder<'_>, block: &[u8]) -> Vec<(String, Vec<u8>)> {
    let fields = decoder.decode(block).unwrap_or_else(|error| panic!("no header block: {error:?} in {block:?}"));
    fields.into_iter().map(|(name, value)| (String::from_utf8_lossy(&name).into_owned(), value)).collect()
}

/// Whatever table the client may have allowed.
pub fn decoder<'a>() -> Decoder<'a> {
    let mut decoder = Decoder::new();
    decoder.set_max_allowed_table_size(usize::MAX);
    decoder
}
