//! 3.6, 4: which requests become jobs, what each route makes of them, and what is kept of them afterwards.

use std::fs;
use std::path::Path;

use super::{ScratchFolder, content_of, queueing, run, status, status_of, storing, submit, wait_for};
use crate::client::{get, post, request};
use crate::expect::{assert_error, assert_relayed};
use crate::forebay::{Forebay, Settings};
use crate::upstream::h2::{Play, reply};
use crate::upstream::{FakeUpstream, Framing, Gate, H2Upstream, answer, echo, raw, reset};

/// By what becomes of a chunked body: a job answers at once, a stream passes its chunks, a race measures it.
#[track_caller]
fn lane_of(forebay: &Forebay, upstream: &FakeUpstream, target: &str) -> &'static str {
    upstream.forget();
    let response = forebay.ask(&request("POST", target).chunks([b"he".as_slice(), b"llo"]));
    if response.status == 202 {
        wait_for(forebay, &super::id(&response), "completed");
        return "queue";
    }
    assert_relayed(&response, 200, "hello");
    if upstream.seen()[0].framing == Framing::Chunked { "stream" } else { "race" }
}

fn echoing() -> FakeUpstream {
    let upstream = FakeUpstream::start();
    upstream.script([echo()]);
    upstream
}

#[test]
fn everything_but_some_paths_is_queued_or_only_some() {
    let upstream = echoing();
    let all_but = queueing(&upstream).set("STREAM_PATHS", "^/api/health").set("RACE_PATHS", "^/race,^/both").start();
    let only = storing(&upstream)
        .set("LANE", "stream")
        .set("RACE_PATHS", "^/race")
        .set("QUEUE_PATHS", "^/api/reports,^/api/exports,^/race/too,health")
        .start();
    for (forebay, target, lane) in [
        (&all_but, "/api/health", "stream"),
        (&all_but, "/api/health/x?y", "stream"),
        (&all_but, "/api", "queue"),
        (&all_but, "/", "queue"),
        (&all_but, "/x?/api/health", "queue"),
        (&all_but, "/race", "race"),
        (&only, "/api/reports/1", "queue"),
        (&only, "/api/exports?x", "queue"),
        (&only, "/x/health", "queue"),
        (&only, "/api", "stream"),
        (&only, "/x?/api/reports", "stream"),
        (&only, "/race", "race"),
        // The lists are asked in their order.
        (&only, "/race/too", "race"),
    ] {
        assert_eq!(lane_of(forebay, &upstream, target), lane, "{target}");
    }
}

#[test]
fn each_route_has_its_lane_its_prefix_and_its_base_path() {
    let upstream = echoing();
    let forebay = storing(&upstream)
        .set("ROUTE_FILES_PREFIX", "/files")
        .set("ROUTE_FILES_UPSTREAM_BASE_URL", format!("{}/bucket/data", upstream.url()))
        .set("ROUTE_FILES_LANE", "queue")
        .set("ROUTE_DEEP_PREFIX", "/files/deep")
        .set("ROUTE_DEEP_UPSTREAM_BASE_URL", format!("{}/deep", upstream.url()))
        .set("ROUTE_DEEP_QUEUE_PATHS", "^/files/deep/q")
        .start();
    for (target, lane, seen) in [
        ("/files/img.png", "queue", "/bucket/data/img.png"),
        ("/files?x", "queue", "/bucket/data/?x"),
        ("/files//a%2Fb?", "queue", "/bucket/data//a%2Fb?"),
        ("/files/deep/q/1", "queue", "/deep/q/1"),
        ("/files/deep/x", "race", "/deep/x"),
        ("/q", "race", "/q"),
    ] {
        assert_eq!(lane_of(&forebay, &upstream, target), lane, "{target}");
        assert_eq!(upstream.seen()[0].path(), seen, "{target}");
    }
    upstream.forget();
    assert_error(&forebay.get("/files/%2e%2e/secret"), 400, "bad_request");
    assert!(upstream.seen().is_empty());
}

