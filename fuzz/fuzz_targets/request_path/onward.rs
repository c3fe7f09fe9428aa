//! What becomes of a request, and what the upstream would see of it.

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use forebay::body::{Collected, Limits, Payload, Quota, Snapshot};
use forebay::edge::{Framing, guard};
use forebay::routes::{Onward, outbound};
use forebay::time::LazyDeadline;
use forebay::upstream::Outbound;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::reading::Seen;
use super::{ARRIVAL, SETTINGS};

/// What a client's request is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// With 200, before its body was read: so the connection may end here.
    Health(Method),
    /// With this, because nothing came from the upstream.
    GoesOn(Method),
    /// With this, and nothing else is read.
    Refused(Method, StatusCode),
}

impl Fate {
    pub fn is_last(&self) -> bool {
        matches!(self, Self::Refused(..))
    }

    pub fn method(&self) -> &Method {
        match self {
            Self::Health(method) | Self::GoesOn(method) | Self::Refused(method, _) => method,
        }
    }

    pub fn status(&self) -> StatusCode {
        match self {
            Self::Health(_) => StatusCode::OK,
            Self::GoesOn(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Refused(_, status) => *status,
        }
    }
}

const HOP_BY_HOP: [&str; 11] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "expect",
    "x-forebay-source",
];

static QUOTA: LazyLock<std::sync::Arc<Quota>> = LazyLock::new(|| Quota::new(1 << 30));

/// Takes a request the way of the story, up to the upstream.
pub async fn fate(seen: &Seen) -> Fate {
    let method = seen.parts.method.clone();
    let refused = |status| Fate::Refused(method.clone(), status);
    if seen.has_fragment {
        return refused(StatusCode::BAD_REQUEST);
    }
    let target = match guard(&seen.parts, SETTINGS.edge.max_header_bytes) {
        Ok(target) => target,
        Err(answer) => {
            assert!(answer.close, "refused, and the connection goes on");
            return refused(answer.code.status());
        }
    };
    if matches!(method, Method::GET | Method::HEAD) && target.path() == "/healthz" {
        return Fate::Health(method);
    }
    if forebay::upstream::has_dot_segment(target.path()) {
        return refused(StatusCode::BAD_REQUEST);
    }
    if matches!(seen.framing, Framing::Length(length) if length > SETTINGS.routes[0].max_request_body.get()) {
        return refused(StatusCode::PAYLOAD_TOO_LARGE);
    }
    let body = match &seen.body {
        None => return refused(StatusCode::REQUEST_TIMEOUT),
        Some(Err(())) => return refused(StatusCode::BAD_REQUEST),
        Some(Ok(body)) => body,
    };
    let limits = Limits { max: u64::MAX, progress: Duration::from_secs(1) };
    let collected =
        Snapshot::collect(&mut Full::new(Bytes::from(body.clone())), limits, &QUOTA, &mut LazyDeadline::default())
            .await;
    let Ok(Collected::Whole(snapshot)) = collected else { panic!("it is short") };
    let onward = Onward::new(&SETTINGS.routes[0], &target, &[]).unwrap_or_else(|_| panic!("the target is short"));
    let (edge, settings, body_kept) = (&SETTINGS.edge, &SETTINGS.routes[0], Payload::Kept(snapshot));
    let sent = outbound(settings, edge.hop(ARRIVAL), seen.parts.clone(), onward, body_kept);
    let was_framed = seen.parts.headers.contains_key("content-length") || seen.framing == Framing::Chunked;
    let wire = serialised(&sent, body).await;
    assert!(was_framed || sent.headers.get("content-length").is_none(), "framed what was not");
    unambiguous(&wire, seen, target.as_str(), body);
    Fate::GoesOn(method)
}

/// The bytes that hyper's client makes of it.
async fn serialised(sent: &Outbound, body: &[u8]) -> Vec<u8> {
    let mut request = Request::new(Full::new(Bytes::copy_from_slice(body)));
    *request.method_mut() = sent.method.clone();
    *request.uri_mut() = sent.target.clone();
    request.headers_mut().clone_from(&sent.headers);
    let (ours, mut upstream) = tokio::io::duplex(1 << 20);
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(ours)).await.expect("nothing is exchanged yet");
    let exchange = async { tokio::join!(connection, sender.send_request(request)) };
    // Nobody answers; by then all is written.
    let _ = timeout(Duration::from_secs(1), exchange).await;
    drop(sender);
    let mut wire = Vec::new();
    upstream.read_to_end(&mut wire).await.expect("in memory");
    wire
}

