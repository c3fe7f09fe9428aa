//! How attempts are raced (contract 3.3).

use super::MAX_CONNECTIONS;
use crate::config::checks;
use crate::config::declare as var;
use crate::config::parse;
use crate::config::resolve::{Refused, Resolver, Taken};
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

/// Both set and the maximum smaller than the first pause: a contradiction. Otherwise what is set moves the default.
fn backoff(r: &mut Resolver) -> Taken<Backoff> {
    let (first_set, max_set) = (r.is_set(var::RETRY_BACKOFF_SECONDS), r.is_set(var::RETRY_BACKOFF_MAX_SECONDS));
    let default_first = parse::duration(var::RETRY_BACKOFF_SECONDS.default);
    let default_max = parse::duration(var::RETRY_BACKOFF_MAX_SECONDS.default);
    match (first_set, max_set) {
        (true, false) => {
            let first = r.duration_or_zero(var::RETRY_BACKOFF_SECONDS, "none");
            let raised = first.ok().filter(|first| default_max.as_ref().is_ok_and(|max| first > max));
            let max = match raised {
                Some(max) => Ok(r.follow(var::RETRY_BACKOFF_MAX_SECONDS, var::RETRY_BACKOFF_SECONDS, max)),
                None => r.duration(var::RETRY_BACKOFF_MAX_SECONDS),
            };
            Ok(Backoff { first: first?, max: max? })
        }
        (false, true) => {
            let max = r.duration(var::RETRY_BACKOFF_MAX_SECONDS);
            let lowered = max.ok().filter(|max| default_first.as_ref().is_ok_and(|first| max < first));
            let first = match lowered {
                Some(first) => Ok(r.follow(var::RETRY_BACKOFF_SECONDS, var::RETRY_BACKOFF_MAX_SECONDS, first)),
                None => r.duration_or_zero(var::RETRY_BACKOFF_SECONDS, "none"),
            };
            Ok(Backoff { first: first?, max: max? })
        }
        _ => {
            let first = r.duration_or_zero(var::RETRY_BACKOFF_SECONDS, "none");
            let max = r.duration(var::RETRY_BACKOFF_MAX_SECONDS);
            let (first, max) = (first?, max?);
            if max < first {
                checks::backoff_agrees(r);
                return Err(Refused);
            }
            Ok(Backoff { first, max })
        }
    }
}

pub(super) fn budget(r: &mut Resolver) -> Taken<BudgetSettings> {
    let percent = r.count(var::RETRY_BUDGET_PERCENT, 0..=10_000);
    let min = r.count(var::RETRY_BUDGET_MIN, 0..=MAX_CONNECTIONS);
    Ok(BudgetSettings { percent: percent?, min: min? })
}
