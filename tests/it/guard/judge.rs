//! What becomes of a message that can be read in two ways, and of the exchanges beside it.

use std::time::Duration;

use crate::client::{Cut, Response};
use crate::expect::{assert_error, is_own};
use crate::forebay::{Forebay, Settings};
use crate::upstream::{AnyUpstream, PATIENCE, Seen};

/// What must become of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// One 400 in the shape of section 5, nothing upstream, and the connection closes.
    Bad,
    /// As `Bad`, but another 4xx says it as well.
    Refused,
    /// Refused, or passed on in a form that has one reading.
    Clean,
}
use Verdict::{Bad, Clean, Refused};

/// A message and its verdict.
pub type Case = (Verdict, Vec<u8>);

/// With short clocks for clients.
pub fn settings(settings: Settings) -> Settings {
    // A message whose end never comes is cut soon; a connection that is kept stays open for longer than a test waits.
    settings
        .set("RESPONSE_HEADER_TIMEOUT_SECONDS", 20)
        .set("UPSTREAM_MAX_ATTEMPTS", 1)
        .set("CLIENT_HEADER_TIMEOUT_SECONDS", "0.7")
        .set("CLIENT_BODY_TIMEOUT_SECONDS", "0.7")
        .set("CLIENT_IDLE_SECONDS", 60)
        .set("MAX_REQUEST_BODY_BYTES", "1MiB")
}

/// One forebay for all cases: a connection that one of them poisons shows in the next.
pub fn judge(cases: Vec<Case>, upstream: &AnyUpstream) {
    upstream.answer_with_target("up");
    let forebay = settings(upstream.settings()).start();
    for (number, (verdict, message)) in cases.into_iter().enumerate() {
        let shown = String::from_utf8_lossy(&message[..message.len().min(300)]).escape_debug().to_string();
        println!("{verdict:?}: {shown}");
        upstream.forget();
        let (answers, closed) = exchange(&forebay, &message, verdict);
        let seen = upstream.seen();
        assert_verdict(verdict, &answers, closed, &seen);
        assert!(seen.iter().all(|s| s.path() != "/smuggled"), "smuggled: {seen:#?}");
        assert!(seen.iter().all(|s| s.problems.is_empty()), "two readings reached the upstream: {seen:#?}");
        assert!(seen.iter().all(|s| s.all(upstream.host_field()) == [upstream.authority().as_bytes()]), "{seen:#?}");
        let canary = format!("/canary{number}");
        let next = forebay.get(&canary);
        assert_eq!((next.status, next.get("x-target")), (200, Some(canary)), "another exchange was disturbed");
    }
}

/// All answers to a message, and whether the connection was closed after them.
fn exchange(forebay: &Forebay, message: &[u8], verdict: Verdict) -> (Vec<Response>, bool) {
    let mut client = forebay.connect();
    client.send(message);
    let mut answers = Vec::new();
    loop {
        // After an answer that keeps the connection open, nothing more is expected to come.
        let kept = verdict == Clean && answers.last().is_some_and(|a: &Response| a.status == 200);
        let patience = if kept { Duration::from_millis(100) } else { PATIENCE };
        let response = client.read_within("POST", patience);
        if response.status == 0 {
            return (answers, response.cut != Some(Cut::Timeout));
        }
        answers.push(response);
    }
}

#[track_caller]
fn assert_verdict(verdict: Verdict, answers: &[Response], closed: bool, seen: &[Seen]) {
    if verdict == Clean && answers.iter().any(|a| a.status == 200) {
        assert_eq!(seen.len(), answers.iter().filter(|a| a.status == 200).count(), "{answers:?} for {seen:#?}");
        return;
    }
    assert!(seen.is_empty(), "what is refused does not reach the upstream: {seen:#?}");
    let [refusal] = answers else { panic!("one answer was expected: {answers:?}") };
    assert!(closed, "the connection closes after {refusal:?}");
    match verdict {
        Bad => assert_error(refusal, 400, "bad_request"),
        Refused | Clean => {
            assert!(matches!(refusal.status, 400 | 408 | 413 | 417 | 431), "{refusal:?}");
            assert!(is_own(refusal), "{refusal:?}");
        }
    }
}
