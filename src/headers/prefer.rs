//! `Prefer`: `respond-async` and `wait` (RFC 7240 §4.1, §4.3). (p)

use std::time::Duration;

use http::header::HeaderMap;
use http::{HeaderName, HeaderValue};

const PREFER: HeaderName = HeaderName::from_static("prefer");
const APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// What a client prefers over waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RespondAsync {
    /// It waits for so long before; none = not at all.
    pub wait: Option<Duration>,
}

impl RespondAsync {
    /// What these fields ask for. None = nothing of the kind. `wait` alone asks for no job. The first of several counts.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        preferences(headers).find(|preference| is_named(preference, "respond-async"))?;
        Some(Self { wait: preferences(headers).find_map(wait) })
    }

    /// Takes what is honoured out of the fields. Other preferences stay as they are.
    pub fn remove(headers: &mut HeaderMap) {
        let is_honoured = |preference: &&str| is_named(preference, "respond-async") || wait(preference).is_some();
        let left: Vec<&str> = preferences(headers).filter(|preference| !is_honoured(preference)).collect();
        let left = HeaderValue::from_str(&left.join(", ")).ok().filter(|left| !left.is_empty());
        headers.remove(PREFER);
        if let Some(left) = left {
            headers.insert(PREFER, left);
        }
    }

    /// Tells that the answer came later than the client wanted to wait, or would have.
    pub fn applied_async(self, headers: &mut HeaderMap) {
        let text = match self.wait {
            Some(wait) => format!("respond-async, wait={}", wait.as_secs()),
            None => "respond-async".to_owned(),
        };
        apply(headers, &text);
    }

    /// Tells that the answer came within the time that the client wanted to wait.
    pub fn applied_wait(self, headers: &mut HeaderMap) {
        if let Some(wait) = self.wait {
            apply(headers, &format!("wait={}", wait.as_secs()));
        }
    }
}

fn apply(headers: &mut HeaderMap, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.append(APPLIED, value);
    }
}

/// The preferences, one by one, with their parameters. What is no text has none.
fn preferences(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(PREFER).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(split).map(str::trim).filter(|preference| !preference.is_empty())
}

/// Splits at commas that stand in no quoted string.
fn split(line: &str) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    line.split(move |c: char| {
        let splits = c == ',' && !is_quoted;
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ => {}
        }
        splits
    })
}

/// Whether a preference has this name, and no value or an empty one.
fn is_named(preference: &str, name: &str) -> bool {
    let bare = preference.split(';').next().unwrap_or_default();
    let (found, value) = bare.split_once('=').unwrap_or((bare, ""));
    found.trim().eq_ignore_ascii_case(name) && matches!(value.trim(), "" | "\"\"")
}

/// The seconds of `wait=N`.
fn wait(preference: &str) -> Option<Duration> {
    let (name, value) = preference.split(';').next()?.split_once('=')?;
    let value = value.trim();
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let is_wait = name.trim().eq_ignore_ascii_case("wait") && is_number;
    is_wait.then(|| Duration::from_secs(value.parse().unwrap_or(u64::from(u32::MAX))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (PREFER, HeaderValue::from_str(line).unwrap())).collect()
    }

    #[test]
    fn a_job_is_asked_for_by_respond_async_and_a_wait_before_it_by_wait() {
        let seconds = Duration::from_secs;
        for (lines, asked) in [
            (&["respond-async"][..], Some(None)),
            (&["Respond-Async , wait=10"], Some(Some(seconds(10)))),
            (&["wait=10", "respond-async;x=1"], Some(Some(seconds(10)))),
            (&["respond-async, wait=\"7\", wait=9"], Some(Some(seconds(7)))),
            (&["respond-async, wait=soon"], Some(None)),
            (&["respond-async, wait=0"], Some(Some(seconds(0)))),
            (&["wait=10"], None),
            (&["foo=\"a, respond-async\""], None),
            (&["respond-async=no"], None),
            (&["return=minimal"], None),
            (&[], None),
        ] {
            assert_eq!(RespondAsync::of(&fields(lines)).map(|asked| asked.wait), asked, "{lines:?}");
        }
    }

    #[test]
    fn what_is_honoured_is_removed_and_the_rest_stays() {
        for (lines, left) in [
            (&["respond-async, wait=10"][..], None),
            (&["respond-async, return=minimal", "wait=3"], Some("return=minimal")),
            (&["a=\"x, y\";p, respond-async, b"], Some("a=\"x, y\";p, b")),
        ] {
            let mut headers = fields(lines);
            RespondAsync::remove(&mut headers);
            let values: Vec<_> = headers.get_all(PREFER).iter().map(|value| value.to_str().unwrap()).collect();
            assert_eq!(values, left.into_iter().collect::<Vec<_>>(), "{lines:?}");
        }
    }
}
