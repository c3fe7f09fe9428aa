//! `TIMELINE` (3.8): what became of each attempt, told to the client.

use super::good;
use crate::client::get;
use crate::expect::{assert_error, assert_relayed};
use crate::forebay::Settings;
use crate::upstream::{FakeUpstream, answer, close, stall};

/// Attempt, outcome, seconds.
#[track_caller]
fn entries(timeline: &str) -> Vec<(String, String, f64)> {
    let entry = |text: &str| {
        let (attempt, rest) = text.split_once('=')?;
        let (outcome, seconds) = rest.split_once('@')?;
        Some((attempt.to_owned(), outcome.to_owned(), seconds.parse().ok()?))
    };
    timeline.split(',').map(|text| entry(text).unwrap_or_else(|| panic!("{text:?} of {timeline:?}"))).collect()
}

#[track_caller]
fn outcomes(timeline: &str) -> Vec<String> {
    entries(timeline).into_iter().map(|(attempt, outcome, _)| format!("{attempt}={outcome}")).collect()
}

#[test]
fn the_timeline_tells_what_became_of_each_attempt() {
    let upstream = FakeUpstream::start();
    let forebay = Settings::in_front_of(&upstream).set("TIMELINE", true).start();
    upstream.script([stall(), close(), good("third")]);
    let response = forebay.get("/");
    assert_relayed(&response, 200, "third");
    let timeline = response.get("x-forebay-timeline").unwrap();
    assert_eq!(outcomes(&timeline), ["1=timeout", "2=closed", "3=200"]);
    assert!(entries(&timeline)[0].2 >= 0.5, "the deadline is 0.6 seconds: {timeline}");
    upstream.forget();
    upstream.script([close()]);
    let response = forebay.get("/");
    assert_error(&response, 502, "upstream_request_error");
    assert_eq!(outcomes(&response.get("x-forebay-timeline").unwrap()), ["1=closed", "2=closed", "3=closed"]);
    let refused = forebay.ask(&get("/").field("Expect", "x"));
    assert!(refused.get("x-forebay-timeline").is_none(), "no attempt, no timeline: {refused:?}");
}

#[test]
fn without_the_setting_and_from_others_there_is_none() {
    let upstream = FakeUpstream::start();
    let forged = || answer(200).field("X-Forebay-Timeline", "1=200@0.0").body("ok");
    upstream.script([forged().into()]);
    let forebay = Settings::in_front_of(&upstream).start();
    let response = forebay.ask(&get("/").field("X-Forebay-Timeline", "1=200@9.9"));
    assert_relayed(&response, 200, "ok");
    assert!(response.get("x-forebay-timeline").is_none() && upstream.seen()[0].get("x-forebay-timeline").is_none());
    let told = Settings::in_front_of(&upstream).set("TIMELINE", true).start().get("/");
    assert_eq!(told.all("x-forebay-timeline").len(), 1, "only our own: {told:?}");
}
