//! The target on a connection: what its answer is, on HTTP/1 and on HTTP/2.

use std::sync::Arc;
use std::time::Duration;

use forebay::edge::{self, Edge};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::frames::{self, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PREFACE, RST_STREAM, SETTINGS};
use super::reference::{Fate, Target};
use super::{ARRIVAL, base_origin, status};

/// Longer than all clocks of a connection together.
const FOREVER: Duration = Duration::from_secs(60 * 60);

pub async fn over_http1(edge: &Arc<Edge>, target: &Target, fate: &Fate) {
    let fields = format!(" HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", target.host);
    let written = exchange(edge, &[b"GET ", &target.sent[..], fields.as_bytes()].concat()).await;
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut fields);
    let parsed = response.parse(&written);
    assert!(matches!(parsed, Ok(httparse::Status::Complete(_))), "no answer: {}", target.shown());
    let value = |name: &str| {
        response.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value.to_vec())
    };
    let status = response.code.expect("it is complete");
    compare(target, fate, status, value("x-forebay-error"), value("location"));
}

/// h2 itself resets what it cannot make a request of, or ends the connection. It drops a fragment before anybody sees it.
pub async fn over_http2(edge: &Arc<Edge>, target: &Target, fate: &Fate) {
    if target.has_fragment() {
        return;
    }
    let block = frames::request(b"GET", &target.asked, target.host.as_bytes(), &[]);
    let written = exchange(
        edge,
        &[
            PREFACE,
            &frames::frame(SETTINGS, 0, 0, &[]),
            &frames::frame(HEADERS, END_STREAM | END_HEADERS, 1, &block),
            // The last frame of a client that leaves.
            &frames::frame(GOAWAY, 0, 0, &[0; 8]),
        ]
        .concat(),
    )
    .await;
    let (frames, _) = frames::frames(&written);
    let Some(head) = frames.iter().find(|frame| frame.kind == HEADERS) else {
        assert!(frames.iter().any(|frame| matches!(frame.kind, RST_STREAM | GOAWAY)), "no answer: {}", target.shown());
        let is_resettable = *fate == Fate::Refused || target.has_quoted_query();
        assert!(is_resettable, "reset: {} {fate:?}", target.shown());
        return;
    };
    assert!(!target.has_quoted_query(), "answered: {}", target.shown());
    let fields = frames::fields(&mut frames::decoder(), &head.payload);
    let value = |name: &str| fields.iter().find(|field| field.0 == name).map(|field| field.1.clone());
    let status = value(":status").and_then(|status| String::from_utf8(status).ok()).and_then(|text| text.parse().ok());
    compare(target, fate, status.expect("a status"), value("x-forebay-error"), value("location"));
}

/// Says all of it and gives what comes back until the end.
async fn exchange(edge: &Arc<Edge>, says: &[u8]) -> Vec<u8> {
    let (mut client, server) = tokio::io::duplex(1 << 16);
    let mut written = Vec::new();
    let client = async {
        client.write_all(says).await.expect("there is room");
        client.read_to_end(&mut written).await.expect("in memory");
    };
    let all = async { tokio::join!(client, edge::serve(Arc::clone(edge), server, ARRIVAL)) };
    assert!(timeout(FOREVER, all).await.is_ok(), "the connection never ends");
    written
}

fn compare(target: &Target, fate: &Fate, is: u16, error: Option<Vec<u8>>, location: Option<Vec<u8>>) {
    let shown = || format!("{} is {is} {error:?} {location:?}, expected {fate:?}", target.shown());
    match fate {
        Fate::Refused => assert!(is == 400 && error.as_deref() == Some(b"bad_request"), "{}", shown()),
        Fate::Health => assert!(is == 200, "{}", shown()),
        Fate::NoRoute => assert!(is == 502 && error.as_deref() == Some(b"no_route"), "{}", shown()),
        Fate::Served { lane, .. } => assert!(is == status(*lane), "{}", shown()),
    }
    let expected = match fate {
        Fate::Served { base, target, .. } if is == 307 => Some([base_origin(base).as_bytes(), target].concat()),
        _ => None,
    };
    assert!(location == expected, "{}", shown());
}
