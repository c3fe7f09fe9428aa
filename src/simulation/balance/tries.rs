//! What the upstream sees.

use std::time::Duration;

use super::Verdict;
use super::books::{Books, Dossier, Reply, Try};
use crate::race::Retry;
use crate::simulation::client::{Body, Kind};
use crate::simulation::journal::End;
use crate::simulation::upstream::{AnswerPlan, Starts};

/// What a pipelining client can have in front of its departure before nobody looks any more.
const HOLD: usize = 16 * 1024;

/// How long anything takes at most that has no clock of its own.
const AT_ONCE: Duration = Duration::from_millis(2);

pub(super) fn are_counted(books: &Books<'_>, dossier: &Dossier<'_>) -> Verdict {
    let (seen, max) = (dossier.tries.len(), books.setting.route.policy.max_attempts as usize);
    let may_be_replaced = dossier.tries.iter().any(|this| {
        // A reset takes along what was said before it.
        let is_lost = books.upstream_of(this).loses(Duration::MAX);
        let is_silent = this.answers.iter().all(|number| books.answers[number].spoke.is_none());
        this.was_kept && (is_lost || is_silent)
    });
    let free = usize::from(may_be_replaced);
    if seen > max + free {
        return Err(format!("{seen} of {max}"));
    }
    let Some(reply) = &dossier.reply else { return Ok(()) };
    let told: usize = reply.head.number("x-forebay-attempts").unwrap_or(usize::MAX);
    if seen > told + free {
        return Err(format!("{seen} were seen, and {told} are told"));
    }
    if reply.number().is_some() && told == 0 {
        return Err("an answer without an attempt".to_owned());
    }
    let Some(timeline) = reply.head.field("x-forebay-timeline") else { return Ok(()) };
    let entries = timeline.split(',').count();
    if entries == told || entries == told + 1 { Ok(()) } else { Err(format!("{told} are told, and {timeline:?}")) }
}

pub(super) fn are_in_time(books: &Books<'_>, dossier: &Dossier<'_>) -> Verdict {
    for this in &dossier.tries {
        if dossier.sent.is_none_or(|sent| sent.order >= this.written.order) {
            return Err("a byte went upstream before all of it had come".to_owned());
        }
        if dossier.reply.as_ref().is_some_and(|reply| reply.written.order < this.written.order) {
            return Err("an attempt began behind the answer".to_owned());
        }
        if books.cut.is_some_and(|cut| cut.at + AT_ONCE < this.written.at) {
            return Err("an attempt began behind the cut".to_owned());
        }
    }
    Ok(())
}

pub(super) fn do_not_overlap(books: &Books<'_>, dossier: &Dossier<'_>) -> Verdict {
    for pair in dossier.tries.windows(2) {
        let [earlier, later] = pair else { continue };
        let dropped = books.upstream_of(earlier).dropped;
        if dropped.is_none_or(|dropped| dropped.at > later.written.at) {
            return Err(format!("connection {} is still open", earlier.connection));
        }
    }
    Ok(())
}

pub(super) fn are_safe(books: &Books<'_>, dossier: &Dossier<'_>) -> Verdict {
    let is_once = books.setting.route.policy.retry == Retry::Safe && !dossier.plan.is_safe();
    let seen = dossier.tries.len();
    if is_once && seen > 1 { Err(format!("the upstream saw it {seen} times")) } else { Ok(()) }
}

/// Head and body are the client's; and what is not whole does not look whole.
pub(super) fn are_true(books: &Books<'_>, dossier: &Dossier<'_>) -> Verdict {
    dossier.tries.iter().try_for_each(|this| is_true(books, dossier, this))
}

fn is_true(books: &Books<'_>, dossier: &Dossier<'_>, this: &Try<'_>) -> Verdict {
    let plan = dossier.plan;
    let line = format!("{} {} HTTP/1.1", plan.method, plan.target());
    let length = (plan.body != Body::None).then(|| plan.body.bytes().len());
    let strangers = ["x-hop", "connection", "x-forebay-attempts", "expect", "transfer-encoding"];
    let is_clean = !strangers.iter().any(|name| this.head.has(name));
    let host = books.setting.route.base.host().to_str().ok();
    let is_head = this.head.line == line && this.head.field("host") == host && is_clean;
    if !is_head || this.head.number("content-length") != length || this.head.has("idempotency-key") != plan.has_key {
        return Err(format!("{:?}", this.head));
    }
    let Some((_, end, body)) = this.end else { return Ok(()) };
    match end {
        End::Complete if body.0 == plan.body.bytes() => Ok(()),
        End::Complete => Err(format!("{} bytes look whole", body.0.len())),
        End::Malformed(what) => Err(format!("its body is malformed: {what}")),
        End::Eof | End::Reset | End::Abandoned if plan.body.bytes().starts_with(&body.0) => Ok(()),
        End::Eof | End::Reset | End::Abandoned => Err("there are bytes that the client did not send".to_owned()),
    }
}

/// More than can be on its way, or in buffers, when an answer to the request's head comes.
const UNSENT: usize = 700_000;

