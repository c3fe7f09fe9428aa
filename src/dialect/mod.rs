//! What a client does with an answer depends on the client (contract 8). (p)
//!
//! Recognised from the request, told what forebay wants to say, a dialect knows the status, the shape and the hints that
//! make this client do the right thing. What the clients do was measured; the README names the consequences.

mod anthropic;
mod codex;
mod events;
mod openai;
mod recognise;
mod settings;

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

pub use events::EventBoundary;
pub use settings::Settings;

/// The family of clients that a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Codex CLI.
    Codex,
    /// Anthropic's SDKs.
    Anthropic,
    /// OpenAI's SDKs, and whatever speaks to the same paths.
    OpenAi,
    /// Everything else.
    Plain,
}

/// An error of forebay's own, before it is put into a client's words.
#[derive(Clone, Copy, Debug)]
pub struct Plain<'a> {
    /// The status of section 5.
    pub status: StatusCode,
    /// The `type` of section 5.
    pub kind: &'a str,
    /// The code of section 5.
    pub code: &'a str,
    /// What happened and what to change.
    pub message: &'a str,
}

/// An error in a client's words. `type`, `code` and `X-Forebay-Error` are the same in every dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worded {
    /// The status that makes this client do the right thing.
    pub status: StatusCode,
    /// `x-should-retry`, which the SDKs obey.
    pub should_retry: Option<bool>,
    /// Whether a `Retry-After: 1` belongs to it, unless another time is known.
    pub soon: bool,
    /// The JSON body.
    pub body: Bytes,
}

impl Dialect {
    /// Puts an error into this client's words.
    pub fn word(self, plain: Plain<'_>, settings: Settings) -> Worded {
        let envelope = match self {
            Self::Anthropic => anthropic::envelope(&error(plain)),
            Self::Codex | Self::OpenAi | Self::Plain => json!({ "error": error(plain) }),
        };
        let status = match self {
            Self::Codex => codex::status(plain.status, settings),
            Self::Anthropic | Self::OpenAi | Self::Plain => plain.status,
        };
        let should_retry = match self {
            Self::Plain => None,
            Self::Codex | Self::Anthropic | Self::OpenAi => should_retry(plain.status),
        };
        Worded { status, should_retry, soon: should_retry == Some(true), body: envelope.to_string().into() }
    }

    /// The last event of a stream that had to end early, or none where the connection is cut instead.
    pub fn last_event(self, code: &str, message: &str) -> Option<Bytes> {
        let error = json!({ "message": message, "type": "upstream_error", "code": code });
        match self {
            Self::Codex => Some(codex::response_failed(message)),
            Self::OpenAi => Some(openai::error_event(&error)),
            Self::Anthropic => Some(anthropic::error_event(&error)),
            Self::Plain => None,
        }
    }
}

fn error(plain: Plain<'_>) -> Value {
    json!({ "message": plain.message, "type": plain.kind, "code": plain.code })
}

/// What an SDK should do after a status of ours: nothing that cannot help, and at once what will.
fn should_retry(status: StatusCode) -> Option<bool> {
    match status.as_u16() {
        // The deadlines are used up, or the request itself is at fault: the same again costs the same again.
        400 | 413 | 431 | 504 => Some(false),
        408 | 503 => Some(true),
        // 502: the client's own quick re-sends ride out a restart.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Dialect; 4] = [Dialect::Codex, Dialect::Anthropic, Dialect::OpenAi, Dialect::Plain];
    const DEFAULTS: Settings = Settings { auto: true, codex_final_status: Some(StatusCode::BAD_REQUEST) };

    fn worded(dialect: Dialect, status: u16, settings: Settings) -> Worded {
        let status = StatusCode::from_u16(status).unwrap();
        dialect.word(Plain { status, kind: "t", code: "c", message: "m" }, settings)
    }

    #[test]
    fn statuses_and_hints_are_those_of_section_8() {
        use Dialect::*;
        for (status, dialect, expected, hint) in [
            (504, Codex, 400, Some(false)),
            (504, OpenAi, 504, Some(false)),
            (504, Anthropic, 504, Some(false)),
            (504, Plain, 504, None),
            (502, Codex, 502, None),
            (502, OpenAi, 502, None),
            (502, Plain, 502, None),
            (413, Codex, 400, Some(false)),
            (413, OpenAi, 413, Some(false)),
            (413, Plain, 413, None),
            (400, OpenAi, 400, Some(false)),
            (431, Anthropic, 431, Some(false)),
            (503, OpenAi, 503, Some(true)),
            (408, Codex, 408, Some(true)),
            (503, Plain, 503, None),
            (403, OpenAi, 403, None),
        ] {
            let worded = worded(dialect, status, DEFAULTS);
            assert_eq!((worded.status.as_u16(), worded.should_retry), (expected, hint), "{status} {dialect:?}");
        }
    }

    #[test]
    fn codex_final_status_can_be_switched_off() {
        assert_eq!(worded(Dialect::Codex, 504, Settings { auto: true, codex_final_status: None }).status, 504);
    }

    #[test]
    fn type_and_code_are_the_same_in_every_dialect() {
        for dialect in ALL {
            let body: Value = serde_json::from_slice(&worded(dialect, 502, DEFAULTS).body).unwrap();
            assert_eq!(body["error"], json!({"message": "m", "type": "t", "code": "c"}), "{dialect:?}");
            assert_eq!(body.get("type").is_some(), dialect == Dialect::Anthropic);
        }
    }

    #[test]
    fn every_last_event_is_one_complete_event() {
        for dialect in [Dialect::Codex, Dialect::Anthropic, Dialect::OpenAi] {
            let event = dialect.last_event("upstream_stalled", "two\nlines").unwrap();
            let text = std::str::from_utf8(&event).unwrap();
            assert!(text.ends_with("\n\n") && text.trim_end().lines().count() <= 2, "{text}");
            let data = text.lines().find_map(|l| l.strip_prefix("data: ")).unwrap();
            assert!(serde_json::from_str::<Value>(data).is_ok());
        }
        assert_eq!(Dialect::Plain.last_event("upstream_stalled", "m"), None);
    }
}
