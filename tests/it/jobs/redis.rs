//! 3.7, 6.1: processes that share a queue in Redis, and what becomes of them when Redis is down, hangs, or forgets.

use std::thread;
use std::time::{Duration, Instant};

use super::{Follower, PATIENCE, content_of, delete, queueing, status, status_of, submit, wait_for};
use crate::client::{Request, Response, get, post};
use crate::expect::{A_WHILE, assert_error, assert_relayed};
use crate::forebay::{Forebay, Settings};
use crate::redis::Redis;
use crate::upstream::{FakeUpstream, Gate, Seen, answer, echo, raw, stall};

/// A process on this Redis, whose requests have this base path.
fn on(redis: &Redis, upstream: &FakeUpstream, base: &str) -> Settings {
    let settings = redis.serves(queueing(upstream)).set("JOB_LEASE_SECONDS", 2).set("RACE_PATHS", "^/race");
    settings.set("UPSTREAM_BASE_URL", format!("{}{base}", upstream.url()))
}

/// One that takes jobs and executes none, and one that does nothing else.
#[track_caller]
fn divided(redis: &Redis, upstream: &FakeUpstream) -> (Forebay, Forebay) {
    let front = on(redis, upstream, "/front").set("ROLES", "front").start();
    (front, on(redis, upstream, "/worker").set("ROLES", "worker").start())
}

/// Asks again until the store is there again: the id of the job.
#[track_caller]
fn submit_at_last(forebay: &Forebay, request: &Request) -> String {
    let end = Instant::now() + PATIENCE;
    loop {
        let response = forebay.ask(request);
        if response.status == 202 {
            return super::id(&response);
        }
        assert_error(&response, 503, "store_unavailable");
        assert!(Instant::now() < end, "the store does not come back: {response:?}\n{}", forebay.log());
        thread::sleep(Duration::from_millis(50));
    }
}

/// Jobs are refused, and what needs no store is served.
#[track_caller]
fn assert_is_without_a_store(forebay: &Forebay, job: &str) {
    for request in [post("/x", "body"), get("/x"), status_of(job), content_of(job), delete(job)] {
        let response = forebay.ask(&request);
        assert_error(&response, 503, "store_unavailable");
        assert_relayed(&forebay.get("/race"), 200, "ok");
    }
}

#[test]
fn two_processes_share_a_queue_and_both_know_its_jobs() {
    let (upstream, redis) = (FakeUpstream::start(), Redis::start());
    let gate = Gate::new();
    upstream.script([raw("").then_await(&gate).then_do(answer(200).body("done"))]);
    let both = ["/a", "/b"].map(|base| on(&redis, &upstream, base).set("QUEUE_CONCURRENCY", 1).start());
    let jobs = [submit(&both[0], &get("/1")), submit(&both[0], &get("/2"))];
    let mut seen: Vec<_> = upstream.wait_seen(2).iter().map(Seen::path).collect();
    seen.sort_by_key(|path| path.rsplit_once('/').map(|(base, _)| base.to_owned()));
    assert!(seen[0].starts_with("/a/") && seen[1].starts_with("/b/"), "each has one: {seen:?}");
    gate.open();
    for job in &jobs {
        for forebay in &both {
            wait_for(forebay, job, "completed");
            assert_relayed(&forebay.ask(&content_of(job)), 200, "done");
        }
    }
    upstream.assert_no_more_than(2, A_WHILE);
}

#[test]
fn a_key_is_the_same_job_whichever_process_it_is_sent_to() {
    let (upstream, redis) = (FakeUpstream::start(), Redis::start());
    let both = ["/a", "/b"].map(|base| on(&redis, &upstream, base).start());
    let asked = |body: &str| post("/x", body).field("Idempotency-Key", "k");
    let first = submit(&both[0], &asked("a"));
    assert_eq!(submit(&both[1], &asked("a")), first);
    assert_error(&both[1].ask(&asked("b")), 422, "idempotency_mismatch");
    wait_for(&both[1], &first, "completed");
    upstream.assert_no_more_than(1, A_WHILE);
}

