//! The deadline as a multiple of p99: `/readyz?verbose`, and the lines of the drain.

use std::time::Duration;

use super::Observed;
use crate::client::{Client, get};
use crate::expect::assert_relayed;
use crate::forebay::Settings;
use crate::upstream::{FakeUpstream, answer, raw, stall};

fn verbose(observed: &Observed) -> (u16, String) {
    let response = Client::connect(observed.admin).ask(&get("/readyz?verbose").host("localhost"));
    assert_eq!(response.get("content-type").as_deref(), Some("text/plain; charset=utf-8"));
    (response.status, response.text())
}

#[test]
fn the_deadline_is_put_as_a_multiple_of_p99_at_readiness_and_at_the_end() {
    let upstream = FakeUpstream::start();
    let settings = Settings::in_front_of(&upstream)
        .set("RESPONSE_HEADER_TIMEOUT_SECONDS", 20)
        .set("NONSTREAM_RESPONSE_HEADER_TIMEOUT_SECONDS", 290);
    let mut observed = Observed::start(settings);
    let url = upstream.url();
    let (status, text) = verbose(&observed);
    assert_eq!(status, 200);
    assert_eq!(
        text,
        format!(
            "ready\ndefault {url}: header deadline 20s: no attempt in the last hour\n\
             default {url}: whole-answer deadline 4m50s: no attempt in the last hour\n"
        )
    );
    upstream.script([raw("").then_pause(Duration::from_millis(20)).then_do(answer(200).body("ok"))]);
    for n in 0..20 {
        let words = verbose(&observed).1;
        assert!(n == 0 || words.contains(&format!("header deadline 20s: too few to tell ({n} head")), "{words}");
        assert_relayed(&observed.forebay.get("/"), 200, "ok");
    }
    let words = verbose(&observed).1;
    let line = words.lines().find(|line| line.contains(": header deadline")).unwrap();
    let beginning = format!("default {url}: header deadline 20s: time to headers p50 0.0");
    assert!(line.starts_with(&beginning), "{line}");
    assert!(line.contains("(20 heads, 0 missed the deadline): your deadline is ") && line.contains(" x p99"), "{line}");
    observed.forebay.terminate();
    observed.forebay.wait_for_end();
    let log = observed.forebay.log();
    assert!(log.contains("INFO") && log.contains(line), "the drain says the same, {line}:\n{log}");
    let (draining, stopped) = (log.find("draining:").unwrap(), log.find("stopped").unwrap());
    assert!((draining..stopped).contains(&log.find(line).unwrap()), "{log}");
}

#[test]
fn attempts_that_miss_the_deadline_are_named() {
    let upstream = FakeUpstream::start();
    upstream.script([stall(), stall(), answer(200).body("ok").into()]);
    let settings = Settings::in_front_of(&upstream).set("RESPONSE_HEADER_TIMEOUT_SECONDS", "0.3");
    let observed = Observed::start(settings);
    assert_relayed(&observed.forebay.get("/"), 200, "ok");
    let words = verbose(&observed).1;
    let line =
        format!("default {}: header deadline 300ms: too few to tell (1 head, 2 missed the deadline)", upstream.url());
    assert_eq!(words, format!("ready\n{line}\n"), "one deadline where both are the same");
}
