//! The connection for news: one for the process, by which it hears what others do in the store.
//!
//! Redis tells whoever is connected, and forgets. What is missed while there is no connection is made up for: once there is
//! one again, everybody who waits is told to look. What this process did itself it has been told already, so that news
//! names the process it comes from.

use std::collections::HashSet;
use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{PushInfo, PushKind, Value};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::dial::{Dialled, Listener};
use super::failure::Failure;
use super::keys::{Channel, Keys};
use super::reach::Reach;
use crate::ids::JobId;
use crate::store::{Changes, Topic};

/// How long the server may take for an answer.
const ANSWER: Duration = Duration::from_secs(2);
/// How often the server is asked whether it is still there, and channels are left that nobody listens to any more.
const ROUND: Duration = Duration::from_secs(2);
/// Who begins to wait is joined by others: they are subscribed together. What ends sooner needs no subscription.
const GATHER: Duration = Duration::from_millis(5);
/// How many channels are named at once.
const CHANNELS: usize = 500;
/// The pause before the next try to connect.
const PAUSE: Duration = Duration::from_millis(500);

/// Hears news and hands it out.
pub(super) struct Wake {
    pub(super) reach: Arc<Reach>,
    pub(super) keys: Keys,
    pub(super) changes: Changes,
    /// The name of this process on the channels.
    pub(super) process: String,
}

impl Wake {
    /// Listens until it is told to close.
    pub(super) async fn run(self, closing: CancellationToken) {
        let listening = async {
            for number in 0.. {
                let failure = self.listen(number).await;
                tracing::debug!(url = %self.reach.url(), "no news of the store: {}", failure.words());
                sleep(PAUSE).await;
            }
        };
        tokio::select! {
            () = closing.cancelled() => {}
            () = listening => {}
        }
    }

    /// Listens on one connection until it ends.
    async fn listen(&self, number: usize) -> Failure {
        let Dialled { connection, driver } = match self.reach.connect(number, Some(self.listener())).await {
            Ok(dialled) => dialled,
            Err(failure) => return failure,
        };
        tokio::select! {
            () = driver => Failure::Gone("the server closes the connection".into()),
            Err(failure) = self.follow(connection) => failure,
        }
    }

    /// Subscribes to what is waited for, and watches over the connection.
    async fn follow(&self, mut connection: MultiplexedConnection) -> Result<Infallible, Failure> {
        let (mut interest, mut heard) = (self.changes.interest(), HashSet::new());
        let always = [Channel::Work, Channel::Cancelled].map(|channel| self.keys.channel(channel));
        answered(connection.subscribe(&always[..])).await?;
        self.subscribe(&mut connection, &mut heard).await?;
        // Whatever happened before.
        self.changes.tell_all();
        let mut next_round = Instant::now() + ROUND;
        loop {
            tokio::select! {
                _ = interest.changed() => sleep(GATHER).await,
                () = tokio::time::sleep_until(next_round) => {
                    answered(connection.send_packed_command(&redis::cmd("PING"))).await?;
                    self.unsubscribe(&mut connection, &mut heard).await?;
                    next_round = Instant::now() + ROUND;
                }
            }
            for job in self.subscribe(&mut connection, &mut heard).await? {
                // What happened between its beginning to wait and its being heard.
                self.changes.tell(Topic::Job(job));
            }
        }
    }

    /// Listens to the jobs that somebody waits for by now. Answers which are new.
    async fn subscribe(
        &self,
        connection: &mut MultiplexedConnection,
        heard: &mut HashSet<JobId>,
    ) -> Result<Vec<JobId>, Failure> {
        let new: Vec<_> = self.changes.jobs().into_iter().filter(|job| !heard.contains(job)).collect();
        for jobs in new.chunks(CHANNELS) {
            answered(connection.subscribe(self.channels_of(jobs))).await?;
        }
        heard.extend(&new);
        Ok(new)
    }

    /// Listens no more to those that nobody waits for. Now and then is often enough: who waits again is heard at once.
    async fn unsubscribe(
        &self,
        connection: &mut MultiplexedConnection,
        heard: &mut HashSet<JobId>,
    ) -> Result<(), Failure> {
        let wanted: HashSet<_> = self.changes.jobs().into_iter().collect();
        let old: Vec<_> = heard.difference(&wanted).copied().collect();
        for jobs in old.chunks(CHANNELS) {
            answered(connection.unsubscribe(self.channels_of(jobs))).await?;
        }
        heard.retain(|job| wanted.contains(job));
        Ok(())
    }

    fn channels_of(&self, jobs: &[JobId]) -> Vec<String> {
        jobs.iter().map(|job| self.keys.channel(Channel::Changed(*job))).collect()
    }

    /// Passes on what comes.
    fn listener(&self) -> Listener {
        let (keys, changes, process) = (self.keys.clone(), self.changes.clone(), self.process.clone());
        Arc::new(move |push: PushInfo| {
            if let Some(topic) = topic(&keys, &process, &push) {
                changes.tell(topic);
            }
            Ok::<_, Infallible>(())
        })
    }
}

/// What a push tells, if it is news.
fn topic(keys: &Keys, process: &str, push: &PushInfo) -> Option<Topic> {
    let (PushKind::Message, [Value::BulkString(channel), Value::BulkString(message)]) = (&push.kind, &push.data[..])
    else {
        return None;
    };
    let is_own = message == process.as_bytes();
    match keys.channel_named(channel)? {
        Channel::Cancelled => std::str::from_utf8(message).ok()?.parse().ok().map(Topic::Cancelled),
        Channel::Work => (!is_own).then_some(Topic::Queue),
        Channel::Changed(job) => (!is_own).then_some(Topic::Job(job)),
    }
}

async fn answered<T>(asking: impl Future<Output = redis::RedisResult<T>>) -> Result<T, Failure> {
    match timeout(ANSWER, asking).await {
        Ok(answer) => answer.map_err(|error| Failure::of(&error)),
        Err(_) => Err(Failure::Silent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_is_of_a_topic_unless_this_process_made_it() {
        let (keys, job) = (Keys::new("p:", "q").unwrap(), JobId::random());
        let push = |channel, message: &str| PushInfo {
            kind: PushKind::Message,
            data: vec![
                Value::BulkString(keys.channel(channel).into_bytes()),
                Value::BulkString(message.as_bytes().to_vec()),
            ],
        };
        for (channel, message, expected) in [
            (Channel::Work, "other", Some(Topic::Queue)),
            (Channel::Work, "me", None),
            (Channel::Changed(job), "", Some(Topic::Job(job))),
            (Channel::Changed(job), "me", None),
            (Channel::Cancelled, &job.to_string(), Some(Topic::Cancelled(job))),
            (Channel::Cancelled, "me", None),
        ] {
            assert_eq!(topic(&keys, "me", &push(channel, message)), expected, "{channel:?} {message}");
        }
        let disconnection = PushInfo { kind: PushKind::Disconnection, data: vec![] };
        assert_eq!(topic(&keys, "me", &disconnection), None);
    }
}
