//! What to say of a race without a head. (p)

use super::{Failed, Why};
use crate::answer::{Answer, Code};
use crate::body::ClientFault;
use crate::time::Human;
use crate::upstream::{Breach, ConnectStage, Failure};

/// What to say to a client that did not send its request body.
pub fn client_fault(fault: ClientFault) -> Answer {
    match fault {
        ClientFault::Stalled(limit) => {
            let message =
                format!("No byte of the request body arrived for {} (CLIENT_BODY_TIMEOUT_SECONDS).", Human(limit));
            Answer::new(Code::ClientTimeout, message)
        }
        ClientFault::Broken => Answer::new(Code::BadRequest, "The request body is malformed or ended early."),
    }
    .closing()
}

/// What to say when no attempt had a head: what happened, how often and for how long, and what to change.
pub fn failure(failed: &Failed, attempts: u32) -> Answer {
    let attempts = match attempts {
        1 => "1 attempt".to_owned(),
        n => format!("{n} attempts"),
    };
    let why = match failed.why {
        Why::Attempts | Why::Client => "",
        Why::Unsafe => {
            " RETRY=safe repeats a request that may have reached the upstream only if its method is idempotent or it has \
             an Idempotency-Key."
        }
        Why::Once => " A streamed request is repeated only if nothing of it may have reached the upstream.",
        Why::Spent => " The request body was streamed, and a part of it is gone: it cannot be sent again.",
        Why::Budget => " The retry budget (RETRY_BUDGET_PERCENT, RETRY_BUDGET_MIN) allows no further attempt now.",
    };
    let (code, what) = match &failed.failure {
        Failure::HeaderTimeout(limit) => (
            Code::UpstreamHeaderTimeout,
            format!(
                "The upstream took the request and sent no response headers within the header deadline of {} \
                 (RESPONSE_HEADER_TIMEOUT_SECONDS, NONSTREAM_RESPONSE_HEADER_TIMEOUT_SECONDS). Raise the deadline if it \
                 is merely slow.",
                Human(*limit)
            ),
        ),
        Failure::PoolTimeout(limit) => (
            Code::UpstreamTimeout,
            format!(
                "No connection to the upstream became free for {} (POOL_TIMEOUT_SECONDS, UPSTREAM_MAX_CONNECTIONS).",
                Human(*limit)
            ),
        ),
        Failure::ConnectTimeout(limit) => (
            Code::UpstreamTimeout,
            format!("The upstream could not be connected to within {} (CONNECT_TIMEOUT_SECONDS).", Human(*limit)),
        ),
        Failure::WriteTimeout(limit) => (
            Code::UpstreamTimeout,
            format!("The upstream took nothing of the request for {} (WRITE_TIMEOUT_SECONDS).", Human(*limit)),
        ),
        Failure::Connect(stage, _) => (
            Code::UpstreamRequestError,
            match stage {
                ConnectStage::Dns => "The upstream's name does not resolve. Check UPSTREAM_BASE_URL.",
                ConnectStage::Tcp => "The upstream refused the connection. Check that it runs, and UPSTREAM_BASE_URL.",
                ConnectStage::Proxy => {
                    "The outbound proxy refused the connection to the upstream, or could not be reached. Check \
                     OUTBOUND_PROXY, its user and password, and that the proxy may connect to the upstream."
                }
                ConnectStage::OpenFiles => {
                    "No further connection can be opened, because the limit of open files is reached. Raise it, or lower \
                     MAX_CLIENT_CONNECTIONS and UPSTREAM_MAX_CONNECTIONS."
                }
                ConnectStage::Tls => {
                    "The TLS handshake with the upstream failed. Check its certificate, and UPSTREAM_CA_FILE."
                }
            }
            .to_owned(),
        ),
        Failure::Client(fault) => return client_fault(*fault),
        Failure::Broken(breach, ..) => (
            Code::UpstreamRequestError,
            match breach {
                Breach::Closed => "The upstream closed the connection before its response headers were complete.",
                Breach::Reset => "The upstream reset the connection before its response headers were complete.",
                Breach::Malformed => "The upstream's answer is no HTTP response, or its head is too long.",
                Breach::Unprocessed => "The upstream refused to process the request (an HTTP/2 stream was refused).",
            }
            .to_owned(),
        ),
    };
    Answer::new(code, format!("Gave up after {attempts}. {what}{why}"))
}
