//! What is in force, and what it adds up to: the text of `forebay check`, and a line for the start.

use std::time::Duration;

use super::declare::Section;
use super::resolve::{Effective, Origin};
use super::settings::Settings;
use crate::race::{Backoff, Policy};
use crate::routes::{Lane, RouteSettings};
use crate::time::Human;
use crate::upstream::Timeouts;

/// Where somebody between us and the user stops waiting for headers.
const PATIENCE: [(Duration, &str); 3] = [
    (Duration::from_secs(100), "CDNs in front of forebay (Cloudflare) answer in its place"),
    (Duration::from_secs(300), "clients on Node (fetch, undici) give up"),
    (Duration::from_secs(600), "the SDKs of OpenAI and Anthropic give up"),
];

/// Codex ends a stream that has been silent for so long.
const CODEX_IDLE: Duration = Duration::from_secs(300);

/// Every variable as it is in force, then each route and how long its clients may wait, then what may not be meant.
pub fn report(settings: &Settings) -> String {
    let mut lines = effective(&settings.effective);
    for (i, route) in settings.routes.iter().enumerate() {
        lines.extend(self::route(route, &settings.effective));
        let twin = settings.routes[..i].iter().find(|other| races(other) && other.policy == route.policy);
        match twin {
            _ if !races(route) => {}
            Some(twin) => lines.push(format!("  waits     as {}", title(twin))),
            None => lines.extend([String::new()].into_iter().chain(waits(&route.policy))),
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
fn route(route: &RouteSettings, all: &[Effective]) -> Vec<String> {
    let mut lines = vec![title(route)];
    let lists = [
        (&route.lanes.stream, Lane::Stream, "STREAM_PATHS"),
        (&route.lanes.redirect, Lane::Redirect, "REDIRECT_PATHS"),
        (&route.lanes.race, Lane::Race, "RACE_PATHS"),
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
    route.lanes.otherwise == Lane::Race || !route.lanes.race.is_empty()
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

fn waits(policy: &Policy) -> Vec<String> {
    let mut lines = vec!["How long a client can wait for the head of an answer".to_owned()];
    let Timeouts { pool, connect, write } = policy.timeouts;
    lines.push(format!(
        "  At most {}. Each may wait {} for a free connection, {} for it to be made, {} while sending",
        attempts(policy.max_attempts),
        seconds(pool),
        seconds(connect),
        seconds(write),
    ));
    lines.push("  makes no progress, and then for the header deadline.".to_owned());
    let before = pool.saturating_add(connect).saturating_add(write);
    if policy.header_deadline == policy.whole_answer_deadline {
        lines.extend(wait("All requests", policy.header_deadline, before, policy));
    } else {
        lines.extend(wait("Streams, and requests that generate nothing", policy.header_deadline, before, policy));
        lines.extend(wait("Generations that do not stream", policy.whole_answer_deadline, before, policy));
    }
    lines
}

/// The arithmetic for one deadline.
fn wait(what: &str, deadline: Duration, before: Duration, policy: &Policy) -> Vec<String> {
    let n = policy.max_attempts;
    let (pauses, stalled) = (pauses(policy), stalled(policy, deadline));
    // Jitter makes a pause up to a fifth longer.
    let long_pauses = pauses.saturating_add(pauses / 5);
    let worst = before.saturating_add(deadline).saturating_mul(n).saturating_add(long_pauses);
    let backoff = |pause: Duration| match pause {
        Duration::ZERO => String::new(),
        pause => format!(" + {} backoff", seconds(pause)),
    };
    let mut lines = vec![
        format!("  {what}:"),
        format!("    the upstream stalls:      {n} x {}{} = {}", seconds(deadline), backoff(pauses), seconds(stalled)),
        format!(
            "    every clock runs out:     {n} x ({} + {}){} = {}",
            seconds(before),
            seconds(deadline),
            backoff(long_pauses),
            seconds(worst)
        ),
    ];
    if let Some(after) = policy.hedge_after.filter(|_| n > 1) {
        let starts = after.saturating_mul(n - 1);
        lines.push(format!(
            "    with every hedge started: {} x {} + {} = {}",
            n - 1,
            seconds(after),
            seconds(deadline),
            seconds(starts.saturating_add(deadline))
        ));
    }
    for (patience, who) in PATIENCE {
        let when = if stalled > patience {
            "when the upstream stalls"
        } else if worst > patience {
            "at worst"
        } else {
            continue;
        };
        lines.push(format!("    warning: above {} {when}, where {who}", seconds(patience)));
    }
    lines
}

/// How long a client waits for the head of an answer from an upstream that takes every request and says nothing: each
/// attempt misses this deadline. Without jitter.
pub fn stalled(policy: &Policy, deadline: Duration) -> Duration {
    deadline.saturating_mul(policy.max_attempts).saturating_add(pauses(policy))
}

/// All pauses of a race together, without jitter: each twice the one before, up to the maximum.
fn pauses(policy: &Policy) -> Duration {
    let Backoff { first, max } = policy.backoff;
    let each = std::iter::successors(Some(first), |pause| Some(pause.saturating_mul(2).min(max)));
    let further = usize::try_from(policy.max_attempts.saturating_sub(1)).unwrap_or(usize::MAX);
    each.take(further).fold(Duration::ZERO, Duration::saturating_add)
}

fn attempts(n: u32) -> String {
    if n == 1 { "1 attempt".to_owned() } else { format!("{n} attempts") }
}

/// For sums: everything from a second on in seconds.
fn seconds(duration: Duration) -> String {
    if duration < Duration::from_secs(1) { Human(duration).to_string() } else { format!("{}s", duration.as_secs_f64()) }
}

#[cfg(test)]
mod tests {
    use super::super::settings::tests::settings;
    use super::*;

    const URL: (&str, &str) = ("UPSTREAM_BASE_URL", "https://api.example");

    fn words(vars: &[(&str, &str)]) -> String {
        policy_in_words(&settings(&[&[URL], vars].concat()).unwrap().routes[0].policy)
    }

    fn text(vars: &[(&str, &str)]) -> String {
        report(&settings(&[&[URL], vars].concat()).unwrap())
    }

    fn assert_contains(text: &str, part: &str) {
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
    fn the_arithmetic_is_spelled_out_for_both_deadlines() {
        let text = text(&[]);
        assert_contains(&text, "2 x 30s + 250ms backoff = 60.25s");
        assert_contains(&text, "2 x (50s + 30s) + 300ms backoff = 160.3s");
        assert_contains(&text, "2 x 290s + 250ms backoff = 580.25s");
        assert_contains(&text, "2 x (50s + 290s) + 300ms backoff = 680.3s");
        assert_contains(&text, "above 100s at worst");
        assert_contains(&text, "above 300s when the upstream stalls");
        assert_contains(&text, "above 600s at worst");
    }

    #[test]
    fn one_deadline_is_worked_out_once_and_short_waits_need_no_warning() {
        let text = text(&[
            ("RESPONSE_HEADER_TIMEOUT_SECONDS", "5"),
            ("UPSTREAM_MAX_ATTEMPTS", "4"),
            ("RETRY_BACKOFF_SECONDS", "1"),
            ("RETRY_BACKOFF_MAX_SECONDS", "3"),
            ("WRITE_TIMEOUT_SECONDS", "1"),
            ("POOL_TIMEOUT_SECONDS", "1"),
            ("CONNECT_TIMEOUT_SECONDS", "1"),
        ]);
        assert_contains(&text, "All requests:");
        // Pauses of 1, 2 and 3 seconds, a fifth longer at worst.
        assert_contains(&text, "4 x 5s + 6s backoff = 26s");
        assert_contains(&text, "4 x (3s + 5s) + 7.2s backoff = 39.2s");
        assert!(!text.contains("warning"), "{text}");
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

    #[test]
    fn the_longest_times_do_not_overflow() {
        let year = "8760h";
        text(&[
            ("RESPONSE_HEADER_TIMEOUT_SECONDS", year),
            ("WRITE_TIMEOUT_SECONDS", year),
            ("POOL_TIMEOUT_SECONDS", year),
            ("CONNECT_TIMEOUT_SECONDS", year),
            ("RETRY_BACKOFF_SECONDS", year),
            ("UPSTREAM_MAX_ATTEMPTS", "100"),
        ]);
    }
}
