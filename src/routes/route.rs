//! What one route needs to serve an exchange.

use std::sync::Arc;

use super::RouteSettings;
use crate::race::{HedgeBudget, RetryBudget};
use crate::upstream::Pool;

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
}