#[test]
fn the_variables_of_a_route_are_those_of_its_jobs() {
    let upstream = FakeUpstream::start();
    upstream.answer_with(|seen, nth| match seen.path().as_str() {
        "/fails" if nth == 0 => reset(),
        path => answer(200).body(path).into(),
    });
    let forebay = queueing(&upstream)
        .set("JOB_RETRY_DELAY_SECONDS", 0.05)
        .set("JOB_OWNER", "credentials")
        .set("ROUTE_A_PREFIX", "/a")
        .set("ROUTE_A_UPSTREAM_BASE_URL", upstream.url())
        .set("ROUTE_A_JOB_MAX_RETRIES", 1)
        .set("ROUTE_A_JOB_OWNER", "anyone")
        .set("ROUTE_A_JOB_MAX_RESPONSE_BYTES", 6)
        .set("ROUTE_A_QUEUE_MAX_BODY_BYTES", 5)
        .set("ROUTE_A_OVERSIZE", "reject")
        .set("ROUTE_A_JOB_TIMEOUT_MAX_SECONDS", 400)
        .start();
    // Repeats.
    assert_relayed(&run(&forebay, &get("/a/fails")), 200, "/fails");
    upstream.answer_with(|_, _| reset());
    for (target, executions) in [("/fails", 1), ("/a/fails", 2)] {
        let failed = wait_for(&forebay, &submit(&forebay, &get(target)), "failed");
        assert_eq!(failed["attempts"], executions, "{failed}");
    }
    // The cap of what is answered.
    upstream.answer_with(|seen, _| answer(200).body(seen.path()).into());
    let failed = wait_for(&forebay, &submit(&forebay, &get("/a/longer")), "failed");
    assert!(failed["error"].as_str().unwrap().starts_with("response_too_large: "), "{failed}");
    assert_relayed(&run(&forebay, &get("/longer")), 200, "/longer");
    // The cap of what is asked, and of how long it may take.
    assert_error(&forebay.ask(&post("/a/x", "123456")), 413, "payload_too_large");
    submit(&forebay, &post("/x", "123456"));
    let patient = |target: &str| get(target).field("X-Forebay-Timeout", "500s");
    assert_error(&forebay.ask(&patient("/a/x")), 400, "bad_request");
    submit(&forebay, &patient("/x"));
    // Who may see it.
    let (open, own) = (get("/a/x").field("Authorization", "k"), get("/x").field("Authorization", "k"));
    let (open, own) = (submit(&forebay, &open), submit(&forebay, &own));
    assert!(status(&forebay, &open)["status"].is_string());
    assert_error(&forebay.ask(&status_of(&own)), 404, "job_not_found");
}

#[test]
fn the_key_is_added_when_a_worker_sends_and_what_was_secret_does_not_stay() {
    let upstream = FakeUpstream::start();
    upstream.script([answer(200).body("done").into()]);
    let folder = ScratchFolder::new();
    let settings = queueing(&upstream).set("DATA_DIR", &folder).set("LOG_LEVEL", "DEBUG");
    let settings = settings.set("UPSTREAM_API_KEY", "OURKEYOURKEY").set("ALLOWED_HOSTS", "forebay.test");
    let mut forebay = settings.start();
    let secret = |target: &str, body: &[u8]| {
        let own = post(target, body).field("Authorization", "Bearer THEIRKEYTHEIRKEY");
        own.field("Cookie", "session=THEIRCOOKIE").field("X-Trace", "INTHEREQUEST")
    };
    let mut large = b"BODYOFTHEJOB".to_vec();
    large.resize(200_000, b'z');
    for (target, body) in [("/1?QUERYOFTHEJOB", &b"BODYOFTHEJOB"[..]), ("/2?QUERYOFTHEJOB", &large)] {
        let job = submit(&forebay, &secret(target, body));
        let asked = status_of(&job).field("Authorization", "Bearer THEIRKEYTHEIRKEY");
        let end = std::time::Instant::now() + super::PATIENCE;
        while !forebay.ask(&asked).text().contains("completed") {
            assert!(std::time::Instant::now() < end, "{}", forebay.log());
        }
    }
    let seen = upstream.seen();
    assert_eq!(seen.len(), 2);
    for seen in &seen {
        assert_eq!(seen.all("authorization"), [b"Bearer OURKEYOURKEY"], "{seen:?}");
        assert_eq!(seen.get("cookie").as_deref(), Some("session=THEIRCOOKIE"));
    }
    forebay.terminate();
    assert!(forebay.wait_for_end().success());
    let log = forebay.log();
    for word in ["OURKEYOURKEY", "THEIRKEY", "THEIRCOOKIE", "INTHEREQUEST", "QUERYOFTHEJOB", "BODYOFTHEJOB"] {
        assert!(!log.contains(word), "{word} is in the log:\n{log}");
        assert_eq!(files_with(folder.path(), word), [""; 0], "{word} is in the store");
    }
    // What was answered is still there: it was looked for in the right place.
    assert_ne!(files_with(folder.path(), "done"), [""; 0]);
}

