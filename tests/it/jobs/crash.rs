//! 6.4: `kill -9` at any moment loses no accepted job, and nothing runs twice while its worker lives.
//!
//! Every process has a base path of its own for as long as it lives, so that the upstream knows who asks; and every answer
//! is made from the path it is for, so that a result shows which execution it is of, whole or not.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{ScratchFolder, content_of, queueing, status_of};
use crate::client::{Client, Response, post};
use crate::expect::{A_WHILE, assert_relayed};
use crate::forebay::{Forebay, Settings};
use crate::redis::Redis;
use crate::upstream::{Behaviour, FakeUpstream, Seen, answer};

/// At least so many jobs must be accepted.
const JOBS: usize = 300;

/// How long all of it may take in the end. Only a broken program makes it last that long.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn workers_and_redis_are_killed_and_no_job_is_lost() {
    let upstream = FakeUpstream::start();
    let redis = Redis::start_durable();
    let settings = redis.serves(settings(&upstream));
    let front = Hand::new(&upstream, "front", settings.clone().set("ROLES", "front"));
    let workers = ["a", "b"].map(|name| Hand::new(&upstream, name, settings.clone().set("ROLES", "worker")));
    let mut crew = Crew { front, workers: workers.into(), redis: Some(redis), outages: Vec::new() };
    survive(&upstream, &mut crew, 6);
}

#[test]
fn one_process_with_its_own_store_is_killed_and_no_job_is_lost() {
    let upstream = FakeUpstream::start();
    let folder = ScratchFolder::new();
    let both = Hand::new(&upstream, "both", settings(&upstream).set("DATA_DIR", &folder));
    let mut crew = Crew { front: both, workers: Vec::new(), redis: None, outages: Vec::new() };
    survive(&upstream, &mut crew, 7);
}

fn settings(upstream: &FakeUpstream) -> Settings {
    upstream.answer_with(|seen, _| answer_to(&seen.path()));
    queueing(upstream).set("JOB_LEASE_SECONDS", 4).set("QUEUE_CONCURRENCY", 5)
}

/// Submits, kills, and looks at what has become of it.
fn survive(upstream: &FakeUpstream, crew: &mut Crew, seed: u64) {
    let mut dice = Dice(seed);
    let mut accepted = HashMap::new();
    let mut number = 0;
    while accepted.len() < JOBS {
        for _ in 0..5 + dice.below(20) {
            number += 1;
            let job = crew.submit(number);
            assert!(accepted.insert(job, number).is_none(), "an id is given once");
        }
        thread::sleep(Duration::from_millis(dice.below(80)));
        number += 1;
        // One is on its way when the blow falls: whether it is accepted is open, but not what that means.
        if let Some(job) = crew.strike(&mut dice, number) {
            accepted.insert(job, number);
        }
    }
    let end = Instant::now() + PATIENCE;
    for (job, number) in &accepted {
        let found = crew.wait_for_end(job, end);
        if found["status"] == "completed" {
            assert_is_result(&crew.content(job), *number);
        } else {
            // Nothing but three crashes makes a job fail here.
            let error = found["error"].as_str().unwrap();
            assert!(error.starts_with("poisoned: ") && found["attempts"].as_u64() >= Some(3), "{found}");
        }
    }
    let before = runs_of(&upstream.seen());
    thread::sleep(A_WHILE);
    let after = runs_of(&upstream.seen());
    for (job, number) in &accepted {
        let [before, runs] = [&before, &after].map(|runs| runs.get(number).map(Vec::as_slice).unwrap_or_default());
        assert_eq!(runs.len(), before.len(), "{job} runs again, though it has ended: {runs:#?}");
        for pair in runs.windows(2) {
            assert!(crew.explains(&pair[0], &pair[1]), "{job} ran again, though nobody had died: {runs:#?}");
        }
        assert!(
            runs.iter().all(|run| !run.complete || run.body == question(*number)),
            "{number} arrives as it was sent"
        );
    }
}

/// What is sent: one in twenty is too large to lie beside its job.
fn question(number: usize) -> Vec<u8> {
    let length = if number.is_multiple_of(20) { 300_000 } else { 100 };
    noise(number as u64, length)
}

/// What is answered: one in ten is recorded in several pieces, and all of them slowly enough to be interrupted.
fn answer_to(path: &str) -> Behaviour {
    let body = answer_body(path);
    let (first, second) = body.split_at(body.len() / 2);
    let pause = Duration::from_millis(seed_of(path) % 60);
    answer(200).chunked_head().then_chunk(first).then_pause(pause).then_chunk(second).then_last_chunk()
}

fn answer_body(path: &str) -> Vec<u8> {
    let seed = seed_of(path);
    let length = if seed.is_multiple_of(10) { 400_000 } else { 20 + seed % 2000 };
    let mut body = format!("{path}\n").into_bytes();
    body.extend(noise(seed, usize::try_from(length).unwrap()));
    body
}

