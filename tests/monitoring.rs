//! The dashboard and the alerts speak of metrics, labels and outcomes that there are, and of nothing else.
//!
//! That the alerts fire when they should is tested in `monitoring/alerts.yaml`, for which one needs promtool.

#![allow(clippy::panic, clippy::unwrap_used, reason = "this is how tests fail, helpers of tests too")]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use forebay::admin::{Kind, METRICS, Metric};
use forebay::answer::{Breakage, Code};
use forebay::body::ClientFault;
use forebay::queue::QueueStats;
use forebay::upstream::{Breach, ConnectStage, Failure, Trace};
use forebay::{config, stats};
use regex::Regex;
use serde_json::Value;
use yaml_rust2::{Yaml, YamlLoader};

const DASHBOARD: &str = "deploy/grafana-dashboard.json";
const ALERTS: &str = "deploy/prometheus-alerts.yaml";

/// Labels that Prometheus adds to what it scrapes.
const OF_THE_SCRAPE: [&str; 2] = ["instance", "job"];

#[test]
fn the_dashboard_speaks_of_metrics_that_there_are() {
    let (dashboard, panels) = dashboard();
    let mut asked = 0;
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let expressions = expressions(panel);
        assert!(!expressions.is_empty(), "nothing is asked for: {panel}");
        for expression in &expressions {
            assert_known(expression);
        }
        asked += expressions.len();
    }
    assert!(asked > 30, "{asked}");
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        if variable["type"] == "query" {
            assert_known(variable["query"]["query"].as_str().unwrap());
        }
    }
}

