//! What clients get.

use std::time::Duration;

use super::Verdict;
use super::books::{Answered, Books, Dossier, Reply};
use crate::simulation::client::{Body, Kind};
use crate::simulation::journal::End;
use crate::simulation::upstream::{After, Framed, Starts};

/// How long forebay waits for a client to take its last words.
const FAREWELL: Duration = Duration::from_secs(2);

/// Every request that was begun has one answer, unless its client left, or its connection had to end before.
pub(super) fn is_answered(books: &Books<'_>, dossier: &Dossier<'_>) -> Verdict {
    let (Some(sending), Some((ended, end))) = (dossier.sending, dossier.no_answer) else { return Ok(()) };
    if let End::Malformed(what) = end {
        return Err(format!("what came is no answer: {what}"));
    }
    let Some(client) = books.client_of(dossier) else { return Ok(()) };
    let edge = &books.setting.edge;
    let arrives = sending.at + dossier.client.wire.latency;
    let idle_since = match books.before(dossier) {
        None => client.accepted.at,
        Some(before) => match &before.reply {
            // The connection had to end with that one.
            None => return Ok(()),
            Some(reply) if reply.head.closes() || before.plan.closes || before.plan.is_old => return Ok(()),
            Some(reply) if !reply.end.is_some_and(|(_, end, _)| *end == End::Complete) => return Ok(()),
            Some(reply) => reply.last.at,
        },
    };
    let was_idle = books.before(dossier).is_some() && arrives + books.setting.slack() >= idle_since + edge.idle;
    let was_late = books.draining.is_some_and(|draining| draining.at <= arrives + books.setting.slack());
    // The farewell has a clock of its own, and whoever reads slowly may miss it.
    let reads_slowly = !dossier.client.reads_at_once() || !client.longest_stop.is_zero();
    // What is no whole request yet is no exchange that would have to be told.
    let was_no_exchange = dossier.sent.is_none() && books.was_cut(ended.at);
    let cannot_hear = reads_slowly && (books.was_cut(ended.at) || *end == End::Reset);
    if client.left.is_some() || was_idle || was_late || was_no_exchange || cannot_hear {
        return Ok(());
    }
    Err(format!("nothing came but {end:?}"))
}

/// An answer of the upstream's was made for this request, on a connection that carried it, and is stripped of what ends
/// at the proxy.
pub(super) fn is_its_own(books: &Books<'_>, dossier: &Dossier<'_>) -> Verdict {
    let Some(reply) = &dossier.reply else { return Ok(()) };
    if reply.head.number::<u32>("x-forebay-attempts").is_none_or(|n| n > books.setting.route.policy.max_attempts) {
        return Err("it does not tell the attempts".to_owned());
    }
    if dossier.interim > usize::from(dossier.plan.expects && dossier.plan.body != Body::None) {
        return Err("there are interim answers that it did not expect".to_owned());
    }
    let Some(number) = reply.number() else { return Ok(()) };
    let answered = &books.answers[&number];
    let Some(id) = answered.plan.id else { return is_unasked_in_time(books, dossier, reply, number) };
    if id != dossier.plan.id {
        return Err(format!("it is the answer to {id}"));
    }
    if !dossier.tries.iter().any(|this| this.connection == answered.connection) {
        return Err("it comes from a connection that never carried the request".to_owned());
    }
    if !answered.plan.shape.is_good() || reply.head.status() != answered.plan.status {
        return Err(format!("its head is not what the upstream said: {:?}", answered.plan));
    }
    let two: Vec<_> = reply.head.fields.iter().filter(|(name, _)| name == "x-two").map(|(_, v)| v.as_str()).collect();
    let strangers = ["x-hop", "keep-alive", "x-forebay-source", "x-forebay-error", "date", "server", "via", "link"];
    if two != ["a", "b"] || strangers.iter().any(|name| reply.head.has(name)) {
        return Err(format!("its fields are not what they should be: {:?}", reply.head.fields));
    }
    Ok(())
}

