//! An answer, read as strictly as RFC 9112 allows. What is no HTTP/1.1 fails the test; what ends early is a value.

use super::Client;

/// One answer as it arrived.
#[derive(Clone)]
pub struct Response {
    /// 0 when no head arrived.
    pub status: u16,
    /// The reason phrase.
    pub reason: String,
    /// `HTTP/1.1`, `HTTP/1.0` or `HTTP/2`.
    pub version: String,
    /// Names and values in order, values without surrounding blanks.
    pub fields: Vec<(String, Vec<u8>)>,
    /// The body without its framing, as far as it was read.
    pub body: Vec<u8>,
    /// The trailer fields after it.
    pub trailers: Vec<(String, Vec<u8>)>,
    /// The statuses of the interim answers before it.
    pub interim: Vec<u16>,
    /// Where the body stands.
    pub(super) framing: Framing,
    /// Why it did not come to its end.
    pub cut: Option<Cut>,
}

/// How reading ended before the answer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The peer closed.
    Fin,
    /// The peer reset the connection.
    Reset,
    /// Nothing came for too long.
    Timeout,
    /// RST_STREAM with this code (RFC 9113 §7).
    Stream(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Nothing follows, or everything was read.
    Done,
    /// That many bytes follow.
    Length(usize),
    /// In the chunk under way that many bytes follow; none = a chunk line follows.
    Chunked(Option<usize>),
    UntilClose,
}

impl Response {
    pub(super) fn empty() -> Self {
        Self {
            status: 0,
            reason: String::new(),
            version: String::new(),
            fields: Vec::new(),
            body: Vec::new(),
            trailers: Vec::new(),
            interim: Vec::new(),
            framing: Framing::Done,
            cut: None,
        }
    }

    /// Whether it came to the end that its framing promised.
    pub fn is_complete(&self) -> bool {
        self.status != 0 && self.cut.is_none() && self.framing == Framing::Done
    }

    /// All values of a field, in order.
    pub fn all(&self, name: &str) -> Vec<&[u8]> {
        self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_slice()).collect()
    }

    /// The first value of a field as text.
    pub fn get(&self, name: &str) -> Option<String> {
        self.all(name).first().map(|v| String::from_utf8_lossy(v).into_owned())
    }

    /// The first value of a trailer field as text.
    pub fn trailer(&self, name: &str) -> Option<String> {
        let found = self.trailers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, v)| String::from_utf8_lossy(v).into_owned())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.status == 0 {
            return write!(f, "no answer ({:?})", self.cut);
        }
        writeln!(f, "{} {} {}", self.version, self.status, self.reason)?;
        for (name, value) in &self.fields {
            writeln!(f, "  {name}: {}", value.escape_ascii())?;
        }
        let shown = &self.body[..self.body.len().min(300)];
        write!(f, "  {} bytes: {} ({:?}, {:?})", self.body.len(), shown.escape_ascii(), self.framing, self.cut)
    }
}

/// Reads interim answers and one final head.
#[track_caller]
pub(super) fn read_head(client: &mut Client, method: &str) -> Response {
    let response = read_head_or_switch(client, method);
    assert_ne!(response.status, 101, "another protocol, which nobody asked for: {response:?}");
    response
}

/// The same, but `101` is an answer too: nothing of what follows it is read.
#[track_caller]
pub(super) fn read_head_or_switch(client: &mut Client, method: &str) -> Response {
    let mut response = Response::empty();
    loop {
        let interim = std::mem::take(&mut response.interim);
        response = Response { interim, ..Response::empty() };
        if let Err(cut) = one_head(client, &mut response) {
            response.status = 0;
            response.cut = Some(cut);
            return response;
        }
        if !(100..200).contains(&response.status) || response.status == 101 {
            break;
        }
        response.interim.push(response.status);
    }
    response.framing = framing_of(&response, method);
    response
}

#[track_caller]
pub(super) fn read_interim(client: &mut Client) -> u16 {
    let mut response = Response::empty();
    one_head(client, &mut response).expect("an interim answer");
    assert!((100..200).contains(&response.status), "an interim answer was expected: {response:?}");
    response.status
}