#[test]
fn a_front_takes_jobs_and_a_worker_that_listens_for_no_clients_executes_them() {
    let (upstream, redis) = (FakeUpstream::start(), Redis::start());
    upstream.script([echo()]);
    let front = on(&redis, &upstream, "/front").set("ROLES", "front").start();
    let body = vec![b'x'; 500_000];
    let jobs = [submit(&front, &post("/1?q", "small")), submit(&front, &post("/2", &body))];
    upstream.assert_no_more_than(0, A_WHILE);
    assert_eq!(status(&front, &jobs[0])["status"], "queued");
    // It would not start if it needed the port that the front has.
    let worker = on(&redis, &upstream, "/worker").set("LISTEN_PORT", front.port).set("ROLES", "worker").start();
    for (job, body) in jobs.iter().zip([&b"small"[..], &body]) {
        wait_for(&front, job, "completed");
        assert_relayed(&front.ask(&content_of(job)), 200, body);
    }
    let mut paths: Vec<_> = upstream.seen().iter().map(Seen::path).collect();
    paths.sort();
    assert_eq!(paths, ["/worker/1?q", "/worker/2"]);
    drop(worker);
}

#[test]
fn what_a_worker_records_is_followed_through_the_front_while_it_comes() {
    let (upstream, redis) = (FakeUpstream::start(), Redis::start());
    let (first, second) = (Gate::new(), Gate::new());
    upstream.script([answer(200)
        .chunked_head()
        .then_chunk("one ")
        .then_await(&first)
        .then_chunk("two ")
        .then_await(&second)
        .then_chunk("three")
        .then_last_chunk()]);
    let (front, _worker) = divided(&redis, &upstream);
    let job = submit(&front, &get("/"));
    let mut follower = Follower::of(&front, &job, 0);
    follower.reads("one ");
    first.open();
    follower.reads("one two ");
    let mut late = Follower::of(&front, &job, 4);
    late.reads("two ");
    second.open();
    assert_relayed(&follower.read_to_the_end(), 200, "one two three");
    assert_relayed(&late.read_to_the_end(), 200, "two three");
}

#[test]
fn who_waits_at_the_front_is_told_when_the_worker_is_done() {
    let (upstream, redis) = (FakeUpstream::start(), Redis::start());
    let gate = Gate::new();
    upstream.script([raw("").then_await(&gate).then_do(answer(200).body("done"))]);
    let (front, _worker) = divided(&redis, &upstream);
    let job = submit(&front, &get("/"));
    upstream.wait_seen(1);
    let mut client = front.connect();
    client.send(get(format!("/__jobs/{job}/content?wait=30")).bytes());
    gate.open();
    assert_relayed(&client.read("GET"), 200, "done");
}

#[test]
fn a_job_that_is_deleted_through_the_front_is_aborted_in_the_worker() {
    let (upstream, redis) = (FakeUpstream::start(), Redis::start());
    upstream.script([stall()]);
    let (front, _worker) = divided(&redis, &upstream);
    let job = submit(&front, &get("/"));
    upstream.wait_seen(1);
    assert_eq!(front.ask(&delete(&job)).status, 200);
    assert_error(&front.ask(&status_of(&job)), 404, "job_not_found");
    upstream.wait_all_closed();
    upstream.assert_no_more_than(1, A_WHILE);
}

/// A job that a worker has begun that hangs now, and that another one has taken over: the front, the two workers, the job.
#[track_caller]
fn taken_over(redis: &Redis, upstream: &FakeUpstream) -> (Forebay, [Forebay; 2], String) {
    let front = on(redis, upstream, "/front").set("ROLES", "front").start();
    let worker = |base: &str| on(redis, upstream, base).set("ROLES", "worker").start();
    let first = worker("/first");
    let job = submit(&front, &get("/x"));
    upstream.wait_seen(1);
    let second = worker("/second");
    first.hang();
    let seen: Vec<_> = upstream.wait_seen(2).iter().map(Seen::path).collect();
    assert_eq!(seen, ["/first/x", "/second/x"]);
    (front, [first, second], job)
}

