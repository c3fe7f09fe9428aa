//! HTTP/1 as the actors read it: a parser of its own, strict, and without I/O.
//!
//! It is no part of the proxy and shares nothing with hyper, so the two can disagree, and that would show.

use bytes::{Buf, Bytes, BytesMut};

/// A head: its first line and its fields, names in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) line: String,
    pub(super) fields: Vec<(String, String)>,
}

impl Head {
    /// Takes a head from the beginning of what was read, once it is complete.
    pub(super) fn take(buffer: &mut BytesMut) -> Result<Option<Self>, String> {
        let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") else {
            return if buffer.len() > 1 << 20 { Err("a head without end".to_owned()) } else { Ok(None) };
        };
        let text = String::from_utf8(buffer.split_to(end).to_vec()).map_err(|error| error.to_string())?;
        buffer.advance(4);
        let mut lines = text.split("\r\n");
        let line = lines.next().unwrap_or_default().to_owned();
        let mut fields = Vec::new();
        for field in lines {
            let (name, value) = field.split_once(": ").ok_or_else(|| format!("the field {field:?}"))?;
            let is_token = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
            if name.is_empty() || !name.bytes().all(is_token) || value.contains(['\r', '\n', '\0']) {
                return Err(format!("the field {field:?}"));
            }
            fields.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        Ok(Some(Self { line, fields }))
    }

    /// The only value of a field; none if it is absent or repeated.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(n, _)| n == name);
        let value = values.next();
        value.filter(|_| values.next().is_none()).map(|(_, value)| value.as_str())
    }

    /// A field as a number.
    pub(super) fn number<N: std::str::FromStr>(&self, name: &str) -> Option<N> {
        self.field(name)?.parse().ok()
    }

    /// Whether a field is there.
    pub(super) fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(n, _)| n == name)
    }

    /// The status of a response; 0 where the line is none.
    pub(super) fn status(&self) -> u16 {
        let line = self.line.strip_prefix("HTTP/1.1 ").or_else(|| self.line.strip_prefix("HTTP/1.0 "));
        line.and_then(|rest| rest.get(..3)).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    /// Whether the response announces that it is the last.
    pub(super) fn closes(&self) -> bool {
        self.field("connection") == Some("close") || (self.line.starts_with("HTTP/1.0") && !self.has("connection"))
    }

    /// How a request's body is framed.
    pub(super) fn request_framing(&self) -> Result<Framing, String> {
        self.framing().map(|framing| framing.unwrap_or(Framing::None))
    }

    /// How a response's body is framed, by what was asked for.
    pub(super) fn response_framing(&self, method: &str) -> Result<Framing, String> {
        let framing = self.framing()?;
        if method == "HEAD" || matches!(self.status(), 100..=199 | 204 | 304) {
            return Ok(Framing::None);
        }
        Ok(framing.unwrap_or(Framing::Close))
    }

    fn framing(&self) -> Result<Option<Framing>, String> {
        match (self.has("transfer-encoding"), self.has("content-length")) {
            (true, true) => Err("both a length and a transfer coding".to_owned()),
            (false, false) => Ok(None),
            (true, false) if self.field("transfer-encoding") == Some("chunked") => Ok(Some(Framing::Chunked)),
            (true, false) => Err("a transfer coding other than chunked".to_owned()),
            (false, true) => match self.number("content-length") {
                Some(length) => Ok(Some(Framing::Length(length))),
                None => Err("no length, or several".to_owned()),
            },
        }
    }
}

/// How a body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    None,
    Length(usize),
    Chunked,
    /// By the end of the connection.
    Close,
}

/// A body while it is read.
#[derive(Debug)]
pub(super) struct Body {
    framing: Framing,
    got: BytesMut,
    /// Of the chunk that is being read, its line end included.
    chunk: Option<usize>,
    is_done: bool,
}

impl Body {
    pub(super) fn new(framing: Framing) -> Self {
        let is_done = matches!(framing, Framing::None | Framing::Length(0));
        Self { framing, got: BytesMut::new(), chunk: None, is_done }
    }

    /// What was read of it.
    pub(super) fn got(&self) -> Bytes {
        Bytes::copy_from_slice(&self.got)
    }

    pub(super) fn length(&self) -> usize {
        self.got.len()
    }

    pub(super) fn is_framed_by_the_end(&self) -> bool {
        self.framing == Framing::Close
    }

    /// Takes what belongs to it from what was read; true once it is complete.
    pub(super) fn take(&mut self, buffer: &mut BytesMut) -> Result<bool, String> {
        while !self.is_done {
            match self.framing {
                Framing::None => self.is_done = true,
                Framing::Close => {
                    self.got.unsplit(buffer.split());
                    return Ok(false);
                }
                Framing::Length(length) => {
                    let taken = buffer.len().min(length - self.got.len());
                    self.got.extend_from_slice(&buffer.split_to(taken));
                    self.is_done = self.got.len() == length;
                    if !self.is_done {
                        return Ok(false);
                    }
                }
                Framing::Chunked => {
                    if !self.take_chunk(buffer)? {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }

    /// A step through the chunks; false when more has to be read first.
    fn take_chunk(&mut self, buffer: &mut BytesMut) -> Result<bool, String> {
        let Some(left) = &mut self.chunk else {
            let Some(end) = buffer.windows(2).position(|two| two == b"\r\n") else { return Ok(false) };
            let line = String::from_utf8_lossy(&buffer[..end]).into_owned();
            let size = usize::from_str_radix(&line, 16).map_err(|_| format!("the chunk size {line:?}"))?;
            if size == 0 {
                // Nobody here sends trailers.
                if buffer.len() < end + 4 {
                    return Ok(false);
                }
                if buffer[end + 2..end + 4] != *b"\r\n" {
                    return Err("something behind the last chunk".to_owned());
                }
                buffer.advance(end + 4);
                self.is_done = true;
                return Ok(true);
            }
            buffer.advance(end + 2);
            self.chunk = Some(size + 2);
            return Ok(true);
        };
        let data = buffer.len().min(left.saturating_sub(2));
        self.got.extend_from_slice(&buffer.split_to(data));
        *left -= data;
        if *left > 2 || buffer.len() < 2 {
            return Ok(false);
        }
        if buffer.split_to(2) != b"\r\n"[..] {
            return Err("a chunk that is longer than it says".to_owned());
        }
        self.chunk = None;
        Ok(true)
    }
}

/// A body in chunks of these sizes, a few times over, and what is left in one.
pub(super) fn chunked(body: &[u8], sizes: &[usize]) -> Vec<u8> {
    let (mut framed, mut rest, mut sizes) = (Vec::new(), body, sizes.iter().cycle().take(20));
    while !rest.is_empty() {
        let (chunk, later) = rest.split_at(sizes.next().map_or(rest.len(), |size| rest.len().min(*size)));
        framed.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        framed.extend_from_slice(chunk);
        framed.extend_from_slice(b"\r\n");
        rest = later;
    }
    framed.extend_from_slice(b"0\r\n\r\n");
    framed
}
