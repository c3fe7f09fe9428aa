//! May it be sent traffic?

use bytes::Bytes;
use http::{Response, StatusCode};

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