/// What the upstream said unasked can be taken for an answer, but only where the two crossed.
fn is_unasked_in_time(books: &Books<'_>, dossier: &Dossier<'_>, reply: &Reply<'_>, number: usize) -> Verdict {
    let answered = &books.answers[&number];
    let spoke = answered.head.unwrap_or(answered.began);
    let this = dossier.tries.iter().find(|this| this.connection == answered.connection);
    // Where the upstream closed without reading, it does not know of the request.
    let asked = this.map_or(reply.written, |this| this.written);
    let crossed = asked.at <= spoke.at + books.setting.slack();
    if crossed { Ok(()) } else { Err("what came unasked was taken for its answer".to_owned()) }
}

/// What the client has as the body is what the upstream sent, to the byte; and what is not whole does not look whole.
pub(super) fn has_its_body(books: &Books<'_>, dossier: &Dossier<'_>) -> Verdict {
    let Some(reply) = &dossier.reply else { return Ok(()) };
    let Some((_, end, body)) = reply.end else { return Ok(()) };
    if let End::Malformed(what) = end {
        return Err(format!("it is malformed: {what}"));
    }
    let Some(number) = reply.number() else { return Ok(()) };
    let answered = &books.answers[&number];
    let plan = answered.plan;
    let has_body = dossier.plan.method != "HEAD" && !matches!(plan.status, 204 | 304);
    let whole: &[u8] = if has_body { &plan.body.0 } else { &[] };
    // Where the end of the connection is the end of the body, what came is all there is.
    let sent = answered.written.map_or(0, |(_, sent, _)| sent);
    let ends_anywhere = plan.framing == Framed::Close && !matches!(plan.after, After::ResetAt(_));
    let looks_whole_anywhere = dossier.plan.is_old;
    let is_whole = body.0 == whole || (ends_anywhere && has_body && body.0 == plan.body.0[..sent]);
    if *end == End::Complete && is_whole {
        return Ok(());
    }
    let (came, last_event) = split_last_event(dossier, &body.0);
    if !whole.starts_with(came) {
        return Err(format!("{} bytes that the upstream did not send", body.0.len()));
    }
    if *end != End::Complete || looks_whole_anywhere {
        return Ok(());
    }
    if !last_event {
        return Err(format!("{} of {} bytes look whole", body.0.len(), whole.len()));
    }
    if !came.is_empty() && !came.ends_with(b"\n\n") {
        return Err("the last event stands inside another one".to_owned());
    }
    Ok(())
}

/// The upstream's part of a body, and whether forebay's last event stands behind it.
pub(super) fn split_last_event<'b>(dossier: &Dossier<'_>, body: &'b [u8]) -> (&'b [u8], bool) {
    let begins: &[u8] = match dossier.plan.kind {
        Kind::Events => b"data: {\"error\":{\"",
        Kind::Codex => b"event: response.failed\n",
        Kind::Plain | Kind::PlainEvents | Kind::Generation => return (body, false),
    };
    match body.windows(begins.len()).rposition(|window| window == begins) {
        Some(at) if at == 0 || body[..at].ends_with(b"\n") => (&body[..at], body.ends_with(b"\n\n")),
        _ => (body, false),
    }
}

