//! HTTP/1.1 as both ends of the bed read it: enough for what proxies send, and little work.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// How long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes.
    Length(usize),
    /// Chunk by chunk.
    Chunked,
}

/// The head of a message.
#[derive(Debug)]
pub struct Head {
    /// The first line, and the fields after it, without the empty line.
    text: Bytes,
}

impl Head {
    /// The word of the first line with this number, from 0.
    pub fn word(&self, number: usize) -> &str {
        let line = self.text.split(|&byte| byte == b'\r').next().unwrap_or_default();
        let word = line.split(|&byte| byte == b' ').nth(number).unwrap_or_default();
        std::str::from_utf8(word).unwrap_or_default()
    }

    /// The length of the body; without any, there is none. (No answer of the upstream ends with its connection.)
    pub fn framing(&self) -> Framing {
        let lines = self.text.split(|&byte| byte == b'\n').skip(1);
        for line in lines {
            let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            if name.eq_ignore_ascii_case(b"content-length") {
                let digits = std::str::from_utf8(value).unwrap_or_default();
                return Framing::Length(digits.parse().unwrap_or_default());
            }
            if name.eq_ignore_ascii_case(b"transfer-encoding") {
                return Framing::Chunked;
            }
        }
        Framing::Length(0)
    }
}

/// Reads one message after the other.
#[derive(Debug)]
pub struct Reader<S> {
    from: S,
    buffer: BytesMut,
}

impl<S: AsyncRead + Unpin> Reader<S> {
    /// Reads from here on.
    pub fn new(from: S) -> Self {
        Self { from, buffer: BytesMut::with_capacity(64 << 10) }
    }

    /// The next head; none at the end of the connection.
    pub async fn head(&mut self) -> io::Result<Option<Head>> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                let text = self.buffer.split_to(end).freeze();
                self.buffer.advance(4);
                return Ok(Some(Head { text }));
            }
            if self.fill().await? == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    /// The body: how long it was. Each piece is shown as it comes.
    pub async fn body(&mut self, framing: Framing, mut show: impl FnMut(&[u8])) -> io::Result<usize> {
        match framing {
            Framing::Length(length) => {
                self.pass(length, &mut show).await?;
                Ok(length)
            }
            Framing::Chunked => {
                let mut total = 0;
                loop {
                    let length = self.chunk_length().await?;
                    self.pass(length, &mut show).await?;
                    self.pass(2, |_| ()).await?;
                    total += length;
                    if length == 0 {
                        return Ok(total);
                    }
                }
            }
        }
    }

    async fn chunk_length(&mut self) -> io::Result<usize> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                let line = std::str::from_utf8(&self.buffer[..end]).unwrap_or_default();
                let length = usize::from_str_radix(line, 16).map_err(io::Error::other)?;
                self.buffer.advance(end + 2);
                return Ok(length);
            }
            self.must_fill().await?;
        }
    }

    async fn pass(&mut self, mut length: usize, mut show: impl FnMut(&[u8])) -> io::Result<()> {
        while length > 0 {
            if self.buffer.is_empty() {
                self.must_fill().await?;
            }
            let piece = length.min(self.buffer.len());
            show(&self.buffer[..piece]);
            self.buffer.advance(piece);
            length -= piece;
        }
        Ok(())
    }

    async fn must_fill(&mut self) -> io::Result<()> {
        match self.fill().await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    async fn fill(&mut self) -> io::Result<usize> {
        self.buffer.reserve(16 << 10);
        self.from.read_buf(&mut self.buffer).await
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_are_read_one_after_the_other() {
        let bytes: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc\
                             HTTP/1.1 201 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nde\r\nA\r\n0123456789\r\n0\r\n\r\n\
                             POST /x HTTP/1.1\r\nhost: a\r\n\r\n";
        let mut reader = Reader::new(bytes);
        let mut seen = Vec::new();
        for (word, framing, length) in
            [("200", Framing::Length(3), 3), ("201", Framing::Chunked, 12), ("/x", Framing::Length(0), 0)]
        {
            let head = reader.head().await.unwrap().unwrap();
            assert_eq!((head.word(1), head.framing()), (word, framing));
            assert_eq!(reader.body(framing, |piece| seen.extend_from_slice(piece)).await.unwrap(), length);
        }
        assert_eq!(seen, b"abcde0123456789");
        assert!(reader.head().await.unwrap().is_none());
    }
}
