//! Jobs: requests that outlive their clients (contract 6). On the embedded store, where nothing else is said.

mod command;
mod crash;
mod executing;
mod lanes;
mod memory;
mod operating;
mod overflow;
mod prefer;
mod reading;
mod redis;
mod restarts;
mod submitting;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::client::{Client, Request, Response, get, request};
use super::forebay::{Forebay, Settings};
use super::upstream::FakeUpstream;

/// How long a job may take that should take no time. Only a broken program makes it last that long.
const PATIENCE: Duration = Duration::from_secs(30);

/// The queue lane, with a store that goes with the process.
fn queueing(upstream: &FakeUpstream) -> Settings {
    storing(upstream).set("LANE", "queue")
}

/// The lane of each test's own, with a store that goes with the process.
fn storing(upstream: &FakeUpstream) -> Settings {
    Settings::in_front_of(upstream).set("STORE", "embedded")
}

/// Sends a request that must become a job: its id.
#[track_caller]
fn submit(forebay: &Forebay, request: &Request) -> String {
    let response = forebay.ask(request);
    assert_eq!(response.status, 202, "a job: {response:?}");
    id(&response)
}

/// The id of the job that a request has become.
#[track_caller]
fn id(response: &Response) -> String {
    let body: Value = serde_json::from_slice(&response.body).unwrap();
    body["jobId"].as_str().unwrap().to_owned()
}

fn status_of(job: &str) -> Request {
    get(format!("/__jobs/{job}"))
}

fn content_of(job: &str) -> Request {
    get(format!("/__jobs/{job}/content"))
}

fn delete(job: &str) -> Request {
    request("DELETE", format!("/__jobs/{job}"))
}

/// What is known of a job now.
#[track_caller]
fn status(forebay: &Forebay, job: &str) -> Value {
    let response = forebay.ask(&status_of(job));
    assert_eq!(response.status, 200, "{response:?}");
    serde_json::from_slice(&response.body).unwrap()
}

/// Waits until a job has this status: what is known of it then.
#[track_caller]
fn wait_for(forebay: &Forebay, job: &str, wanted: &str) -> Value {
    let end = Instant::now() + PATIENCE;
    loop {
        let found = status(forebay, job);
        if found["status"] == wanted {
            return found;
        }
        let is_final = found["status"] == "completed" || found["status"] == "failed";
        assert!(!is_final && Instant::now() < end, "waited in vain for {wanted}: {found}\n{}", forebay.log());
        thread::sleep(Duration::from_millis(10));
    }
}

/// Sends a request that becomes a job, waits until that is completed, and fetches what it came to.
#[track_caller]
pub fn run(forebay: &Forebay, request: &Request) -> Response {
    let job = submit(forebay, request);
    wait_for(forebay, &job, "completed");
    forebay.ask(&content_of(&job))
}

/// Somebody who reads a recording while it is written.
struct Follower {
    client: Client,
    response: Response,
}

impl Follower {
    /// From this byte on; waits for the head.
    #[track_caller]
    fn of(forebay: &Forebay, job: &str, from: usize) -> Self {
        let mut client = forebay.connect();
        client.send(get(format!("/__jobs/{job}/content?follow=true&wait=30&from={from}")).bytes());
        let response = client.read_head("GET");
        assert_eq!(response.status, 200, "{response:?}");
        Self { client, response }
    }

    /// Reads until all of this is there, and nothing else.
    #[track_caller]
    fn reads(&mut self, all: &str) {
        self.client.read_body(&mut self.response, all.len());
        assert_eq!(self.response.text(), all);
    }

    /// Reads to the end, whatever it is.
    fn read_to_the_end(mut self) -> Response {
        self.client.read_rest(&mut self.response);
        self.response
    }
}

/// A folder for as long as the test runs.
pub struct ScratchFolder(PathBuf);

impl ScratchFolder {
    pub fn new() -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("it-{}-folder-{number}", std::process::id())))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl std::fmt::Display for ScratchFolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.display().fmt(f)
    }
}

impl Drop for ScratchFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