#[test]
fn a_job_that_waits_holds_neither_the_key_that_is_replaced_nor_ours() {
    let upstream = FakeUpstream::start();
    let gate = Gate::new();
    upstream.script([raw("").then_await(&gate).then_do(answer(200))]);
    let folder = ScratchFolder::new();
    let settings = queueing(&upstream).set("DATA_DIR", &folder).set("QUEUE_CONCURRENCY", 1);
    let settings = settings.set("UPSTREAM_API_KEY", "OURKEYOURKEY").set("ALLOWED_HOSTS", "forebay.test");
    let mut forebay = settings.start();
    for n in 0..3 {
        let asked = post(format!("/{n}"), "WAITINGBODY").field("Authorization", "Bearer THEIRKEYTHEIRKEY");
        submit(&forebay, &asked);
    }
    upstream.wait_seen(1);
    for (word, is_there) in [("OURKEYOURKEY", false), ("THEIRKEYTHEIRKEY", false), ("WAITINGBODY", true)] {
        assert_eq!(!files_with(folder.path(), word).is_empty(), is_there, "{word}");
    }
    assert!(!forebay.log().contains("KEYOURKEY") && !forebay.log().contains("THEIRKEY"));
    gate.open();
    forebay.kill();
}

/// The files of a folder in which a word stands.
fn files_with(folder: &Path, word: &str) -> Vec<String> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    let holds = |path: &Path| fs::read(path).unwrap().windows(word.len()).any(|window| window == word.as_bytes());
    files.filter(|path| holds(path)).map(|path| path.display().to_string()).collect()
}

#[test]
fn what_is_said_of_forwarded_fields_holds_for_jobs_too() {
    let upstream = FakeUpstream::start();
    for (mode, address, proto) in
        [("keep", Some("6.6.6.6"), None), ("strip", None, None), ("add", Some("127.0.0.1"), Some("http"))]
    {
        upstream.forget();
        let forebay = queueing(&upstream).set("FORWARDED_HEADERS", mode).start();
        run(&forebay, &get("/").field("X-Forwarded-For", "6.6.6.6"));
        let seen = &upstream.seen()[0];
        assert_eq!(seen.get("x-forwarded-for").as_deref(), address, "{mode}");
        assert_eq!(seen.get("x-forwarded-proto").as_deref(), proto, "{mode}");
    }
    upstream.forget();
    let behind = queueing(&upstream).set("TRUSTED_PROXIES", "127.0.0.1").start();
    run(&behind, &get("/").field("X-Forwarded-For", "6.6.6.6").field("X-Forwarded-Proto", "https"));
    let seen = &upstream.seen()[0];
    assert_eq!(seen.get("x-forwarded-for").as_deref(), Some("6.6.6.6, 127.0.0.1"));
    assert_eq!(seen.get("x-forwarded-proto").as_deref(), Some("https"));
}

#[test]
fn clients_of_http2_submit_and_fetch() {
    let upstream = echoing();
    let forebay = queueing(&upstream).start();
    let mut client = forebay.connect_h2();
    let body = vec![b'h'; 400_000];
    let accepted = client.ask(&post("/x?y", &body));
    assert_eq!(accepted.status, 202, "{accepted:?}");
    let job = super::id(&accepted);
    assert_eq!(accepted.get("location"), Some(format!("/__jobs/{job}")));
    let content = client.ask(&get(format!("/__jobs/{job}/content?wait=30")));
    assert_relayed(&content, 200, &body);
    assert_eq!(client.ask(&status_of(&job)).status, 200);
    // Head, then nothing: the same on both protocols.
    assert_eq!(client.ask(&request("DELETE", format!("/__jobs/{job}"))).status, 200);
    assert_error(&client.ask(&content_of(&job)), 404, "job_not_found");
    upstream.assert_unambiguous();
}

