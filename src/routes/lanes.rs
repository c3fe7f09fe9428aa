//! Which lane serves a path. (p)

use regex::RegexSet;

/// How an exchange is served (contract 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Buffered, raced against the header deadline, streamed back.
    Race,
    /// Nothing is buffered, and nothing is repeated once a byte of the body was taken from the client.
    Stream,
    /// The request becomes a job, which a worker executes; the client is told its id at once.
    Queue,
    /// `307` to the upstream's URL.
    Redirect,
}

/// `LANE` and the lists before it. The lists are searched on the client's path before the prefix is stripped, without
/// query, in the order `STREAM_PATHS`, `REDIRECT_PATHS`, `RACE_PATHS`, `QUEUE_PATHS`.
#[derive(Clone, Debug)]
pub struct Lanes {
    /// `LANE`: where no list matches.
    pub otherwise: Lane,
    /// `STREAM_PATHS`.
    pub stream: RegexSet,
    /// `REDIRECT_PATHS`.
    pub redirect: RegexSet,
    /// `RACE_PATHS`.
    pub race: RegexSet,
    /// `QUEUE_PATHS`.
    pub queue: RegexSet,
}

impl Lanes {
    /// One lane for every path.
    pub fn always(lane: Lane) -> Self {
        let none = RegexSet::empty;
        Self { otherwise: lane, stream: none(), redirect: none(), race: none(), queue: none() }
    }

    /// The lane of a path, as the client sent it.
    pub fn of(&self, path: &str) -> Lane {
        let lists = [
            (&self.stream, Lane::Stream),
            (&self.redirect, Lane::Redirect),
            (&self.race, Lane::Race),
            (&self.queue, Lane::Queue),
        ];
        let listed = lists.into_iter().find(|(list, _)| !list.is_empty() && list.is_match(path));
        listed.map_or(self.otherwise, |(_, lane)| lane)
    }

    /// Whether some path takes a lane. An earlier list may have all of them, which is not looked at.
    pub fn has(&self, lane: Lane) -> bool {
        let list = match lane {
            Lane::Race => &self.race,
            Lane::Stream => &self.stream,
            Lane::Queue => &self.queue,
            Lane::Redirect => &self.redirect,
        };
        self.otherwise == lane || !list.is_empty()
    }
}

/// `OVERSIZE`: what becomes of a body above `MAX_REQUEST_BODY_BYTES`; on the lane `queue`, above `QUEUE_MAX_BODY_BYTES`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oversize {
    /// 413.
    Reject,
    /// It is sent once, unbuffered, without a retry.
    Stream,
    /// It becomes a job, up to `QUEUE_MAX_BODY_BYTES`.
    Queue,
    /// 307 to the upstream's URL.
    Redirect,
}

/// `CHUNKED`: what becomes of a body of unknown length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunked {
    /// It is buffered up to the cap, then [`Oversize`] says.
    Buffer,
    /// At once as [`Oversize`] says; with [`Oversize::Reject`] it is streamed.
    Bypass,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_asked_in_order_before_the_lane() {
        let set = |patterns: &[&str]| RegexSet::new(patterns).unwrap();
        let lanes = Lanes {
            otherwise: Lane::Race,
            stream: set(&["^/api/health", "big"]),
            redirect: set(&["^/files/", "^/api"]),
            race: RegexSet::empty(),
            queue: set(&["reports", "^/files/"]),
        };
        for (path, lane) in [
            ("/api/health", Lane::Stream),
            ("/x/very-big/y", Lane::Stream),
            ("/files/big", Lane::Stream),
            ("/files/a", Lane::Redirect),
            ("/api/x", Lane::Redirect),
            ("/x/reports", Lane::Queue),
            ("/other", Lane::Race),
        ] {
            assert_eq!(lanes.of(path), lane, "{path}");
        }
        let mostly_streamed = Lanes { otherwise: Lane::Stream, race: set(&["^/v1/"]), ..Lanes::always(Lane::Race) };
        assert_eq!(mostly_streamed.of("/v1/x"), Lane::Race);
        assert_eq!(mostly_streamed.of("/x"), Lane::Stream);
        let lanes = [Lane::Race, Lane::Stream, Lane::Queue, Lane::Redirect];
        assert_eq!(lanes.map(|lane| mostly_streamed.has(lane)), [true, true, false, false]);
    }
}
