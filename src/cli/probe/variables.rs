//! The names of the variables that say something about a route: its own where it has them, the global ones otherwise.

use crate::config::{Effective, Origin};
use crate::routes::RouteSettings;

/// Names for one route.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variables<'a> {
    effective: &'a [Effective],
    route: Option<&'a str>,
}

impl<'a> Variables<'a> {
    pub(super) fn new(effective: &'a [Effective], route: &'a RouteSettings) -> Self {
        Self { effective, route: route.name.as_deref() }
    }

    /// The variable that is in force for the route.
    pub(super) fn of(&self, name: &str) -> String {
        let own = self.route.map(|route| format!("ROUTE_{route}_{name}"));
        own.filter(|own| self.effective.iter().any(|e| e.name == *own)).unwrap_or_else(|| name.to_owned())
    }

    /// Where an outbound proxy comes from, or would.
    pub(super) fn proxy(&self) -> String {
        let name = self.of("OUTBOUND_PROXY");
        let is_set = self.effective.iter().any(|e| e.name == name && e.origin != Origin::Default);
        if is_set { name } else { format!("{name}, or HTTPS_PROXY and its like") }
    }

    /// The route in words.
    pub(super) fn title(route: &RouteSettings) -> String {
        let name = route.name.as_ref().map_or_else(|| "UPSTREAM_BASE_URL".to_owned(), |name| format!("route {name}"));
        if route.prefix.is_root() { name } else { format!("{name}, {}", route.prefix) }
    }
}
