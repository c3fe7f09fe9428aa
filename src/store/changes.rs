//! Who waits for what: the news of a store, handed out in this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::ids::JobId;

/// What there can be news of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    /// There may be something to claim.
    Queue,
    /// The job's state or its recording has changed, or the job is gone.
    Job(JobId),
    /// A job is gone that this process executes.
    Cancelled(JobId),
}

/// Hands news to those who wait for it. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Changes(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    topics: Mutex<HashMap<Topic, watch::Sender<()>>>,
    /// Told whenever the topics that somebody waits for become others: a store that has to subscribe to them looks then.
    interest: watch::Sender<()>,
}

/// Waits for news of one topic. Dropped, it waits no more.
#[derive(Debug)]
pub struct Watch {
    topic: Topic,
    /// None once it is being dropped.
    news: Option<watch::Receiver<()>>,
    changes: Changes,
}

impl Changes {
    /// Waits for news of a topic from now on.
    pub fn watch(&self, topic: Topic) -> Watch {
        let mut topics = self.0.topics.lock().unwrap_or_else(PoisonError::into_inner);
        let mut is_new = false;
        let news = topics
            .entry(topic)
            .or_insert_with(|| {
                is_new = true;
                watch::Sender::default()
            })
            .subscribe();
        drop(topics);
        if is_new {
            self.0.interest.send_replace(());
        }
        Watch { topic, news: Some(news), changes: self.clone() }
    }

    /// There is news of this topic.
    pub fn tell(&self, topic: Topic) {
        let topics = self.0.topics.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(news) = topics.get(&topic) {
            news.send_replace(());
        }
    }

    /// There may be news of everything: after a time in which it could not be heard.
    pub fn tell_all(&self) {
        let topics = self.0.topics.lock().unwrap_or_else(PoisonError::into_inner);
        topics.values().for_each(|news| {
            news.send_replace(());
        });
    }

    /// The jobs that somebody waits for.
    pub fn jobs(&self) -> Vec<JobId> {
        let topics = self.0.topics.lock().unwrap_or_else(PoisonError::into_inner);
        let job = |topic: &Topic| if let Topic::Job(job) = topic { Some(*job) } else { None };
        topics.keys().filter_map(job).collect()
    }

    /// Hears whenever the topics become others.
    pub fn interest(&self) -> watch::Receiver<()> {
        self.0.interest.subscribe()
    }
}

impl Watch {
    /// Resolves with the next news: at once if there was some since the last time. Cancel-safe.
    pub async fn changed(&mut self) {
        let heard = match &mut self.news {
            Some(news) => news.changed().await,
            None => return,
        };
        if heard.is_err() {
            // The sender is kept as long as somebody waits.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.news = None;
        let mut topics = self.changes.0.topics.lock().unwrap_or_else(PoisonError::into_inner);
        let is_last = topics.get(&self.topic).is_some_and(|news| news.receiver_count() == 0);
        if is_last {
            topics.remove(&self.topic);
        }
        drop(topics);
        if is_last {
            self.changes.0.interest.send_replace(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    fn has_news(watch: &mut Watch) -> bool {
        pin!(watch.changed()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[tokio::test]
    async fn news_reaches_all_who_wait_for_its_topic_and_nobody_else() {
        let (changes, job) = (Changes::default(), JobId::random());
        let mut first = changes.watch(Topic::Job(job));
        let mut second = changes.watch(Topic::Job(job));
        let mut other = changes.watch(Topic::Cancelled(job));
        assert!(!has_news(&mut first));
        changes.tell(Topic::Job(job));
        changes.tell(Topic::Job(job));
        assert!(has_news(&mut first) && has_news(&mut second) && !has_news(&mut other));
        assert!(!has_news(&mut first), "news is heard once");
        changes.tell_all();
        assert!(has_news(&mut first) && has_news(&mut other));
    }

    #[tokio::test]
    async fn interest_changes_with_the_first_who_waits_and_with_the_last() {
        let (changes, job) = (Changes::default(), JobId::random());
        let mut interest = changes.interest();
        let first = changes.watch(Topic::Job(job));
        assert!(interest.has_changed().unwrap());
        interest.mark_unchanged();
        let second = changes.watch(Topic::Job(job));
        drop(first);
        assert!(!interest.has_changed().unwrap());
        assert_eq!(changes.jobs(), [job]);
        drop(second);
        assert!(interest.has_changed().unwrap());
        assert_eq!(changes.jobs(), []);
    }
}
