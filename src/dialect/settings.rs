//! `DIALECT` and `CODEX_FINAL_STATUS`.

use http::StatusCode;

/// How answers are adapted to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `DIALECT=auto`: recognise the client from its request; otherwise every client gets the plain answers.
    pub auto: bool,
    /// `CODEX_FINAL_STATUS`: what Codex gets when the deadlines are used up; none = the status of section 5.
    pub codex_final_status: Option<StatusCode>,
}
