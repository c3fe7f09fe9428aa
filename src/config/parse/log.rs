//! `LOG_LEVEL`.

use tracing_subscriber::filter::{Directive, LevelFilter};

use super::Parsed;

/// A level (`DEBUG`, `INFO`, `WARNING`/`WARN`, `ERROR`/`CRITICAL`, any case; also `TRACE`, `OFF`) or a tracing filter,
/// as a tracing filter.
///
/// A plain level is ours: what the libraries below say is shown from WARN on, and otherwise only to those who ask for
/// it by name (`debug,hyper=debug` is a filter, and is taken word for word).
pub(in crate::config) fn filter(text: &str) -> Parsed<String> {
    let plain = match text.to_ascii_uppercase().as_str() {
        "WARNING" => Some(LevelFilter::WARN),
        "CRITICAL" => Some(LevelFilter::ERROR),
        text => level(text),
    };
    match plain {
        Some(level) if level > LevelFilter::WARN => return Ok(format!("warn,forebay={level}")),
        Some(level) => return Ok(level.to_string()),
        None => {}
    }
    let mut entries = text.split(',').filter(|entry| !entry.is_empty()).peekable();
    if entries.peek().is_none() || !entries.all(is_directive) {
        return Err("must be DEBUG, INFO, WARNING, ERROR, or a filter such as info,forebay=debug".into());
    }
    Ok(text.to_owned())
}

/// Tracing would take a bare word that is no level for a target, and silence everything else.
fn is_directive(entry: &str) -> bool {
    let target = entry.split('[').next().unwrap_or_default();
    let more_than_a_word = entry.contains(['=', '[']) && !target.contains(char::is_whitespace);
    (level(entry).is_some() || more_than_a_word) && entry.parse::<Directive>().is_ok()
}

/// Tracing takes numbers too, 1 = ERROR to 5 = TRACE. Nobody means that.
fn level(text: &str) -> Option<LevelFilter> {
    text.parse().ok().filter(|_| !text.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::EnvFilter;

    use super::*;

    #[test]
    fn a_level_is_ours_and_libraries_are_never_louder_than_warn() {
        for (text, expected) in [
            ("INFO", "warn,forebay=info"),
            ("info", "warn,forebay=info"),
            ("Debug", "warn,forebay=debug"),
            ("TRACE", "warn,forebay=trace"),
            ("WARNING", "warn"),
            ("warn", "warn"),
            ("ERROR", "error"),
            ("critical", "error"),
            ("off", "off"),
        ] {
            assert_eq!(filter(text), Ok(expected.into()), "{text}");
        }
    }

    #[test]
    fn a_filter_is_taken_word_for_word_and_known_to_parse() {
        for text in ["info,hyper=debug", "forebay=debug", "warn,forebay[exchange]=trace", "INFO,forebay::race=debug,"] {
            let taken = filter(text).unwrap();
            assert_eq!(taken, text);
            assert!(EnvFilter::builder().parse(taken).is_ok(), "{text}");
        }
    }

    #[test]
    fn words_that_are_no_level_are_refused() {
        for text in
            ["", ",", "loud", "verbose", "INFOO", "5", "info,loud", "forebay=loud", "forebay=[", "info forebay=debug"]
        {
            assert!(filter(text).is_err(), "{text}");
        }
    }
}
