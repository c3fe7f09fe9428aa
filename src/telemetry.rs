//! Logs.

use std::fmt::{self, Write as _};
use std::future::Future;
use std::io::IsTerminal;
use std::pin::Pin;

use tracing::{Instrument, Span};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

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

/// Writes logs to standard error from here on. A second call changes nothing.
pub fn start(settings: &LogSettings) -> Result<(), ParseError> {
    let filter = EnvFilter::try_new(&settings.filter)?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // Err: another subscriber is there already, as in tests.
    let _ = match settings.format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    Ok(())
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
