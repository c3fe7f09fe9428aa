//! What the upstream saw, and whether another parser could have seen something else.

use std::time::Instant;

/// One request as it arrived.
#[derive(Clone)]
pub struct Seen {
    /// The connection it came on, counted from 1 in the order of accepting.
    pub connection: usize,
    /// Its place on that connection, counted from 1.
    pub index: usize,
    /// The head with its final empty line.
    pub raw_head: Vec<u8>,
    /// The method as sent.
    pub method: String,
    /// The target as sent.
    pub target: Vec<u8>,
    /// Field names and values in order, values without surrounding blanks.
    pub fields: Vec<(String, Vec<u8>)>,
    /// The body without its framing, as far as it has come.
    pub body: Vec<u8>,
    /// The trailer fields after a chunked body.
    pub trailers: Vec<(String, Vec<u8>)>,
    /// How the body was framed.
    pub framing: Framing,
    /// The body arrived to its end.
    pub complete: bool,
    /// What came after the head on a connection that is no HTTP any more.
    pub tunnelled: Vec<u8>,
    /// How many bytes of a flood were taken.
    pub flooded: usize,
    /// When the head was there.
    pub at: Instant,
    /// When the peer was found to have gone away while its answer was not finished.
    pub aborted: Option<Instant>,
    /// What a parser could read differently from another. Empty in everything that forebay sends.
    pub problems: Vec<String>,
}

/// How a body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No body, and no field that speaks of one.
    None,
    /// `Content-Length`.
    Length,
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// DATA frames up to END_STREAM.
    Frames,
}

impl Seen {
    pub(super) fn of_head(connection: usize, index: usize, raw_head: Vec<u8>) -> Self {
        let problems = head_problems(&raw_head);
        let mut lines = raw_head[..raw_head.len() - 4].split(|b| *b == b'\n').map(<[u8]>::trim_ascii_end);
        let first = lines.next().unwrap_or_default();
        let mut parts = first.split(|b| *b == b' ');
        let method = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
        let mut rest: Vec<&[u8]> = parts.collect();
        rest.pop();
        let target = rest.join(&b' ');
        let fields = lines.filter_map(split_field).collect();
        Self {
            connection,
            index,
            raw_head,
            method,
            target,
            fields,
            body: Vec::new(),
            trailers: Vec::new(),
            framing: Framing::None,
            complete: false,
            tunnelled: Vec::new(),
            flooded: 0,
            at: Instant::now(),
            aborted: None,
            problems,
        }
    }

    /// A request on HTTP/2; pseudo fields stand among the others.
    pub(super) fn of_frames(
        connection: usize,
        index: usize,
        method: &str,
        target: &str,
        fields: Vec<(String, Vec<u8>)>,
        framing: Framing,
    ) -> Self {
        Self {
            connection,
            index,
            raw_head: Vec::new(),
            method: method.to_owned(),
            target: target.as_bytes().to_vec(),
            problems: frame_problems(&fields),
            fields,
            body: Vec::new(),
            trailers: Vec::new(),
            framing,
            complete: false,
            tunnelled: Vec::new(),
            flooded: 0,
            at: Instant::now(),
            aborted: None,
        }
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

    /// The target as text.
    pub fn path(&self) -> String {
        String::from_utf8_lossy(&self.target).into_owned()
    }
}

impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "#{}.{} {} + {} bytes of body ({:?}, complete: {}, aborted: {}) problems: {:?}",
            self.connection,
            self.index,
            self.raw_head.escape_ascii(),
            self.body.len(),
            self.framing,
            self.complete,
            self.aborted.is_some(),
            self.problems
        )
    }
}

pub(super) fn split_field(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let colon = line.iter().position(|b| *b == b':')?;
    let name = String::from_utf8_lossy(&line[..colon]).into_owned();
    Some((name, blanks_trimmed(&line[colon + 1..]).to_vec()))
}

fn blanks_trimmed(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Whether every byte may stand in a method or a field name (RFC 9110 §5.6.2).
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
}

