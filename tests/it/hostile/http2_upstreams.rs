//! Upstreams on HTTP/2 that break the protocol: 502 or a cut for who asked them, and nothing for anybody else.

use std::sync::Arc;

use super::BOUND;
use crate::client::{Cut, Response};
use crate::expect::{assert_relayed, is_own};
use crate::forebay::{Forebay, Settings};
use crate::frames::{self, frame};
use crate::upstream::h2::raw::{Peer, RawH2Upstream};

/// An upstream that does this to `/bad`, and answers everything else with its path.
fn stage(bad: impl Fn(&mut Peer, u32) + Send + Sync + 'static) -> (RawH2Upstream, Forebay) {
    let upstream = RawH2Upstream::start(move |peer, _| {
        while let Some((stream, path)) = peer.next_request() {
            if path == "/bad" {
                bad(peer, stream);
            } else {
                peer.answer(stream, 200, &path);
            }
        }
    });
    let forebay = Settings::new()
        .set("UPSTREAM_BASE_URL", upstream.url())
        .set("UPSTREAM_HTTP2", "prior-knowledge")
        .set("UPSTREAM_MAX_ATTEMPTS", 1)
        .set("RESPONSE_HEADER_TIMEOUT_SECONDS", 2)
        .set("STREAM_IDLE_TIMEOUT_SECONDS", "1.5")
        .start();
    (upstream, forebay)
}

/// Asks for it twice, and for something else in between.
fn play(what: &str, bad: impl Fn(&mut Peer, u32) + Send + Sync + 'static, check: impl Fn(&Response)) {
    println!("{what}");
    let (_upstream, forebay) = stage(bad);
    assert_relayed(&forebay.get("/own"), 200, "/own");
    let memory = forebay.memory();
    for number in 0..2 {
        for response in [forebay.get("/bad"), forebay.connect_h2().ask(&crate::client::get("/bad"))] {
            assert_ne!(response.cut, Some(Cut::Timeout), "{what}: {response:?}");
            check(&response);
        }
        let own = format!("/own{number}");
        assert_relayed(&forebay.get(&own), 200, own.as_str());
    }
    let more = forebay.memory().saturating_sub(memory);
    assert!(more < BOUND, "{what}: it cost {more} bytes");
}

/// Nothing of it arrives.
fn is_refused(response: &Response) {
    assert!(matches!(response.status, 502 | 504) && is_own(response), "{response:?}");
    assert!(!response.text().contains("EVIL"), "{response:?}");
}

/// What began is cut, or did not begin.
fn is_cut(response: &Response) {
    if response.status == 200 {
        assert!(!response.is_complete(), "{response:?}");
    } else {
        is_refused(response);
    }
}

/// The frames of a story that is told at once.
type Story = Arc<dyn Fn(u32) -> Vec<u8> + Send + Sync>;

fn story(frames: impl Fn(u32) -> Vec<u8> + Send + Sync + 'static) -> Story {
    Arc::new(frames)
}

fn play_frames(what: &str, frames: &Story, check: impl Fn(&Response)) {
    let frames = Arc::clone(frames);
    play(
        what,
        move |peer, stream| {
            peer.send(frames(stream));
        },
        check,
    );
}

/// A head with these fields, and a body.
fn answer_with(fields: &'static [(&'static str, &'static str)], body: &'static str) -> Story {
    story(move |stream| {
        [frames::headers(stream, false, &frames::block(fields)), frame(frames::DATA, frames::END_STREAM, stream, body)]
            .concat()
    })
}

