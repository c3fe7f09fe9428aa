//! W3C Trace Context: forebay is no part of the trace, and every attempt carries what the client sent.

use super::good;
use crate::client::post;
use crate::expect::assert_relayed;
use crate::forebay::Settings;
use crate::upstream::{FakeUpstream, close, stall};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const STATES: [&str; 2] = ["rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "vendor@tenant=x"];

#[test]
fn traceparent_and_tracestate_pass_unchanged_with_every_attempt() {
    let upstream = FakeUpstream::start();
    upstream.script([stall(), close(), good("third")]);
    let forebay = Settings::in_front_of(&upstream).set("FORWARDED_HEADERS", "strip").start();
    let request = post("/", "x").field("traceparent", PARENT).field("tracestate", STATES[0]);
    let response = forebay.ask(&request.field("tracestate", STATES[1]));
    assert_relayed(&response, 200, "third");
    assert!(response.get("traceresponse").is_none() && response.get("traceparent").is_none(), "{response:?}");
    let seen = upstream.seen();
    assert_eq!(seen.len(), 3);
    for seen in &seen {
        let head = String::from_utf8_lossy(&seen.raw_head).to_lowercase();
        let lines: Vec<_> = head.lines().filter(|line| line.starts_with("trace")).collect();
        let expected = [
            format!("traceparent: {PARENT}"),
            format!("tracestate: {}", STATES[0]),
            format!("tracestate: {}", STATES[1]),
        ];
        assert_eq!(lines, expected.map(|line| line.to_lowercase()));
    }
}
