//! What one route needs to serve an exchange.

use std::sync::Arc;

use super::RouteSettings;
use crate::cache;
use crate::job::Owner;
use crate::race::{HedgeBudget, RetryBudget};
use crate::stats::RouteStats;
use crate::time::Human;
use crate::upstream::{Outbound, Pool};

/// A route that can be used: its settings, and what it shares with other exchanges.
#[derive(Debug)]
pub struct Route {
    /// Its configuration.
    pub settings: RouteSettings,
    /// The connections to its upstream.
    pub pool: Arc<Pool>,
    /// How many further attempts its upstream may see at once.
    pub budget: Arc<RetryBudget>,
    /// How many hedges its exchanges may start.
    pub hedge_budget: Arc<HedgeBudget>,
    /// What is counted of it.
    pub stats: Arc<RouteStats>,
}

impl Route {
    /// A route that nobody has used yet. Its pool and its retry budget may be shared with others.
    pub fn new(settings: RouteSettings, pool: Arc<Pool>, budget: Arc<RetryBudget>) -> Self {
        let hedge_budget = HedgeBudget::new(settings.hedge_budget_percent);
        let policy = &settings.policy;
        let stats = Arc::new(RouteStats::new(policy.header_deadline, policy.whole_answer_deadline));
        Self { settings, pool, budget, hedge_budget, stats }
    }

    /// What operators know it by: `<NAME>` of `ROUTE_<NAME>_PREFIX`, or `default`.
    pub fn label(&self) -> &str {
        self.settings.name.as_deref().unwrap_or("default")
    }

    /// A request of this route as the cache sees it. `owner` and `forwarded_is_known` as [`cache::Asked`] has them.
    pub fn asked<'a>(
        &'a self,
        outbound: &'a Outbound,
        owner: Option<Owner>,
        forwarded_is_known: bool,
    ) -> cache::Asked<'a> {
        cache::Asked {
            route: self.label(),
            base: &self.settings.base,
            outbound,
            key_header: &self.settings.key_header,
            key_is_ours: self.settings.key.is_some(),
            owner,
            forwarded_is_known,
        }
    }

    /// In words, one line for each of its deadlines: how long its upstream has taken to headers, and how that relates.
    pub fn outlooks(&self) -> impl Iterator<Item = String> {
        let (label, origin) = (self.label(), self.settings.base.origin());
        self.stats.waits().iter().map(move |waits| {
            format!("{label} {origin}: {} {}: {}", waits.name(), Human(waits.deadline()), waits.outlook())
        })
    }
}
