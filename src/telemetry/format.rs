//! How a log line is written. tracing-subscriber could do it too, at five times the cost: the line of an exchange has
//! fourteen fields, and each would go through the machinery of `std::fmt` several times.

use std::fmt::{self, Debug, Write as _};
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// `TIME LEVEL span{…}: message field=value …`, for people.
pub(super) struct Text {
    /// The level has a colour.
    pub(super) is_coloured: bool,
}

/// One JSON object: `timestamp`, `level`, `message`, the fields, and `spans`.
pub(super) struct Json;

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = String::with_capacity(512);
        let level = *event.metadata().level();
        let (colour, plain) = if self.is_coloured { (colour(level), "\u{1b}[0m") } else { ("", "") };
        write!(line, "{} {colour}{level:>5}{plain} ", humantime::format_rfc3339_micros(SystemTime::now()))?;
        if let Some(scope) = context.event_scope() {
            for span in scope.from_root() {
                line.push_str(span.name());
                if let Some(fields) = span.extensions().get::<FormattedFields<N>>()
                    && !fields.is_empty()
                {
                    write!(line, "{{{}}}", fields.as_str())?;
                }
                line.push_str(": ");
            }
        }
        event.record(&mut TextLine { line: &mut line, is_first: true });
        line.push('\n');
        out.write_str(&line)
    }
}

fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\u{1b}[31m",
        Level::WARN => "\u{1b}[33m",
        Level::INFO => "\u{1b}[32m",
        Level::DEBUG => "\u{1b}[34m",
        Level::TRACE => "\u{1b}[35m",
    }
}

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = String::with_capacity(512);
        let time = humantime::format_rfc3339_micros(SystemTime::now());
        write!(line, "{{\"timestamp\":\"{time}\",\"level\":\"{}\"", event.metadata().level())?;
        event.record(&mut JsonLine { line: &mut line });
        if let Some(scope) = context.event_scope() {
            let mut comma = ",\"spans\":[";
            for span in scope.from_root() {
                line.push_str(comma);
                line.push_str("{\"name\":");
                quote(&mut line, span.name());
                // The fields of a span are an object already, made by tracing-subscriber.
                if let Some(fields) = span.extensions().get::<FormattedFields<N>>()
                    && let Some(fields) = fields.strip_prefix('{').filter(|fields| *fields != "}")
                {
                    line.push(',');
                    line.push_str(fields);
                } else {
                    line.push('}');
                }
                comma = ",";
            }
            line.push(']');
        }
        line.push_str("}\n");
        out.write_str(&line)
    }
}

struct TextLine<'a> {
    line: &'a mut String,
    is_first: bool,
}

impl TextLine<'_> {
    fn name(&mut self, field: &Field) {
        if !std::mem::take(&mut self.is_first) {
            self.line.push(' ');
        }
        if field.name() != "message" {
            self.line.push_str(field.name());
            self.line.push('=');
        }
    }
}

impl Visit for TextLine<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.name(field);
        // A String takes everything.
        let _ = write!(self.line, "{value:?}");
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.name(field);
        match field.name() {
            "message" => self.line.push_str(value),
            _ if needs_no_escape(value) => {
                self.line.push('"');
                self.line.push_str(value);
                self.line.push('"');
            }
            _ => drop(write!(self.line, "{value:?}")),
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.name(field);
        self.line.push_str(itoa::Buffer::new().format(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.name(field);
        decimal(self.line, value);
    }
}

struct JsonLine<'a> {
    line: &'a mut String,
}

impl JsonLine<'_> {
    fn name(&mut self, field: &Field) {
        self.line.push(',');
        quote(self.line, field.name());
        self.line.push(':');
    }
}

impl Visit for JsonLine<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.name(field);
        self.line.push('"');
        let begin = self.line.len();
        let _ = write!(self.line, "{value:?}");
        if needs_no_escape(&self.line[begin..]) {
            self.line.push('"');
        } else {
            let value = self.line.split_off(begin);
            self.line.pop();
            quote(self.line, &value);
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.name(field);
        quote(self.line, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.name(field);
        self.line.push_str(itoa::Buffer::new().format(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.name(field);
        self.line.push_str(itoa::Buffer::new().format(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.name(field);
        self.line.push_str(if value { "true" } else { "false" });
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.name(field);
        if value.is_finite() {
            decimal(self.line, value);
        } else {
            self.line.push_str("null");
        }
    }
}

/// Whether a text means itself, in JSON and in Rust's own notation.
fn needs_no_escape(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\')
}

/// A JSON string (RFC 8259 §7).
fn quote(line: &mut String, text: &str) {
    line.push('"');
    if needs_no_escape(text) {
        line.push_str(text);
    } else {
        for char in text.chars() {
            match char {
                '"' => line.push_str("\\\""),
                '\\' => line.push_str("\\\\"),
                '\n' => line.push_str("\\n"),
                '\r' => line.push_str("\\r"),
                '\t' => line.push_str("\\t"),
                '\0'..='\u{1f}' => drop(write!(line, "\\u{:04x}", u32::from(char))),
                char => line.push(char),
            }
        }
    }
    line.push('"');
}

/// A number, fast where it has one decimal at most, as our times in milliseconds have.
fn decimal(line: &mut String, value: f64) {
    let tenths = value * 10.0;
    if (0.0..1e15).contains(&tenths) && tenths.fract() == 0.0 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole, and in the range of u64")]
        let tenths = tenths as u64;
        line.push_str(itoa::Buffer::new().format(tenths / 10));
        line.push('.');
        line.push_str(itoa::Buffer::new().format(tenths % 10));
    } else {
        let _ = write!(line, "{value}");
    }
}
