//! Jobs on the admin listener (3.1): who may see them, what is seen, and what can be done.

use serde_json::{Value, json};

use super::{content_of, queueing, status_of, storing, submit, wait_for};
use crate::client::{Client, Request, Response, get, post, request};
use crate::expect::{assert_error, assert_relayed};
use crate::forebay::{Forebay, Settings, free_port};
use crate::upstream::{FakeUpstream, answer, reset, stall};

/// A forebay whose jobs can be looked at.
struct Operated {
    forebay: Forebay,
    admin: u16,
}

impl Operated {
    #[track_caller]
    fn start(settings: Settings) -> Self {
        let admin = free_port();
        Self { forebay: settings.set("ADMIN_PORT", admin).start(), admin }
    }

    #[track_caller]
    fn ask(&self, request: Request) -> Response {
        Client::connect(self.admin).ask(&request.host("localhost"))
    }

    #[track_caller]
    fn document(&self, request: Request) -> Value {
        let response = self.ask(request);
        assert_eq!(response.status, 200, "{response:?}");
        assert_eq!(response.get("cache-control").as_deref(), Some("no-store"), "{response:?}");
        serde_json::from_slice(&response.body).unwrap()
    }

    /// The ids of a list.
    #[track_caller]
    fn ids(&self, target: &str) -> Vec<String> {
        let list = self.document(get(target));
        list["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect()
    }
}

fn one(job: &str) -> String {
    format!("/jobs/{job}")
}

fn retry(job: &str) -> Request {
    request("POST", format!("/jobs/{job}/retry"))
}

#[test]
fn jobs_of_all_owners_are_listed_the_newest_first_without_what_is_secret() {
    let upstream = FakeUpstream::start();
    upstream.script([reset(), answer(200).into(), stall()]);
    let operated = Operated::start(queueing(&upstream).set("QUEUE_CONCURRENCY", 1));
    let forebay = &operated.forebay;
    let owned = post("/v1/a?NEVERSHOWN", "NEVERSHOWN").field("Authorization", "Bearer NEVERSHOWN");
    let failed = submit(forebay, &get("/v1/b"));
    wait_for(forebay, &failed, "failed");
    let completed = submit(forebay, &owned);
    // Its owner alone may ask for it; whoever operates the process sees it.
    assert_error(&forebay.ask(&status_of(&completed)), 404, "job_not_found");
    let running = submit(forebay, &get("/v1/c"));
    upstream.wait_seen(3);
    let queued = submit(forebay, &get("/v1/d"));

    let response = operated.ask(get("/jobs"));
    assert!(!response.text().contains("NEVERSHOWN"), "{response:?}");
    let list: Value = serde_json::from_slice(&response.body).unwrap();
    let counts = &list["counts"];
    for state in ["queued", "running", "completed", "failed"] {
        assert_eq!(counts[state], 1, "{state} of {counts}");
    }
    assert_eq!(counts["waiting"], 0);
    assert!(counts["bytes"].as_u64().unwrap() > 0 && counts["oldestSeconds"].is_u64(), "{counts}");
    let jobs = list["jobs"].as_array().unwrap();
    let seen: Vec<_> = jobs.iter().map(|job| (&job["id"], &job["status"], &job["path"])).collect();
    let expected = [
        (&json!(queued), &json!("queued"), &json!("/v1/d")),
        (&json!(running), &json!("running"), &json!("/v1/c")),
        (&json!(completed), &json!("completed"), &json!("/v1/a")),
        (&json!(failed), &json!("failed"), &json!("/v1/b")),
    ];
    assert_eq!(seen, expected);

    let one = operated.document(get(one(&completed)));
    assert_eq!(one, jobs[2]);
    assert_eq!((&one["route"], &one["method"], &one["hasOwner"]), (&json!("default"), &json!("POST"), &json!(true)));
    assert!(one["ageSeconds"].is_u64() && one["attempts"] == 1, "{one}");
    assert!(jobs[3]["error"].as_str().unwrap().starts_with("upstream_request_error: ") && jobs[3]["hasOwner"] == false);

    assert_eq!(operated.ids("/jobs?status=failed"), std::slice::from_ref(&failed));
    assert_eq!(operated.ids("/jobs?limit=2"), [queued, running.clone()]);
    assert_eq!(operated.ids(&format!("/jobs?limit=1&after={running}")), [completed]);
    assert_eq!(operated.ids(&format!("/jobs?after={failed}")), [""; 0]);
    let head = operated.ask(request("HEAD", "/jobs"));
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[test]
fn a_long_list_is_read_page_by_page() {
    let upstream = FakeUpstream::start();
    upstream.script([stall()]);
    let operated = Operated::start(queueing(&upstream).set("QUEUE_CONCURRENCY", 1));
    let mut client = operated.forebay.connect();
    let mut submitted: Vec<_> = (0..130).map(|_| super::id(&client.ask(&get("/")))).collect();
    submitted.reverse();
    assert_eq!(operated.ids("/jobs"), submitted[..50]);
    assert_eq!(operated.ids("/jobs?limit=120"), submitted[..120]);
    assert_eq!(operated.ids(&format!("/jobs?limit=500&after={}", submitted[9])), submitted[10..]);
}

#[test]
fn a_running_job_can_be_cancelled_and_is_gone() {
    let upstream = FakeUpstream::start();
    upstream.script([stall()]);
    let operated = Operated::start(queueing(&upstream));
    let job = submit(&operated.forebay, &get("/").field("Authorization", "Bearer k"));
    upstream.wait_seen(1);
    assert_eq!(operated.document(request("DELETE", one(&job))), json!({ "status": "cancelled" }));
    upstream.wait_all_closed();
    for request in [get(one(&job)), request("DELETE", one(&job)), retry(&job)] {
        assert_error(&operated.ask(request), 404, "job_not_found");
    }
    let own = status_of(&job).field("Authorization", "Bearer k");
    assert_error(&operated.forebay.ask(&own), 404, "job_not_found");
}

#[test]
fn a_failed_job_can_be_queued_again_and_no_other() {
    let upstream = FakeUpstream::start();
    upstream.script([reset(), answer(200).body("at last").into()]);
    let operated = Operated::start(queueing(&upstream));
    let job = submit(&operated.forebay, &post("/x?y=z", "payload"));
    wait_for(&operated.forebay, &job, "failed");
    assert_eq!(operated.document(retry(&job)), json!({ "status": "queued" }));
    assert_eq!(wait_for(&operated.forebay, &job, "completed")["attempts"], 2);
    assert_relayed(&operated.forebay.ask(&content_of(&job)), 200, "at last");
    let seen = upstream.seen();
    assert_eq!((seen.len(), &seen[1].target, &seen[1].body), (2, &seen[0].target, &seen[0].body));
    let refused = operated.ask(retry(&job));
    assert_error(&refused, 409, "job_not_retryable");
    assert!(refused.text().contains("not failed"), "{}", refused.text());
}

#[test]
fn jobs_want_the_admin_token_and_health_and_figures_do_not() {
    let upstream = FakeUpstream::start();
    let operated = Operated::start(queueing(&upstream).set("ADMIN_TOKEN", "s3cret"));
    let job = submit(&operated.forebay, &get("/"));
    let guarded = || [get("/jobs"), get(one(&job)), request("DELETE", one(&job)), retry(&job)];
    for request in guarded() {
        let response = operated.ask(request);
        assert_error(&response, 401, "unauthorized");
        assert_eq!(response.get("www-authenticate").as_deref(), Some("Bearer"));
    }
    for request in guarded() {
        assert_error(&operated.ask(request.field("Authorization", "Bearer s3cre")), 401, "unauthorized");
    }
    let far = get("/jobs").host("forebay.example").field("Authorization", "bearer s3cret");
    assert_eq!(Client::connect(operated.admin).ask(&far).status, 200);
    for open in ["/healthz", "/readyz", "/readyz?verbose", "/metrics"] {
        assert_eq!(operated.ask(get(open)).status, 200, "{open}");
    }
    assert!(!operated.forebay.log().contains("s3cret"));
}

#[test]
fn without_a_token_web_pages_and_other_names_see_no_jobs() {
    let upstream = FakeUpstream::start();
    let operated = Operated::start(queueing(&upstream));
    let ask = |request: Request| Client::connect(operated.admin).ask(&request);
    assert_eq!(ask(get("/jobs").host(format!("127.0.0.1:{}", operated.admin))).status, 200);
    for page in [
        get("/jobs").host("rebound.example"),
        get("/jobs").host("localhost").field("Origin", "https://page.example"),
        get("/jobs").host("localhost").field("Origin", "null"),
        get("/jobs").host("localhost").field("Sec-Fetch-Site", "cross-site"),
    ] {
        assert_error(&ask(page), 403, "host_not_allowed");
    }
    assert_eq!(ask(get("/readyz").host("rebound.example")).status, 200);
}

#[test]
fn what_cannot_be_understood_says_what_to_change() {
    let upstream = FakeUpstream::start();
    let operated = Operated::start(queueing(&upstream));
    for (query, word) in [("status=done", "status is"), ("limit=501", "1 to 500"), ("after=x", "after is")] {
        let response = operated.ask(get(format!("/jobs?{query}")));
        assert_error(&response, 400, "bad_request");
        assert!(response.text().contains(word), "{}", response.text());
    }
    let refused = operated.ask(request("PUT", "/jobs"));
    assert_error(&refused, 405, "method_not_allowed");
    assert_eq!(refused.get("allow").as_deref(), Some("GET, HEAD"));
    assert_error(&operated.ask(get("/jobs/none")), 404, "job_not_found");
    assert_error(&operated.ask(get("/jobsandmore")), 404, "not_found");
}

#[test]
fn without_a_store_there_are_no_jobs_and_that_is_said() {
    let upstream = FakeUpstream::start();
    let operated = Operated::start(Settings::in_front_of(&upstream));
    let response = operated.ask(get("/jobs"));
    assert_error(&response, 503, "store_unavailable");
    assert!(response.text().contains("STORE is off"), "{}", response.text());
    assert_eq!(operated.ask(get("/readyz?verbose")).text().lines().next(), Some("ready"));
}

#[test]
fn a_store_that_is_down_is_told_and_the_process_stays_ready() {
    let upstream = FakeUpstream::start();
    let nobody = format!("redis://127.0.0.1:{}", free_port());
    let operated = Operated::start(storing(&upstream).set("STORE", "redis").set("REDIS_URL", nobody));
    assert_error(&operated.ask(get("/jobs")), 503, "store_unavailable");
    assert_eq!(operated.ask(get("/readyz")).status, 200);
    let verbose = operated.ask(get("/readyz?verbose"));
    assert!(verbose.status == 200 && verbose.text().starts_with("ready\n"), "{verbose:?}");
    assert!(verbose.text().contains("\nstore redis: has not answered for "), "{}", verbose.text());
    let metrics = operated.ask(get("/metrics")).text().clone();
    assert!(metrics.contains("\nforebay_store_up 0\n") && !metrics.contains("\nforebay_jobs{"), "{metrics}");
    assert_relayed(&operated.forebay.get("/"), 200, "ok");
}
