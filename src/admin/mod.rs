//! The admin listener: what operators and orchestrators ask.

mod guard;
mod health;
mod jobs;
mod metrics;

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use crate::answer::{self, Answer, Code, Source};
use crate::dialect::{Dialect, Plain, Settings};
use crate::secret::Secret;
use crate::shutdown::Shutdown;
pub use jobs::Jobs;
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
    /// `ADMIN_TOKEN`: what jobs are shown for; none = to this machine alone.
    pub token: Option<Secret<String>>,
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

/// Serves one connection of the admin listener. The peer is whoever opened it.
pub async fn serve(stream: TcpStream, peer: IpAddr, admin: Arc<Admin>) {
    let cutting = admin.shutdown.cutting();
    let service = service_fn(move |request: Request<Incoming>| {
        let admin = Arc::clone(&admin);
        async move { Ok::<_, Infallible>(admin.answer(peer, &request).await.map(Full::new)) }
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
    async fn answer<B>(&self, peer: IpAddr, request: &Request<B>) -> Response<Bytes> {
        if let Some(rest) = jobs::rest(request.uri().path()) {
            return self.answer_of_jobs(peer, request, rest).await;
        }
        let Some(page) = self.page(request.uri().path()) else {
            let message = "There is nothing at this path. The admin listener has /healthz, /readyz (?verbose), /metrics and /jobs.";
            return self.error(&Answer::new(Code::NotFound, message));
        };
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return self.error(&Answer::new(Code::MethodNotAllowed, "Use GET or HEAD here.").allow("GET, HEAD"));
        }
        let is_draining = self.shutdown.is_draining();
        match page {
            Page::Health => answer::healthy(&self.source),
            Page::Ready if is_verbose(request.uri().query()) => {
                health::ready_in_words(&self.source, is_draining, &self.sources).await
            }
            Page::Ready => health::ready(&self.source, is_draining),
            Page::Metrics => {
                let content_type = HeaderValue::from_static(metrics::CONTENT_TYPE);
                answer::own(StatusCode::OK, &self.source, content_type, self.sources.page().await)
            }
        }
    }

    /// What is said of jobs is not for everybody, and true only now.
    async fn answer_of_jobs<B>(&self, peer: IpAddr, request: &Request<B>, rest: &str) -> Response<Bytes> {
        let answered = match (guard::admit(self.token.as_ref(), peer, request.headers()), &self.sources.jobs) {
            (Err(refused), _) => Err(refused),
            (Ok(()), None) => Err(jobs::no_store()),
            (Ok(()), Some(jobs)) => jobs.answer(request, rest).await,
        };
        let mut response = match answered {
            Ok(document) => answer::json(StatusCode::OK, &self.source, document.to_string()),
            Err(answer) => self.error(&answer),
        };
        response.headers_mut().insert(CACHE_CONTROL, answer::NO_STORE);
        response
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
    use std::net::Ipv4Addr;

    use http::HeaderName;
    use http::header::HOST;

    use super::*;
    use crate::body::Quota;
    use crate::ids::JobId;
    use crate::routes::Routes;
    use crate::store::StoreError;
    use crate::store::empty::Empty;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn admin() -> Admin {
        let source =
            Source { name: HeaderName::from_static("x-forebay-source"), value: HeaderValue::from_static("forebay") };
        let (quota, clients, certificate) = (Quota::new(1), Box::new(|| 0), Box::new(|| None));
        let sources = Sources { routes: Routes::new([]), quota, clients, certificate, jobs: None };
        Admin { health_path: Some("/up".into()), source, token: None, shutdown: Shutdown::default(), sources }
    }

    async fn respond(admin: &Admin, method: &str, path: &str) -> Response<Bytes> {
        let request = Request::builder().method(method).uri(path).header(HOST, "localhost:8789");
        admin.answer(HERE, &request.body(()).unwrap()).await
    }

    fn field<'a>(response: &'a Response<Bytes>, name: &str) -> &'a str {
        response.headers()[name].to_str().unwrap()
    }

    async fn ask(admin: &Admin, method: &str, path: &str) -> (u16, String) {
        let response = respond(admin, method, path).await;
        (response.status().as_u16(), String::from_utf8(response.into_body().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn health_and_readiness_are_two_questions() {
        let admin = admin();
        for path in ["/healthz", "/up"] {
            assert_eq!(ask(&admin, "GET", path).await, (200, "{\"ok\":true}".into()));
        }
        assert_eq!(ask(&admin, "HEAD", "/readyz").await.0, 200);
        assert_eq!(ask(&admin, "POST", "/readyz").await.0, 405);
        assert_eq!(ask(&admin, "GET", "/readyz?x&verbose=1").await, (200, "ready\n".into()));
        assert_eq!(ask(&admin, "GET", "/readyz?x=verbose").await, (200, "{\"ready\":true}".into()));
        assert_eq!(ask(&admin, "GET", "/").await.0, 404);
        admin.shutdown.drain();
        assert_eq!(ask(&admin, "GET", "/healthz").await.0, 200);
        assert_eq!(ask(&admin, "GET", "/readyz?verbose").await, (503, "not ready: draining\n".into()));
        assert_eq!(ask(&admin, "GET", "/readyz").await, (503, "{\"ready\":false,\"reason\":\"draining\"}".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_without_its_store_is_ready_and_says_how_the_store_is() {
        let (mut admin, empty) = (admin(), Arc::new(Empty::default()));
        admin.sources.jobs = Some(Jobs::in_store(empty.clone()));
        assert_eq!(ask(&admin, "GET", "/readyz?verbose").await, (200, "ready\nstore embedded: answers\n".into()));
        let is_silent = |(status, text): (u16, String)| {
            let said = text.starts_with("ready\nstore embedded: has not answered for ");
            assert!(status == 200 && said, "{status} {text}");
        };
        empty.fails_with(Some(StoreError::Unavailable("gone".into())));
        is_silent(ask(&admin, "GET", "/readyz?verbose").await);
        assert_eq!(ask(&admin, "GET", "/readyz").await, (200, "{\"ready\":true}".into()));
        empty.fails_with(None);
        assert_eq!(ask(&admin, "GET", "/readyz?verbose").await, (200, "ready\nstore embedded: answers\n".into()));
        empty.hangs();
        is_silent(ask(&admin, "GET", "/readyz?verbose").await);
    }

    #[tokio::test]
    async fn everything_about_jobs_is_guarded_and_nothing_else_is() {
        let (mut admin, job) = (admin(), JobId::random());
        admin.sources.jobs = Some(Jobs::in_store(Arc::new(Empty::default())));
        admin.token = Some(Secret::new("s3cret".to_owned()));
        let of_jobs = [
            ("GET", "/jobs".to_owned()),
            ("GET", "/jobs?limit=x".to_owned()),
            ("POST", "/jobs".to_owned()),
            ("GET", "/jobs/x".to_owned()),
            ("GET", format!("/jobs/{job}")),
            ("DELETE", format!("/jobs/{job}")),
            ("POST", format!("/jobs/{job}/retry")),
        ];
        for (method, path) in &of_jobs {
            let response = respond(&admin, method, path).await;
            assert_eq!((response.status(), field(&response, "www-authenticate")), (StatusCode::UNAUTHORIZED, "Bearer"));
            assert_eq!(field(&response, "cache-control"), "no-store");
        }
        admin.token = None;
        for (method, path) in &of_jobs {
            let request = Request::builder().method(*method).uri(path).header(HOST, "localhost").body(()).unwrap();
            let far = admin.answer([203, 0, 113, 7].into(), &request).await;
            assert_eq!((far.status(), field(&far, "x-forebay-error")), (StatusCode::FORBIDDEN, "host_not_allowed"));
        }
        let anybody = Request::builder().uri("/metrics").body(()).unwrap();
        assert_eq!(admin.answer([203, 0, 113, 7].into(), &anybody).await.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn what_is_asked_of_jobs_is_answered_or_explained() {
        let (mut admin, empty, job) = (admin(), Arc::new(Empty::default()), JobId::random());
        let off = ask(&admin, "GET", "/jobs").await;
        assert!(off.0 == 503 && off.1.contains("store_unavailable") && off.1.contains("STORE is off"), "{off:?}");
        admin.sources.jobs = Some(Jobs::in_store(empty.clone()));
        let list = respond(&admin, "GET", "/jobs").await;
        assert_eq!((list.status(), field(&list, "cache-control")), (StatusCode::OK, "no-store"));
        let list: serde_json::Value = serde_json::from_slice(list.body()).unwrap();
        assert_eq!((&list["jobs"], &list["counts"]["queued"]), (&serde_json::json!([]), &serde_json::json!(0)));
        for (method, path) in [("GET", ""), ("DELETE", ""), ("POST", "/retry")] {
            let (status, text) = ask(&admin, method, &format!("/jobs/{job}{path}")).await;
            assert!(status == 404 && text.contains("\"code\":\"job_not_found\""), "{method} {path} {text}");
        }
        assert_eq!(ask(&admin, "GET", "/jobs?limit=0").await.0, 400);
        let refused = respond(&admin, "PUT", &format!("/jobs/{job}")).await;
        assert_eq!((refused.status().as_u16(), field(&refused, "allow")), (405, "GET, HEAD, DELETE"));
        empty.fails_with(Some(StoreError::Unavailable("an address".into())));
        let gone = respond(&admin, "GET", "/jobs").await;
        assert_eq!((gone.status().as_u16(), field(&gone, "x-forebay-error")), (503, "store_unavailable"));
        assert_eq!((field(&gone, "retry-after"), field(&gone, "cache-control")), ("1", "no-store"));
    }
}