/// The ambiguities of a request head (RFC 9112 §2.2, §3, §5, §6).
pub(super) fn head_problems(raw: &[u8]) -> Vec<String> {
    let mut problems = Vec::new();
    let bare = |i: usize, b: u8| match b {
        b'\n' => i == 0 || raw[i - 1] != b'\r',
        b'\r' => raw.get(i + 1) != Some(&b'\n'),
        b => b == 0,
    };
    if raw.iter().enumerate().any(|(i, b)| bare(i, *b)) {
        problems.push("a bare CR, a bare LF or a NUL".to_owned());
    }
    let mut lines = raw[..raw.len() - 4].split(|b| *b == b'\n').map(|l| l.strip_suffix(b"\r").unwrap_or(l));
    request_line_problems(lines.next().unwrap_or_default(), &mut problems);
    let (mut lengths, mut codings, mut hosts) = (Vec::new(), Vec::new(), 0);
    for line in lines {
        let Some(colon) = line.iter().position(|b| *b == b':') else {
            problems.push(format!("no colon in {}", line.escape_ascii()));
            continue;
        };
        let (name, value) = (&line[..colon], blanks_trimmed(&line[colon + 1..]));
        if !is_token(name) {
            problems.push(format!("the field name {}", name.escape_ascii()));
        }
        if value.iter().any(|b| (*b < b' ' && *b != b'\t') || *b == 0x7f) {
            problems.push(format!("a control in the value of {}", name.escape_ascii()));
        }
        match name.to_ascii_lowercase().as_slice() {
            b"content-length" => lengths.push(value),
            b"transfer-encoding" => codings.push(value),
            b"host" => hosts += 1,
            b"content_length" | b"transfer_encoding" => problems.push("a twin of a framing field".to_owned()),
            _ => {}
        }
    }
    if lengths.len() > 1 || lengths.iter().any(|v| v.is_empty() || !v.iter().all(u8::is_ascii_digit)) {
        problems.push(format!("{} content-lengths", lengths.len()));
    }
    if codings.len() > 1 || codings.iter().any(|v| !v.eq_ignore_ascii_case(b"chunked")) {
        problems.push(format!("{} transfer codings", codings.len()));
    }
    if !lengths.is_empty() && !codings.is_empty() {
        problems.push("both Content-Length and Transfer-Encoding".to_owned());
    }
    if hosts != 1 {
        problems.push(format!("{hosts} hosts"));
    }
    problems
}

/// The ambiguities of a request on HTTP/2 that its parser may have let through (RFC 9113 §8.2.2, §8.3.1).
fn frame_problems(fields: &[(String, Vec<u8>)]) -> Vec<String> {
    let mut problems = Vec::new();
    let count = |name: &str| fields.iter().filter(|(n, _)| n == name).count();
    for (name, value) in fields {
        match name.as_str() {
            "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade" | "http2-settings" => {
                problems.push(format!("{name}, which is of HTTP/1.1"));
            }
            "te" if value != b"trailers" => problems.push(format!("te: {}", value.escape_ascii())),
            "content_length" | "transfer_encoding" => problems.push("a twin of a framing field".to_owned()),
            _ => {}
        }
        if value.iter().any(|b| (*b < b' ' && *b != b'\t') || *b == 0x7f) {
            problems.push(format!("a control in the value of {name}"));
        }
    }
    for (name, most) in [("content-length", 1), ("host", 0)] {
        if count(name) > most {
            problems.push(format!("{} times {name}", count(name)));
        }
    }
    problems
}

fn request_line_problems(line: &[u8], problems: &mut Vec<String>) {
    let parts: Vec<&[u8]> = line.split(|b| *b == b' ').collect();
    let [method, target, version] = parts[..] else {
        problems.push(format!("a request line of {} parts", parts.len()));
        return;
    };
    if !is_token(method) {
        problems.push(format!("the method {}", method.escape_ascii()));
    }
    if !target.starts_with(b"/") || target.iter().any(|b| *b <= b' ' || *b == 0x7f || *b == b'#') {
        problems.push(format!("the target {}", target.escape_ascii()));
    }
    if version != b"HTTP/1.1" {
        problems.push(format!("the version {}", version.escape_ascii()));
    }
}
