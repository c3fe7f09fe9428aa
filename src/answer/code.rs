//! The errors that forebay answers with (contract 5).

use http::StatusCode;

/// A code of section 5. Clients may rely on its text, which never changes with the dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// Malformed or ambiguous request.
    BadRequest,
    /// The admin listener wants `ADMIN_TOKEN`.
    Unauthorized,
    /// `ALLOWED_HOSTS`, `ALLOWED_ORIGINS`.
    HostNotAllowed,
    /// Unknown path on the admin listener.
    NotFound,
    /// There is no such job, or it belongs to somebody else.
    JobNotFound,
    /// The job has no response yet.
    JobNotReady,
    /// The job has none, and will have none.
    JobFailed,
    /// Only a job that failed, and whose request is still there, can be queued again.
    JobNotRetryable,
    /// The method is not served here.
    MethodNotAllowed,
    /// The client was too slow.
    ClientTimeout,
    /// The bytes that were asked for belong to an execution that is over: the job runs again.
    RecordingRestarted,
    /// The body is above the cap.
    PayloadTooLarge,
    /// The target is longer than any parser here takes.
    UriTooLong,
    /// The recording is shorter than that.
    RangeNotSatisfiable,
    /// An `Expect` other than `100-continue`.
    ExpectationFailed,
    /// The idempotency key was used for another request.
    IdempotencyMismatch,
    /// The head is above the limit.
    HeadersTooLarge,
    /// The latest failure was: refused, reset, TLS, DNS, malformed answer.
    UpstreamRequestError,
    /// The latest failure was a missed header deadline.
    UpstreamHeaderTimeout,
    /// The latest failure was connect, write or pool time.
    UpstreamTimeout,
    /// No route matches.
    NoRoute,
    /// Codex asked for a WebSocket, and the upstream has none: it is to fall back to POST.
    UpgradeFailed,
    /// Buffers, the queue or the store are full.
    Overloaded,
    /// The store cannot be reached; proxying goes on without it.
    StoreUnavailable,
    /// This process is going away.
    ShuttingDown,
}

