//! 2: `Prefer: respond-async`, alone.

use super::{content_of, storing, wait_for};
use crate::client::{get, post};
use crate::expect::assert_relayed;
use crate::forebay::Settings;
use crate::upstream::{FakeUpstream, echo};

#[test]
fn a_race_whose_client_prefers_so_is_a_job_at_once() {
    let upstream = FakeUpstream::start();
    upstream.script([echo()]);
    let forebay = storing(&upstream).start();
    let asked = post("/x?y", "body").field("Prefer", "respond-async, return=minimal");
    let response = forebay.ask(&asked);
    assert_eq!(response.status, 202, "{response:?}");
    assert_eq!(response.get("preference-applied").as_deref(), Some("respond-async"));
    let job = super::id(&response);
    wait_for(&forebay, &job, "completed");
    assert_relayed(&forebay.ask(&content_of(&job)), 200, "body");
    assert_eq!(upstream.seen()[0].get("prefer").as_deref(), Some("return=minimal"));
}

#[test]
fn the_preference_passes_unchanged_where_it_is_not_honoured() {
    let upstream = FakeUpstream::start();
    let without_a_store = Settings::in_front_of(&upstream);
    let switched_off = storing(&upstream).set("OVERFLOW", "off");
    let streaming = storing(&upstream).set("LANE", "stream");
    let too_large = storing(&upstream).set("QUEUE_MAX_BODY_BYTES", 3);
    for settings in [without_a_store, switched_off, streaming, too_large] {
        let forebay = settings.start();
        upstream.forget();
        let response = forebay.ask(&post("/", "body").field("Prefer", "respond-async"));
        assert_relayed(&response, 200, "ok");
        assert_eq!(response.get("preference-applied"), None);
        assert_eq!(upstream.seen()[0].get("prefer").as_deref(), Some("respond-async"));
    }
    let redirecting = storing(&upstream).set("LANE", "redirect").start();
    assert_eq!(redirecting.ask(&get("/").field("Prefer", "respond-async")).status, 307);
}

#[test]
fn a_wait_without_respond_async_asks_for_no_job() {
    let upstream = FakeUpstream::start();
    let forebay = storing(&upstream).start();
    assert_relayed(&forebay.ask(&get("/").field("Prefer", "wait=1")), 200, "ok");
    assert_eq!(upstream.seen()[0].get("prefer").as_deref(), Some("wait=1"));
}
