//! Which route serves a path. (p)

use std::sync::Arc;

use super::Route;

/// All routes of this process. Today there is one, for every path; prefixes find their place here.
#[derive(Clone, Debug)]
pub struct Routes {
    only: Arc<Route>,
}

impl Routes {
    /// One route that matches everything.
    pub fn single(route: Route) -> Self {
        Self { only: Arc::new(route) }
    }

    /// The route that serves a path, as it was sent. Cheap: the route is shared, not copied.
    pub fn find(&self, _path: &str) -> &Arc<Route> {
        &self.only
    }

    /// The route whose answers speak for the process where no request is known.
    pub fn fallback(&self) -> &Arc<Route> {
        &self.only
    }
}
