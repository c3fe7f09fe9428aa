//! What is in force, and what it adds up to: the text of `forebay check`, and a line for the start.

use std::time::Duration;

use super::declare::Section;
use super::resolve::{Effective, Origin};
use super::settings::Settings;
use crate::race::{Backoff, Policy};
use crate::routes::{Lane, RouteSettings};
use crate::time::Human;

mod store;
mod waits;

pub use waits::stalled;

/// Codex ends a stream that has been silent for so long.
const CODEX_IDLE: Duration = Duration::from_secs(300);

/// Every variable as it is in force, then the store, then each route and how long its clients may wait, then what may not be
/// meant.
pub fn report(settings: &Settings) -> String {
    let mut lines = effective(&settings.effective);
    lines.extend(store::lines(settings));
    lines.push(String::new());
    for (i, route) in settings.routes.iter().enumerate() {
        lines.extend(self::route(route, settings));
        let twin = settings.routes[..i].iter().find(|other| races(other) && other.policy == route.policy);
        match twin {
            _ if !races(route) => {}
            Some(twin) => lines.push(format!("  waits     as {}", title(twin))),
            None => lines.extend([String::new()].into_iter().chain(waits::waits(&route.policy))),
        }
        lines.push(String::new());
    }
    if settings.routes.iter().any(|route| route.stream_idle.is_none_or(|idle| idle >= CODEX_IDLE)) {
        lines.push(format!(
            "warning: Codex ends a stream after {} of silence; with STREAM_IDLE_TIMEOUT_SECONDS below that, it is told why",
            seconds(CODEX_IDLE)
        ));
    }
    lines.extend(settings.warnings.iter().map(|warning| format!("warning: {warning}")));
    lines.join("\n") + "\n"
}

/// The policy of a race in one line: `2 attempts, 30s to headers (290s for whole answers), backoff 250ms`.
pub fn policy_in_words(policy: &Policy) -> String {
    let attempts = attempts(policy.max_attempts);
    let whole = if policy.whole_answer_deadline == policy.header_deadline {
        String::new()
    } else {
        format!(" ({} for whole answers)", seconds(policy.whole_answer_deadline))
    };
    let Backoff { first, max } = policy.backoff;
    let backoff = match policy.max_attempts {
        0 | 1 => String::new(),
        _ if first.is_zero() => ", no backoff".to_owned(),
        3.. if first < max => format!(", backoff {} up to {}", seconds(first), seconds(max)),
        _ => format!(", backoff {}", seconds(first)),
    };
    let hedge = match policy.hedge_after.filter(|_| policy.max_attempts > 1) {
        Some(after) => format!(", hedged after {}", seconds(after)),
        None => String::new(),
    };
    format!("{attempts}, {} to headers{whole}{backoff}{hedge}", seconds(policy.header_deadline))
}

fn effective(effective: &[Effective]) -> Vec<String> {
    let mut lines = Vec::new();
    for section in Section::ALL {
        let names = section.variables().map(|variable| variable.name);
        let found: Vec<_> = names.filter_map(|name| effective.iter().find(|e| e.name == name)).collect();
        // The variables of routes are listed with each route.
        if !found.is_empty() {
            lines.push(section.to_string());
            lines.extend(found.into_iter().map(|e| line(e, effective)));
            lines.push(String::new());
        }
    }
    lines
}

/// A variable, its value, and where that comes from.
fn line(Effective { name, shown, origin }: &Effective, all: &[Effective]) -> String {
    let longest = |text: fn(&Effective) -> usize| all.iter().map(text).max().unwrap_or_default();
    let (names, values) = (longest(|e| e.name.len()), longest(|e| e.shown.chars().count()).min(40));
    let origin = match origin {
        Origin::Set | Origin::File => "set".to_owned(),
        Origin::Default => "default".to_owned(),
        Origin::Follows(other) => format!("as {other}"),
        Origin::Derived(from) => (*from).to_owned(),
    };
    format!("  {name:names$}  {shown:values$}  {origin}")
}

/// What a route serves and how, and the variables that it has for itself.
fn route(route: &RouteSettings, settings: &Settings) -> Vec<String> {
    let all = &settings.effective;
    let mut lines = vec![title(route)];
    let lists = [
        (&route.lanes.stream, Lane::Stream, "STREAM_PATHS"),
        (&route.lanes.redirect, Lane::Redirect, "REDIRECT_PATHS"),
        (&route.lanes.race, Lane::Race, "RACE_PATHS"),
        (&route.lanes.queue, Lane::Queue, "QUEUE_PATHS"),
    ];
    let listed = lists.into_iter().filter(|(list, lane, _)| !list.is_empty() && *lane != route.lanes.otherwise);
    let served: Vec<String> = std::iter::once(word(route.lanes.otherwise).to_owned())
        .chain(listed.map(|(_, lane, name)| format!("{} for {name}", word(lane))))
        .collect();
    let proxy = route.transport.proxy.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
    lines.push(format!("  prefix    {}", route.prefix));
    lines.push(format!("  upstream  {}", route.base));
    lines.push(format!("  lane      {}", served.join(", ")));
    lines.push(format!("  proxy     {proxy}"));
    lines.extend(store::lines_of_route(route, settings));
    if let Some(name) = &route.name {
        let own = format!("ROUTE_{name}_");
        lines.extend(all.iter().filter(|e| e.name.starts_with(&own)).map(|e| line(e, all)));
    }
    lines
}

