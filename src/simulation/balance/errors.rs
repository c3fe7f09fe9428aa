//! Forebay's own answers.

use std::time::Duration;

use serde_json::Value;

use super::Verdict;
use super::books::{Books, Dossier};
use crate::race::Retry;
use crate::simulation::client::Kind;
use crate::simulation::journal::End;

fn status(code: &str, kind: Kind) -> u16 {
    match (code, kind) {
        ("payload_too_large" | "upstream_header_timeout" | "upstream_timeout", Kind::Codex) | ("bad_request", _) => 400,
        ("client_timeout", _) => 408,
        ("payload_too_large", _) => 413,
        ("overloaded" | "shutting_down", _) => 503,
        ("upstream_request_error", _) => 502,
        ("upstream_header_timeout" | "upstream_timeout", _) => 504,
        _ => 0,
    }
}

pub(super) fn has_its_shape(_: &Books<'_>, dossier: &Dossier<'_>) -> Verdict {
    let Some((head, code)) = dossier.error() else { return Ok(()) };
    // A head that was never understood has no dialect.
    let plain = status(code, Kind::Plain);
    if head.status() != plain && head.status() != status(code, dossier.plan.kind) {
        return Err(format!("{} for {code:?}", head.status()));
    }
    if head.field("x-forebay-source") != Some("forebay") || head.field("content-type") != Some("application/json") {
        return Err(format!("its fields: {:?}", head.fields));
    }
    let Some((_, End::Complete, body)) = dossier.reply.as_ref().and_then(|reply| reply.end) else { return Ok(()) };
    if dossier.plan.method == "HEAD" {
        return Ok(());
    }
    let body: Value = serde_json::from_slice(&body.0).map_err(|error| error.to_string())?;
    let error = &body["error"];
    let kind = match plain {
        502 | 504 => "upstream_error",
        503 => "overloaded_error",
        _ => "invalid_request_error",
    };
    let has_message = error["message"].as_str().is_some_and(|text| !text.is_empty() && !text.contains("upstream.test"));
    if error["code"] == code && error["type"] == kind && has_message { Ok(()) } else { Err(body.to_string()) }
}

pub(super) fn has_its_reason(books: &Books<'_>, dossier: &Dossier<'_>) -> Verdict {
    let Some((head, code)) = dossier.error() else { return Ok(()) };
    let (setting, plan, slack) = (books.setting, dossier.plan, books.setting.slack());
    let Some(written) = dossier.reply.as_ref().map(|reply| reply.written) else { return Ok(()) };
    let (edge, length) = (&setting.edge, plan.body.bytes().len());
    let has_reason = match code {
        "bad_request" => plan.is_malformed || (dossier.sent.is_none() && books.had_left(dossier, written.at)),
        "client_timeout" => {
            let limit = edge.header_timeout.min(edge.body_timeout);
            let accepted = books.client_of(dossier).map_or(Duration::ZERO, |client| client.accepted.at);
            let begins_late = dossier.sending.is_none_or(|s| s.at + slack >= accepted + edge.header_timeout);
            plan.is_slower_than(limit.saturating_sub(slack)) || (begins_late && books.before(dossier).is_none())
        }
        "payload_too_large" => length as u64 > setting.route.max_request_body.get(),
        "overloaded" => {
            let all: usize = books.dossiers.values().map(|d| d.plan.body.bytes().len()).sum();
            all > setting.quota && head.has("retry-after")
        }
        "shutting_down" => books.was_cut(written.at),
        "upstream_request_error" => {
            // Where the upstream closes without reading, nobody knows what it would have read.
            let closes = books.upstreams.values().any(|u| u.ended.or(u.reset).is_some_and(|end| end.at <= written.at));
            let refuses = books.refused.is_some_and(|refused| refused.at <= written.at);
            let speaks_badly = |number: &usize| !books.answers[number].plan.shape.is_good();
            closes || refuses || dossier.tries.iter().any(|this| this.answers.iter().any(speaks_badly))
        }
        // An upstream that stalls behind an answer never reads the next request.
        "upstream_header_timeout" => {
            dossier.tries.iter().any(|this| this.end.is_some()) || setting.upstream_faults > 0.0
        }
        "upstream_timeout" => {
            setting.upstream_faults > 0.0 || setting.route.transport.max_connections < setting.clients
        }
        _ => false,
    };
    if !has_reason {
        return Err(format!("{code:?} without a reason"));
    }
    agrees_with_the_timeline(dossier, code)
}

/// The failure that was latest decides.
fn agrees_with_the_timeline(dossier: &Dossier<'_>, code: &str) -> Verdict {
    let Some(timeline) = dossier.reply.as_ref().and_then(|reply| reply.head.field("x-forebay-timeline")) else {
        return Ok(());
    };
    let label = timeline.rsplit(',').next().and_then(|last| last.split(['=', '@']).nth(1)).unwrap_or_default();
    let expected = match label {
        "timeout" => "upstream_header_timeout",
        "pool_timeout" | "connect_timeout" | "write_timeout" => "upstream_timeout",
        "refused" | "closed" | "reset" | "malformed" => "upstream_request_error",
        // It was cut before it could end.
        "cancelled" => "shutting_down",
        _ => "?",
    };
    let is_told = code == expected || code == "shutting_down";
    if is_told { Ok(()) } else { Err(format!("{code:?} after {timeline:?}")) }
}

/// Attempts are given up for three reasons only, and the message names them.
pub(super) fn is_not_given_up_early(books: &Books<'_>, dossier: &Dossier<'_>) -> Verdict {
    let Some((head, code)) = dossier.error().filter(|(_, code)| code.starts_with("upstream_")) else { return Ok(()) };
    let policy = &books.setting.route.policy;
    if head.number("x-forebay-attempts") == Some(policy.max_attempts) {
        return Ok(());
    }
    let Some((_, End::Complete, body)) = dossier.reply.as_ref().and_then(|reply| reply.end) else { return Ok(()) };
    let message = String::from_utf8_lossy(&body.0);
    let budget = books.setting.route.budget;
    let may_be_unsafe = policy.retry == Retry::Safe && !dossier.plan.is_safe();
    let may_be_short = budget.percent < 100 && budget.min < books.setting.clients;
    let is_unsafe = may_be_unsafe && message.contains("RETRY=safe");
    let is_short = may_be_short && message.contains("retry budget");
    if is_unsafe || is_short || dossier.plan.method == "HEAD" {
        return Ok(());
    }
    Err(format!("{code} after {:?} attempts: {message}", head.field("x-forebay-attempts")))
}
