//! The plot: in each scene, what the upstream does at the first try, the second, and so on.

use super::upstream::Act;

/// A request that something happens to.
#[derive(Debug)]
pub(super) struct Scene {
    /// How a request says which scene it belongs to.
    pub(super) name: &'static str,
    /// What is wrong with the upstream.
    pub(super) title: &'static str,
    /// One act for each try; further tries get the last one. None = nobody listens.
    pub(super) acts: &'static [Act],
    /// What to take from it.
    pub(super) note: &'static str,
}

impl Scene {
    /// Whether the upstream has to be gone.
    pub(super) fn is_without_upstream(&self) -> bool {
        self.acts.is_empty()
    }
}

/// All scenes. The upstream does not come back, so those without it are the last.
pub(super) const SCENES: &[Scene] = &[
    Scene {
        name: "stall",
        title: "the upstream takes the first request and says nothing",
        acts: &[Act::Silence, Act::Answer],
        note: "The first attempt missed the header deadline, so a second one replaced it. The timeline reads \
               attempt=outcome@seconds, where the seconds of each attempt count from its own start.",
    },
    Scene {
        name: "broken",
        title: "the upstream resets one connection, and closes the next in the middle of the head",
        acts: &[Act::Reset, Act::HalfHead, Act::Answer],
        note: "Half a response head is none. As long as no attempt has a complete one, the next may replace it, after a \
               short pause, up to UPSTREAM_MAX_ATTEMPTS.",
    },
    Scene {
        name: "stream",
        title: "a stream of tokens, and the first attempt stalls",
        acts: &[Act::Silence, Act::Tokens],
        note: "Once headers are there, each event is passed on the moment it comes, byte for byte.",
    },
    Scene {
        name: "silent-stream",
        title: "the upstream falls silent in the middle of a stream",
        acts: &[Act::TokensThenSilence],
        note: "After headers nothing is ever retried: the client has already used what it got. But it is not left \
               hanging. The request carries x-stainless-lang, as those of OpenAI's SDKs do, so the stream ends with an \
               event that they raise as an error. Codex and Anthropic's SDKs get one of their own kind.",
    },
    Scene {
        name: "gone",
        title: "the upstream is gone",
        acts: &[],
        note: "Nobody can make a dead upstream answer. What forebay adds is an answer that says what happened, how often \
               it was tried, and what to check. Programs read \"code\", which is also in X-Forebay-Error; only answers \
               of forebay's own have that header.",
    },
];
