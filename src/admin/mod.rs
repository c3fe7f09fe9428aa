//! The admin listener: what operators and orchestrators ask.

mod health;
mod metrics;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use crate::answer::{self, Answer, Code, Source};
use crate::dialect::{Dialect, Plain, Settings};
use crate::shutdown::Shutdown;
pub use metrics::{Kind, METRICS, Metric, Sources, readme_table};

/// A client of this listener has so long for a request head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// One connection serves for so long. Nobody polls health for longer on one connection without a reason to reconnect.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(300);
/// How many connections are served at once.
pub const MAX_CONNECTIONS: usize = 256;

/// What the admin listener tells.
pub struct Admin {
    /// `HEALTH_PATH`, beside `/healthz`.
    pub health_path: Option<String>,
    /// `SOURCE_HEADER`.
    pub source: Source,
    /// The stage of the process.
    pub shutdown: Shutdown,
    /// Where the figures are.
    pub sources: Sources,
}

/// What is to be had here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Page {
    Health,
    Ready,
    Metrics,
}

/// Serves one connection of the admin listener.
pub async fn serve(stream: TcpStream, admin: Arc<Admin>) {
    let cutting = admin.shutdown.cutting();
    let service = service_fn(move |request: Request<Incoming>| {
        let response = admin.answer(&request);
        async move { Ok::<_, Infallible>(response.map(Full::new)) }
    });
    let connection = Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .auto_date_header(false)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // A client that breaks off concerns nobody else.
        _ = tokio::time::timeout(CONNECTION_TIMEOUT, connection) => {}
        () = cutting => {}
    }
}

impl Admin {
    fn answer<B>(&self, request: &Request<B>) -> Response<Bytes> {
        let Some(page) = self.page(request.uri().path()) else {
            let message =
                "There is nothing at this path. The admin listener has /healthz, /readyz (?verbose) and /metrics.";
            return self.error(&Answer::new(Code::NotFound, message));
        };
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return self.error(&Answer::new(Code::MethodNotAllowed, "Use GET or HEAD here.").allow("GET, HEAD"));
        }
        let is_draining = self.shutdown.is_draining();
        match page {
            Page::Health => answer::healthy(&self.source),
            Page::Ready if is_verbose(request.uri().query()) => {
                health::ready_in_words(&self.source, is_draining, &self.sources.routes)
            }
            Page::Ready => health::ready(&self.source, is_draining),
            Page::Metrics => {
                let content_type = HeaderValue::from_static(metrics::CONTENT_TYPE);
                answer::own(StatusCode::OK, &self.source, content_type, self.sources.page())
            }
        }
    }

    fn page(&self, path: &str) -> Option<Page> {
        match path {
            "/metrics" => Some(Page::Metrics),
            "/readyz" => Some(Page::Ready),
            "/healthz" => Some(Page::Health),
            path => self.health_path.as_deref().filter(|health| *health == path).map(|_| Page::Health),
        }
    }

    fn error(&self, answer: &Answer) -> Response<Bytes> {
        let plain = Plain {
            status: answer.code.status(),
            kind: answer.code.kind(),
            code: answer.code.as_str(),
            message: &answer.message,
        };
        let worded = Dialect::Plain.word(plain, Settings { auto: false, codex_final_status: None });
        answer.message(worded.status, &self.source, worded.body)
    }
}

/// `?verbose`, with or without a value.
fn is_verbose(query: Option<&str>) -> bool {
    let names = query.into_iter().flat_map(|query| query.split('&')).map(|pair| pair.split('=').next());
    names.flatten().any(|name| name == "verbose")
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;
    use crate::body::Quota;
    use crate::routes::Routes;

    fn ask(admin: &Admin, method: &str, path: &str) -> (u16, String) {
        let response = admin.answer(&Request::builder().method(method).uri(path).body(()).unwrap());
        (response.status().as_u16(), String::from_utf8(response.into_body().to_vec()).unwrap())
    }

    #[test]
    fn health_and_readiness_are_two_questions() {
        let source =
            Source { name: HeaderName::from_static("x-forebay-source"), value: HeaderValue::from_static("forebay") };
        let (quota, clients, certificate) = (Quota::new(1), Box::new(|| 0), Box::new(|| None));
        let sources = Sources { routes: Routes::new([]), quota, clients, certificate };
        let admin = Admin { health_path: Some("/up".into()), source, shutdown: Shutdown::default(), sources };
        for path in ["/healthz", "/up"] {
            assert_eq!(ask(&admin, "GET", path), (200, "{\"ok\":true}".into()));
        }
        assert_eq!(ask(&admin, "HEAD", "/readyz").0, 200);
        assert_eq!(ask(&admin, "POST", "/readyz").0, 405);
        assert_eq!(ask(&admin, "GET", "/readyz?x&verbose=1"), (200, "ready\n".into()));
        assert_eq!(ask(&admin, "GET", "/readyz?x=verbose"), (200, "{\"ready\":true}".into()));
        assert_eq!(ask(&admin, "GET", "/").0, 404);
        admin.shutdown.drain();
        assert_eq!(ask(&admin, "GET", "/healthz").0, 200);
        assert_eq!(ask(&admin, "GET", "/readyz?verbose"), (503, "not ready: draining\n".into()));
        assert_eq!(ask(&admin, "GET", "/readyz"), (503, "{\"ready\":false,\"reason\":\"draining\"}".into()));
    }
}