#[test]
fn a_worker_that_hung_gives_up_what_another_one_has_taken_over() {
    let (upstream, redis) = (FakeUpstream::start(), Redis::start());
    let gate = Gate::new();
    upstream.script([stall(), raw("").then_await(&gate).then_do(answer(200).body("fresh"))]);
    let (front, workers, job) = taken_over(&redis, &upstream);
    workers[0].go_on();
    upstream.wait("the end of the first attempt", |seen| seen[0].aborted.is_some());
    gate.open();
    let done = wait_for(&front, &job, "completed");
    assert_eq!(done["attempts"], 2, "{done}");
    assert_relayed(&front.ask(&content_of(&job)), 200, "fresh");
    upstream.assert_no_more_than(2, A_WHILE);
}

#[test]
fn the_late_result_of_a_worker_that_hung_changes_nothing() {
    let (upstream, redis) = (FakeUpstream::start(), Redis::start());
    let (stale, fresh) = (Gate::new(), Gate::new());
    let late = raw("").then_await(&stale).then_do(answer(200).body("stale"));
    upstream.script([late, raw("").then_await(&fresh).then_do(answer(200).body("fresh"))]);
    let (front, workers, job) = taken_over(&redis, &upstream);
    // It is there before the one that hung can look at anything else.
    stale.open();
    thread::sleep(A_WHILE);
    workers[0].go_on();
    thread::sleep(A_WHILE);
    assert_ne!(status(&front, &job)["status"], "completed");
    fresh.open();
    wait_for(&front, &job, "completed");
    let content = front.ask(&content_of(&job));
    assert_relayed(&content, 200, "fresh");
    assert_eq!(content.get("x-forebay-execution").as_deref(), Some("2"));
    upstream.assert_no_more_than(2, A_WHILE);
}

#[test]
fn an_overflow_is_adopted_where_it_is_even_in_a_front_that_executes_no_jobs() {
    let (upstream, redis) = (FakeUpstream::start(), Redis::start());
    let gate = Gate::new();
    upstream.script([raw("").then_await(&gate).then_do(answer(200).body("late"))]);
    let settings = on(&redis, &upstream, "").set("RESPONSE_HEADER_TIMEOUT_SECONDS", 30);
    let front = settings.set("ROLES", "front").start();
    let response = front.ask(&get("/race").field("Prefer", "respond-async, wait=1"));
    assert_eq!(response.status, 202, "{response:?}");
    let job = super::id(&response);
    wait_for(&front, &job, "running");
    gate.open();
    let done = wait_for(&front, &job, "completed");
    assert_eq!(done["attempts"], 1, "{done}");
    assert_relayed(&front.ask(&content_of(&job)), 200, "late");
    upstream.assert_no_more_than(1, A_WHILE);
}

#[test]
fn an_adopted_attempt_that_dies_with_its_front_is_executed_by_a_worker() {
    let (upstream, redis) = (FakeUpstream::start(), Redis::start());
    upstream.script([stall(), answer(200).body("again").into()]);
    let settings = on(&redis, &upstream, "/front").set("RESPONSE_HEADER_TIMEOUT_SECONDS", 30);
    let mut front = settings.clone().set("ROLES", "front").start();
    let job = super::id(&front.ask(&post("/race", "body").field("Prefer", "respond-async, wait=1")));
    front.kill();
    let _worker = on(&redis, &upstream, "/worker").set("ROLES", "worker").start();
    let front = settings.set("ROLES", "front").start();
    wait_for(&front, &job, "completed");
    assert_relayed(&front.ask(&content_of(&job)), 200, "again");
    let seen: Vec<_> = upstream.seen().iter().map(|seen| (seen.path(), seen.body.clone())).collect();
    assert_eq!(seen, ["/front/race", "/worker/race"].map(|path| (path.to_owned(), b"body".to_vec())));
}