/// Whoever reads these bytes reads one request, and only one.
fn unambiguous(wire: &[u8], seen: &Seen, target: &str, body: &[u8]) {
    let shown = || format!("{:?}\nof {seen:?}", String::from_utf8_lossy(wire));
    let end =
        wire.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or_else(|| panic!("no head: {}", shown()));
    let (head, rest) = (&wire[..end], &wire[end + 4..]);
    let lines: Vec<&[u8]> = head.split(|byte| *byte == b'\n').collect();
    let (last, others) = lines.split_last().expect("at least one");
    assert!(others.iter().all(|line| line.ends_with(b"\r")), "a bare LF: {}", shown());
    let lines: Vec<&[u8]> = others.iter().map(|line| &line[..line.len() - 1]).chain([*last]).collect();
    assert!(lines.iter().all(|line| !line.iter().any(|byte| matches!(byte, b'\r' | 0))), "a bare CR, NUL: {}", shown());

    let asked = seen.parts.uri.path_and_query().map_or("", |asked| asked.as_str());
    let origin_form = match asked {
        "*" => "/".to_owned(),
        asked if asked.starts_with('/') => asked.to_owned(),
        query_alone => ["/", query_alone].concat(),
    };
    assert_eq!(target, origin_form, "{}", shown());
    let expected = format!("{} /base{target} HTTP/1.1", seen.parts.method);
    assert_eq!(lines[0], expected.as_bytes(), "{}", shown());
    let text = std::str::from_utf8(lines[0]).expect("UTF-8");
    assert_eq!(text.split(' ').count(), 3, "{}", shown());
    assert!(!target.contains(|c: char| c.is_ascii_control() || matches!(c, '#' | '<' | '>')), "{}", shown());
    assert!(!target.split('?').next().is_some_and(|path| path.contains('`')), "{}", shown());

    let mut fields: Vec<(&str, &[u8])> = Vec::new();
    for line in &lines[1..] {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or_else(|| panic!("no colon: {}", shown()));
        let name = std::str::from_utf8(&line[..colon]).expect("a token");
        assert!(!name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic() && b != b'('), "{}", shown());
        fields.push((name, line[colon + 1..].trim_ascii()));
    }
    let all = |wanted: &str| -> Vec<&[u8]> {
        fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| *value).collect()
    };
    assert_eq!(all("host"), [b"upstream.test"], "{}", shown());
    assert_eq!(all("authorization"), [b"Bearer sk-ours"], "{}", shown());
    for name in HOP_BY_HOP {
        assert!(all(name).is_empty(), "{name}: {}", shown());
    }
    let coding = all("te");
    assert!(coding.is_empty() || coding == [b"trailers"], "{}", shown());
    for line in seen.parts.headers.get_all("connection") {
        for named in
            String::from_utf8_lossy(line.as_bytes()).split(',').map(str::trim).filter(|named| !named.is_empty())
        {
            let is_kept =
                ["host", "content-length", "authorization", "te"].iter().any(|kept| named.eq_ignore_ascii_case(kept));
            assert!(is_kept || all(named).is_empty(), "{named} was named in Connection: {}", shown());
        }
    }
    let folded = |name: &str| name.to_ascii_lowercase().replace('_', "-");
    let framing = |name: &&(&str, &[u8])| matches!(folded(name.0).as_str(), "content-length" | "transfer-encoding");
    let lengths: Vec<_> = fields.iter().filter(framing).collect();
    match lengths[..] {
        [] => assert!(body.is_empty(), "a body without framing: {}", shown()),
        [(name, value)] => {
            assert!(name.eq_ignore_ascii_case("content-length"), "{}", shown());
            assert_eq!(*value, body.len().to_string().as_bytes(), "{}", shown());
        }
        _ => panic!("framed twice: {}", shown()),
    }
    assert_eq!(rest, body, "{}", shown());
}
