//! Where a request head ends and where its body ends, counted beside hyper. (p)
//!
//! hyper alone decides what a message means. This only finds the boundaries in what hyper accepted, so that bytes of the
//! next request are kept back until the last one is answered: the clocks stay right, a client that leaves is noticed
//! even behind pipelined requests, and nothing that follows a refused request is ever parsed.

use memchr::memchr;

use super::foresight::Foresight;

/// Finds the end of a request head, and a `#` in its first line, which hyper would drop with all that follows it.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadScanner {
    at: HeadAt,
    line: FirstLine,
    has_fragment: bool,
    /// Lines that have ended, the empty ones not counted.
    lines: u16,
    foresight: Foresight,
}

/// A method may contain a `#` (RFC 9110 §5.6.2), a target may not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum FirstLine {
    #[default]
    InMethod,
    InTarget,
    Over,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum HeadAt {
    /// Empty lines before the request line are skipped (RFC 9112 §2.2).
    #[default]
    Start,
    InLine,
    AfterLf,
    AfterLfCr,
}

impl HeadScanner {
    /// Scans what came next. Some(n) once the head is complete: n bytes of this chunk belong to it.
    pub fn scan(&mut self, chunk: &[u8]) -> Option<usize> {
        let mut index = 0;
        while let Some(&byte) = chunk.get(index) {
            match (self.at, byte) {
                (HeadAt::Start, b'\r' | b'\n') => index += 1,
                (HeadAt::AfterLf | HeadAt::AfterLfCr, b'\n') => return Some(index + 1),
                (HeadAt::AfterLf, b'\r') => {
                    self.at = HeadAt::AfterLfCr;
                    index += 1;
                }
                (HeadAt::Start | HeadAt::InLine | HeadAt::AfterLf | HeadAt::AfterLfCr, _) => {
                    let rest = &chunk[index..];
                    let line_end = memchr(b'\n', rest);
                    self.look_for_fragment(&rest[..line_end.unwrap_or(rest.len())]);
                    let Some(length) = line_end else {
                        self.at = HeadAt::InLine;
                        return None;
                    };
                    if self.at == HeadAt::InLine {
                        // Its beginning is gone.
                        self.foresight = Foresight::Doubt;
                    } else if self.line == FirstLine::Over {
                        self.foresight = self.foresight.after(&rest[..length]);
                    }
                    self.lines = self.lines.saturating_add(1);
                    index += length + 1;
                    self.at = HeadAt::AfterLf;
                    self.line = FirstLine::Over;
                }
            }
        }
        None
    }

    fn look_for_fragment(&mut self, mut line: &[u8]) {
        if self.line == FirstLine::InMethod
            && let Some(space) = memchr(b' ', line)
        {
            self.line = FirstLine::InTarget;
            line = &line[space..];
        }
        self.has_fragment |= self.line == FirstLine::InTarget && memchr(b'#', line).is_some();
    }

    /// Whether a byte of a head has come (empty lines do not count).
    pub fn has_begun(&self) -> bool {
        self.at != HeadAt::Start
    }

    /// Lines so far: the request line, and one for each field.
    pub fn lines(&self) -> usize {
        usize::from(self.lines)
    }

    /// The length of the body behind a complete head, where every parser reads it alike: one `Content-Length` of plain
    /// digits, no `Transfer-Encoding`, no folded line.
    pub fn plain_length(&self) -> Option<u64> {
        self.foresight.length()
    }

    /// Whether the request line has a `#`.
    pub fn has_fragment(&self) -> bool {
        self.has_fragment
    }
}

/// How a request body is framed, as hyper found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// `Content-Length`.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// Finds the end of a request body.
#[derive(Clone, Copy, Debug)]
pub struct BodyScanner(BodyAt);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyAt {
    /// So many bytes are left.
    Length(u64),
    /// In a chunk's size line; so far it says this.
    Size {
        size: u64,
        has_ended: bool,
    },
    /// So many bytes of a chunk are left, the line end behind its data included.
    Data(u64),
    /// At the start of a line behind the last chunk.
    TrailerStart,
    /// In a trailer line. Only CR LF ends it, and so hyper sees it: a bare LF is part of it.
    Trailer,
    /// After a CR in a trailer line.
    TrailerCr,
    /// After a CR at the start of a trailer line.
    LastCr,
    Done,
}

