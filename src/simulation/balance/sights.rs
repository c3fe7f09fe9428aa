//! What worlds show. A simulation that never sees a thing says nothing about it, so all of it must have been seen.

use super::answers::split_last_event;
use super::books::{Books, Dossier, Reply};
use crate::simulation::client::{How, When};
use crate::simulation::journal::End;

type Sight = fn(&Books<'_>, &Dossier<'_>) -> bool;

const SIGHTS: &[(&str, Sight)] = &[
    ("an answer at the first attempt", |_, d| is_relayed(d) && attempts(d) == 1),
    ("an answer at a further attempt", |_, d| is_relayed(d) && attempts(d) > 1),
    ("a fourth attempt", |_, d| attempts(d) == 4),
    ("a free replacement", |_, d| d.reply.is_some() && d.tries.len() > attempts(d)),
    ("a connection that serves again", |_, d| d.tries.iter().any(|this| this.was_kept)),
    ("an answer during the upload", during_the_upload),
    ("an upload that is stopped by its answer", |books, d| {
        during_the_upload(books, d) && d.plan.body.bytes().len() > 700_000
    }),
    ("a large upload", |_, d| is_relayed(d) && d.plan.body.bytes().len() > 100_000),
    ("an answer that was cut", |_, d| {
        is_relayed(d) && ended(d).is_some_and(|(end, _)| matches!(end, End::Eof | End::Reset))
    }),
    ("a last event", |_, d| is_relayed(d) && ended(d).is_some_and(|(_, body)| split_last_event(d, body).1)),
    ("an answer to what the upstream said unasked", |books, d| {
        let number = d.reply.as_ref().and_then(Reply::number);
        number.is_some_and(|number| books.answers[&number].plan.id.is_none())
    }),
    ("100 Continue", |_, d| d.interim > 0),
    ("HTTP/1.0", |_, d| d.plan.is_old && is_relayed(d)),
    ("a pipelined request that waits", |books, d| {
        let before = books.before(d).and_then(|before| before.reply.as_ref());
        before.is_some_and(|before| d.sent.is_some_and(|sent| sent < before.written)) && d.reply.is_some()
    }),
    ("a client that leaves while it sends", |_, d| leaves(d, |when| matches!(when, When::Sending(_)))),
    ("a client that leaves while it waits", |_, d| {
        leaves(d, |when| matches!(when, When::Waiting(_))) && d.reply.is_none() && !d.tries.is_empty()
    }),
    ("a client that leaves while it reads", |_, d| ended(d).is_some_and(|(end, _)| *end == End::Abandoned)),
    ("a client that half-closes", |_, d| d.plan.leaves.is_some_and(|(_, how)| how == How::HalfCloses)),
    ("bad_request", |_, d| is_error(d, "bad_request")),
    ("client_timeout", |_, d| is_error(d, "client_timeout")),
    ("payload_too_large", |_, d| is_error(d, "payload_too_large")),
    ("overloaded", |_, d| is_error(d, "overloaded")),
    ("shutting_down", |_, d| is_error(d, "shutting_down")),
    ("upstream_request_error", |_, d| is_error(d, "upstream_request_error")),
    ("upstream_header_timeout", |_, d| is_error(d, "upstream_header_timeout")),
    ("upstream_timeout", |_, d| is_error(d, "upstream_timeout")),
    ("an unsafe request that is not repeated", |_, d| message_has(d, "RETRY=safe")),
    ("a retry budget that is used up", |_, d| message_has(d, "retry budget")),
    ("an attempt: refused", |_, d| timeline_has(d, "=refused@")),
    ("an attempt: closed", |_, d| timeline_has(d, "=closed@")),
    ("an attempt: reset", |_, d| timeline_has(d, "=reset@")),
    ("an attempt: malformed", |_, d| timeline_has(d, "=malformed@")),
    ("an attempt: timeout", |_, d| timeline_has(d, "=timeout@")),
    ("an attempt: connect_timeout", |_, d| timeline_has(d, "=connect_timeout@")),
    ("an attempt: pool_timeout", |_, d| timeline_has(d, "=pool_timeout@")),
    ("an attempt: write_timeout", |_, d| timeline_has(d, "=write_timeout@")),
];

/// Everything that worlds can show.
pub(in crate::simulation) fn sights() -> impl Iterator<Item = &'static str> {
    SIGHTS.iter().map(|(name, _)| *name)
}

/// What this request has shown.
pub(super) fn seen<'a>(books: &'a Books<'_>, dossier: &'a Dossier<'_>) -> impl Iterator<Item = &'static str> + 'a {
    SIGHTS.iter().filter(|(_, is_seen)| is_seen(books, dossier)).map(|(name, _)| *name)
}

fn is_relayed(dossier: &Dossier<'_>) -> bool {
    dossier.reply.as_ref().is_some_and(|reply| reply.number().is_some())
}

fn attempts(dossier: &Dossier<'_>) -> usize {
    dossier.reply.as_ref().and_then(|reply| reply.head.number("x-forebay-attempts")).unwrap_or(0)
}

fn ended<'a>(dossier: &Dossier<'a>) -> Option<(&'a End, &'a [u8])> {
    dossier.reply.as_ref()?.end.map(|(_, end, body)| (end, body.0.as_ref()))
}

fn is_error(dossier: &Dossier<'_>, code: &str) -> bool {
    dossier.error().is_some_and(|(_, this)| this == code)
}

fn leaves(dossier: &Dossier<'_>, is: fn(When) -> bool) -> bool {
    dossier.sending.is_some() && dossier.plan.leaves.is_some_and(|(when, _)| is(when))
}

fn message_has(dossier: &Dossier<'_>, words: &str) -> bool {
    dossier.error().is_some() && ended(dossier).is_some_and(|(_, body)| String::from_utf8_lossy(body).contains(words))
}

fn timeline_has(dossier: &Dossier<'_>, label: &str) -> bool {
    let timeline = dossier.reply.as_ref().and_then(|reply| reply.head.field("x-forebay-timeline"));
    timeline.is_some_and(|timeline| timeline.contains(label))
}

fn during_the_upload(books: &Books<'_>, dossier: &Dossier<'_>) -> bool {
    let Some(number) = dossier.reply.as_ref().and_then(Reply::number) else { return false };
    let answered = &books.answers[&number];
    let is_unread = |end: Option<(_, &End, _)>| end.is_none_or(|(_, end, _): (_, &End, &_)| *end != End::Complete);
    dossier.tries.iter().any(|this| this.connection == answered.connection && is_unread(this.end))
}
