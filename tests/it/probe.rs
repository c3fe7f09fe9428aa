//! `forebay probe`: what it finds on the way to an upstream, what it says to change, and what it never says or does.

use crate::forebay::{EX_CONFIG, ScratchFile, Settings};
use crate::outbound::{Manner, OutboundProxy};
use crate::upstream::h2::reply;
use crate::upstream::{Authority, FakeUpstream, H2Upstream, OnAccept, answer, close, raw, stall};

mod reachable;
mod troubles;

/// What it wrote, on one line each: running text is broken where a line is full.
struct Probed {
    text: String,
    status: Option<i32>,
}

impl Probed {
    #[track_caller]
    fn with(settings: Settings) -> Self {
        let settings = settings.set("RESPONSE_HEADER_TIMEOUT_SECONDS", "20s").set("CONNECT_TIMEOUT_SECONDS", "10s");
        Self::as_set(settings)
    }

    #[track_caller]
    fn as_set(settings: Settings) -> Self {
        let (text, status) = settings.argument("probe").run();
        assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
        assert!(!text.contains("NEVERSHOWN"), "{text}");
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        Self { text, status }
    }

    /// Every upstream answered, and this is part of what was said.
    #[track_caller]
    fn is_well(&self, parts: &[&str]) {
        self.ended_with(0, parts);
    }

    /// An upstream did not answer, and this is part of what was said.
    #[track_caller]
    fn is_unwell(&self, parts: &[&str]) {
        self.ended_with(1, parts);
        self.says(&["PROBLEM", "What to change", "Without an answer: 1 of "]);
    }

    #[track_caller]
    fn ended_with(&self, status: i32, parts: &[&str]) {
        assert_eq!(self.status, Some(status), "{}", self.text);
        self.says(parts);
    }

    #[track_caller]
    fn says(&self, parts: &[&str]) {
        for part in parts {
            assert!(self.text.contains(part), "{part:?} is not in:\n{}", self.text);
        }
    }
}

fn in_front_of(url: impl ToString) -> Settings {
    Settings::new().set("UPSTREAM_BASE_URL", url)
}
