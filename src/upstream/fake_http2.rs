//! An HTTP/2 upstream for tests: the other end of a stream in memory, with h2's server on it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::{Builder, Connection, SendResponse};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use http_body_util::BodyExt;
use http_body_util::channel::{Channel, Sender};
use tokio::io::DuplexStream;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::sleep;

use super::{Failure, Head, Http2, Outbound, Pool, Progress, Timeouts, TransportSettings, attempt};
use crate::body::{Beginning, Passing, Payload};

pub(super) type Upstream = UnboundedReceiver<DuplexStream>;
pub(super) type Server = Connection<DuplexStream, Bytes>;

/// A pool whose connects take so many milliseconds.
pub(super) fn pool(http2: Http2, max_connections: usize, connect: u64) -> (Arc<Pool>, Upstream) {
    let settings = TransportSettings { http2, ..TransportSettings::for_tests(max_connections) };
    Pool::in_memory(settings, Duration::from_millis(connect))
}

pub(super) fn outbound(method: Method, path: &'static str, body: Payload) -> Outbound {
    let headers = HeaderMap::from_iter([(http::header::HOST, HeaderValue::from_static("u.example:8443"))]);
    Outbound { method, target: Uri::from_static(path), quotes: Vec::new(), headers, body, is_upgrade: false }
}

pub(super) fn get(path: &'static str) -> Outbound {
    outbound(Method::GET, path, Payload::default())
}

pub(super) async fn send(pool: &Arc<Pool>, outbound: &Outbound) -> Result<Head, Failure> {
    attempt(pool, outbound, false, Timeouts::for_tests(), &Progress::default()).await
}

pub(super) async fn fetch(pool: &Arc<Pool>, path: &'static str) -> Result<Bytes, Failure> {
    Ok(send(pool, &get(path)).await?.body.collect().await.unwrap().to_bytes())
}

pub(super) fn passing() -> (Sender<Bytes, ()>, Payload) {
    let (sender, body) = Channel::<Bytes, ()>::new(4);
    (sender, Payload::Passing(Passing::new(Beginning::default(), body, Duration::from_secs(30))))
}

pub(super) async fn serve_one(upstream: &mut Upstream, max_streams: u32) -> Server {
    let stream = upstream.recv().await.unwrap();
    Builder::new().max_concurrent_streams(max_streams).handshake(stream).await.unwrap()
}

pub(super) async fn next(server: &mut Server) -> (Request<RecvStream>, SendResponse<Bytes>) {
    server.accept().await.unwrap().unwrap()
}

pub(super) fn answer(respond: &mut SendResponse<Bytes>, body: impl Into<Bytes>) {
    respond.send_response(Response::new(()), false).unwrap().send_data(body.into(), true).unwrap();
}

/// Serves everyone on every connection, each answer after `delay`. Counts the connections.
pub(super) fn serve_all(mut upstream: Upstream, max_streams: u32, delay: Duration) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    tokio::spawn(async move {
        while let Some(stream) = upstream.recv().await {
            let number = counter.fetch_add(1, Relaxed).to_string();
            tokio::spawn(async move {
                let mut server = Builder::new().max_concurrent_streams(max_streams).handshake(stream).await.unwrap();
                while let Some(Ok((_, mut respond))) = server.accept().await {
                    let number = number.clone();
                    tokio::spawn(async move {
                        sleep(delay).await;
                        answer(&mut respond, number);
                    });
                }
            });
        }
    });
    count
}

/// Runs the upstream's side of a connection while something else happens.
pub(super) async fn while_serving<T>(server: &mut Server, something: impl Future<Output = T>) -> T {
    tokio::select! {
        accepted = server.accept() => panic!("nothing was expected here: {accepted:?}"),
        result = something => result,
    }
}
