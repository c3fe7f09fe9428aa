//! Peers that mean harm (contract 3.4, 5): whatever they send, the process lives, serves others, keeps its memory, and holds
//! no upstream connection for them.

mod http2_floods;
mod http2_hoarders;
mod http2_upstreams;
mod http2_violations;
mod slow_clients;
mod upstreams;

use super::client::get;
use super::expect::assert_relayed;
use super::forebay::{Forebay, Settings};
use super::upstream::{FakeUpstream, answer};

/// What an attack may cost that is over, with what an allocator keeps.
const BOUND: usize = 64 << 20;

/// One forebay under attack. Its upstream answers `/own` with `own`.
struct Target {
    upstream: FakeUpstream,
    forebay: Forebay,
    memory: usize,
}

impl Target {
    /// Clocks for clients are short, and an upstream connection that nobody uses is closed soon.
    fn settings(upstream: &FakeUpstream) -> Settings {
        Settings::in_front_of(upstream)
            .set("RESPONSE_HEADER_TIMEOUT_SECONDS", 20)
            .set("CLIENT_HEADER_TIMEOUT_SECONDS", 2)
            .set("CLIENT_BODY_TIMEOUT_SECONDS", 1)
            .set("CLIENT_WRITE_TIMEOUT_SECONDS", 1)
            .set("CLIENT_IDLE_SECONDS", 2)
            .set("UPSTREAM_IDLE_SECONDS", "0.3")
    }

    fn new() -> Self {
        let upstream = FakeUpstream::start();
        upstream.answer_with(|_, _| answer(200).body("own").into());
        let forebay = Self::settings(&upstream).start();
        Self::under(upstream, forebay)
    }

    fn under(upstream: FakeUpstream, forebay: Forebay) -> Self {
        // What the first request costs is not the attack's.
        assert_relayed(&forebay.get("/own"), 200, "own");
        let memory = forebay.memory();
        Self { upstream, forebay, memory }
    }

    #[track_caller]
    fn serves_others(&self) {
        assert_relayed(&self.forebay.get("/own"), 200, "own");
    }

    #[track_caller]
    fn has_kept_its_memory(&self) {
        let more = self.forebay.memory().saturating_sub(self.memory);
        assert!(more < BOUND, "the attack cost {more} bytes");
    }

    /// After the attack: nobody notices that it was there.
    #[track_caller]
    fn is_as_before(&self) {
        self.serves_others();
        assert_relayed(&self.forebay.connect_h2().ask(&get("/own")), 200, "own");
        self.has_kept_its_memory();
        self.upstream.wait_all_closed();
    }
}
