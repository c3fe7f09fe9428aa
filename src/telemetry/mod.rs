//! Logs: `format` writes a line, `lines` brings it to standard error.

mod format;
mod lines;

use std::fmt::{self, Write as _};
use std::future::Future;
use std::io::{self, IsTerminal};
use std::pin::Pin;

use tracing::{Instrument, Span};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::format::JsonFields;

use self::format::{Json, Text};
use self::lines::Lines;

/// `LOG_LEVEL`, `LOG_FORMAT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// A tracing filter: `info`, or `forebay=debug,hyper=warn`. Known to parse.
    pub filter: String,
    /// How lines are written.
    pub format: LogFormat,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why there are no logs.
#[derive(Debug)]
pub enum LogError {
    /// The filter is none.
    Filter(ParseError),
    /// The system gives no thread to write them.
    Thread(io::Error),
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Filter(source) => write!(f, "LOG_LEVEL: {source}"),
            Self::Thread(source) => write!(f, "no thread can be started for the log: {source}"),
        }
    }
}

impl std::error::Error for LogError {}

/// The logs of the process. Dropped at its end, they are written to the last line.
#[derive(Debug)]
pub struct Logs(Lines);

impl Drop for Logs {
    fn drop(&mut self) {
        self.0.finish();
    }
}

/// Writes logs to standard error from here on, some milliseconds behind.
pub fn start(settings: &LogSettings) -> Result<Logs, LogError> {
    let filter = EnvFilter::try_new(&settings.filter).map_err(LogError::Filter)?;
    let stderr = io::stderr();
    let is_coloured = stderr.is_terminal();
    let lines = Lines::write_to(stderr).map_err(LogError::Thread)?;
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(lines.clone()).with_ansi(is_coloured);
    // Err: another subscriber is there already, as in tests.
    let _ = match settings.format {
        LogFormat::Text => subscriber.event_format(Text { is_coloured }).try_init(),
        LogFormat::Json => subscriber.fmt_fields(JsonFields::new()).event_format(Json).try_init(),
    };
    Ok(Logs(lines))
}

/// A future in its box, in a span if that is looked at: a future that is only wrapped is copied once more, and asks at every
/// poll.
pub fn in_span<'a, F>(span: Span, future: F) -> Pin<Box<dyn Future<Output = F::Output> + Send + 'a>>
where
    F: Future + Send + 'a,
{
    if span.is_disabled() { Box::pin(future) } else { Box::pin(future.instrument(span)) }
}

/// A value from outside in a log line: control characters are escaped, so that nobody forges a line or moves a cursor.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return f.write_str(self.0);
        }
        for char in self.0.chars() {
            if may_mislead(char) { write!(f, "{}", char.escape_default())? } else { f.write_char(char)? }
        }
        Ok(())
    }
}

/// Controls, line separators, and what changes the direction of writing or cannot be seen.
fn may_mislead(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_cannot_forge_a_line() {
        assert_eq!(Escaped("/a\r\nFORGED\x1b[2J\u{85}é").to_string(), "/a\\r\\nFORGED\\u{1b}[2J\\u{85}é");
        assert_eq!(Escaped("\u{2028}\u{202e}x").to_string(), "\\u{2028}\\u{202e}x");
    }
}
