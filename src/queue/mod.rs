//! The queue: requests that become jobs, the workers that execute them, and what clients may ask of them.
//!
//! `submit` stores a request, `worker` claims what is due, `execution` runs it under a lease that `lease` keeps, and `api`
//! answers those who come for the result.

mod api;
mod ask;
mod body;
mod execution;
mod lease;
mod overflow;
mod settings;
mod stats;
mod submit;
mod worker;

use std::sync::Arc;

pub use api::{Content, Reply};
pub use overflow::{Ended, Raced, Verdict};
pub use settings::{QueueSettings, Roles};
pub use stats::QueueStats;
pub use submit::{Asked, Ticket, Unsubmitted};

use crate::answer::{Answer, Code};
use crate::body::Quota;
use crate::cache::Cache;
use crate::headers::hop;
use crate::job::{Owner, OwnerRule, Record};
use crate::routes::{Route, RouteSettings, Routes};
use crate::shutdown::{Shutdown, Tasks};
use crate::store::{Store, StoreError};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use lease::Keeper;

/// The queue of a process: what its front and its workers share.
#[derive(Debug)]
pub struct Queue {
    store: Arc<dyn Store>,
    settings: QueueSettings,
    routes: Routes,
    /// What request bodies that are held are taken from.
    quota: Arc<Quota>,
    /// The answers that are kept.
    cache: Arc<Cache>,
    keeper: Arc<Keeper>,
    stats: QueueStats,
    shutdown: Shutdown,
    /// What executes jobs.
    tasks: Tasks,
}

impl Queue {
    /// A queue in this store. `tasks` will run what executes jobs: they are worth waiting for at the end.
    pub fn new(
        store: Arc<dyn Store>,
        settings: QueueSettings,
        routes: Routes,
        quota: Arc<Quota>,
        cache: Arc<Cache>,
        shutdown: Shutdown,
        tasks: Tasks,
    ) -> Arc<Self> {
        let keeper = Keeper::new(Arc::clone(&store), settings.lease);
        let stats = QueueStats::default();
        Arc::new(Self { store, settings, routes, quota, cache, keeper, stats, shutdown, tasks })
    }

    /// Starts what the queue needs in the background, and the workers if this process has that role.
    pub fn start(self: &Arc<Self>, background: &Tasks) {
        background.spawn(Arc::clone(&self.keeper).run(self.shutdown.clone()));
        background.spawn(worker::sweep(Arc::clone(self)));
        if self.settings.roles.worker {
            self.tasks.spawn(worker::work(Arc::clone(self)));
        }
    }

    /// Where jobs are.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// What is counted of it.
    pub fn stats(&self) -> &QueueStats {
        &self.stats
    }

    /// How many jobs this process executes.
    pub fn executing(&self) -> usize {
        self.keeper.count()
    }

    fn route(&self, label: &str) -> Option<&Arc<Route>> {
        self.routes.iter().find(|route| route.label() == label)
    }

    /// Whether whoever sends these fields may see a job.
    fn shows(&self, record: &Record, headers: &HeaderMap) -> bool {
        let settings = self.route(&record.title.route).map(|route| &route.settings);
        let rule = settings.map_or(OwnerRule::Credentials, |settings| settings.jobs.owner);
        rule.shows(record.owner, owner(settings, headers))
    }
}

/// The owner that these fields of a client name, on this route: by those that do not end here.
pub fn owner(settings: Option<&RouteSettings>, headers: &HeaderMap) -> Option<Owner> {
    Owner::of(&hop::remaining(headers), settings.map_or(&AUTHORIZATION, |settings| &settings.key_header))
}

/// What to say when the store did not do what it was asked for.
pub fn unstored(error: &StoreError) -> Answer {
    match error {
        StoreError::Unavailable(why) => {
            // That it is away is said once, by the store.
            tracing::debug!(%why, "the store does not answer");
            let message =
                "The store of jobs cannot be reached. Requests that need none are served; try again in a moment.";
            Answer::new(Code::StoreUnavailable, message).retry_after(1)
        }
        StoreError::TooDeep => {
            let message = "As many jobs wait as may (QUEUE_MAX_DEPTH). Try again in a moment.";
            Answer::new(Code::Overloaded, message).retry_after(1)
        }
        StoreError::Full => {
            let message = "The store of jobs is full (STORE_MAX_BYTES). Try again when older jobs are gone.";
            Answer::new(Code::Overloaded, message).retry_after(1)
        }
    }
}
