//! The balance notices: each of these changes to the journal of a good world is found.

use super::complaints;
use crate::simulation::journal::{Blob, End, Event, Stamp};
use crate::simulation::world::{Played, play};

/// Changes a journal; false if there is nothing in it that could be changed so.
type Tamper = fn(&mut Vec<(Stamp, Event)>) -> bool;

/// The first event that can be changed so is.
fn change(journal: &mut [(Stamp, Event)], mut change: impl FnMut(&mut Stamp, &mut Event) -> bool) -> bool {
    journal.iter_mut().any(|(stamp, event)| change(stamp, event))
}

/// The first event like this is lost.
fn lose(journal: &mut Vec<(Stamp, Event)>, is: impl Fn(&Event) -> bool) -> bool {
    let index = journal.iter().position(|(_, event)| is(event));
    index.map(|index| journal.remove(index)).is_some()
}

const TAMPERINGS: &[(&str, Tamper)] = &[
    ("a request that was begun is answered", |journal| {
        change(journal, |_, event| match event {
            Event::Answer { id, connection, head, .. } if head.status() >= 200 && head.has("x-answer") => {
                *event = Event::NoAnswer { id: *id, connection: *connection, end: End::Eof };
                true
            }
            _ => false,
        })
    }),
    ("an answer is the request's own", |journal| {
        change(journal, |_, event| match event {
            Event::Answering { plan, .. } => plan.id.as_mut().map(|id| id.request += 1).is_some(),
            _ => false,
        }) && journal
            .iter()
            .any(|(_, event)| matches!(event, Event::Answer { head, .. } if head.field("x-answer") == Some("0")))
    }),
    ("an answer is the request's own", |journal| {
        change(journal, |_, event| match event {
            Event::Answer { head, .. } if head.has("x-answer") => {
                head.fields.push(("x-hop".to_owned(), "2".to_owned()));
                true
            }
            _ => false,
        })
    }),
    ("an answer's body is the upstream's", |journal| {
        change(journal, |_, event| match event {
            Event::AnswerEnd { end: End::Complete, body, .. } if body.0.len() > 1 && !body.0.starts_with(b"{") => {
                *body = Blob(body.0.slice(1..));
                true
            }
            _ => false,
        })
    }),
    ("no answer is cut without a reason", |journal| {
        change(journal, |_, event| match event {
            Event::AnswerEnd { end, body, .. } if *end == End::Complete && body.0.is_empty() => {
                *end = End::Eof;
                true
            }
            _ => false,
        })
    }),
    ("an error of forebay's own has the shape", |journal| {
        change(journal, |_, event| match event {
            Event::Answer { head, .. } if head.has("x-forebay-error") => {
                head.fields.retain(|(name, _)| name != "x-forebay-source");
                true
            }
            _ => false,
        })
    }),
    ("an error of forebay's own has its reason", |journal| {
        change(journal, |_, event| match event {
            Event::Answer { head, .. } => {
                let code = head.fields.iter_mut().find(|(_, value)| value.starts_with("upstream_"));
                code.map(|(_, value)| "bad_request".clone_into(value)).is_some()
            }
            _ => false,
        })
    }),
    ("no more attempts than allowed", |journal| {
        change(journal, |_, event| match event {
            Event::Answer { head, .. } if head.has("x-answer") => {
                let told = head.fields.iter_mut().find(|(name, _)| name == "x-forebay-attempts");
                told.map(|(_, value)| "0".clone_into(value)).is_some()
            }
            _ => false,
        })
    }),
    ("nothing is sent before the request is complete", |journal| {
        lose(journal, |event| matches!(event, Event::Sent { .. }))
    }),
    ("nothing is sent before the request is complete", |journal| {
        change(journal, |_, event| match event {
            Event::Answer { written, head, .. } if head.has("x-answer") => {
                *written = Stamp::default();
                true
            }
            _ => false,
        })
    }),
    ("the upstream sees the client's request", |journal| {
        change(journal, |_, event| match event {
            Event::RequestEnd { end: End::Complete, body, .. } if !body.0.is_empty() => {
                *body = Blob(body.0.slice(..body.0.len() - 1));
                true
            }
            _ => false,
        })
    }),
    ("the upstream sees the client's request", |journal| {
        change(journal, |_, event| match event {
            Event::Request { head, .. } => {
                head.line = head.line.replace('"', "'");
                true
            }
            _ => false,
        })
    }),
];

/// Tampers with good worlds until one of them has something to tamper with, and expects a complaint.
fn expect_complaint(rule: &str, tamper: Tamper) {
    for seed in 0..200 {
        let mut played: Played = play(seed);
        assert!(complaints(&played).is_empty(), "seed {seed} is no good world");
        if tamper(&mut played.journal) && complaints(&played).iter().any(|complaint| complaint.contains(rule)) {
            return;
        }
    }
    panic!("nobody complained that not {rule:?}");
}

#[test]
fn whoever_tampers_with_a_journal_is_found_out() {
    for (rule, tamper) in TAMPERINGS {
        expect_complaint(rule, *tamper);
    }
}