/// A result is the whole answer to one execution of this job, from its first byte to its last.
#[track_caller]
fn assert_is_result(content: &Response, number: usize) {
    let end = content.body.iter().position(|byte| *byte == b'\n').unwrap_or_default();
    let path = String::from_utf8_lossy(&content.body[..end]).into_owned();
    assert!(path.ends_with(&format!("/{number}")), "the answer to {number}: {content:?}");
    assert_relayed(content, 200, answer_body(&path));
}

/// The executions of each job, in their order.
fn runs_of(seen: &[Seen]) -> HashMap<usize, Vec<Seen>> {
    let mut runs: HashMap<usize, Vec<Seen>> = HashMap::new();
    for seen in seen {
        let number = seen.path().rsplit_once('/').unwrap().1.parse().unwrap();
        runs.entry(number).or_default().push(seen.clone());
    }
    runs
}

/// All processes.
struct Crew {
    front: Hand,
    workers: Vec<Hand>,
    redis: Option<Redis>,
    /// From when to when there was no Redis.
    outages: Vec<(Instant, Instant)>,
}

impl Crew {
    /// Submits until it is accepted: a store that has just come back may still refuse.
    #[track_caller]
    fn submit(&self, number: usize) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let response = self.front.forebay.ask(&post(format!("/{number}"), question(number)));
            if response.status == 202 {
                return super::id(&response);
            }
            assert!(response.status == 503 && Instant::now() < end, "{response:?}\n{}", self.front.forebay.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills somebody while a job is submitted, and starts him again. The job, if it was accepted.
    fn strike(&mut self, dice: &mut Dice, number: usize) -> Option<String> {
        let mut client = self.front.forebay.connect();
        client.send(post(format!("/{number}"), question(number)).bytes());
        thread::sleep(Duration::from_millis(dice.below(5)));
        let answer = |mut client: Client| Some(client.read("POST")).filter(|r| r.status == 202 && r.is_complete());
        let response = match (dice.below(10), &mut self.redis) {
            (0..3, Some(redis)) => {
                let begin = Instant::now();
                redis.kill();
                let response = answer(client);
                redis.run();
                self.outages.push((begin, Instant::now()));
                response
            }
            (3..9, _) if !self.workers.is_empty() => {
                let victim = usize::from(dice.below(2) == 0);
                self.workers[victim].kill_and_start_again();
                answer(client)
            }
            _ => {
                self.front.kill_and_start_again();
                answer(client)
            }
        };
        response.map(|response| super::id(&response))
    }

    #[track_caller]
    fn wait_for_end(&self, job: &str, end: Instant) -> Value {
        loop {
            let response = self.front.forebay.ask(&status_of(job));
            assert!(matches!(response.status, 200 | 503), "{job} was accepted: {response:?}");
            let found: Value = serde_json::from_slice(&response.body).unwrap();
            if found["status"] == "completed" || found["status"] == "failed" {
                return found;
            }
            assert!(Instant::now() < end, "{job} does not end: {found}\n{}", self.front.forebay.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn content(&self, job: &str) -> Response {
        self.front.forebay.ask(&content_of(job))
    }

    /// Whether somebody died between two executions: the one that had the first, or Redis.
    fn explains(&self, first: &Seen, second: &Seen) -> bool {
        let path = first.path();
        let dead = self.hands().any(|hand| {
            hand.deaths.iter().any(|(base, at)| path.starts_with(&format!("/{base}/")) && *at <= second.at)
        });
        dead || self.outages.iter().any(|(begin, end)| *begin <= second.at && first.at <= *end)
    }

    fn hands(&self) -> impl Iterator<Item = &Hand> {
        self.workers.iter().chain([&self.front])
    }
}

/// One process, and those that were in its place before.
struct Hand {
    name: &'static str,
    upstream: String,
    settings: Settings,
    forebay: Forebay,
    /// The base paths of those that died, and when.
    deaths: Vec<(String, Instant)>,
}

impl Hand {
    #[track_caller]
    fn new(upstream: &FakeUpstream, name: &'static str, settings: Settings) -> Self {
        let forebay = start(&settings, &upstream.url(), &base(name, 0));
        Self { name, upstream: upstream.url(), settings, forebay, deaths: Vec::new() }
    }

    #[track_caller]
    fn kill_and_start_again(&mut self) {
        self.forebay.kill();
        self.deaths.push((base(self.name, self.deaths.len()), Instant::now()));
        self.forebay = start(&self.settings, &self.upstream, &base(self.name, self.deaths.len()));
    }
}

fn base(name: &str, life: usize) -> String {
    format!("{name}{life}")
}

#[track_caller]
fn start(settings: &Settings, upstream: &str, base: &str) -> Forebay {
    settings.clone().set("UPSTREAM_BASE_URL", format!("{upstream}/{base}")).start()
}

/// Random numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut dice = Dice(seed);
    let mut bytes: Vec<u8> = (0..=length / 8).flat_map(|_| dice.next().to_le_bytes()).collect();
    bytes.truncate(length);
    bytes
}

fn seed_of(text: &str) -> u64 {
    // FNV-1a.
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
