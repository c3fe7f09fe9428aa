//! How long a client can wait for the head of an answer, spelled out.

use std::time::Duration;

use super::{attempts, seconds};
use crate::race::{Backoff, Policy};
use crate::upstream::Timeouts;

/// Where somebody between us and the user stops waiting for headers.
const PATIENCE: [(Duration, &str); 3] = [
    (Duration::from_secs(100), "CDNs in front of forebay (Cloudflare) answer in its place"),
    (Duration::from_secs(300), "clients on Node (fetch, undici) give up"),
    (Duration::from_secs(600), "the SDKs of OpenAI and Anthropic give up"),
];

/// The sums for one policy, each with where somebody does not wait for so long.
pub(super) fn waits(policy: &Policy) -> Vec<String> {
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

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_contains, text};

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
