//! Claims jobs that are due and has them executed, as many at once as may be.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{Queue, execution};
use crate::store::{Claims, Topic};

/// News can be lost: so often is looked all the same.
const LOOK: Duration = Duration::from_secs(1);
/// The pause after a claim that the store did not answer.
const STORE_PAUSE: Duration = Duration::from_millis(500);
/// How often is looked for what is past its time.
const SWEEP: Duration = Duration::from_secs(1);

/// Claims and executes until the process drains. A store that does not answer is asked again.
pub(super) async fn work(queue: Arc<Queue>) {
    let places = Arc::new(Semaphore::new(queue.settings.concurrency));
    let mut news = queue.store.changes().watch(Topic::Queue);
    let mut draining = std::pin::pin!(queue.shutdown.draining());
    let mut is_silent = false;
    loop {
        let first = tokio::select! {
            biased;
            () = draining.as_mut() => return,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        // The semaphore is never closed.
        let Ok(first) = first else { return };
        let most = 1 + places.available_permits();
        let claimed = queue.store.claim(most).await;
        let claims = match claimed {
            Ok(claims) => {
                if std::mem::take(&mut is_silent) {
                    tracing::info!("the store answers again: jobs are executed");
                }
                claims
            }
            Err(error) => {
                if !std::mem::replace(&mut is_silent, true) {
                    tracing::warn!(%error, "no job can be claimed");
                }
                drop(first);
                let _ = timeout(STORE_PAUSE, draining.as_mut()).await;
                continue;
            }
        };
        count(&queue, &claims);
        let (is_all, next) = (claims.jobs.len() < most, claims.next);
        let mut first = Some(first);
        for job in claims.jobs {
            let place = match first.take() {
                Some(place) => Some(place),
                None => Arc::clone(&places).acquire_owned().await.ok(),
            };
            let execution = execution::execute(Arc::clone(&queue), job);
            queue.tasks.spawn(async move {
                execution.await;
                drop(place);
            });
        }
        drop(first);
        if is_all {
            let pause = next.map_or(LOOK, |next| next.min(LOOK));
            tokio::select! {
                biased;
                () = draining.as_mut() => return,
                () = news.changed() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

fn count(queue: &Queue, claims: &Claims) {
    queue.stats.taken_over.add(claims.taken_over);
    queue.stats.parked.add(claims.parked);
    if claims.taken_over > 0 {
        tracing::warn!(jobs = claims.taken_over, "taken over from a worker that fell silent");
    }
    if claims.parked > 0 {
        tracing::warn!(jobs = claims.parked, "parked: three workers stopped while they executed them");
    }
}

/// Removes what is past its time, until everything is cut.
pub(super) async fn sweep(queue: Arc<Queue>) {
    let mut cutting = std::pin::pin!(queue.shutdown.cutting());
    loop {
        let pause = match queue.store.sweep().await {
            Ok(true) => Duration::from_millis(10),
            Ok(false) | Err(_) => SWEEP,
        };
        if timeout(pause, cutting.as_mut()).await.is_ok() {
            return;
        }
    }
}
