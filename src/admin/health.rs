//! Is it alive, and may it be sent traffic?

use bytes::Bytes;
use http::{Response, StatusCode};

use crate::answer::{self, Source};

/// The process runs.
pub(super) fn live(source: &Source) -> Response<Bytes> {
    answer::json(StatusCode::OK, source, &b"{\"ok\":true}"[..])
}

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