#[test]
fn an_upstream_of_http2_executes_jobs() {
    let upstream = H2Upstream::start();
    upstream.script([Play::echo()]);
    let settings = Settings::in_front_of_h2(&upstream).set("STORE", "embedded").set("LANE", "queue");
    let forebay = settings.start();
    assert_relayed(&run(&forebay, &post("/x", "body")), 200, "body");
    upstream.script([reply(200).open().then_data("half").then_reset(h2::Reason::INTERNAL_ERROR)]);
    let failed = wait_for(&forebay, &submit(&forebay, &post("/x", "body")), "failed");
    assert!(failed["error"].as_str().unwrap().starts_with("response_broken: "), "{failed}");
}

#[test]
fn trailers_of_a_job_arrive_and_those_of_its_answer_are_kept() {
    let upstream = FakeUpstream::start();
    upstream.script([answer(200).field("Trailer", "X-R").trailers("body", &[("X-R", "r")]).into()]);
    let forebay = queueing(&upstream).start();
    let mut client = forebay.connect();
    client.send(
        "POST /x HTTP/1.1\r\nHost: a\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: v\r\n\r\n",
    );
    let job = super::id(&client.read("POST"));
    wait_for(&forebay, &job, "completed");
    let seen = &upstream.seen()[0];
    assert_eq!((seen.body.as_slice(), seen.trailer("x-t").as_deref()), (&b"abc"[..], Some("v")), "{seen:?}");
    let content = client.ask(&content_of(&job).field("TE", "trailers").field("Connection", "TE"));
    assert_relayed(&content, 200, "body");
    assert_eq!(content.trailer("x-r").as_deref(), Some("r"));
    let content = forebay.connect_h2().ask(&content_of(&job));
    assert_relayed(&content, 200, "body");
    assert_eq!(content.trailer("x-r").as_deref(), Some("r"));
    upstream.assert_unambiguous();
}

#[test]
fn an_upgrade_on_the_queue_lane_is_a_tunnel() {
    let upstream = FakeUpstream::start();
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    upstream.script([raw(switch).then_echo_bytes()]);
    let forebay = queueing(&upstream).start();
    let mut client = forebay.connect();
    let handshake = get("/chat").field("Connection", "Upgrade").field("Upgrade", "websocket");
    let handshake =
        handshake.field("Sec-WebSocket-Version", "13").field("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(client.upgrade(&handshake).status, 101);
    client.send("whatever it is");
    assert_eq!(client.take(14), b"whatever it is");
}

#[test]
fn a_body_of_unknown_length_follows_oversize_at_once_where_that_is_wanted() {
    let upstream = echoing();
    let chunked = || request("POST", "/x").chunks([b"he".as_slice(), b"llo"]);
    for (oversize, status) in [("reject", 200), ("stream", 200), ("redirect", 307)] {
        upstream.forget();
        let forebay = queueing(&upstream).set("CHUNKED", "bypass").set("OVERSIZE", oversize).start();
        let response = forebay.ask(&chunked());
        assert_eq!(response.status, status, "{oversize}: {response:?}");
        if status == 200 {
            assert_relayed(&response, 200, "hello");
            assert_eq!(upstream.seen()[0].framing, Framing::Chunked, "{oversize}");
        }
        // A length that is known is no reason.
        assert_eq!(forebay.ask(&post("/x", "hello")).status, 202);
    }
    // A race whose body may be stored.
    upstream.forget();
    let settings = storing(&upstream).set("CHUNKED", "bypass").set("OVERSIZE", "queue");
    let forebay = settings.set("MAX_REQUEST_BODY_BYTES", 100).set("QUEUE_MAX_BODY_BYTES", 100_000).start();
    assert_relayed(&run(&forebay, &chunked()), 200, "hello");
    assert_relayed(&forebay.ask(&post("/x", "hello")), 200, "hello");
}
