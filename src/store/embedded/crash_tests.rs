//! The process is killed at any moment, again and again: what was said to be stored is stored.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use tokio::task::JoinSet;

use super::EmbeddedStore;
use super::fixture::Folder;
use crate::ids::JobId;
use crate::job::{Status, Title};
use crate::store::suite::Limits;
use crate::store::{Batch, Claimed, NewBody, NewJob, Settle, Standing, Start, Store, Submitted};

const HOUR: Duration = Duration::from_secs(3600);
const ROUNDS: u32 = 6;

/// What the process says that is to be killed, in front of the id of a job.
const ACCEPTED: &str = "accepted ";
const COMPLETED: &str = "completed ";

/// What the result of a job is.
fn content(job: JobId) -> String {
    format!("the result of {job} ").repeat(100)
}

#[tokio::test]
async fn what_was_said_to_be_stored_survives_a_kill_at_any_moment() {
    let folder = Folder::new();
    let (mut accepted, mut completed) = (HashSet::new(), HashSet::new());
    for round in 1..=ROUNDS {
        let words = run_and_kill(&folder, usize::try_from(round).unwrap() * 37);
        for word in words {
            // The first may stand in the line with which the test harness begins.
            let id = |mark| word.split_once(mark).map(|(_, id)| id.parse::<JobId>().unwrap());
            accepted.extend(id(ACCEPTED));
            completed.extend(id(COMPLETED));
        }
        check(&folder, &accepted, &completed).await;
    }
    assert!(accepted.len() > 50 && completed.len() > 10, "{} and {}", accepted.len(), completed.len());
}

/// Runs the process below, and kills it when it has said so much. The answer is all that it has said.
fn run_and_kill(folder: &Folder, lines: usize) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "store::embedded::crash_tests::the_process_that_is_killed"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(child.stdin.take().unwrap(), "{}", folder.path().display()).unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut words: Vec<String> = said.by_ref().take(lines).map(Result::unwrap).collect();
    child.kill().unwrap();
    words.extend(said.map(Result::unwrap));
    // The last line is cut off where it was when the process ended.
    words.retain(|word| word.ends_with('.'));
    child.wait().unwrap();
    words.into_iter().map(|word| word.trim_end_matches('.').to_owned()).collect()
}

async fn check(folder: &Folder, accepted: &HashSet<JobId>, completed: &HashSet<JobId>) {
    let store = folder.try_open(&Limits::default()).await.unwrap();
    for id in accepted {
        assert!(store.status(*id).await.unwrap().is_some(), "{id} is lost");
    }
    for id in completed {
        let page = store.read(*id, 0, usize::MAX).await.unwrap().unwrap();
        assert_eq!(page.record.status, Status::Completed);
        assert_eq!(page.data.concat(), content(*id).as_bytes());
    }
    store.close().await.unwrap();
    let sql = Connection::open(folder.path().join("store.db")).unwrap();
    let intact: String = sql.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(intact, "ok");
    let sums = "SELECT bytes, (SELECT count(*) * 512 FROM jobs)
                + (SELECT ifnull(sum(length(request) + length(body)), 0) FROM requests)
                + (SELECT ifnull(sum(length(data)), 0) FROM pieces)
                + (SELECT ifnull(sum(ifnull(length(head), 0) + ifnull(length(ending), 0)), 0) FROM rolls) FROM totals";
    let (kept, counted): (i64, i64) = sql.query_row(sums, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    assert_eq!(kept, counted);
}

/// Submits and executes jobs, and says so, until it is killed. Where the store is it reads from its input.
#[test]
#[ignore = "it is started by the test above, as a process of its own"]
fn the_process_that_is_killed() {
    let mut folder = String::new();
    std::io::stdin().read_line(&mut folder).unwrap();
    if folder.is_empty() {
        // Nobody has started it but the test harness.
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let folder = Folder::at(folder.trim_end());
        let store = Arc::new(folder.try_open(&Limits::default()).await.unwrap());
        let mut tasks = JoinSet::new();
        for _ in 0..3 {
            tasks.spawn(submit_for_ever(Arc::clone(&store)));
            tasks.spawn(execute_for_ever(Arc::clone(&store)));
        }
        tasks.join_all().await;
    });
}

fn say(mark: &str, job: JobId) {
    let line = format!("{mark}{job}.\n");
    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
}

async fn submit_for_ever(store: Arc<EmbeddedStore>) {
    loop {
        let job = NewJob {
            id: JobId::random(),
            title: Title::new("default", "POST", "/x"),
            owner: None,
            request: "request".into(),
            body: NewBody::Inline("body".into()),
            idempotency: None,
            start: Start::Queued,
            retention: HOUR,
        };
        let id = job.id;
        assert_eq!(store.submit(job).await, Ok(Submitted::Accepted(None)));
        say(ACCEPTED, id);
    }
}

async fn execute_for_ever(store: Arc<EmbeddedStore>) {
    loop {
        for job in store.claim(2).await.unwrap().jobs {
            execute(&store, job).await;
        }
    }
}

async fn execute(store: &EmbeddedStore, job: Claimed) {
    let (id, content) = (job.lease.job, content(job.lease.job));
    let (first, second) = content.split_at(content.len() / 3);
    let end = Settle::Completed { end: "end".into(), retention: HOUR };
    for batch in [
        Batch { head: Some("head".into()), ..Batch::default() },
        Batch { data: vec![first.to_owned().into()], ..Batch::default() },
        Batch { at: first.len() as u64, data: vec![second.to_owned().into()], settle: Some(end), ..Batch::default() },
    ] {
        assert_eq!(store.record(job.lease, batch).await, Ok(Standing::Held));
    }
    say(COMPLETED, id);
}