fn title(route: &RouteSettings) -> String {
    route.name.as_ref().map_or_else(|| "Route of UPSTREAM_BASE_URL".to_owned(), |name| format!("Route {name}"))
}

/// Whether any of its requests is raced.
fn races(route: &RouteSettings) -> bool {
    route.lanes.has(Lane::Race)
}

/// A lane as it is configured.
fn word(lane: Lane) -> &'static str {
    match lane {
        Lane::Race => "race",
        Lane::Stream => "stream",
        Lane::Queue => "queue",
        Lane::Redirect => "redirect",
    }
}

fn attempts(n: u32) -> String {
    if n == 1 { "1 attempt".to_owned() } else { format!("{n} attempts") }
}

/// For sums: everything from a second on in seconds.
fn seconds(duration: Duration) -> String {
    if duration < Duration::from_secs(1) { Human(duration).to_string() } else { format!("{}s", duration.as_secs_f64()) }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::settings::tests::settings;
    use super::*;

    const URL: (&str, &str) = ("UPSTREAM_BASE_URL", "https://api.example");

    fn words(vars: &[(&str, &str)]) -> String {
        policy_in_words(&settings(&[&[URL], vars].concat()).unwrap().routes[0].policy)
    }

    pub(super) fn text(vars: &[(&str, &str)]) -> String {
        report(&settings(&[&[URL], vars].concat()).unwrap())
    }

    pub(super) fn assert_contains(text: &str, part: &str) {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }

    #[test]
    fn a_policy_is_said_in_one_line() {
        assert_eq!(words(&[]), "2 attempts, 30s to headers (290s for whole answers), backoff 250ms");
        assert_eq!(words(&[("UPSTREAM_MAX_ATTEMPTS", "1")]), "1 attempt, 30s to headers (290s for whole answers)");
        assert_eq!(
            words(&[("UPSTREAM_MAX_ATTEMPTS", "3"), ("RESPONSE_HEADER_TIMEOUT_SECONDS", "1m")]),
            "3 attempts, 60s to headers, backoff 250ms up to 5s"
        );
        assert_eq!(
            words(&[("RETRY_BACKOFF_SECONDS", "0"), ("RESPONSE_HEADER_TIMEOUT_SECONDS", "1")]),
            "2 attempts, 1s to headers, no backoff"
        );
        assert_eq!(
            words(&[("HEDGE_AFTER_SECONDS", "5"), ("RESPONSE_HEADER_TIMEOUT_SECONDS", "20")]),
            "2 attempts, 20s to headers, backoff 250ms, hedged after 5s"
        );
    }

    #[test]
    fn values_are_listed_with_where_they_come_from() {
        let text = text(&[("UPSTREAM_API_KEY", "sk-hidden"), ("RESPONSE_HEADER_TIMEOUT_SECONDS", "0.02m")]);
        let line = |name: &str| {
            let line = text.lines().find(|l| l.trim_start().starts_with(name)).unwrap();
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(line("LISTEN_PORT"), "LISTEN_PORT 8788 default");
        assert_eq!(line("UPSTREAM_BASE_URL"), "UPSTREAM_BASE_URL https://api.example set");
        assert_eq!(line("UPSTREAM_API_KEY "), "UPSTREAM_API_KEY (set) set");
        assert_eq!(line("UPSTREAM_API_KEY_PREFIX"), "UPSTREAM_API_KEY_PREFIX \"Bearer \" default");
        assert_eq!(line("RESPONSE_HEADER"), "RESPONSE_HEADER_TIMEOUT_SECONDS 1.2s set");
        assert_eq!(
            line("NONSTREAM"),
            "NONSTREAM_RESPONSE_HEADER_TIMEOUT_SECONDS 1.2s as RESPONSE_HEADER_TIMEOUT_SECONDS"
        );
        assert!(!text.contains("hidden"));
    }

    #[test]
    fn an_idle_limit_that_codex_does_not_wait_for_is_a_warning() {
        assert!(!text(&[]).contains("Codex ends a stream"));
        for idle in ["0", "5m", "300"] {
            assert_contains(&text(&[("STREAM_IDLE_TIMEOUT_SECONDS", idle)]), "warning: Codex ends a stream");
        }
    }
}
