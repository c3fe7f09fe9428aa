//! How attempts are raced (contract 3.3).

use super::{MAX_CONNECTIONS, ordered};
use crate::config::checks;
use crate::config::declare as var;
use crate::config::parse;
use crate::config::resolve::{Resolver, Taken};
use crate::race::{Backoff, BudgetSettings, Policy, Retry};
use crate::upstream::Timeouts;

pub(super) fn policy(r: &mut Resolver) -> Taken<Policy> {
    let header_deadline = r.duration(var::RESPONSE_HEADER_TIMEOUT_SECONDS);
    let follows = r.is_set(var::RESPONSE_HEADER_TIMEOUT_SECONDS);
    let whole_answer_deadline = match header_deadline {
        Ok(deadline) if follows && !r.is_set(var::NONSTREAM_RESPONSE_HEADER_TIMEOUT_SECONDS) => {
            let (variable, followed) =
                (var::NONSTREAM_RESPONSE_HEADER_TIMEOUT_SECONDS, var::RESPONSE_HEADER_TIMEOUT_SECONDS);
            Ok(r.follow(variable, followed, deadline))
        }
        _ => r.duration(var::NONSTREAM_RESPONSE_HEADER_TIMEOUT_SECONDS),
    };
    let max_attempts = r.count(var::UPSTREAM_MAX_ATTEMPTS, 1..=100);
    let backoff = backoff(r);
    let choices = [("all", Retry::All), ("safe", Retry::Safe)];
    let retry = r.take(var::RETRY, |text| parse::choice(text, &choices));
    let retry_statuses = r.optional(var::RETRY_STATUSES, parse::statuses);
    let hedge_after = r.optional_duration(var::HEDGE_AFTER_SECONDS);
    checks::hedge_starts(r, hedge_after, header_deadline, whole_answer_deadline);
    let timeouts = timeouts(r);
    let policy = Policy {
        header_deadline: header_deadline?,
        whole_answer_deadline: whole_answer_deadline?,
        max_attempts: max_attempts?,
        backoff: backoff?,
        retry: retry?,
        retry_statuses: retry_statuses?.unwrap_or_default(),
        hedge_after: hedge_after?,
        timeouts: timeouts?,
    };
    checks::attempts_are_plausible(r, &policy);
    Ok(policy)
}

fn timeouts(r: &mut Resolver) -> Taken<Timeouts> {
    let connect = r.duration(var::CONNECT_TIMEOUT_SECONDS);
    let write = r.duration(var::WRITE_TIMEOUT_SECONDS);
    let pool = r.duration(var::POOL_TIMEOUT_SECONDS);
    Ok(Timeouts { pool: pool?, connect: connect?, write: write? })
}

fn backoff(r: &mut Resolver) -> Taken<Backoff> {
    let read_first = |r: &mut Resolver, variable| r.duration_or_zero(variable, "none");
    let (first, max) = ordered::times(r, (var::RETRY_BACKOFF_SECONDS, read_first), var::RETRY_BACKOFF_MAX_SECONDS)?;
    Ok(Backoff { first, max })
}

pub(super) fn budget(r: &mut Resolver) -> Taken<BudgetSettings> {
    let percent = r.count(var::RETRY_BUDGET_PERCENT, 0..=10_000);
    let min = r.count(var::RETRY_BUDGET_MIN, 0..=MAX_CONNECTIONS);
    Ok(BudgetSettings { percent: percent?, min: min? })
}
