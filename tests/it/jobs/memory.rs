//! What jobs hold in memory does not grow with their number, or with the length of what is recorded.

use std::thread;

use super::{ScratchFolder, queueing, submit, wait_for};
use crate::client::{get, post};
use crate::expect::assert_relayed;
use crate::forebay::Forebay;
use crate::upstream::{FakeUpstream, raw, stall};

const MIB: usize = 1 << 20;

#[test]
fn a_response_is_recorded_and_read_without_being_held() {
    let upstream = FakeUpstream::start();
    let length = 256 * MIB;
    upstream.script([raw(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")).then_flood(length)]);
    let folder = ScratchFolder::new();
    let forebay = queueing(&upstream).set("DATA_DIR", &folder).start();
    let before = forebay.memory();
    let job = submit(&forebay, &get("/"));
    let (mut most, mut flooded) = (0, 0);
    while flooded < length {
        let seen = upstream.wait("more of the flood", |seen| seen.first().is_some_and(|seen| seen.flooded > flooded));
        flooded = seen[0].flooded;
        most = most.max(forebay.memory());
    }
    let done = wait_for(&forebay, &job, "completed");
    most = most.max(forebay.memory());
    assert!(most < before + 64 * MIB, "{} MiB are held of 256: {done}", (most - before) / MIB);
    // One that reads nothing while all of it is there.
    let mut sleeping = forebay.connect().with_small_window();
    sleeping.send(get(format!("/__jobs/{job}/content")).bytes());
    assert_eq!(sleeping.read_head("GET").get("content-length"), Some(length.to_string()));
    let end = forebay.get(&format!("/__jobs/{job}/content?from={}", length - MIB));
    assert_relayed(&end, 200, vec![b'f'; MIB]);
    let read = forebay.memory();
    assert!(read < before + 64 * MIB, "{} MiB are held for one who reads nothing", (read - before) / MIB);
}

#[test]
fn thousands_of_jobs_wait_outside_of_memory() {
    let upstream = FakeUpstream::start();
    upstream.script([stall()]);
    let forebay = queueing(&upstream).set("QUEUE_CONCURRENCY", 1).start();
    let body = vec![b'b'; 10_000];
    submit_many(&forebay, &body, 500);
    let before = forebay.memory();
    submit_many(&forebay, &body, 5000);
    let grown = forebay.memory().saturating_sub(before);
    // Their bodies alone are 48 MiB.
    assert!(grown < 24 * MIB, "{} KiB more for 5,000 jobs that wait", grown / 1024);
}

/// Several at a time, so that they share what it costs to write durably.
fn submit_many(forebay: &Forebay, body: &[u8], count: usize) {
    thread::scope(|scope| {
        for client in 0..10 {
            scope.spawn(move || {
                let mut connection = forebay.connect();
                for n in 0..count / 10 {
                    let response = connection.ask(&post(format!("/{client}/{n}"), body));
                    assert_eq!(response.status, 202, "{response:?}");
                }
            });
        }
    });
}
