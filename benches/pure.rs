//! The pure parts, one by one: `cargo bench -p forebay-benches --bench pure`.
//!
//! For those who change one of them. What a whole request costs is counted by `instructions`, and timed by `end_to_end`.

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Write as _;
use std::iter::repeat;
use std::sync::Arc;
use std::time::Duration;

use bed::exchange::{EVENT, Exchange};
use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use forebay::body::{Collected, Limits as BodyLimits, Quota, Snapshot};
use forebay::config::Settings;
use forebay::dialect::{self, Dialect, EventBoundary};
use forebay::edge::{BodyScanner, Framing, HeadScanner, guard};
use forebay::headers::{Notable, hop};
use forebay::ids::AttemptNo;
use forebay::race::{self, Input, Limits, Mode, OverflowPoint, Plan, Quality, RetryBudget, Step};
use forebay::routes::{Route, Routes};
use forebay::shutdown::Tasks;
use forebay::size::ByteSize;
use forebay::time::{LazyDeadline, Offset};
use forebay::upstream::{Pool, Resolver};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};

criterion_group!(benches, headers, heads, plan, look, routes, events, bodies, dialects, configuration);
criterion_main!(benches);

fn fields(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
}

fn asked() -> HeaderMap {
    fields(&[
        ("host", "127.0.0.1:8788"),
        ("connection", "keep-alive, x-hop"),
        ("x-hop", "1"),
        ("accept", "application/json"),
        ("content-type", "application/json"),
        ("user-agent", "OpenAI/Python 1.99.0"),
        ("x-stainless-lang", "python"),
        ("x-stainless-retry-count", "0"),
        ("authorization", "Bearer sk-0123456789abcdef0123456789abcdef"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("content-length", "2048"),
    ])
}

fn answered() -> HeaderMap {
    fields(&[
        ("date", "Sat, 21 Nov 2026 12:00:00 GMT"),
        ("content-type", "text/event-stream; charset=utf-8"),
        ("transfer-encoding", "chunked"),
        ("connection", "keep-alive"),
        ("openai-processing-ms", "400"),
        ("x-ratelimit-remaining-requests", "9999"),
        ("x-request-id", "req_0123456789abcdef0123456789abcdef"),
        ("cf-cache-status", "DYNAMIC"),
        ("server", "cloudflare"),
    ])
}

/// What may not pass is taken out of a head of some ten fields.
fn headers(c: &mut Criterion) {
    let source = HeaderName::from_static("x-forebay-source");
    let (asked, answered) = (asked(), answered());
    c.bench_function("headers/strip_request", |b| {
        b.iter_batched_ref(
            || asked.clone(),
            |fields| hop::strip_request(fields, Notable::of(fields), &source),
            BatchSize::SmallInput,
        );
    });
    c.bench_function("headers/strip_response", |b| {
        let strip = |fields: &mut HeaderMap| hop::strip_response(fields, &source, false);
        b.iter_batched_ref(|| answered.clone(), strip, BatchSize::SmallInput);
    });
}

/// What is refused, and where a head ends.
fn heads(c: &mut Criterion) {
    let mut request = Request::post("/v1/chat/completions?x=y").body(()).unwrap_or_default();
    *request.headers_mut() = asked();
    let (parts, ()) = request.into_parts();
    c.bench_function("edge/guard", |b| b.iter(|| guard(black_box(&parts), ByteSize::new(64 << 10)).is_ok()));
    let mut head = String::from("POST /v1/chat/completions?x=y HTTP/1.1\r\n");
    for (name, value) in &parts.headers {
        let _ = write!(head, "{name}: {}\r\n", String::from_utf8_lossy(value.as_bytes()));
    }
    head.push_str("\r\n");
    c.bench_function("edge/head_scanner", |b| b.iter(|| HeadScanner::default().scan(black_box(head.as_bytes()))));
}

/// A race that its first attempt wins.
fn plan(c: &mut Criterion) {
    let second = Duration::from_secs(1);
    let limits = Limits {
        max_attempts: 2,
        deadline: Some(second),
        hedge_after: None,
        may_repeat: true,
        mode: Mode::Race,
        overflow: OverflowPoint::NEVER,
    };
    let at = |millis| Offset::new(Duration::from_millis(millis));
    c.bench_function("race/plan", |b| {
        b.iter(|| {
            let mut plan = Plan::new(black_box(limits), repeat(second));
            let no = AttemptNo::FIRST;
            for (now, input) in [
                (at(0), Input::Start),
                (at(0), Input::Time),
                (at(1), Input::Written { no, at: at(1) }),
                (at(2), Input::Head(no, Quality { is_poor: false, retry_after: None })),
            ] {
                if let Step::Commit(no) = plan.step(now, input) {
                    return Some(no);
                }
            }
            None
        });
    });
}

/// Which deadline? With the way to the thread aside, where a body takes it.
fn look(c: &mut Criterion) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else { return };
    let (small, long) = (Exchange::chat().body, Exchange::long_chat().body);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let Ok(coded) = gzip.write_all(&long).and_then(|()| gzip.finish()) else { return };
    let plain = fields(&[("content-type", "application/json")]);
    let in_gzip = fields(&[("content-type", "application/json"), ("content-encoding", "gzip")]);
    let early = fields(&[("accept", "text/event-stream")]);
    let mut group = c.benchmark_group("race/look");
    for (name, fields, body) in [
        ("2KB", &plain, small),
        ("3MB", &plain, long.clone()),
        ("3MB_gzip", &in_gzip, coded.into()),
        ("accept", &early, long),
    ] {
        let body = snapshot(&runtime, &body);
        let path = "/v1/chat/completions";
        group.bench_function(name, |b| b.iter(|| runtime.block_on(race::look(&Method::POST, path, fields, &body))));
    }
    group.finish();
}

