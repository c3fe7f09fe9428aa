//! What RFC 9113 forbids: the stream or the connection ends, and nobody else notices.

use super::Target;
use crate::client::{Cut, H2Client, get};
use crate::frames::{self, frame};

const REQUEST: [(&str, &str); 4] = [(":method", "POST"), (":scheme", "http"), (":path", "/bad"), (":authority", "a")];

fn head() -> Vec<u8> {
    frames::block(&REQUEST)
}

/// Each is sent on a connection that has served a request, on stream 3, and must end that connection.
#[test]
fn violations_that_end_the_connection() {
    let target = Target::new();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("DATA on stream 0", frame(frames::DATA, 0, 0, "x")),
        ("DATA on an idle stream", frame(frames::DATA, 0, 5, "x")),
        ("HEADERS on stream 0", frame(frames::HEADERS, frames::END_HEADERS, 0, head())),
        ("HEADERS on an even stream", frame(frames::HEADERS, frames::END_HEADERS, 2, head())),
        (
            "HEADERS on an older stream",
            frames::headers(7, false, &head()).into_iter().chain(frames::headers(5, true, &head())).collect(),
        ),
        ("CONTINUATION out of nothing", frame(frames::CONTINUATION, frames::END_HEADERS, 3, head())),
        (
            "another frame inside a head",
            [frame(frames::HEADERS, 0, 3, head()), frame(frames::PING, 0, 0, [0; 8])].concat(),
        ),
        (
            "CONTINUATION of another stream",
            [frame(frames::HEADERS, 0, 3, head()), frame(frames::CONTINUATION, frames::END_HEADERS, 5, [])].concat(),
        ),
        ("a block that is none", frame(frames::HEADERS, frames::END_HEADERS, 3, [0xff; 20])),
        ("an index of nothing", frames::headers(3, true, &[0xbf])),
        ("padding longer than the frame", frame(frames::DATA, frames::PADDED, 1, [200, 1])),
        ("RST_STREAM on stream 0", frames::rst_stream(0, 8)),
        ("RST_STREAM on an idle stream", frames::rst_stream(9, 8)),
        ("RST_STREAM of three bytes", frame(frames::RST_STREAM, 0, 1, [0; 3])),
        ("SETTINGS on a stream", frame(frames::SETTINGS, 0, 1, [])),
        ("SETTINGS of five bytes", frame(frames::SETTINGS, 0, 0, [0; 5])),
        ("an answer to SETTINGS with something in it", frame(frames::SETTINGS, frames::ACK, 0, [0; 6])),
        ("ENABLE_PUSH = 2", frames::settings(&[(frames::ENABLE_PUSH, 2)])),
        ("a window of 2^31", frames::settings(&[(frames::INITIAL_WINDOW_SIZE, 1 << 31)])),
        ("frames of 100 bytes", frames::settings(&[(frames::MAX_FRAME_SIZE, 100)])),
        ("PUSH_PROMISE", frame(frames::PUSH_PROMISE, frames::END_HEADERS, 1, [0, 0, 0, 2])),
        ("PING of seven bytes", frame(frames::PING, 0, 0, [0; 7])),
        ("PING on a stream", frame(frames::PING, 0, 1, [0; 8])),
        ("GOAWAY on a stream", frame(frames::GOAWAY, 0, 1, [0; 8])),
        ("WINDOW_UPDATE of three bytes", frame(frames::WINDOW_UPDATE, 0, 0, [0; 3])),
        ("WINDOW_UPDATE of nothing", frames::window_update(0, 0)),
        (
            "a window beyond 2^31",
            [frames::window_update(0, frames::LARGEST_WINDOW), frames::window_update(0, frames::LARGEST_WINDOW)]
                .concat(),
        ),
        ("a frame larger than was allowed", frame(0xaa, 0, 0, vec![0; (1 << 24) - 1])),
    ];
    for (what, bytes) in cases {
        println!("{what}");
        let mut client = target.forebay.connect_h2();
        assert_eq!(client.ask(&get("/own")).status, 200);
        client.write(bytes);
        assert!(client.is_closed(), "{what}: the connection goes on");
        target.serves_others();
    }
    assert!(target.upstream.seen().iter().all(|s| s.path() == "/own"), "{:#?}", target.upstream.seen());
    target.is_as_before();
}

/// Each is sent on stream 3; the stream or the connection ends.
#[test]
fn violations_that_end_at_least_the_stream() {
    let target = Target::new();
    let too_much = || {
        let mut bytes = frame(frames::HEADERS, frames::END_HEADERS, 3, head());
        for _ in 0..2000 {
            bytes.extend(frame(frames::DATA, 0, 3, vec![b'x'; 16 * 1024]));
        }
        bytes
    };
    let depends_on_itself = frame(
        frames::HEADERS,
        frames::END_HEADERS | frames::PRIORITIZED,
        3,
        [[0, 0, 0, 3, 16].as_slice(), &head()].concat(),
    );
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("DATA after END_STREAM", [frames::headers(3, true, &head()), frame(frames::DATA, 0, 3, "x")].concat()),
        ("HEADERS after END_STREAM", [frames::headers(3, true, &head()), frames::headers(3, true, &head())].concat()),
        (
            "trailers that end nothing",
            [frames::headers(3, false, &head()), frames::headers(3, false, &frames::literal("x", "y"))].concat(),
        ),
        ("a head behind the head", [frames::headers(3, false, &head()), frames::headers(3, true, &head())].concat()),
        ("WINDOW_UPDATE of nothing", [frames::headers(3, false, &head()), frames::window_update(3, 0)].concat()),
        ("more than the windows allow", too_much()),
        ("a stream that depends on itself", depends_on_itself),
    ];
    for (what, bytes) in cases {
        println!("{what}");
        let mut client: H2Client = target.forebay.connect_h2();
        let one = client.send(&get("/own"));
        assert_eq!(client.read(one).status, 200);
        let three = client.next_stream();
        client.write_within(&bytes, std::time::Duration::from_secs(4));
        let response = client.read(three);
        assert_ne!(response.cut, Some(Cut::Timeout), "{what}: {response:?}");
        target.serves_others();
        target.has_kept_its_memory();
    }
    target.is_as_before();
}

#[test]
fn what_is_unknown_is_ignored() {
    let target = Target::new();
    let mut client = target.forebay.connect_h2();
    client.write(frame(0xbb, 0xff, 0, "unknown"));
    client.write(frame(0xbb, 0xff, 12_345, "unknown"));
    client.write(frames::settings(&[(0xbeef, 7), (0xa0a, 1)]));
    client.write(frame(frames::PING, 0xfe, 0, [0; 8]));
    assert_eq!(client.ask(&get("/own")).status, 200);
    client.round_trip();
    target.is_as_before();
}