#[test]
fn the_dashboard_names_no_data_source_of_anybodys_and_no_panel_twice() {
    let (dashboard, panels) = dashboard();
    let variables = dashboard["templating"]["list"].as_array().unwrap().iter();
    let names: Vec<_> = variables.map(|variable| variable["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["datasource", "instance", "route", "upstream"]);
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has an id of its own");
    let text = read(DASHBOARD);
    let sources = Regex::new(r#""uid": "([^"]*)""#).unwrap();
    let sources: BTreeSet<_> = sources.captures_iter(&text).map(|found| found[1].to_owned()).collect();
    assert_eq!(sources, BTreeSet::from(["${datasource}".to_owned(), "forebay".to_owned()]));
    let used = Regex::new(r"\$(\w+)").unwrap();
    for expression in panels.iter().flat_map(expressions) {
        for name in used.captures_iter(&expression).map(|found| found[1].to_owned()) {
            let known = names.contains(&name.as_str()) || ["__range", "__rate_interval"].contains(&name.as_str());
            assert!(known, "{name} of {expression}");
        }
    }
}

#[test]
fn every_metric_of_forebays_own_is_on_the_dashboard() {
    let text = read(DASHBOARD);
    let missing: Vec<_> = METRICS.iter().filter(|m| m.name.starts_with("forebay_") && !text.contains(m.name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_alerts_speak_of_metrics_that_there_are_and_say_what_to_do() {
    let mut names = BTreeSet::new();
    for rule in rules() {
        let name = text(&rule["alert"]);
        assert!(name.starts_with("Forebay") && names.insert(name.clone()), "{name}");
        assert_known(&text(&rule["expr"]));
        assert!(["warning", "critical"].contains(&text(&rule["labels"]["severity"]).as_str()), "{name}");
        let (summary, description) = (text(&rule["annotations"]["summary"]), text(&rule["annotations"]["description"]));
        assert!(summary.ends_with('.') && description.ends_with('.') && summary.len() < 120, "{name}");
        // Variables and metrics that are spoken of.
        for word in description.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')) {
            if word.starts_with("forebay_") {
                assert!(METRICS.iter().any(|metric| metric.name == word), "{name} speaks of {word}");
            } else if word.contains('_') && !word.contains(|c: char| c.is_ascii_lowercase()) {
                assert!(config::VARIABLES.iter().any(|variable| variable.name == word), "{name} speaks of {word}");
            }
        }
    }
    assert!(names.len() > 8, "{names:?}");
    let tested = read("tests/monitoring/alerts.yaml");
    YamlLoader::load_from_str(&tested).unwrap();
    let untested: Vec<_> = names.iter().filter(|name| !tested.contains(name.as_str())).collect();
    assert!(untested.is_empty(), "{untested:?}");
}

#[test]
fn what_speaks_of_anything_else_is_refused() {
    for (expression, part) in [
        ("forebay_exchange_total", "forebay_exchange_total"),
        ("rate(forebay_pool_waiting_bucket[5m])", "forebay_pool_waiting_bucket"),
        ("process_threads", "process_threads"),
        ("forebay_pool_waiting{route=\"a\"}", "route"),
        ("sum by (upstraem) (forebay_pool_waiting)", "upstraem"),
        ("forebay_exchanges_total{outcome=\"timeout\"}", "timeout"),
        ("forebay_attempts_total{outcome=~\"2xx|timeouts\"}", "timeouts"),
        ("label_values(forebay_exchanges_total, rout)", "rout"),
        ("forebay_jobs{state=\"done\"}", "done"),
        ("forebay_job_executions_total{outcome=\"complete\"}", "complete"),
    ] {
        let found = unknown(expression);
        assert!(found.iter().any(|what| what == part), "{expression}: {found:?}");
    }
    assert_known("sum by (le, route) (rate(forebay_time_to_headers_seconds_bucket{route=~\"$route\"}[5m]))");
    assert_known("forebay_attempts_total{outcome=\"refused_stream\"} or process_open_fds{job=\"x\"}");
}

#[track_caller]
fn assert_known(expression: &str) {
    let unknown = unknown(expression);
    assert!(unknown.is_empty(), "there is no {unknown:?}: {expression}");
}

/// The metrics, labels and outcomes of an expression that there are not.
fn unknown(expression: &str) -> Vec<String> {
    let mut unknown = Vec::new();
    // A metric, and the selector behind it.
    let metrics = Regex::new(r"\b((?:forebay|process)_\w+)(?:\{([^}]*)\})?").unwrap();
    let matchers = Regex::new(r#"(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)""#).unwrap();
    for found in metrics.captures_iter(expression) {
        let Some((metric, further)) = series(&found[1]) else {
            unknown.push(found[1].to_owned());
            continue;
        };
        let selector = found.get(2).map_or("", |selector| selector.as_str());
        for matcher in matchers.captures_iter(selector) {
            let (label, value) = (&matcher[1], &matcher[2]);
            if !metric.labels.contains(&label) && !further.contains(&label) && !OF_THE_SCRAPE.contains(&label) {
                unknown.push(label.to_owned());
            } else if let Some(known) = values(metric.name, label) {
                unknown.extend(value.split('|').filter(|value| !known.contains(value)).map(str::to_owned));
            }
        }
    }
    // Labels that are grouped by, matched on, or listed.
    let grouped = Regex::new(r"\b(?:by|on|without|ignoring) \(([^)]*)\)|label_values\(.*, (\w+)\)").unwrap();
    let all: BTreeSet<&str> = METRICS.iter().flat_map(|metric| metric.labels).copied().chain(OF_THE_SCRAPE).collect();
    for found in grouped.captures_iter(expression) {
        let list = found.get(1).or(found.get(2)).unwrap().as_str();
        let labels = list.split(',').map(str::trim).filter(|label| !label.is_empty());
        unknown.extend(labels.filter(|label| !all.contains(label) && *label != "le").map(str::to_owned));
    }
    unknown
}

/// The metric whose series this is, and the labels that it has for its buckets.
fn series(name: &str) -> Option<(&'static Metric, &'static [&'static str])> {
    let of = |name: &str, is_histogram: bool| {
        METRICS.iter().find(|metric| metric.name == name && (metric.kind == Kind::Histogram) == is_histogram)
    };
    if let Some(metric) = of(name, false) {
        return Some((metric, &[]));
    }
    let (base, further): (_, &[_]) = match name.strip_suffix("_bucket") {
        Some(base) => (base, &["le"]),
        None => (name.strip_suffix("_sum").or(name.strip_suffix("_count"))?, &[]),
    };
    of(base, true).map(|metric| (metric, further))
}

/// What a label of a metric can say, where that is little.
fn values(metric: &str, label: &str) -> Option<BTreeSet<&'static str>> {
    match (metric, label) {
        ("forebay_attempts_total", "outcome") => Some(attempts()),
        ("forebay_job_executions_total", "outcome") => Some(executions()),
        (_, "outcome") => Some(exchanges()),
        (_, "state") => Some(BTreeSet::from(["queued", "running", "waiting", "completed", "failed"])),
        (_, "limit") => Some(BTreeSet::from(["depth", "bytes"])),
        _ => None,
    }
}

/// What an execution of a job can come to.
fn executions() -> BTreeSet<&'static str> {
    QueueStats::default().executions.all().into_iter().map(|(outcome, _)| outcome).chain(["handed_back"]).collect()
}

/// What an exchange can come to.
fn exchanges() -> BTreeSet<&'static str> {
    let codes = [
        Code::BadRequest,
        Code::HostNotAllowed,
        Code::MethodNotAllowed,
        Code::ClientTimeout,
        Code::PayloadTooLarge,
        Code::UriTooLong,
        Code::ExpectationFailed,
        Code::HeadersTooLarge,
        Code::UpstreamRequestError,
        Code::UpstreamHeaderTimeout,
        Code::UpstreamTimeout,
        Code::NoRoute,
        Code::UpgradeFailed,
        Code::Overloaded,
        Code::ShuttingDown,
    ];
    let breakages = [Breakage::Stalled, Breakage::Broken, Breakage::ShuttingDown];
    let ends = codes.map(Code::as_str).into_iter().chain(breakages.map(Breakage::as_str));
    ends.chain(["complete", stats::CLIENT_GONE]).collect()
}

/// What an attempt can come to.
fn attempts() -> BTreeSet<&'static str> {
    let connect = |stage| Failure::Connect(stage, "x".into());
    let broken = |breach| Failure::Broken(breach, Trace { reused: false, written: 0, read: 0 }, "x".into());
    let failures = [
        Failure::PoolTimeout(Duration::ZERO),
        Failure::ConnectTimeout(Duration::ZERO),
        connect(ConnectStage::Dns),
        connect(ConnectStage::Tcp),
        connect(ConnectStage::Proxy),
        connect(ConnectStage::Tls),
        connect(ConnectStage::OpenFiles),
        Failure::WriteTimeout(Duration::ZERO),
        Failure::HeaderTimeout(Duration::ZERO),
        Failure::Client(ClientFault::Broken),
        broken(Breach::Closed),
        broken(Breach::Reset),
        broken(Breach::Malformed),
        broken(Breach::Unprocessed),
    ];
    let statuses = ["1xx", "2xx", "3xx", "4xx", "5xx", stats::CANCELLED];
    failures.iter().map(Failure::label).chain(statuses).collect()
}

/// The dashboard, and its panels.
fn dashboard() -> (Value, Vec<Value>) {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().clone();
    (dashboard, panels)
}

/// What a panel asks for.
fn expressions(panel: &Value) -> Vec<String> {
    let targets = panel["targets"].as_array().cloned().unwrap_or_default();
    targets.iter().map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

/// All rules of all groups.
fn rules() -> Vec<Yaml> {
    let documents = YamlLoader::load_from_str(&read(ALERTS)).unwrap();
    let groups = documents[0]["groups"].as_vec().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_vec().unwrap().clone()).collect()
}

fn text(yaml: &Yaml) -> String {
    yaml.as_str().unwrap_or_else(|| panic!("no text: {yaml:?}")).trim_end().to_owned()
}

fn read(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{name} cannot be read: {error}"))
}
