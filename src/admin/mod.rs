//! The admin listener: what operators and orchestrators ask.

mod health;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use crate::answer::{self, Answer, Code, Source};
use crate::dialect::{Dialect, Plain, Settings};
use crate::shutdown::Shutdown;

/// A client of this listener has so long for a request head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// One connection serves for so long. Nobody polls health for longer on one connection without a reason to reconnect.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(300);
/// How many connections are served at once.
pub const MAX_CONNECTIONS: usize = 256;

/// What the admin listener tells.
#[derive(Clone, Debug)]
pub struct Admin {
    /// `HEALTH_PATH`, beside `/healthz`.
    pub health_path: Option<String>,
    /// `SOURCE_HEADER`.
    pub source: Source,
    /// The stage of the process.
    pub shutdown: Shutdown,
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
        let path = request.uri().path();
        let is_health = path == "/healthz" || self.health_path.as_deref() == Some(path);
        if !is_health && path != "/readyz" {
            let message = "There is nothing at this path. The admin listener has /healthz and /readyz.";
            return self.error(&Answer::new(Code::NotFound, message));
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return self.error(&Answer::new(Code::MethodNotAllowed, "Use GET or HEAD here.").allow("GET, HEAD"));
        }
        if is_health { answer::healthy(&self.source) } else { health::ready(&self.source, self.shutdown.is_draining()) }
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

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn ask(admin: &Admin, method: &str, path: &str) -> (u16, String) {
        let response = admin.answer(&Request::builder().method(method).uri(path).body(()).unwrap());
        (response.status().as_u16(), String::from_utf8(response.into_body().to_vec()).unwrap())
    }

    #[test]
    fn health_and_readiness_are_two_questions() {
        let source =
            Source { name: HeaderName::from_static("x-forebay-source"), value: HeaderValue::from_static("forebay") };
        let admin = Admin { health_path: Some("/up".into()), source, shutdown: Shutdown::default() };
        for path in ["/healthz", "/up"] {
            assert_eq!(ask(&admin, "GET", path), (200, "{\"ok\":true}".into()));
        }
        assert_eq!(ask(&admin, "HEAD", "/readyz").0, 200);
        assert_eq!(ask(&admin, "POST", "/readyz").0, 405);
        assert_eq!(ask(&admin, "GET", "/").0, 404);
        admin.shutdown.drain();
        assert_eq!(ask(&admin, "GET", "/healthz").0, 200);
        assert_eq!(ask(&admin, "GET", "/readyz"), (503, "{\"ready\":false,\"reason\":\"draining\"}".into()));
    }
}