/// What is left of a body when the answer comes is not sent any more.
pub(super) fn stop_sending(books: &Books<'_>, dossier: &Dossier<'_>) -> Verdict {
    let Some(number) = dossier.reply.as_ref().and_then(Reply::number) else { return Ok(()) };
    let is_early = |plan: &AnswerPlan| plan.starts != Starts::AfterTheRequest && plan.comes_at_once();
    let was_early = dossier.tries.iter().find(|t| t.answers.contains(&number) && is_early(books.answers[&number].plan));
    let is_whole = was_early.and_then(|this| this.end).is_some_and(|(_, end, _)| *end == End::Complete);
    if is_whole && dossier.plan.body.bytes().len() > UNSENT { Err("all of it was sent".to_owned()) } else { Ok(()) }
}

/// The first good head ends the race, whatever its status, unless it came with the deadline, or was lost on its way.
pub(super) fn commit(books: &Books<'_>, dossier: &Dossier<'_>) -> Verdict {
    let Some(reply) = &dossier.reply else { return Ok(()) };
    let slack = books.setting.slack();
    for this in &dossier.tries {
        let upstream = books.upstream_of(this);
        for number in this.answers.iter().filter(|number| reply.number() != Some(**number)) {
            let answered = &books.answers[number];
            let (Some(head), Some(dropped)) = (answered.head, upstream.dropped) else { continue };
            let by = head.at + slack;
            let is_lost = upstream.loses(by) || books.speaks_unasked(this.connection);
            let is_late = match this.end {
                Some((written, End::Complete, _)) => by >= written.at + deadline(books, dossier),
                // Before it was written, it has another clock.
                _ => by >= this.written.at + books.setting.route.policy.timeouts.write,
            };
            let is_ours = answered.plan.id == Some(dossier.plan.id) && dropped.at >= head.at;
            if is_ours && !is_lost && !is_late && !books.had_left(dossier, by) && !books.was_cut(by) {
                return Err(format!("answer {number} was there at {:?}", head.at));
            }
        }
    }
    Ok(())
}

fn deadline(books: &Books<'_>, dossier: &Dossier<'_>) -> Duration {
    let policy = &books.setting.route.policy;
    match dossier.plan.kind {
        Kind::Generation | Kind::Codex => policy.whole_answer_deadline,
        Kind::Plain | Kind::Events | Kind::PlainEvents => policy.header_deadline,
    }
}

/// An attempt that was written completely, and to which nothing was said, ends with its deadline and neither earlier nor
/// later.
pub(super) fn have_their_deadline(books: &Books<'_>, dossier: &Dossier<'_>) -> Verdict {
    let deadline = deadline(books, dossier);
    for this in &dossier.tries {
        let upstream = books.upstream_of(this);
        let (Some((written, End::Complete, _)), Some(dropped)) = (this.end, upstream.dropped) else { continue };
        let by = dropped.at + books.setting.slack();
        let ended = upstream.ended.is_some_and(|ended| ended.at <= dropped.at) || upstream.reset.is_some();
        let is_spoken_to = this.answers.iter().any(|number| {
            let answered = &books.answers[number];
            // A head that is bad from its beginning ends the attempt; one that never comes, or not to its end, does not.
            answered.head.is_some_and(|head| head.at <= dropped.at) || answered.plan.is_refused_at_once()
        });
        let took = dropped.at.saturating_sub(written.at);
        if is_spoken_to || ended || books.speaks_unasked(this.connection) {
            continue;
        }
        if took > deadline + AT_ONCE {
            return Err(format!("connection {} was waited for {took:?}", this.connection));
        }
        if took + AT_ONCE < deadline && !books.had_left(dossier, by) && !books.was_cut(by) {
            return Err(format!("connection {} was given up after {took:?}", this.connection));
        }
    }
    Ok(())
}

/// With its client an exchange ends: what is open is closed, and nothing is begun.
pub(super) fn end_with_the_client(books: &Books<'_>, dossier: &Dossier<'_>) -> Verdict {
    let Some(client) = books.client_of(dossier) else { return Ok(()) };
    let Some(left) = client.left else { return Ok(()) };
    let behind: usize = client
        .requests
        .iter()
        .skip_while(|id| **id != dossier.plan.id)
        .skip(1)
        .map(|id| books.dossiers[id].plan.image().len())
        .sum();
    if behind >= HOLD {
        return Ok(());
    }
    let known = left.at + dossier.client.wire.latency + AT_ONCE;
    for this in &dossier.tries {
        if this.written.at > known {
            return Err(format!("an attempt began at {:?}", this.written.at));
        }
        let upstream = books.upstream_of(this);
        let is_over =
            |number: &usize| books.answers[number].written.is_some_and(|(at, _, whole)| whole && at.at <= known);
        let serves_others = upstream.requests.last() != Some(&dossier.plan.id) || this.answers.iter().any(is_over);
        if !serves_others && upstream.dropped.is_some_and(|dropped| dropped.at > known) {
            return Err(format!("connection {} goes on", this.connection));
        }
    }
    Ok(())
}
