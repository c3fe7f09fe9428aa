//! How a response ended that had already begun (contract 5, last paragraph).

/// Why a response ended before its end. Nothing can be repaired after headers; it can only be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Breakage {
    /// The idle clock: no byte from the upstream.
    Stalled,
    /// The upstream's connection broke.
    Broken,
    /// This process had to end.
    ShuttingDown,
}

impl Breakage {
    /// The code of the last event and of the log line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stalled => "upstream_stalled",
            Self::Broken => "upstream_broken",
            Self::ShuttingDown => "shutting_down",
        }
    }

    /// The message of the last event.
    pub fn message(self) -> &'static str {
        match self {
            Self::Stalled => {
                "The upstream sent response headers and then nothing for the stream idle timeout \
                 (STREAM_IDLE_TIMEOUT_SECONDS). Send the request again."
            }
            Self::Broken => "The upstream broke off after response headers. Send the request again.",
            Self::ShuttingDown => "forebay is shutting down and had to end this response. Send the request again.",
        }
    }
}