#[track_caller]
fn one_head(client: &mut Client, response: &mut Response) -> Result<(), Cut> {
    let line = String::from_utf8_lossy(&client.line()?).into_owned();
    let mut parts = line.splitn(3, ' ');
    parts.next().unwrap_or_default().clone_into(&mut response.version);
    let status = parts.next().unwrap_or_default();
    parts.next().unwrap_or_default().clone_into(&mut response.reason);
    assert!(matches!(response.version.as_str(), "HTTP/1.1" | "HTTP/1.0"), "the status line {line:?}");
    assert!(status.len() == 3 && status.bytes().all(|b| b.is_ascii_digit()), "the status line {line:?}");
    response.status = status.parse().unwrap();
    response.fields = fields(client)?;
    Ok(())
}

/// Field lines up to the empty one.
#[track_caller]
fn fields(client: &mut Client) -> Result<Vec<(String, Vec<u8>)>, Cut> {
    let mut fields = Vec::new();
    loop {
        let line = client.line()?;
        if line.is_empty() {
            return Ok(fields);
        }
        let colon =
            line.iter().position(|b| *b == b':').unwrap_or_else(|| panic!("no colon in {}", line.escape_ascii()));
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        assert!(crate::upstream::is_token(name), "the field name {}", name.escape_ascii());
        assert!(!value.iter().any(|b| *b < b' ' && *b != b'\t'), "a control in {}", line.escape_ascii());
        fields.push((String::from_utf8_lossy(name).into_owned(), value.to_vec()));
    }
}

#[track_caller]
fn framing_of(response: &Response, method: &str) -> Framing {
    let (lengths, codings) = (response.all("content-length"), response.all("transfer-encoding"));
    assert!(lengths.len() + codings.len() <= 1, "one way to frame a body: {response:?}");
    assert!(codings.iter().all(|c| c.eq_ignore_ascii_case(b"chunked")), "a transfer coding: {response:?}");
    let length = lengths.first().map(|l| String::from_utf8_lossy(l).parse().expect("a length of digits"));
    if matches!(response.status, 101 | 204) {
        assert!(lengths.is_empty() && codings.is_empty(), "no framing fields: {response:?}");
    }
    if method == "HEAD" || matches!(response.status, 101 | 204 | 304) {
        return Framing::Done;
    }
    match length {
        Some(0) => Framing::Done,
        Some(length) => Framing::Length(length),
        None if !codings.is_empty() => Framing::Chunked(None),
        None => Framing::UntilClose,
    }
}

/// Reads on until the body has at least that many bytes, or the answer ends.
#[track_caller]
pub(super) fn read_body(client: &mut Client, response: &mut Response, at_least: usize) {
    while response.body.len() < at_least && response.framing != Framing::Done {
        if let Err(cut) = one_piece(client, response) {
            match (response.framing, cut) {
                (Framing::UntilClose, Cut::Fin) => response.framing = Framing::Done,
                (_, cut) => response.cut = Some(cut),
            }
            return;
        }
    }
}

#[track_caller]
fn one_piece(client: &mut Client, response: &mut Response) -> Result<(), Cut> {
    match response.framing {
        Framing::Done => {}
        Framing::UntilClose => response.body.extend(client.some(usize::MAX)?),
        Framing::Length(left) => {
            let piece = client.some(left)?;
            let left = left - piece.len();
            response.framing = if left == 0 { Framing::Done } else { Framing::Length(left) };
            response.body.extend(piece);
        }
        Framing::Chunked(None) => {
            let line = String::from_utf8_lossy(&client.line()?).into_owned();
            let digits = line.split(';').next().unwrap_or_default();
            assert!(!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit()), "the chunk line {line:?}");
            match usize::from_str_radix(digits, 16).unwrap() {
                0 => {
                    response.trailers = fields(client)?;
                    response.framing = Framing::Done;
                }
                size => response.framing = Framing::Chunked(Some(size)),
            }
        }
        Framing::Chunked(Some(0)) => {
            let line = client.line()?;
            assert!(line.is_empty(), "a chunk that goes on after its end: {}", line.escape_ascii());
            response.framing = Framing::Chunked(None);
        }
        Framing::Chunked(Some(left)) => {
            let piece = client.some(left)?;
            response.framing = Framing::Chunked(Some(left - piece.len()));
            response.body.extend(piece);
        }
    }
    Ok(())
}
