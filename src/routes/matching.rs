//! Which route serves a path. (p)

use std::fmt;
use std::sync::Arc;

use super::Route;
use crate::stats::RouteStats;

/// A route's path prefix, without a trailing slash. `/` is the empty one, and matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(String);

impl Prefix {
    /// From a path that begins with `/`; trailing slashes are dropped.
    pub fn new(path: &str) -> Self {
        Self(path.trim_end_matches('/').to_owned())
    }

    /// Whether it matches everything.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// What follows the prefix in a path that equals it or continues with `/`: empty, or begins with `/`. The path is
    /// taken as it was sent: another spelling simply does not match.
    pub fn strip<'a>(&self, path: &'a str) -> Option<&'a str> {
        path.strip_prefix(self.0.as_str()).filter(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_root() { "/" } else { &self.0 })
    }
}

/// All routes of this process. The longest prefix wins.
#[derive(Clone, Debug)]
pub struct Routes {
    routes: Arc<[Arc<Route>]>,
    unrouted: Arc<RouteStats>,
}

impl Routes {
    /// From routes in any order. Of two with the same prefix, which configuration refuses, the first would win.
    pub fn new(routes: impl IntoIterator<Item = Route>) -> Self {
        let mut routes: Vec<Arc<Route>> = routes.into_iter().map(Arc::new).collect();
        routes.sort_by_key(|route| std::cmp::Reverse(route.settings.prefix.0.len()));
        Self { routes: routes.into(), unrouted: Arc::new(RouteStats::unrouted()) }
    }

    /// The route that serves a path, as it was sent.
    pub fn find(&self, path: &str) -> Option<&Arc<Route>> {
        self.routes.iter().find(|route| route.settings.prefix.strip(path).is_some())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.routes.iter()
    }

    /// What is counted of requests for which there is no route, or that were refused before they had a path.
    pub fn unrouted(&self) -> &Arc<RouteStats> {
        &self.unrouted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_matches_what_equals_it_or_continues_with_a_slash() {
        for (prefix, path, rest) in [
            ("/api", "/api", Some("")),
            ("/api/", "/api", Some("")),
            ("/api", "/api/", Some("/")),
            ("/api", "/api//x", Some("//x")),
            ("/api", "/api2", None),
            ("/api", "/API/x", None),
            ("/api", "/%61pi/x", None),
            ("/api", "//api/x", None),
            ("/a/b", "/a/b/c", Some("/c")),
            ("/", "/anything", Some("/anything")),
            ("/", "/", Some("/")),
        ] {
            assert_eq!(Prefix::new(prefix).strip(path), rest, "{prefix} {path}");
        }
        assert_eq!(Prefix::new("/").to_string(), "/");
        assert_eq!(Prefix::new("/a/").to_string(), "/a");
    }
}
