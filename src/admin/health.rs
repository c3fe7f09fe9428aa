//! May it be sent traffic?

use std::fmt::Write;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};

use super::Sources;
use crate::answer::{self, Source};

/// The process takes new work. It does not ask the upstream: that the upstream fails is what forebay is there for.
pub(super) fn ready(source: &Source, is_draining: bool) -> Response<Bytes> {
    if is_draining {
        return answer::json(
            StatusCode::SERVICE_UNAVAILABLE,
            source,
            &b"{\"ready\":false,\"reason\":\"draining\"}"[..],
        );
    }
    answer::json(StatusCode::OK, source, &b"{\"ready\":true}"[..])
}

/// The same in lines for people; how the store is, without which requests pass all the same; and for each route how long its
/// upstream takes and what that means for its deadlines.
pub(super) async fn ready_in_words(source: &Source, is_draining: bool, sources: &Sources) -> Response<Bytes> {
    let (status, verdict) =
        if is_draining { (StatusCode::SERVICE_UNAVAILABLE, "not ready: draining") } else { (StatusCode::OK, "ready") };
    let mut text = format!("{verdict}\n");
    if let Some(jobs) = &sources.jobs {
        let _ = writeln!(text, "{}", jobs.store_in_words().await);
    }
    for line in sources.routes.iter().flat_map(|route| route.outlooks()) {
        let _ = writeln!(text, "{line}");
    }
    answer::own(status, source, HeaderValue::from_static("text/plain; charset=utf-8"), text)
}
