//! The same bytes on a real client connection: what the client gets back.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use forebay::body::Quota;
use forebay::cache::Cache;
use forebay::edge::{self, Edge, HeadScanner};
use forebay::race::RetryBudget;
use forebay::routes::{Route, Routes};
use forebay::shutdown::{Shutdown, Tasks};
use forebay::upstream::{Pool, Resolver};
use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::onward::Fate;
use super::reading::Reading;
use super::{ARRIVAL, SETTINGS};

/// The edge with an upstream that has no room: every request waits for a connection, and none is ever made.
static EDGE: LazyLock<Arc<Edge>> = LazyLock::new(|| {
    let settings = SETTINGS.routes[0].clone();
    let mut transport = settings.transport.clone();
    transport.max_connections = 0;
    let resolver = Resolver::new(Duration::from_secs(30));
    let pool = Pool::new(settings.base.origin(), transport, resolver, Tasks::default()).expect("no TLS");
    let budget = RetryBudget::new(settings.budget);
    Arc::new(Edge {
        settings: SETTINGS.edge.clone(),
        routes: Routes::new([Route::new(settings, pool, budget)]),
        answers: SETTINGS.answers.clone(),
        quota: Quota::new(1 << 30),
        cache: Cache::nothing(),
        queue: None,
        shutdown: Shutdown::default(),
        streams: Tasks::default(),
    })
});

/// Longer than all clocks of a connection together, whatever a few kilobytes may ask for.
const FOREVER: Duration = Duration::from_secs(24 * 60 * 60);

/// Runs a connection and compares its answers with what was to be expected.
pub async fn check(bytes: &[u8], manner: u8, reading: &Reading, expected: &[Fate]) {
    let (client, server) = tokio::io::duplex(1 << 20);
    let (leaves, piece) = (manner & 0x80 != 0, usize::from(manner & 0x7f).max(1));
    let (mut reader, mut writer) = tokio::io::split(client);
    let client = async {
        for piece in bytes.chunks(piece) {
            if writer.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        if leaves {
            let _ = writer.shutdown().await;
        }
    };
    let mut written = Vec::new();
    let serve = edge::serve(Arc::clone(&EDGE), server, ARRIVAL);
    let all = async { tokio::join!(client, serve, reader.read_to_end(&mut written)) };
    assert!(timeout(FOREVER, all).await.is_ok(), "the connection never ends");

    let answers = responses(&written, expected);
    let wanted = expected.len().min(answers.len());
    for (answer, fate) in answers.iter().zip(expected) {
        // A body that will never be complete is malformed once its client has left, and late before.
        let is_cut_short = leaves && (answer.status, fate.status().as_u16()) == (400, 408);
        assert!(answer.status == fate.status().as_u16() || is_cut_short, "{answers:?} instead of {expected:?}");
    }
    let further = &answers[wanted..];
    assert!(further.len() <= 1, "answers to nothing: {answers:?} instead of {expected:?}");
    if let [refusal] = further {
        assert!(matches!(refusal.status, 400 | 408 | 414 | 431), "{answers:?} instead of {expected:?}");
        assert!(refusal.closes, "refused, and the connection goes on");
        assert!(!expected.last().is_some_and(Fate::is_last), "refused twice: {answers:?}");
    }
    if leaves {
        return;
    }
    // hyper may end the connection when a body was not read; otherwise whoever waits gets all that is due.
    let may_end_early =
        answers.last().is_some_and(|last| last.closes) || wanted > 0 && matches!(expected[wanted - 1], Fate::Health(_));
    assert!(answers.len() >= expected.len() || may_end_early, "{answers:?} instead of {expected:?}");
    let unread = &bytes[reading.end..];
    let has_begun = {
        let mut head = HeadScanner::default();
        head.scan(unread);
        head.has_begun()
    };
    let is_open = !expected.last().is_some_and(Fate::is_last) && !may_end_early;
    if is_open && has_begun && (reading.is_refused || !reading.is_closed) {
        assert_eq!(further.len(), 1, "no word about {:?}: {answers:?}", String::from_utf8_lossy(unread));
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    closes: bool,
}

/// The final responses in what was written, which must be made of responses from its first byte to its last.
fn responses(mut written: &[u8], expected: &[Fate]) -> Vec<Answer> {
    let shown = String::from_utf8_lossy(written).into_owned();
    let mut answers: Vec<Answer> = Vec::new();
    while !written.is_empty() {
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut fields);
        let Ok(httparse::Status::Complete(head)) = response.parse(written) else { panic!("no response: {shown:?}") };
        written = &written[head..];
        let status = response.code.expect("it is complete");
        if status == 100 {
            continue;
        }
        let values = |name: &str| {
            let of_name = response.headers.iter().filter(move |field| field.name.eq_ignore_ascii_case(name));
            of_name.map(|field| String::from_utf8_lossy(field.value).into_owned()).collect::<Vec<_>>()
        };
        let closes = values("connection").iter().any(|value| value == "close");
        assert_eq!(values("x-forebay-source"), ["forebay"], "{shown:?}");
        assert_eq!(values("x-forebay-attempts").len(), 1, "{shown:?}");
        assert_eq!(values("x-forebay-error").len(), usize::from(status >= 400), "{shown:?}");
        let lengths = values("content-length");
        assert!(lengths.len() == 1 && values("transfer-encoding").is_empty(), "{shown:?}");
        let length: usize = lengths[0].parse().expect("a number");
        let is_head = expected.get(answers.len()).is_some_and(|fate| *fate.method() == Method::HEAD);
        if !is_head {
            assert!(written.len() >= length, "an answer ends early: {shown:?}");
            assert!(written[..length].starts_with(b"{") && written[..length].ends_with(b"}"), "{shown:?}");
            written = &written[length..];
        }
        assert!(answers.last().is_none_or(|last| !last.closes), "an answer after the last: {shown:?}");
        answers.push(Answer { status, closes });
    }
    answers
}