impl BodyScanner {
    /// A scanner for a body that begins with the next byte.
    pub fn new(framing: Framing) -> Self {
        Self(match framing {
            Framing::None | Framing::Length(0) => BodyAt::Done,
            Framing::Length(length) => BodyAt::Length(length),
            Framing::Chunked => BodyAt::Size { size: 0, has_ended: false },
        })
    }

    /// A scanner for a body of which so many bytes have come already: none, unless its length is known.
    pub fn behind(framing: Framing, taken: u64) -> Self {
        match framing {
            Framing::Length(length) => Self::new(Framing::Length(length.saturating_sub(taken))),
            framing => Self::new(framing),
        }
    }

    /// Whether the last byte of the body has come.
    pub fn is_done(&self) -> bool {
        self.0 == BodyAt::Done
    }

    /// Scans what came next; so many bytes of it belong to the body.
    ///
    /// It takes malformed chunks as they are: hyper refuses them, and then nothing else is read on this connection.
    pub fn scan(&mut self, chunk: &[u8]) -> usize {
        let mut index = 0;
        while !self.is_done()
            && let Some(&byte) = chunk.get(index)
        {
            let rest = (chunk.len() - index) as u64;
            match &mut self.0 {
                BodyAt::Length(left) => {
                    let taken = rest.min(*left);
                    index += usize::try_from(taken).unwrap_or(usize::MAX);
                    self.0 = if *left == taken { BodyAt::Done } else { BodyAt::Length(*left - taken) };
                }
                BodyAt::Data(left) => {
                    let taken = rest.min(*left);
                    index += usize::try_from(taken).unwrap_or(usize::MAX);
                    self.0 = if *left == taken {
                        BodyAt::Size { size: 0, has_ended: false }
                    } else {
                        BodyAt::Data(*left - taken)
                    };
                }
                BodyAt::Size { size, has_ended } => {
                    index += 1;
                    match char::from(byte).to_digit(16) {
                        _ if byte == b'\n' && *size == 0 => self.0 = BodyAt::TrailerStart,
                        _ if byte == b'\n' => self.0 = BodyAt::Data(size.saturating_add(2)),
                        Some(digit) if !*has_ended => *size = size.saturating_mul(16).saturating_add(digit.into()),
                        _ => *has_ended = true,
                    }
                }
                BodyAt::TrailerStart | BodyAt::Trailer | BodyAt::TrailerCr | BodyAt::LastCr => {
                    index += 1;
                    self.0 = match (self.0, byte) {
                        (BodyAt::LastCr, b'\n') => BodyAt::Done,
                        (BodyAt::TrailerCr, b'\n') => BodyAt::TrailerStart,
                        (BodyAt::TrailerStart, b'\r') => BodyAt::LastCr,
                        (BodyAt::Trailer, b'\r') => BodyAt::TrailerCr,
                        _ => BodyAt::Trailer,
                    };
                }
                BodyAt::Done => {}
            }
        }
        index
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds a message in pieces; the number of bytes taken in all, and whether the end was found.
    fn in_pieces(message: &[u8], cuts: &[usize], mut scan: impl FnMut(&[u8]) -> (usize, bool)) -> (usize, bool) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (message.len() + 1)).chain([message.len()]).collect();
        cuts.sort_unstable();
        let (mut from, mut taken) = (0, 0);
        for to in cuts {
            let (used, done) = scan(&message[from..to]);
            taken += used;
            if done {
                return (taken, true);
            }
            from = to;
        }
        (taken, false)
    }

    fn head_end(message: &[u8], cuts: &[usize]) -> Option<usize> {
        let mut scanner = HeadScanner::default();
        let (taken, done) = in_pieces(message, cuts, |piece| match scanner.scan(piece) {
            Some(used) => (used, true),
            None => (piece.len(), false),
        });
        done.then_some(taken)
    }

    fn body_end(framing: Framing, message: &[u8], cuts: &[usize]) -> Option<usize> {
        let mut scanner = BodyScanner::new(framing);
        let (taken, done) = in_pieces(message, cuts, |piece| (scanner.scan(piece), scanner.is_done()));
        done.then_some(taken)
    }

    #[test]
    fn a_head_ends_with_its_first_empty_line() {
        for (head, rest) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET"),
            ("\r\n\nGET / HTTP/1.1\r\n\r\n", "\r\n"),
            ("GET / HTTP/1.1\nHost: a\n\n", "\n"),
            ("GET / HTTP/1.1\nHost: a\n\r\n", ""),
        ] {
            assert_eq!(head_end(format!("{head}{rest}").as_bytes(), &[]), Some(head.len()), "{head:?}");
        }
        assert_eq!(head_end(b"GET / HTTP/1.1\r\nHost: a\r\n", &[]), None);
        assert_eq!(head_end(b"GET / HTTP/1.1\r\nHost: a\r\n\rX", &[]), None);
    }

    #[test]
    fn a_fragment_is_looked_for_in_the_target_only() {
        for (head, expected) in [
            ("GET /#a HTTP/1.1\r\n\r\n", true),
            ("GET /a HTTP/1.1\r\nX: #\r\n\r\n", false),
            ("\r\nGET /a#", true),
            ("G#T / HTTP/1.1\r\n\r\n", false),
        ] {
            let mut scanner = HeadScanner::default();
            scanner.scan(head.as_bytes());
            assert_eq!(scanner.has_fragment(), expected, "{head:?}");
        }
    }

    #[test]
    fn a_chunked_body_ends_behind_its_trailers() {
        for (body, rest) in [
            ("0\r\n\r\n", "GET"),
            ("5\r\nhello\r\n0\r\n\r\n", "\r\n"),
            ("5;a=b\r\nhello\r\n00\r\nX: y\r\nZ: a\r\n\r\n", "G"),
            ("A ;b\r\n0123456789\r\n0\r\n\r\n", ""),
            // To hyper a bare LF ends neither a trailer nor the trailers.
            ("0\r\n\nX: y\r\n\r\n", "GET"),
            ("0\r\nX: y\n\r\nZ: a\r\n\r\n", "GET"),
        ] {
            assert_eq!(
                body_end(Framing::Chunked, format!("{body}{rest}").as_bytes(), &[]),
                Some(body.len()),
                "{body:?}"
            );
        }
        assert_eq!(body_end(Framing::Chunked, b"5\r\nhello\r\n0\r\n", &[]), None);
        assert_eq!(body_end(Framing::Chunked, b"0\r\n\n", &[]), None);
        assert_eq!(body_end(Framing::Chunked, b"ffffffffffffffff\r\nxx\r\n0\r\n\r\n", &[]), None);
        assert_eq!(body_end(Framing::Length(0), b"", &[]), Some(0));
        assert_eq!(body_end(Framing::None, b"GET", &[]), Some(0));
    }

    proptest! {
        /// However a message is cut into reads, its boundaries stay where they are.
        #[test]
        fn cuts_do_not_matter(
            line in "[a-z#: ]{1,20}",
            fields in prop::collection::vec("[a-z: ]{1,12}", 0..4),
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..4),
            trailers in prop::collection::vec("[a-z: ]{1,12}", 0..3),
            rest in prop::collection::vec(any::<u8>(), 0..20),
            cuts in prop::collection::vec(any::<usize>(), 0..8),
        ) {
            let mut head = format!("{line}\r\n").into_bytes();
            for field in &fields {
                head.extend(format!("{field}\r\n").into_bytes());
            }
            head.extend(b"\r\n");
            let length = head.len();
            head.extend(&rest);
            prop_assert_eq!(head_end(&head, &cuts), Some(length));

            let mut body = Vec::new();
            for chunk in &chunks {
                body.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                body.extend(chunk);
                body.extend(b"\r\n");
            }
            body.extend(b"0\r\n");
            for field in &trailers {
                body.extend(format!("{field}\r\n").into_bytes());
            }
            body.extend(b"\r\n");
            let length = body.len();
            body.extend(&rest);
            prop_assert_eq!(body_end(Framing::Chunked, &body, &cuts), Some(length));
            let plain = u64::try_from(length).unwrap();
            prop_assert_eq!(body_end(Framing::Length(plain), &body, &cuts), Some(length));
        }
    }
}
