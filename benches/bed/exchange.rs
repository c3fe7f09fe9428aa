//! What clients ask, and what the upstream answers: both sides of each exchange are fixed here.

use std::fmt::Write;
use std::time::Duration;

use bytes::Bytes;

/// One event of a stream. All have the same length, so that the length of an answer tells whether all came.
pub const EVENT: &[u8] = b"data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\
\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" word\"},\"finish_reason\":null}]}\n\n";

/// The last event of a stream.
pub const DONE: &[u8] = b"data: [DONE]\n\n";

/// What `/small` answers.
pub const SMALL: &[u8] = b"Hello, world\n";

/// What `/long` answers, in bytes.
pub const LONG: usize = 64 << 20;

/// A request, and how long its answer must be.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Path and query.
    pub target: String,
    /// Without one it is a GET, else a POST.
    pub body: Bytes,
    /// Bytes of the answer's body; its status must be 200.
    pub expected: usize,
    /// Head and body as HTTP/1.1 sends them.
    pub(crate) http1: Bytes,
}

impl Exchange {
    fn new(target: &str, body: Bytes, expected: usize) -> Self {
        let mut exchange = Self { target: target.to_owned(), body, expected, http1: Bytes::new() };
        exchange.http1 = exchange.in_http1();
        exchange
    }

    /// A GET, 13 bytes.
    pub fn small() -> Self {
        Self::new("/small", Bytes::new(), SMALL.len())
    }

    /// A question of 2 KB, a whole answer of 0.7 KB.
    pub fn chat() -> Self {
        Self::question(2048, "/v1/chat/completions", completion().len())
    }

    /// A question of 3 MB, as one with pictures has.
    pub fn long_chat() -> Self {
        Self::question(3_000_000, "/v1/chat/completions", completion().len())
    }

    /// A mebibyte each way.
    pub fn body_1m() -> Self {
        let body = Bytes::from(vec![b'x'; 1 << 20]);
        Self::new("/mebibyte", body.clone(), body.len())
    }

    /// A GET, 64 MiB.
    pub fn long_answer() -> Self {
        Self::new("/long", Bytes::new(), LONG)
    }

    /// A stream of so many events: one at each `interval`, or one whenever [`Pace`] says so.
    ///
    /// [`Pace`]: crate::upstream::Pace
    pub fn stream(events: usize, interval: Option<Duration>) -> Self {
        let interval = interval.map_or_else(|| "paced".to_owned(), |interval| interval.as_millis().to_string());
        let target = format!("/v1/chat/completions?events={events}&interval={interval}");
        Self::question(2048, &target, events * EVENT.len() + DONE.len())
    }

    /// A question whose first attempt is never answered; the key tells one question from the others.
    pub fn stalled(key: u64) -> Self {
        Self::question(2048, &format!("/v1/chat/completions?stall={key}"), completion().len())
    }

    fn question(length: usize, target: &str, expected: usize) -> Self {
        let streams = target.contains("events=");
        let head = format!("{{\"model\":\"m\",\"stream\":{streams},\"messages\":[{{\"role\":\"user\",\"content\":\"");
        let tail = "\"}]}";
        let mut body = String::with_capacity(length + 20);
        body.push_str(&head);
        while body.len() + tail.len() < length {
            body.push_str("What is a forebay? ");
        }
        body.truncate(length - tail.len());
        body.push_str(tail);
        Self::new(target, body.into(), expected)
    }

    /// `GET` or `POST`.
    pub fn method(&self) -> http::Method {
        if self.body.is_empty() { http::Method::GET } else { http::Method::POST }
    }

    /// The fields that clients of LLMs send, `Host` and lengths aside.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let question = [
            ("content-type", "application/json"),
            ("authorization", "Bearer sk-0123456789abcdef0123456789abcdef0123456789abcdef"),
        ];
        let any = [("accept", "application/json"), ("user-agent", "bed/1.0")];
        any.into_iter().chain(question.into_iter().filter(|_| !self.body.is_empty()))
    }

    fn in_http1(&self) -> Bytes {
        let mut head = format!("{} {} HTTP/1.1\r\nhost: bed.test\r\n", self.method(), self.target);
        for (name, value) in self.fields() {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if !self.body.is_empty() {
            let _ = write!(head, "content-length: {}\r\n", self.body.len());
        }
        head.push_str("\r\n");
        let mut request = head.into_bytes();
        request.extend_from_slice(&self.body);
        request.into()
    }
}

/// The whole answer to a question, 0.7 KB of JSON.
pub fn completion() -> Bytes {
    let words = "A forebay is the basin in front of a turbine; it settles the water. ".repeat(7);
    format!(
        "{{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":\"m\",\"choices\":\
         [{{\"index\":0,\"message\":{{\"role\":\"assistant\",\"content\":\"{words}\"}},\"finish_reason\":\"stop\"}}],\
         \"usage\":{{\"prompt_tokens\":500,\"completion_tokens\":100,\"total_tokens\":600}}}}"
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_has_the_length_that_was_asked_for() {
        assert_eq!(Exchange::chat().body.len(), 2048);
        assert_eq!(Exchange::long_chat().body.len(), 3_000_000);
        assert!(Exchange::chat().body.ends_with(b"\"}]}"));
        assert!((650..800).contains(&completion().len()), "{}", completion().len());
    }
}