/// A body as it comes from a socket.
fn snapshot(runtime: &tokio::runtime::Runtime, body: &Bytes) -> Snapshot {
    let pieces =
        body.chunks(64 << 10).map(|piece| Ok::<_, std::io::Error>(http_body::Frame::data(body.slice_ref(piece))));
    let mut body = http_body_util::StreamBody::new(futures_util::stream::iter(pieces.collect::<Vec<_>>()));
    let limits = BodyLimits { max: 1 << 30, progress: Duration::from_secs(1) };
    match runtime.block_on(Snapshot::collect(&mut body, limits, &Quota::new(1 << 30), &mut LazyDeadline::default())) {
        Ok(Collected::Whole(snapshot)) => snapshot,
        Ok(_) | Err(_) => unreachable!("it is below the limit"),
    }
}

fn environment(routes: usize) -> Vec<(std::ffi::OsString, std::ffi::OsString)> {
    let mut environment = vec![("UPSTREAM_BASE_URL".into(), "http://upstream.test".into())];
    for route in 0..routes {
        environment.push((format!("ROUTE_R{route}_PREFIX").into(), format!("/tenant-{route}").into()));
        environment.push((format!("ROUTE_R{route}_UPSTREAM_BASE_URL").into(), "http://upstream.test".into()));
    }
    environment
}

/// The route `/`, behind as many others as are asked before it.
fn routes(c: &mut Criterion) {
    for others in [0, 100] {
        let Ok(settings) = Settings::from_env(environment(others)) else { unreachable!("these are settings") };
        let first = &settings.routes[0];
        let pool = Pool::new(
            first.base.origin(),
            first.transport.clone(),
            Resolver::new(Duration::from_secs(30)),
            Tasks::default(),
        );
        let Ok(pool) = pool else { return };
        let routes = Routes::new(settings.routes.into_iter().map(|settings| {
            let budget = RetryBudget::new(settings.budget);
            Route::new(settings, Arc::clone(&pool), budget)
        }));
        c.bench_function(&format!("routes/find_behind_{others}"), |b| {
            b.iter(|| routes.find(black_box("/v1/chat/completions")).is_some());
        });
    }
}

/// Whether a stream is between two events, chunk by chunk.
fn events(c: &mut Criterion) {
    let mut group = c.benchmark_group("dialect/event_boundary");
    let many = EVENT.repeat(100);
    for (name, chunk) in [("one_event", EVENT), ("hundred_events", &many)] {
        group.bench_function(name, |b| {
            let mut boundary = EventBoundary::default();
            b.iter(|| {
                boundary.follow(black_box(chunk));
                boundary.is_between_events()
            });
        });
    }
    group.finish();
}

/// Where a body ends.
fn bodies(c: &mut Criterion) {
    let mut chunked = [format!("{:x}\r\n", EVENT.len()).as_bytes(), EVENT, b"\r\n"].concat().repeat(100);
    chunked.extend_from_slice(b"0\r\n\r\n");
    let mut group = c.benchmark_group("edge/body_scanner");
    for (name, framing) in [("length", Framing::Length(chunked.len() as u64)), ("chunked", Framing::Chunked)] {
        group.throughput(Throughput::Bytes(chunked.len() as u64));
        group.bench_function(name, |b| b.iter(|| BodyScanner::new(framing).scan(black_box(&chunked))));
    }
    group.finish();
}

/// Who asks?
fn dialects(c: &mut Criterion) {
    let settings = dialect::Settings { auto: true, codex_final_status: None };
    let openai = asked();
    let codex = fields(&[("originator", "codex_cli_rs")]);
    let none = fields(&[("accept", "*/*")]);
    for (name, fields, path) in
        [("codex", codex, "/v1/responses"), ("openai", openai, "/v1/chat/completions"), ("plain", none, "/files/a.txt")]
    {
        c.bench_function(&format!("dialect/recognise_{name}"), |b| {
            b.iter(|| Dialect::recognise(settings, black_box(&fields), path));
        });
    }
}

/// The environment, once per start.
fn configuration(c: &mut Criterion) {
    for routes in [0, 100] {
        let environment = environment(routes);
        c.bench_function(&format!("config/with_{routes}_routes"), |b| {
            b.iter_batched(|| environment.clone(), |vars| Settings::from_env(vars).is_ok(), BatchSize::SmallInput);
        });
    }
}