/// An answer that ends too early has a reason: the upstream, the cut of the process, or a client that did not read.
pub(super) fn is_not_cut_in_vain(books: &Books<'_>, dossier: &Dossier<'_>) -> Verdict {
    let Some(reply) = &dossier.reply else { return Ok(()) };
    let Some((ended, end, body)) = reply.end else { return Ok(()) };
    let is_cut = matches!(end, End::Eof | End::Reset) || split_last_event(dossier, &body.0).1;
    if !is_cut || books.had_left(dossier, ended.at) || books.was_cut(ended.at) {
        return Ok(());
    }
    let (setting, slack) = (books.setting, books.setting.slack());
    let stopped = books.client_of(dossier).map_or(Duration::ZERO, |client| client.longest_stop);
    if stopped + slack >= setting.edge.write_timeout {
        return Ok(());
    }
    let Some(answered) = reply.number().and_then(|number| books.answers.get(&number)) else {
        if !dossier.client.reads_at_once() || stopped + slack >= FAREWELL {
            return Ok(());
        }
        return Err(format!("forebay's own answer ends with {end:?}"));
    };
    let upstream = &books.upstreams[&answered.connection];
    let stopped_sending = stops_at(answered);
    let is_stalled = setting.stream_idle().zip(stopped_sending).is_some_and(|(idle, at)| at + idle <= ended.at + slack);
    if upstream.had_ended(ended.at) || is_stalled {
        return Ok(());
    }
    Err(format!("{end:?} after {} bytes", body.0.len()))
}

/// When the upstream stops to say anything in the middle of an answer, if it does.
fn stops_at(answered: &Answered<'_>) -> Option<Duration> {
    let head = answered.head?.at;
    if answered.plan.stall.is_some() {
        // The exact moment is not known; it is behind the head.
        return Some(head);
    }
    let (written, _, is_whole) = answered.written?;
    // A body that ends with the connection has no end where the connection stays: because the upstream stalls, or because
    // it waits for the rest of a request that nobody sends any more.
    let stalls = matches!(answered.plan.after, After::StallsAt(_));
    let is_kept_open = stalls || answered.plan.starts == Starts::AfterTheHead;
    let is_endless = answered.plan.framing == Framed::Close && is_kept_open;
    ((stalls && !is_whole) || is_endless).then_some(written.at)
}

/// An upstream that stops in the middle of an answer is not waited for longer than its clock says.
pub(super) fn is_cut_when_it_stalls(books: &Books<'_>, dossier: &Dossier<'_>) -> Verdict {
    let Some(reply) = &dossier.reply else { return Ok(()) };
    let Some(answered) = reply.number().and_then(|number| books.answers.get(&number)) else { return Ok(()) };
    let (Some(idle), Some((stopped, ..))) = (books.setting.stream_idle(), answered.written) else { return Ok(()) };
    let is_attentive =
        dossier.client.reads_at_once() && books.client_of(dossier).is_none_or(|c| c.longest_stop.is_zero());
    if !matches!(answered.plan.after, After::StallsAt(_)) || stops_at(answered).is_none() || !is_attentive {
        return Ok(());
    }
    let by = stopped.at + idle + books.setting.slack();
    let has_ended = reply.end.is_some_and(|(ended, ..)| ended.at <= by);
    if has_ended || books.had_left(dossier, by) { Ok(()) } else { Err(format!("it stalled at {:?}", stopped.at)) }
}

/// A client that reads nothing of what waits for it is not waited for longer than its clock says.
pub(super) fn is_given_up(books: &Books<'_>, dossier: &Dossier<'_>) -> Verdict {
    let (Some(client), Some((stop, pause, read))) = (books.client_of(dossier), dossier.stop) else { return Ok(()) };
    let Some(answered) = dossier.reply.as_ref().and_then(Reply::number).and_then(|number| books.answers.get(&number))
    else {
        return Ok(());
    };
    let waits = answered.written.is_some_and(|(at, sent, is_whole)| {
        is_whole && at.at + books.setting.slack() < stop.at && sent > read + dossier.client.wire.room
    });
    // The connection is closed in order, as far as that is possible.
    let by = stop.at + books.setting.edge.write_timeout + 2 * FAREWELL + books.setting.slack();
    if !waits || by >= stop.at + pause || client.dropped.is_some_and(|at| at.at <= by) {
        return Ok(());
    }
    Err(format!("it stopped at {:?}, and is waited for until {:?}", stop.at, client.dropped))
}
