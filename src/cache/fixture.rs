//! A cache, clients that ask it, and upstreams whose answers are sent by hand: for tests.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, Uri};
use http_body_util::BodyExt;
use http_body_util::channel::{Channel, Sender};

use super::{AnswerBody, Asked, Cache, CacheKind, CacheSettings, Given, Lead, Look, MemorySettings};
use crate::body::{Payload, Quota};
use crate::job::Owner;
use crate::shutdown::Tasks;
use crate::size::ByteSize;
use crate::stats::RouteStats;
use crate::store::Store;
use crate::upstream::{BaseUrl, Outbound};

pub(super) type Upstream = Sender<Bytes, io::Error>;
pub(super) type Answer = Response<Channel<Bytes, io::Error>>;

const QUOTA: usize = 1 << 20;

/// One route with a cache.
pub(super) struct Stage {
    pub(super) cache: Arc<Cache>,
    pub(super) settings: CacheSettings,
    pub(super) stats: Arc<RouteStats>,
    pub(super) quota: Arc<Quota>,
    pub(super) tasks: Tasks,
}

impl Stage {
    pub(super) fn new() -> Self {
        Self::of(CacheKind::Memory, None)
    }

    pub(super) fn of(kind: CacheKind, store: Option<Arc<dyn Store>>) -> Self {
        let memory = MemorySettings { max_entries: 100, max_bytes: ByteSize::new(1 << 20) };
        let (quota, tasks) = (Quota::new(QUOTA), Tasks::default());
        let cache = Cache::new(memory, store, Arc::clone(&quota), tasks.clone());
        let settings = CacheSettings { kind, max_entry: ByteSize::new(100 << 10), ..CacheSettings::for_tests() };
        Self { cache, settings, stats: Arc::default(), quota, tasks }
    }

    /// A GET with these fields looks into the cache.
    pub(super) async fn look(&self, fields: &[(&'static str, &'static str)]) -> Look {
        self.look_with(fields, Payload::default()).await
    }

    pub(super) async fn look_with(&self, fields: &[(&'static str, &'static str)], body: Payload) -> Look {
        let key_header = HeaderName::from_static("authorization");
        let outbound = Outbound {
            method: Method::GET,
            target: Uri::from_static("/x"),
            quotes: Vec::new(),
            headers: map(fields),
            body,
            is_upgrade: false,
        };
        let asked = Asked {
            route: "default",
            base: &BaseUrl::parse("http://upstream.test").unwrap(),
            outbound: &outbound,
            key_header: &key_header,
            key_is_ours: false,
            owner: Owner::of(&outbound.headers, &key_header),
            forwarded_is_known: false,
        };
        self.cache.look(&self.settings, &asked, &self.stats).await
    }

    pub(super) async fn lead(&self) -> Lead {
        lead_of(self.look(&[]).await)
    }

    pub(super) async fn hit(&self) -> Response<Given> {
        hit_of(self.look(&[]).await)
    }

    /// Somebody asks and reads all of this answer.
    pub(super) async fn fill(&self, body: &'static [u8]) {
        let (mut upstream, answer) = answer(&[]);
        let response = run(self.lead().await, answer).await;
        upstream.send_data(Bytes::from_static(body)).await.unwrap();
        drop(upstream);
        assert_eq!(read(response).await, Ok(Bytes::from_static(body)));
        self.tasks.finished().await;
    }
}

pub(super) fn lead_of(look: Look) -> Lead {
    let Look::Lead(lead) = look else { panic!("it does not lead: {look:?}") };
    lead
}

pub(super) fn hit_of(look: Look) -> Response<Given> {
    let Look::Hit(response) = look else { panic!("nothing is given: {look:?}") };
    response
}

pub(super) fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    fields.iter().map(|(k, v)| (HeaderName::from_static(k), HeaderValue::from_static(v))).collect()
}

/// An answer in chunks with these fields, whose body is still to be sent.
pub(super) fn answer(fields: &[(&'static str, &'static str)]) -> (Upstream, Answer) {
    let (sender, body) = Channel::new(1);
    let mut response = Response::new(body);
    *response.headers_mut() = map(fields);
    response.headers_mut().insert("transfer-encoding", HeaderValue::from_static("chunked"));
    (sender, response)
}

/// Leads to this answer.
pub(super) async fn run(lead: Lead, answer: Answer) -> Response<AnswerBody<Channel<Bytes, io::Error>>> {
    let (note, result) = lead.run(async { ("note", Ok::<_, io::Error>(answer)) }).await;
    assert_eq!(note, "note");
    result.unwrap()
}

/// Leads to nothing.
pub(super) async fn fail(lead: Lead) {
    let ((), result) = lead.run(async { ((), Err::<Answer, _>("refused")) }).await;
    assert_eq!(result.unwrap_err(), "refused");
}

/// The bytes of a body, to its end; or those that came before it broke off.
pub(super) async fn read<B>(response: Response<B>) -> Result<Bytes, Bytes>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    let (mut body, mut read) = (response.into_body(), Vec::new());
    while let Some(frame) = body.frame().await {
        match frame.map(http_body::Frame::into_data) {
            Ok(Ok(data)) => read.extend_from_slice(&data),
            Ok(Err(_)) => {}
            Err(_) => return Err(read.into()),
        }
    }
    Ok(read.into())
}

/// The next bytes of a body.
pub(super) async fn next<B>(response: &mut Response<B>) -> Option<Bytes>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    response.body_mut().frame().await?.ok()?.into_data().ok()
}

/// Whether there is nothing to be had of a future yet.
pub(super) fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
    matches!(std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop())), Poll::Pending)
}

/// Lets everything go on that can.
pub(super) async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}