#[test]
fn heads_that_are_none() {
    for (what, fields) in [
        ("no status", &[("x", "y")][..]),
        ("two statuses", &[(":status", "200"), (":status", "200")]),
        ("a status of letters", &[(":status", "abc")]),
        ("a status of two digits", &[(":status", "20")]),
        ("a status of nothing", &[(":status", "")]),
        ("a status of 101", &[(":status", "101")]),
        ("a status behind a field", &[("x", "y"), (":status", "200")]),
        ("an unknown pseudo field", &[(":status", "200"), (":foo", "bar")]),
        ("transfer-encoding", &[(":status", "200"), ("transfer-encoding", "chunked")]),
        ("connection", &[(":status", "200"), ("connection", "close")]),
        ("upgrade", &[(":status", "200"), ("upgrade", "h2c")]),
        ("an upper-case name", &[(":status", "200"), ("X-Upper", "1")]),
        ("a name with a space", &[(":status", "200"), ("x y", "1")]),
        ("CR LF in a value", &[(":status", "200"), ("x", "a\r\nset-cookie: evil=1")]),
        ("NUL in a value", &[(":status", "200"), ("x", "a\0b")]),
        ("a length that is no number", &[(":status", "200"), ("content-length", "four")]),
    ] {
        play_frames(what, &answer_with(fields, "EVIL"), is_refused);
    }
    // Two lengths: neither may reach the client as it came.
    let two_lengths = answer_with(&[(":status", "200"), ("content-length", "4"), ("content-length", "40")], "EVIL");
    play_frames("two lengths", &two_lengths, |response| {
        assert!(response.all("content-length").len() <= 1, "{response:?}");
        assert!(response.status == 502 || response.all("content-length") != [b"40"], "{response:?}");
    });
}

#[test]
fn lengths_that_are_not_those_of_the_body() {
    for (what, length, body) in [
        ("more than announced", "2", "EVIL"),
        ("less than announced", "40", "EVIL"),
        ("more than nothing", "0", "EVIL"),
    ] {
        let frames = story(move |stream| {
            let fields = [(":status", "200"), ("content-length", length)];
            let data = frame(frames::DATA, frames::END_STREAM, stream, body);
            [frames::headers(stream, false, &frames::block(&fields)), data].concat()
        });
        // A client on HTTP/1.1 that was told "0" has its whole answer.
        play_frames(what, &frames, |response| {
            let whole_and_empty = length == "0" && response.status == 200 && response.body.is_empty();
            assert!(whole_and_empty || !response.is_complete() || response.status != 200, "{response:?}");
        });
    }
}

