//! Names, units and labels as Prometheus' own guide has them (<https://prometheus.io/docs/practices/naming/>).

use std::collections::BTreeSet;

use super::page::{Family, Page};
use super::{FakeUpstream, Observed, Settings};
use crate::client::{get, post};
use crate::expect::{assert_error, assert_relayed};
use crate::upstream::{answer, close, stall};

/// What a metric may be labelled with: nothing that a client chooses.
const LABELS: [&str; 5] = ["route", "upstream", "outcome", "version", "le"];
/// Words for units that are no base units.
const OTHER_UNITS: [&str; 8] = ["ms", "milliseconds", "microseconds", "minutes", "hours", "kb", "kilobytes", "percent"];

#[test]
fn the_page_is_as_the_guide_wants_it_whatever_has_happened() {
    let upstream = FakeUpstream::start();
    let settings = Settings::in_front_of(&upstream)
        .set("ROUTE_OTHER_PREFIX", "/other")
        .set("ROUTE_OTHER_UPSTREAM_BASE_URL", "http://127.0.0.1:9/secret-base")
        .set("UPSTREAM_MAX_ATTEMPTS", 2);
    let observed = Observed::start(settings);
    check(&observed.page());
    upstream.script([close(), answer(404).body("no").into(), stall(), stall(), answer(200).body("ok").into()]);
    assert_relayed(&observed.forebay.get("/a?b=c"), 404, "no");
    assert_error(&observed.forebay.ask(&post("/a", "x")), 504, "upstream_header_timeout");
    assert_relayed(&observed.forebay.get("/\u{e9}\"\\"), 200, "ok");
    assert_error(&observed.forebay.get("/other"), 502, "upstream_request_error");
    assert_error(&observed.forebay.ask(&get("/").field("Expect", "\"\\")), 417, "expectation_failed");
    check(&observed.wait(&[("forebay_exchanges_total", 5)]));
}

#[track_caller]
fn check(page: &Page) {
    let mut series = BTreeSet::new();
    for (name, family) in &page.families {
        let Family { help, kind, samples } = family;
        assert!(name.starts_with("forebay_") || name.starts_with("process_"), "{name}: a prefix");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}: lower case, underscores");
        assert!(help.ends_with('.') && !samples.is_empty(), "{name}: {help}");
        let words: Vec<&str> = name.split('_').collect();
        assert!(!words.iter().any(|word| OTHER_UNITS.contains(word)), "{name}: base units");
        match kind.as_str() {
            "counter" => assert!(name.ends_with("_total"), "{name}: a counter ends with _total"),
            "gauge" => assert!(!name.ends_with("_total") && !name.ends_with("_count"), "{name} is a gauge"),
            "histogram" => {
                assert!(name.ends_with("_seconds"), "{name}: durations are in seconds");
                check_histogram(name, samples);
            }
            other => panic!("{name} is of type {other}"),
        }
        for unit in ["seconds", "bytes"] {
            let at = words.iter().position(|word| *word == unit);
            let is_last = at.is_none_or(|at| at + 1 == words.len() || words[at + 1..] == ["total"]);
            assert!(is_last, "{name}: the unit is the last word");
        }
        for sample in samples {
            assert!(sample.value.is_finite() && sample.value >= 0.0, "{sample:?}");
            for (label, value) in &sample.labels {
                assert!(LABELS.contains(&label.as_str()) && !value.is_empty(), "{sample:?}");
                let is_origin = |v: &str| v == "none" || (v.starts_with("http") && v.matches('/').count() == 2);
                assert!(label != "upstream" || (is_origin(value) && !value.contains('@')), "{sample:?}");
            }
            assert!(series.insert(format!("{} {:?}", sample.name, sample.labels)), "twice: {sample:?}");
        }
    }
}

/// Buckets ascend to `+Inf`, which is the count, for each series alone.
#[track_caller]
fn check_histogram(name: &str, samples: &[super::page::Sample]) {
    let mut last: Option<(f64, f64)> = None;
    for sample in samples {
        let bound = sample.labels.iter().find(|(label, _)| label == "le");
        match (sample.name.strip_prefix(name), bound) {
            (Some("_bucket"), Some((_, bound))) => {
                let bound: f64 = bound.parse().unwrap();
                assert!(last.is_none_or(|(b, count)| b < bound && count <= sample.value), "{sample:?} after {last:?}");
                last = Some((bound, sample.value));
            }
            (Some("_sum"), None) => assert!(last.is_some_and(|(bound, _)| bound == f64::INFINITY)),
            (Some("_count"), None) => {
                assert_eq!(last.take().map(|(_, count)| count), Some(sample.value), "{sample:?}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(last.is_none());
}
