//! `forebay jobs`: the same from a terminal.

use serde_json::Value;

use super::{queueing, submit, wait_for};
use crate::client::{get, post};
use crate::forebay::{EX_CONFIG, Forebay, Settings, free_port};
use crate::upstream::{FakeUpstream, answer, reset, stall};

/// EX_USAGE: a command line that is not understood.
const EX_USAGE: i32 = 64;

/// A forebay, and the environment that it shares with its commands.
struct Shared {
    forebay: Forebay,
    settings: Settings,
}

impl Shared {
    #[track_caller]
    fn start(settings: Settings) -> Self {
        let settings = settings.set("ADMIN_PORT", free_port());
        Self { forebay: settings.clone().start(), settings }
    }

    /// What `forebay jobs` with these arguments writes, and its exit status.
    #[track_caller]
    fn jobs(&self, arguments: &str) -> (String, Option<i32>) {
        jobs(self.settings.clone(), arguments)
    }
}

#[track_caller]
fn jobs(settings: Settings, arguments: &str) -> (String, Option<i32>) {
    let all = std::iter::once("jobs").chain(arguments.split_whitespace());
    all.fold(settings, Settings::argument).run()
}

#[test]
fn jobs_are_listed_shown_queued_again_and_cancelled() {
    let upstream = FakeUpstream::start();
    upstream.script([reset(), answer(200).into(), stall()]);
    let shared = Shared::start(queueing(&upstream));
    assert_eq!(shared.jobs("list").1, Some(0));
    assert!(shared.jobs("list").0.starts_with("No jobs.\n"));
    let failed = submit(&shared.forebay, &get("/v1/b"));
    wait_for(&shared.forebay, &failed, "failed");
    let completed = submit(&shared.forebay, &post("/v1/a?NEVERSHOWN", "x"));
    wait_for(&shared.forebay, &completed, "completed");

    let (table, code) = shared.jobs("list");
    let lines: Vec<_> = table.lines().collect();
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!((code, lines.len()), (Some(0), 5), "{table}");
    assert_eq!(words(lines[0]), ["ID", "STATUS", "AGE", "ROUTE", "METHOD", "PATH", "ATTEMPTS", "ERROR"]);
    assert_eq!(words(lines[1])[..2], [completed.clone(), "completed".to_owned()]);
    assert_eq!(words(lines[2])[..2], [failed.clone(), "failed".to_owned()]);
    assert!(lines[2].contains("/v1/b") && lines[2].contains("upstream_request_error: "), "{table}");
    assert!(lines[4].starts_with("0 queued, 0 running, ") && !table.contains("NEVERSHOWN"), "{table}");
    let (table, _) = shared.jobs("list --status failed --limit 1");
    assert!(table.contains(&failed) && !table.contains(&completed) && table.contains("--limit shows more"), "{table}");

    let (page, code) = shared.jobs(&format!("show {failed}"));
    assert_eq!(code, Some(0), "{page}");
    for line in [format!("id         {failed}"), "status     failed".into(), "path       /v1/b".into()] {
        assert!(page.lines().any(|found| found == line), "{line} is not in {page}");
    }

    assert_eq!(shared.jobs(&format!("retry {failed}")), (format!("queued {failed} again\n"), Some(0)));
    upstream.wait_seen(3);
    let (refused, code) = shared.jobs(&format!("retry {completed}"));
    assert!(code == Some(1) && refused.ends_with("(job_not_retryable)\n"), "{refused}");
    assert_eq!(shared.jobs(&format!("cancel {failed}")), (format!("cancelled {failed}\n"), Some(0)));
    upstream.wait_all_closed();
    let (gone, code) = shared.jobs(&format!("show {failed}"));
    assert!(code == Some(1) && gone.ends_with("(job_not_found)\n"), "{gone}");
}

#[test]
fn with_json_the_answer_is_that_of_the_listener_and_a_long_list_is_one() {
    let upstream = FakeUpstream::start();
    upstream.script([stall()]);
    let shared = Shared::start(queueing(&upstream).set("QUEUE_CONCURRENCY", 1));
    let mut client = shared.forebay.connect();
    let mut submitted: Vec<_> = (0..520).map(|_| super::id(&client.ask(&get("/")))).collect();
    submitted.reverse();
    let (text, code) = shared.jobs("list --json --limit 510");
    let list: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let ids: Vec<_> = list["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap()).collect();
    assert_eq!((code, ids), (Some(0), submitted[..510].iter().map(String::as_str).collect()));
    assert_eq!((&list["counts"]["queued"], &list["counts"]["running"]), (&Value::from(519), &Value::from(1)));
    let all = shared.jobs("list --json --limit 600").0;
    let all: Value = serde_json::from_str(&all).unwrap();
    assert_eq!(all["jobs"].as_array().unwrap().len(), 520);
    let one = shared.jobs(&format!("show --json {}", submitted[0])).0;
    assert_eq!(serde_json::from_str::<Value>(&one).unwrap()["status"], "queued");
    let cancelled = shared.jobs(&format!("cancel {} --json", submitted[0])).0;
    assert_eq!(serde_json::from_str::<Value>(&cancelled).unwrap()["status"], "cancelled");
}

#[test]
fn the_token_of_the_environment_is_sent() {
    let upstream = FakeUpstream::start();
    let shared = Shared::start(queueing(&upstream).set("ADMIN_TOKEN", "s3cret"));
    assert_eq!(shared.jobs("list").1, Some(0));
    let (text, code) = jobs(shared.settings.clone().unset("ADMIN_TOKEN"), "list");
    assert!(code == Some(1) && text.contains("It is not set here. (unauthorized)"), "{text}");
    let (text, code) = jobs(shared.settings.clone().set("ADMIN_TOKEN", "0ther"), "list");
    assert!(code == Some(1) && text.contains("is another one. (unauthorized)"), "{text}");
    assert!(!text.contains("0ther"), "{text}");
}

fn port_of(upstream: &FakeUpstream) -> String {
    upstream.url().rsplit_once(':').unwrap().1.to_owned()
}

#[test]
fn what_cannot_be_done_says_why() {
    let upstream = FakeUpstream::start();
    let off = Settings::in_front_of(&upstream);
    for (settings, arguments, status, part) in [
        (off.clone(), "list", 1, "ADMIN_PORT is off"),
        (off.clone().set("ADMIN_PORT", 0), "list", 1, "ADMIN_PORT is 0"),
        (off.clone().set("ADMIN_PORT", free_port()), "list", 1, "is forebay running with this environment?"),
        (off.clone().set("ADMIN_PORT", port_of(&upstream)), "list", 1, "is no admin listener"),
        (off.clone(), "", EX_USAGE, "list, show, cancel or retry"),
        (off.clone(), "show x", EX_USAGE, "no id of a job"),
        (off.clone(), "list --status gone", EX_USAGE, "queued, running, completed or failed"),
        (off.set("RETRY", "maybe"), "list", EX_CONFIG, "RETRY=\"maybe\""),
    ] {
        let (text, code) = jobs(settings, arguments);
        assert_eq!(code, Some(status), "{arguments}: {text}");
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    let without_a_store = Shared::start(Settings::in_front_of(&upstream));
    let (text, code) = without_a_store.jobs("list");
    assert!(code == Some(1) && text.contains("STORE is off") && text.contains("(store_unavailable)"), "{text}");
    let (text, code) = without_a_store.jobs("--help");
    assert!(code == Some(0) && text.contains("retry ID"), "{text}");
}