#[test]
fn while_redis_is_down_races_go_on_and_when_it_is_back_so_do_jobs() {
    let upstream = FakeUpstream::start();
    let mut redis = Redis::start_durable();
    let (front, worker) = divided(&redis, &upstream);
    let job = submit(&front, &get("/1"));
    wait_for(&front, &job, "completed");
    redis.kill();
    assert_is_without_a_store(&front, &job);
    redis.run();
    let next = submit_at_last(&front, &get("/2"));
    wait_for(&front, &next, "completed");
    assert_relayed(&front.ask(&content_of(&job)), 200, "ok");
    drop((front, worker));
}

#[test]
fn while_redis_hangs_jobs_are_refused_and_nobody_waits_for_ever() {
    let (upstream, redis) = (FakeUpstream::start(), Redis::start());
    let (front, worker) = divided(&redis, &upstream);
    let job = submit(&front, &get("/1"));
    wait_for(&front, &job, "completed");
    redis.hang();
    assert_is_without_a_store(&front, &job);
    redis.go_on();
    let next = submit_at_last(&front, &get("/2"));
    wait_for(&front, &next, "completed");
    drop((front, worker));
}

#[test]
fn a_job_that_runs_while_redis_is_away_ends_with_its_whole_result() {
    let upstream = FakeUpstream::start();
    let mut redis = Redis::start_durable();
    let gate = Gate::new();
    let late = raw("").then_await(&gate).then_do(answer(200).body("done"));
    upstream.script([late, answer(200).body("done").into()]);
    let (front, worker) = divided(&redis, &upstream);
    let job = submit(&front, &get("/"));
    upstream.wait_seen(1);
    redis.kill();
    gate.open();
    thread::sleep(A_WHILE);
    redis.run();
    let end = Instant::now() + PATIENCE;
    while front.ask(&status_of(&job)).status != 200 {
        assert!(Instant::now() < end, "the store does not come back:\n{}", front.log());
        thread::sleep(Duration::from_millis(50));
    }
    let content = loop {
        let response: Response = front.get(&format!("/__jobs/{job}/content?wait=10"));
        if response.status == 200 || Instant::now() > end {
            break response;
        }
    };
    assert_relayed(&content, 200, "done");
    drop((front, worker));
}

#[test]
fn what_was_flushed_is_gone_and_new_jobs_are_executed() {
    let (upstream, redis) = (FakeUpstream::start(), Redis::start());
    upstream.script([answer(200).body("first").into(), stall(), answer(200).body("third").into()]);
    let (front, worker) = divided(&redis, &upstream);
    let done = submit(&front, &get("/1"));
    wait_for(&front, &done, "completed");
    let running = submit(&front, &get("/2"));
    upstream.wait_seen(2);
    redis.flush();
    for job in [&done, &running] {
        for asked in [status_of(job), content_of(job), delete(job)] {
            assert_error(&front.ask(&asked), 404, "job_not_found");
        }
    }
    // Its worker finds that it has no lease any more.
    upstream.wait_all_closed();
    let next = submit(&front, &get("/3"));
    wait_for(&front, &next, "completed");
    assert_relayed(&front.ask(&content_of(&next)), 200, "third");
    drop((front, worker));
}

#[test]
fn a_redis_that_is_down_does_not_stop_the_start() {
    let upstream = FakeUpstream::start();
    let mut redis = Redis::down();
    let (front, worker) = divided(&redis, &upstream);
    assert_relayed(&front.get("/race"), 200, "ok");
    assert_error(&front.ask(&get("/x")), 503, "store_unavailable");
    redis.run();
    let job = submit_at_last(&front, &get("/x"));
    wait_for(&front, &job, "completed");
    drop((front, worker));
}