#[test]
fn frames_in_the_wrong_place() {
    let ok = || frames::block(&[(":status", "200")]);
    for (what, frames) in [
        ("DATA before HEADERS", story(|s| frame(frames::DATA, 0, s, "EVIL"))),
        ("HEADERS on a stream that nobody opened", story(move |_| frames::headers(99, true, &ok()))),
        ("PUSH_PROMISE", story(|s| frame(frames::PUSH_PROMISE, frames::END_HEADERS, s, [0, 0, 0, 2]))),
        ("a block that is none", story(|s| frame(frames::HEADERS, frames::END_HEADERS, s, [0xff; 20]))),
        ("SETTINGS of five bytes", story(|_| frame(frames::SETTINGS, 0, 0, [0; 5]))),
        ("a window of 2^31", story(|_| frames::settings(&[(frames::INITIAL_WINDOW_SIZE, 1 << 31)]))),
        ("a window beyond 2^31", story(|_| frames::window_update(0, frames::LARGEST_WINDOW).repeat(2))),
        ("WINDOW_UPDATE of nothing", story(|_| frames::window_update(0, 0))),
        ("a frame larger than was allowed", story(|_| frame(0xaa, 0, 0, vec![0; (1 << 24) - 1]))),
        ("no HTTP/2 at all", story(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL".to_vec())),
        ("RST_STREAM with NO_ERROR", story(|s| frames::rst_stream(s, frames::NO_ERROR))),
        ("RST_STREAM with an unknown code", story(|s| frames::rst_stream(s, 0xdead))),
    ] {
        play_frames(what, &frames, is_refused);
    }
}

#[test]
fn bodies_that_break_the_protocol() {
    let begin = |s: u32| {
        [frames::headers(s, false, &frames::block(&[(":status", "200")])), frame(frames::DATA, 0, s, "part")].concat()
    };
    for (what, frames) in [
        ("RST_STREAM with NO_ERROR", story(move |s| [begin(s), frames::rst_stream(s, frames::NO_ERROR)].concat())),
        ("RST_STREAM with CANCEL", story(move |s| [begin(s), frames::rst_stream(s, frames::CANCEL)].concat())),
        ("GOAWAY below it", story(move |s| [begin(s), frames::goaway(0, 2)].concat())),
        (
            "another head",
            story(move |s| [begin(s), frames::headers(s, false, &frames::block(&[(":status", "200")]))].concat()),
        ),
        (
            "trailers that end nothing",
            story(move |s| [begin(s), frames::headers(s, false, &frames::literal("x", "y"))].concat()),
        ),
        (
            "padding longer than the frame",
            story(move |s| [begin(s), frame(frames::DATA, frames::PADDED, s, [200, 1])].concat()),
        ),
    ] {
        play_frames(what, &frames, is_cut);
    }
    // Beyond every window that was given: a stall of the client must not be needed to notice.
    play(
        "more than the windows allow",
        |peer, stream| {
            peer.head(stream, 200, false);
            let data = frame(frames::DATA, 0, stream, vec![b'x'; 16 * 1024]);
            for _ in 0..4096 {
                if !peer.send(&data) {
                    return;
                }
            }
        },
        is_cut,
    );
}

#[test]
fn after_the_end_nothing_more_is_anybodys() {
    let frames = story(|s| {
        let whole = [
            frames::headers(s, false, &frames::block(&[(":status", "200")])),
            frame(frames::DATA, frames::END_STREAM, s, "ok"),
        ]
        .concat();
        [whole, frame(frames::DATA, 0, s, "EVIL"), frames::headers(s, true, &frames::block(&[("x", "EVIL")]))].concat()
    });
    play_frames("DATA after END_STREAM", &frames, |response| {
        assert!(!format!("{response:?}").contains("EVIL"), "{response:?}");
        assert!(response.status == 502 || response.text() == "ok" || !response.is_complete(), "{response:?}");
    });
}

#[test]
fn heads_that_would_cost_memory() {
    play(
        "CONTINUATION without end",
        |peer, stream| {
            peer.send(frame(frames::HEADERS, 0, stream, frames::block(&[(":status", "200")])));
            let piece = frame(frames::CONTINUATION, 0, stream, frames::literal("x", "y".repeat(8000)));
            for _ in 0..4000 {
                if !peer.send(&piece) {
                    return;
                }
            }
        },
        is_refused,
    );
    play(
        "a small block that becomes a large head",
        |peer, stream| {
            let mut block = frames::block(&[(":status", "200")]);
            block.extend(frames::inserted("x", "y".repeat(4000)));
            block.extend(frames::indexed(62).repeat(15_000));
            peer.send(frames::headers(stream, true, &block));
        },
        is_refused,
    );
}

#[test]
fn floods_of_small_things() {
    for (what, frame) in [
        ("SETTINGS", frames::settings(&[])),
        ("PING", frame(frames::PING, 0, 0, *b"floods!!")),
        ("an unknown type", frame(0xbb, 0, 0, [0; 50])),
        ("GOAWAY of the future", frames::goaway(frames::LARGEST_WINDOW, frames::NO_ERROR)),
    ] {
        // Answered in the end, or not: but never at the cost of others.
        play(
            what,
            move |peer, stream| {
                let block = frame.repeat(16_384 / frame.len());
                for _ in 0..40 {
                    if !peer.send(&block) {
                        return;
                    }
                }
                peer.answer(stream, 200, "/bad");
            },
            |response| assert!(response.text() == "/bad" || matches!(response.status, 502 | 504), "{response:?}"),
        );
    }
    play(
        "interim answers",
        |peer, stream| {
            let interim = frames::headers(stream, false, &frames::block(&[(":status", "103"), ("link", "</a>")]));
            for _ in 0..20_000 {
                if !peer.send(&interim) {
                    return;
                }
            }
        },
        is_refused,
    );
}