impl Code {
    /// The text of the code, as in `X-Forebay-Error`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::Unauthorized => "unauthorized",
            Self::HostNotAllowed => "host_not_allowed",
            Self::NotFound => "not_found",
            Self::JobNotFound => "job_not_found",
            Self::JobNotReady => "job_not_ready",
            Self::JobFailed => "job_failed",
            Self::JobNotRetryable => "job_not_retryable",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::ClientTimeout => "client_timeout",
            Self::RecordingRestarted => "recording_restarted",
            Self::PayloadTooLarge => "payload_too_large",
            Self::UriTooLong => "uri_too_long",
            Self::RangeNotSatisfiable => "range_not_satisfiable",
            Self::ExpectationFailed => "expectation_failed",
            Self::IdempotencyMismatch => "idempotency_mismatch",
            Self::HeadersTooLarge => "headers_too_large",
            Self::UpstreamRequestError => "upstream_request_error",
            Self::UpstreamHeaderTimeout => "upstream_header_timeout",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::NoRoute => "no_route",
            Self::UpgradeFailed => "upgrade_failed",
            Self::Overloaded => "overloaded",
            Self::StoreUnavailable => "store_unavailable",
            Self::ShuttingDown => "shutting_down",
        }
    }

    /// The status that goes with the code, before any dialect.
    pub fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::HostNotAllowed => StatusCode::FORBIDDEN,
            Self::NotFound | Self::JobNotFound | Self::JobNotReady | Self::JobFailed => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::ClientTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::JobNotRetryable | Self::RecordingRestarted => StatusCode::CONFLICT,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::RangeNotSatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::ExpectationFailed => StatusCode::EXPECTATION_FAILED,
            Self::IdempotencyMismatch => StatusCode::UNPROCESSABLE_ENTITY,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::UpstreamRequestError | Self::NoRoute => StatusCode::BAD_GATEWAY,
            Self::UpgradeFailed => StatusCode::UPGRADE_REQUIRED,
            Self::UpstreamHeaderTimeout | Self::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Overloaded | Self::StoreUnavailable | Self::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Whether it may be said of a job, which is true only now and for one client.
    pub fn is_of_a_job(self) -> bool {
        match self {
            Self::JobNotFound
            | Self::JobNotReady
            | Self::JobFailed
            | Self::JobNotRetryable
            | Self::RecordingRestarted
            | Self::RangeNotSatisfiable
            | Self::IdempotencyMismatch
            | Self::BadRequest
            | Self::MethodNotAllowed
            | Self::StoreUnavailable => true,
            Self::Unauthorized
            | Self::HostNotAllowed
            | Self::NotFound
            | Self::ClientTimeout
            | Self::PayloadTooLarge
            | Self::UriTooLong
            | Self::ExpectationFailed
            | Self::HeadersTooLarge
            | Self::UpstreamRequestError
            | Self::UpstreamHeaderTimeout
            | Self::UpstreamTimeout
            | Self::NoRoute
            | Self::UpgradeFailed
            | Self::Overloaded
            | Self::ShuttingDown => false,
        }
    }

    /// The `type` of the error: whose turn it is to do something.
    pub fn kind(self) -> &'static str {
        match self {
            Self::UpstreamRequestError | Self::UpstreamHeaderTimeout | Self::UpstreamTimeout | Self::NoRoute => {
                "upstream_error"
            }
            Self::Overloaded | Self::StoreUnavailable | Self::ShuttingDown => "overloaded_error",
            Self::BadRequest
            | Self::Unauthorized
            | Self::HostNotAllowed
            | Self::NotFound
            | Self::JobNotFound
            | Self::JobNotReady
            | Self::JobFailed
            | Self::JobNotRetryable
            | Self::MethodNotAllowed
            | Self::ClientTimeout
            | Self::RecordingRestarted
            | Self::PayloadTooLarge
            | Self::UriTooLong
            | Self::RangeNotSatisfiable
            | Self::ExpectationFailed
            | Self::IdempotencyMismatch
            | Self::HeadersTooLarge
            | Self::UpgradeFailed => "invalid_request_error",
        }
    }
}

/// An error of forebay's own, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Which one.
    pub code: Code,
    /// What happened, how often and for how long, and what to change. Never an address inside, never a secret.
    pub message: String,
    /// `Retry-After`, in seconds.
    pub retry_after: Option<u32>,
    /// `Allow`, for 405.
    pub allow: Option<&'static str>,
    /// `Upgrade`, for 426.
    pub upgrade: Option<&'static str>,
    /// Whether the connection ends with this answer, because what follows on it cannot be trusted or was not read.
    pub close: bool,
}

impl Answer {
    /// An answer with a message and nothing else.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after: None, allow: None, upgrade: None, close: false }
    }

    /// With `Retry-After`.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// With `Allow`.
    #[must_use]
    pub fn allow(mut self, methods: &'static str) -> Self {
        self.allow = Some(methods);
        self
    }

    /// With `Upgrade`: the protocol that was asked for and is not to be had here.
    #[must_use]
    pub fn upgrade(mut self, protocol: &'static str) -> Self {
        self.upgrade = Some(protocol);
        self
    }

    /// As the last one on its connection.
    #[must_use]
    pub fn closing(mut self) -> Self {
        self.close = true;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_follows_from_the_status_as_section_5_says() {
        use Code::*;
        for code in [
            BadRequest,
            HostNotAllowed,
            NotFound,
            MethodNotAllowed,
            ClientTimeout,
            PayloadTooLarge,
            UriTooLong,
            ExpectationFailed,
            HeadersTooLarge,
            UpstreamRequestError,
            UpstreamHeaderTimeout,
            UpstreamTimeout,
            Overloaded,
            ShuttingDown,
        ] {
            let kind = match code.status().as_u16() {
                502 | 504 => "upstream_error",
                503 => "overloaded_error",
                400..=499 => "invalid_request_error",
                other => panic!("{other} is no status of section 5"),
            };
            assert_eq!(code.kind(), kind, "{code:?}");
        }
    }
}
