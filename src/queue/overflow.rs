//! A race that may become a job with its attempt in flight (contract 6.3, walk C).
//!
//! The race runs in a task of its own, so that it can outlive its client. Until it overflows it ends with its client.

use std::sync::Arc;
use std::time::Duration;

use http::Response;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::execution::{self, Account, Execution, Outcome};
use super::{Asked, Queue, Ticket};
use crate::answer::Answer;
use crate::body::Snapshot;
use crate::job::Lease;
use crate::race::{self, Adopted, Course, Expectation, Mode, RaceEnd, Timeline, run_until_overflow};
use crate::routes::Route;
use crate::store::Start;
use crate::time::LazyDeadline;
use crate::upstream::{Head, Outbound};

/// A race, and what would be stored of it.
#[derive(Debug)]
pub struct Raced {
    /// Where it is run.
    pub route: Arc<Route>,
    /// The request.
    pub outbound: Outbound,
    /// Which deadline its attempts have.
    pub expectation: Expectation,
    /// When it becomes a job.
    pub overflow: race::OverflowPoint,
    /// The job.
    pub asked: Asked,
    /// …and its body.
    pub body: Snapshot,
}

/// How it ended for its client.
#[derive(Debug)]
pub struct Verdict {
    /// With what.
    pub end: Ended,
    /// What became of its attempts.
    pub timeline: Timeline,
}

/// With what a race that may become a job ends for its client.
#[derive(Debug)]
pub enum Ended {
    /// With a head, in time.
    Head(Box<Head>),
    /// Without one, and without a job.
    Failed(Answer),
    /// The request has become a job.
    Accepted(Ticket),
}

impl Queue {
    /// Runs a race that may become a job. None = the process was cut.
    ///
    /// Dropping the future – the client left – ends the race, unless it has begun to become a job: that runs on.
    pub async fn race(self: &Arc<Self>, raced: Raced) -> Option<Verdict> {
        let (client, verdict) = oneshot::channel();
        self.tasks.spawn(run(Arc::clone(self), raced, client));
        verdict.await.ok()
    }
}

async fn run(queue: Arc<Queue>, raced: Raced, mut client: oneshot::Sender<Verdict>) {
    let Raced { route, outbound, expectation, overflow, asked, body } = raced;
    let (mut timer, mut timeline) = (LazyDeadline::default(), Timeline::new(Arc::clone(&route.stats)));
    let course = Course {
        pool: &route.pool,
        policy: &route.settings.policy,
        mode: Mode::Race,
        budget: &route.budget,
        hedge_budget: &route.hedge_budget,
    };
    let end = tokio::select! {
        biased;
        () = client.closed() => return,
        end = run_until_overflow(course, &outbound, expectation, overflow, &mut timer, &mut timeline) => end,
    };
    let overflowed = match end {
        RaceEnd::Committed(committed) => return tell(client, Ended::Head(Box::new(committed.head)), timeline),
        RaceEnd::Failed(failed) => return give_up(client, &failed, timeline),
        RaceEnd::Overflowed(overflowed) => overflowed,
    };
    let start = if overflowed.can_be_adopted() { Start::Adopted } else { Start::Queued };
    let job = Job { limit: asked.timeout, title: asked.title(), route: Arc::clone(&route) };
    let storing = queue.submit(asked, &body, start);
    let (stored, end) = overflowed.during(storing, &mut timer, &mut timeline).await;
    let lease = match stored {
        Ok(ticket) => {
            if ticket.lease.is_none() {
                // Whoever claims it executes it anew; under a known key it is somebody's already.
                drop(end);
                return tell(client, Ended::Accepted(ticket), timeline);
            }
            ticket.lease.map(|lease| (ticket, lease))
        }
        Err(answer) => {
            tracing::warn!(code = answer.code.as_str(), "a race cannot become a job, and goes on");
            None
        }
    };
    match (lease, end) {
        (None, RaceEnd::Committed(committed)) => tell(client, Ended::Head(Box::new(committed.head)), timeline),
        (None, RaceEnd::Failed(failed)) => give_up(client, &failed, timeline),
        (None, RaceEnd::Overflowed(overflowed)) => {
            let end = tokio::select! {
                biased;
                () = client.closed() => return,
                end = overflowed.go_on(&mut timer, &mut timeline) => end,
            };
            match end {
                RaceEnd::Committed(committed) => tell(client, Ended::Head(Box::new(committed.head)), timeline),
                RaceEnd::Failed(failed) => give_up(client, &failed, timeline),
            }
        }
        // The head came while the job was stored: it is the result.
        (Some((ticket, lease)), RaceEnd::Committed(committed)) => {
            let mut execution = job.begin(&queue, lease);
            let account = Account::of(&timeline);
            tell(client, Ended::Accepted(ticket), timeline);
            let response = Response::from_parts(committed.head.parts, committed.head.body);
            let recorded = execution::record(&queue, &route, lease, 0, &outbound.method, response, None);
            let outcome = execution.watched(job.limit, recorded).await;
            execution.settle(outcome, account).await;
        }
        (Some((ticket, lease)), RaceEnd::Failed(failed)) => {
            let execution = job.begin(&queue, lease);
            let account = Account::of(&timeline);
            let outcome = Outcome::Failed(execution::failed(&failed, timeline.attempts()));
            tell(client, Ended::Accepted(ticket), timeline);
            execution.settle(outcome, account).await;
        }
        (Some((ticket, lease)), RaceEnd::Overflowed(overflowed)) => {
            let mut execution = job.begin(&queue, lease);
            let adopted = overflowed.adopt(&mut timeline);
            tell(client, Ended::Accepted(ticket), timeline);
            let Ok(mut adopted) = adopted else {
                // The attempt ended just now: another execution begins at once, and counts for nothing.
                return execution.settle(Outcome::Cut, Account::default()).await;
            };
            let outcome = execution.watched(job.limit, go_on(&queue, &route, lease, &outbound, &mut adopted)).await;
            execution.settle(outcome, Account::of(adopted.timeline())).await;
        }
    }
}

/// Waits for the head of the adopted attempt, and records what follows.
async fn go_on(
    queue: &Arc<Queue>,
    route: &Arc<Route>,
    lease: Lease,
    outbound: &Outbound,
    adopted: &mut Adopted<'_>,
) -> Outcome {
    match adopted.head().await {
        Ok(head) => {
            let response = Response::from_parts(head.parts, head.body);
            execution::record(queue, route, lease, 0, &outbound.method, response, None).await
        }
        Err(failed) => Outcome::Failed(execution::failed(&failed, adopted.timeline().attempts())),
    }
}

/// What is known of the job before it is one.
struct Job {
    limit: Duration,
    title: execution::Title,
    route: Arc<Route>,
}

impl Job {
    /// Its execution begins here, under this lease.
    fn begin(&self, queue: &Arc<Queue>, lease: Lease) -> Execution {
        Execution {
            queue: Arc::clone(queue),
            kept: queue.keeper.keep(lease),
            route: Some(Arc::clone(&self.route)),
            retries: 0,
            title: self.title.clone(),
            start: Instant::now(),
        }
    }
}

/// A client that has left meanwhile does not hear it.
fn tell(client: oneshot::Sender<Verdict>, end: Ended, timeline: Timeline) {
    let _ = client.send(Verdict { end, timeline });
}

fn give_up(client: oneshot::Sender<Verdict>, failed: &race::Failed, timeline: Timeline) {
    let answer = race::failure_in_words(failed, timeline.attempts());
    tell(client, Ended::Failed(answer), timeline);
}
