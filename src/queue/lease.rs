//! Keeps the leases of this process: renewed while their jobs are executed, and told of when they are lost.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::job::Lease;
use crate::shutdown::Shutdown;
use crate::store::{Store, StoreError, Topic, Watch};

/// How many leases are renewed in one call.
const AT_ONCE: usize = 100;

/// Renews the leases that are held.
#[derive(Debug)]
pub(super) struct Keeper {
    store: Arc<dyn Store>,
    duration: Duration,
    held: Mutex<HashMap<Lease, Held>>,
}

#[derive(Debug)]
struct Held {
    lost: CancellationToken,
    /// It stands until then at least, whatever the store says later.
    until: Instant,
}

/// A lease that is kept until this is dropped.
#[derive(Debug)]
pub(super) struct Kept {
    lease: Lease,
    lost: CancellationToken,
    cancelled: Watch,
    keeper: Arc<Keeper>,
}

impl Keeper {
    pub(super) fn new(store: Arc<dyn Store>, duration: Duration) -> Arc<Self> {
        Arc::new(Self { store, duration, held: Mutex::default() })
    }

    /// Keeps a lease that was just given.
    pub(super) fn keep(self: &Arc<Self>, lease: Lease) -> Kept {
        let cancelled = self.store.changes().watch(Topic::Cancelled(lease.job));
        let lost = CancellationToken::new();
        let held = Held { lost: lost.clone(), until: Instant::now() + self.duration };
        self.held().insert(lease, held);
        Kept { lease, lost, cancelled, keeper: Arc::clone(self) }
    }

    /// How many leases are kept.
    pub(super) fn count(&self) -> usize {
        self.held().len()
    }

    /// Renews every third of a lease, until everything is cut and nothing is held any more.
    pub(super) async fn run(self: Arc<Self>, shutdown: Shutdown) {
        let mut ticks = tokio::time::interval(self.duration / 3);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let leases: Vec<Lease> = self.held().keys().copied().collect();
            if leases.is_empty() && shutdown.is_cut() {
                return;
            }
            for leases in leases.chunks(AT_ONCE) {
                self.renew(leases.to_vec()).await;
            }
        }
    }

    async fn renew(&self, leases: Vec<Lease>) {
        // What the store renews stands from some moment after this one.
        let asked = Instant::now();
        let answer = self.store.renew(leases.clone()).await;
        let mut held = self.held();
        for lease in leases {
            let Some(one) = held.get_mut(&lease) else { continue };
            let stands = match &answer {
                Ok(standing) if standing.contains(&lease) => {
                    one.until = asked + self.duration;
                    true
                }
                Ok(_) => false,
                // Nobody else can have it yet.
                Err(_) => Instant::now() < one.until,
            };
            if !stands {
                one.lost.cancel();
            }
        }
        if let Err(error @ StoreError::Unavailable(_)) = answer {
            tracing::debug!(%error, "leases cannot be renewed");
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Lease, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    pub(super) fn lease(&self) -> Lease {
        self.lease
    }

    /// Resolves when the lease is lost: the job is gone, another has it, or the store was silent for too long. Cancel-safe.
    pub(super) async fn lost(&mut self) {
        loop {
            tokio::select! {
                () = self.lost.cancelled() => return,
                // News may be of others, or of a time in which none could be heard.
                () = self.cancelled.changed() => self.keeper.renew(vec![self.lease]).await,
            }
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.keeper.held().remove(&self.lease);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::shutdown::Tasks;
    use crate::store::single::Single;

    const LEASE: Duration = Duration::from_secs(30);
    const TICK: Duration = Duration::from_secs(10);

    struct Bench {
        store: Arc<Single>,
        keeper: Arc<Keeper>,
        shutdown: Shutdown,
        tasks: Tasks,
    }

    impl Bench {
        fn new() -> Self {
            let (store, shutdown, tasks) = (Single::new(), Shutdown::default(), Tasks::default());
            let keeper = Keeper::new(Arc::clone(&store) as _, LEASE);
            tasks.spawn(Arc::clone(&keeper).run(shutdown.clone()));
            Self { store, keeper, shutdown, tasks }
        }

        fn keep(&self) -> Kept {
            self.keeper.keep(self.store.lease())
        }

        fn tell(&self) {
            self.store.changes().tell(Topic::Cancelled(self.store.lease().job));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_renewed_stands_until_it_is_dropped() {
        let bench = Bench::new();
        let mut kept = bench.keep();
        assert!(timeout(10 * LEASE, kept.lost()).await.is_err());
        assert_eq!(bench.keeper.count(), 1);
        bench.shutdown.cut();
        sleep(LEASE).await;
        assert_eq!(bench.tasks.len(), 1, "what is still held is still renewed");
        drop(kept);
        assert_eq!(bench.keeper.count(), 0);
        bench.tasks.finished().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_another_has_is_lost_with_the_next_renewal() {
        let bench = Bench::new();
        let mut kept = bench.keep();
        sleep(LEASE).await;
        bench.store.has_taken_the_lease();
        let start = Instant::now();
        kept.lost().await;
        assert!(start.elapsed() <= TICK);
    }

    #[tokio::test(start_paused = true)]
    async fn while_the_store_is_away_a_lease_stands_for_its_time_and_no_longer() {
        let bench = Bench::new();
        let mut kept = bench.keep();
        sleep(LEASE + TICK / 2).await;
        bench.store.is_away_for(2);
        assert!(timeout(10 * LEASE, kept.lost()).await.is_err(), "it came back in time");
        bench.store.is_away_for(u32::MAX);
        let start = Instant::now();
        kept.lost().await;
        let silent = start.elapsed();
        assert!(silent + TICK >= LEASE && silent <= LEASE + TICK, "{silent:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn news_of_a_job_that_is_gone_is_believed_once_the_store_says_so_too() {
        let bench = Bench::new();
        let mut kept = bench.keep();
        // The first renewal of all is at once.
        sleep(TICK / 2).await;
        bench.tell();
        assert!(timeout(Duration::from_secs(1), kept.lost()).await.is_err());
        bench.store.has_taken_the_lease();
        let start = Instant::now();
        bench.tell();
        kept.lost().await;
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
