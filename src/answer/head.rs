//! The fields that every answer of forebay's own carries.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, LOCATION, RETRY_AFTER, UPGRADE, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Response, StatusCode};

use super::{Answer, Code, Source};
use crate::ids::JobId;

/// What is said of a job is true only now, and not for everybody.
pub const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const ERROR: HeaderName = HeaderName::from_static("x-forebay-error");

/// An answer that is JSON and nobody else's.
pub fn json(status: StatusCode, source: &Source, body: impl Into<Bytes>) -> Response<Bytes> {
    own(status, source, HeaderValue::from_static("application/json"), body)
}

/// An answer that is of this type and nobody else's.
pub fn own(status: StatusCode, source: &Source, content_type: HeaderValue, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(source.name.clone(), source.value.clone());
    response
}

/// The answer to a health check: the process runs.
pub fn healthy(source: &Source) -> Response<Bytes> {
    json(StatusCode::OK, source, &b"{\"ok\":true}"[..])
}

/// `307`: the client is to send the same request there (RFC 9110 §15.4.8).
pub fn redirect(location: HeaderValue, source: &Source) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    response.headers_mut().insert(LOCATION, location);
    response.headers_mut().insert(source.name.clone(), source.value.clone());
    response
}

/// `202`: the request has become a job, which is to be found there (RFC 9110 §15.3.3).
pub fn accepted(location: HeaderValue, job: JobId, source: &Source) -> Response<Bytes> {
    let mut response = json(StatusCode::ACCEPTED, source, format!("{{\"jobId\":\"{job}\"}}"));
    let headers = response.headers_mut();
    headers.insert(LOCATION, location);
    headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    headers.insert(CACHE_CONTROL, NO_STORE);
    response
}

impl Answer {
    /// This answer as a message, with a status and a body that may be a dialect's.
    pub fn message(&self, status: StatusCode, source: &Source, body: impl Into<Bytes>) -> Response<Bytes> {
        let mut response = json(status, source, body);
        let headers = response.headers_mut();
        headers.insert(ERROR, HeaderValue::from_static(self.code.as_str()));
        if self.code.is_of_a_job() {
            headers.insert(CACHE_CONTROL, NO_STORE);
        }
        if self.code == Code::Unauthorized {
            // Which credentials are missing has to be said with every 401 (RFC 9110 §15.5.2).
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(methods) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(methods));
        }
        if let Some(protocol) = self.upgrade {
            headers.insert(UPGRADE, HeaderValue::from_static(protocol));
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        }
        if self.close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
