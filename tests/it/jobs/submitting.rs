//! 6.1: how a request becomes a job.

use super::{queueing, run, storing, submit, wait_for};
use crate::client::{get, post, request};
use crate::expect::{assert_error, assert_relayed, is_own};
use crate::upstream::{FakeUpstream, Gate, answer, echo, raw};

#[test]
fn a_request_becomes_a_job_and_arrives_as_it_was_sent() {
    let upstream = FakeUpstream::start();
    upstream.script([echo()]);
    let forebay = queueing(&upstream).start();
    for (method, target, body) in
        [("POST", "/a%2Fb?x=%zz&y=\"q\"", &b"\x00binary\xff"[..]), ("PUT", "/", b""), ("PATCH", "/%20?", b"x")]
    {
        upstream.forget();
        let asked = request(method, target).field("X-A", "1").field("X-A", "2").body(body);
        let response = forebay.ask(&asked);
        assert!(response.status == 202 && is_own(&response), "{response:?}");
        let job = super::id(&response);
        assert_eq!(response.get("location"), Some(format!("/__jobs/{job}")));
        assert_eq!(response.get("retry-after").as_deref(), Some("1"));
        assert_eq!(response.get("cache-control").as_deref(), Some("no-store"));
        wait_for(&forebay, &job, "completed");
        let seen = upstream.seen();
        assert_eq!((seen.len(), seen[0].method.as_str(), seen[0].path().as_str()), (1, method, target));
        assert_eq!(seen[0].body, body);
        assert_eq!(seen[0].all("x-a"), [b"1", b"2"]);
    }
    upstream.assert_unambiguous();
}

#[test]
fn a_request_without_a_body_has_none_at_the_upstream_either() {
    let upstream = FakeUpstream::start();
    let forebay = queueing(&upstream).start();
    run(&forebay, &get("/"));
    assert!(upstream.seen()[0].get("content-length").is_none(), "{:?}", upstream.seen());
}

