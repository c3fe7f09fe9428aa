//! What is wrong with the environment, all of it at once.

use std::fmt;

use super::declare::{Sight, Variable};

/// One thing that is wrong. Never contains a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The name of the variable.
    pub name: String,
    /// Its value, where it may be seen: not for secrets, and not for names that we do not know.
    pub value: Option<String>,
    /// The end of a sentence that begins with the variable.
    pub reason: String,
    /// A value that would be accepted.
    pub example: Option<String>,
}

/// Longer values are cut: they have to fit into a line.
const SHOWN_CHARS: usize = 120;

impl Problem {
    /// A problem with a variable of which only the name may be shown.
    pub(super) fn with_name(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { name: name.into(), value: None, reason: reason.into(), example: None }
    }

    /// A problem with a declared variable. The value is kept only where it may be seen.
    pub(super) fn with(variable: &Variable, value: Option<&str>, reason: impl Into<String>) -> Self {
        let visible = |value: &&str| match variable.sight {
            Sight::Open => true,
            // A URL can carry a password before its `@`, or a key in its query or fragment.
            Sight::Url => !value.contains(['@', '?', '#']),
            Sight::KeyFile => is_surely_a_path(value),
            Sight::Secret => false,
        };
        Self {
            name: variable.name.to_owned(),
            value: value.filter(visible).map(str::to_owned),
            reason: reason.into(),
            example: Some(variable.example.to_owned()),
        }
    }

    /// The same for a variable that was set by another name, that of a route.
    pub(super) fn named(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A name that only resembles ours can contain anything.
        self.name.escape_debug().fmt(f)?;
        if let Some(value) = &self.value {
            write!(f, "={}", quoted(value))?;
        }
        write!(f, ": {}", self.reason)?;
        match &self.example {
            Some(example) => write!(f, ", for example {}={example}", self.name),
            None => Ok(()),
        }
    }
}

/// All problems, one line each, under a line that counts them.
pub fn render(problems: &[Problem]) -> String {
    let count = match problems.len() {
        1 => "1 problem".to_owned(),
        n => format!("{n} problems"),
    };
    let lines = problems.iter().map(|problem| format!("  {problem}\n"));
    std::iter::once(format!("{count} in the environment:\n")).chain(lines).collect()
}

/// Somebody may have put a secret itself where the path of its file belongs.
pub(super) fn is_surely_a_path(value: &str) -> bool {
    value.starts_with(['/', '.']) && !value.contains(['\n', '\r'])
}

/// A value in double quotes; control characters and what cannot be seen are escaped, and what is too long is cut.
pub(super) fn quoted(value: &str) -> String {
    match value.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{:?}...", &value[..end]),
        None => format!("{value:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::declare;
    use super::*;

    #[test]
    fn a_problem_names_the_variable_its_value_what_is_wrong_and_an_example() {
        let problem =
            Problem::with(&declare::RESPONSE_HEADER_TIMEOUT_SECONDS, Some("soon"), "is not a duration").to_string();
        assert_eq!(
            problem,
            "RESPONSE_HEADER_TIMEOUT_SECONDS=\"soon\": is not a duration, \
             for example RESPONSE_HEADER_TIMEOUT_SECONDS=30s"
        );
    }

    #[test]
    fn control_characters_are_escaped_and_long_values_are_cut() {
        let problem = Problem::with(&declare::RETRY, Some("a\r\nb\u{1b}[31m\u{202e}"), "is wrong").to_string();
        assert!(problem.chars().all(|c| !c.is_control() && c != '\u{202e}'), "{problem}");
        let named = Problem::with_name("ROUTE_A_\u{1b}[31m\n", "is wrong").to_string();
        assert_eq!(named, "ROUTE_A_\\u{1b}[31m\\n: is wrong");
        let long = Problem::with(&declare::RETRY, Some(&"é".repeat(500)), "is wrong").to_string();
        assert!(long.chars().count() < 200, "{long}");
    }

    #[test]
    fn secrets_and_urls_that_may_hold_one_are_not_shown() {
        for (variable, value) in [
            (declare::UPSTREAM_API_KEY, "hidden"),
            (declare::UPSTREAM_BASE_URL, "http://user:hidden@host"),
            (declare::UPSTREAM_BASE_URL, "http://host/?key=hidden"),
            (declare::UPSTREAM_BASE_URL, "http://host/#hidden"),
            (declare::ALLOWED_ORIGINS, "https://u:hidden@app.example"),
            (declare::OUTBOUND_PROXY, "socks5://u:hidden@proxy"),
            (declare::TLS_KEY_FILE, "-----BEGIN PRIVATE KEY-----\nhidden"),
        ] {
            let problem = Problem::with(&variable, Some(value), "is wrong").to_string();
            assert!(!problem.contains("hidden"), "{problem}");
        }
    }

    #[test]
    fn the_report_counts_and_has_one_line_for_each() {
        let one = Problem::with_name("A", "is wrong");
        assert_eq!(render(std::slice::from_ref(&one)), "1 problem in the environment:\n  A: is wrong\n");
        assert_eq!(render(&[one.clone(), one]).lines().count(), 3);
    }
}