#[test]
fn what_ends_at_this_hop_is_not_in_a_job_and_the_client_is_named() {
    let upstream = FakeUpstream::start();
    let forebay = queueing(&upstream).start();
    let asked = post("/", "x")
        .field("Connection", "X-Nom")
        .field("X-Nom", "1")
        .field("Keep-Alive", "1")
        .field("X-Forebay-Timeout", "9s")
        .field("X-Forwarded-For", "6.6.6.6")
        .field("X-Stay", "1");
    run(&forebay, &asked);
    let seen = &upstream.seen()[0];
    for gone in ["x-nom", "keep-alive", "x-forebay-timeout"] {
        assert_eq!(seen.get(gone), None, "{gone}");
    }
    assert_eq!(seen.get("x-stay").as_deref(), Some("1"));
    assert_eq!(seen.get("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!(seen.get("x-forwarded-proto").as_deref(), Some("http"));
}

#[test]
fn bodies_of_every_size_arrive_whole_whether_they_are_kept_or_pass_into_the_store() {
    let upstream = FakeUpstream::start();
    upstream.script([echo()]);
    let forebay = queueing(&upstream)
        .set("MAX_REQUEST_BODY_BYTES", "300KiB")
        .set("QUEUE_MAX_BODY_BYTES", "8MiB")
        .set("MAX_BUFFERED_BYTES", "16MiB")
        .start();
    for length in [0, 1, 65_536, 65_537, 262_144, 262_145, 307_200, 307_201, 3_000_000] {
        let body: Vec<u8> = (0..length).map(|n: usize| n.to_le_bytes()[n % 3] ^ 0x5a).collect();
        for asked in [post("/", &body), request("POST", "/").chunks(body.chunks(100_000))] {
            assert_relayed_content(&run(&forebay, &asked), &body);
        }
    }
}

#[track_caller]
fn assert_relayed_content(response: &crate::client::Response, body: &[u8]) {
    assert_relayed(response, 200, body);
}

#[test]
fn a_body_above_the_cap_of_jobs_follows_oversize_and_is_never_cut_short() {
    let upstream = FakeUpstream::start();
    upstream.script([echo()]);
    let body = vec![b'b'; 50_000];
    for (oversize, status) in [("reject", 413), ("stream", 200), ("redirect", 307)] {
        let forebay = queueing(&upstream).set("QUEUE_MAX_BODY_BYTES", 1000).set("OVERSIZE", oversize).start();
        for asked in [post("/x", &body), request("POST", "/x").chunks(body.chunks(300))] {
            upstream.forget();
            let response = forebay.ask(&asked);
            assert_eq!(response.status, status, "{oversize}: {response:?}");
            match status {
                413 => assert_error(&response, 413, "payload_too_large"),
                200 => assert_eq!(response.body, body),
                _ => assert!(upstream.seen().is_empty()),
            }
        }
        submit(&forebay, &post("/x", vec![b'b'; 1000]));
    }
}

#[test]
fn a_race_too_large_to_buffer_becomes_a_job_where_that_is_wanted() {
    let upstream = FakeUpstream::start();
    upstream.script([echo()]);
    let forebay = storing(&upstream)
        .set("MAX_REQUEST_BODY_BYTES", 1000)
        .set("QUEUE_MAX_BODY_BYTES", 100_000)
        .set("OVERSIZE", "queue")
        .start();
    let (small, large, huge) = (vec![b's'; 1000], vec![b'l'; 90_000], vec![b'h'; 100_001]);
    assert_relayed(&forebay.ask(&post("/", &small)), 200, &small);
    for asked in [post("/", &large), request("POST", "/").chunks(large.chunks(7000))] {
        assert_relayed(&run(&forebay, &asked), 200, &large);
    }
    for asked in [post("/", &huge), request("POST", "/").chunks(huge.chunks(7000))] {
        assert_error(&forebay.ask(&asked), 413, "payload_too_large");
    }
}

#[test]
fn the_same_key_is_the_same_job_until_that_is_gone() {
    let upstream = FakeUpstream::start();
    let gate = Gate::new();
    upstream.script([raw("").then_await(&gate).then_do(answer(200).body("done"))]);
    let forebay = queueing(&upstream).start();
    let asked = |body: &str| post("/x", body).field("Idempotency-Key", "k");
    let first = submit(&forebay, &asked("a"));
    assert_eq!(submit(&forebay, &asked("a")), first);
    assert_error(&forebay.ask(&asked("b")), 422, "idempotency_mismatch");
    assert_error(&forebay.ask(&post("/y", "a").field("Idempotency-Key", "k")), 422, "idempotency_mismatch");
    assert_ne!(submit(&forebay, &asked("a").field("Authorization", "Bearer other")), first);
    gate.open();
    wait_for(&forebay, &first, "completed");
    assert_eq!(submit(&forebay, &asked("a")), first);
    assert_eq!(upstream.seen()[0].get("idempotency-key").as_deref(), Some("k"));
    assert_eq!(forebay.ask(&super::delete(&first)).status, 200);
    assert_ne!(submit(&forebay, &asked("b")), first);
}

#[test]
fn timeouts_that_are_none_are_refused() {
    let upstream = FakeUpstream::start();
    let forebay = queueing(&upstream).set("JOB_TIMEOUT_MAX_SECONDS", 600).start();
    for bad in ["30", "0s", "-1s", "soon", "601s"] {
        for name in ["X-Forebay-Timeout", "X-Proxq-Timeout"] {
            assert_error(&forebay.ask(&post("/", "x").field(name, bad)), 400, "bad_request");
        }
    }
    for good in ["", "1m30s", "10m"] {
        submit(&forebay, &post("/", "x").field("X-Forebay-Timeout", good));
    }
}

#[test]
fn more_jobs_than_may_wait_are_refused() {
    let upstream = FakeUpstream::start();
    let gate = Gate::new();
    upstream.script([raw("").then_await(&gate).then_do(answer(200).body("done"))]);
    let forebay = queueing(&upstream).set("QUEUE_CONCURRENCY", 1).set("QUEUE_MAX_DEPTH", 2).start();
    let running = submit(&forebay, &get("/running"));
    wait_for(&forebay, &running, "running");
    let waiting = [submit(&forebay, &get("/1")), submit(&forebay, &get("/2"))];
    let response = forebay.ask(&get("/3"));
    assert_error(&response, 503, "overloaded");
    assert!(response.get("retry-after").is_some(), "{response:?}");
    gate.open();
    for job in waiting {
        wait_for(&forebay, &job, "completed");
    }
}
