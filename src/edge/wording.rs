//! What forebay says: the words for whatever went wrong. (p)

use super::http1::Refusal;
use crate::answer::{Answer, Code};
use crate::body::{ClientFault, CollectError};
use crate::race::client_fault;
use crate::size::ByteSize;

/// What to say to a request that never became one.
pub(super) fn refusal(refusal: Refusal) -> Answer {
    let (code, message) = match refusal {
        Refusal::Malformed => (Code::BadRequest, "The request is not HTTP/1.1, or can be read in more than one way."),
        Refusal::Fragment => (Code::BadRequest, "The target has a fragment (#), which is never sent to a server."),
        Refusal::Timeout => {
            (Code::ClientTimeout, "The request head did not arrive in time (CLIENT_HEADER_TIMEOUT_SECONDS).")
        }
        Refusal::HeadTooLarge => {
            (Code::HeadersTooLarge, "The request head is larger than MAX_HEADER_BYTES, or has more than 128 fields.")
        }
        Refusal::TargetTooLong => (Code::UriTooLong, "The target is longer than 65534 bytes."),
    };
    Answer::new(code, message).closing()
}

/// What to say to a body above the cap.
pub(super) fn too_large(cap: ByteSize) -> Answer {
    let message = format!("The request body is larger than {cap}. Raise MAX_REQUEST_BODY_BYTES, or send less.");
    Answer::new(Code::PayloadTooLarge, message).closing()
}

/// What to say when the request body did not become a snapshot.
pub(super) fn body_failure<E>(error: &CollectError<E>) -> Answer {
    match error {
        CollectError::Full => {
            let message = "The request bodies that are buffered now fill MAX_BUFFERED_BYTES. Try again in a moment.";
            Answer::new(Code::Overloaded, message).retry_after(1).closing()
        }
        CollectError::Stalled(limit) => client_fault(ClientFault::Stalled(*limit)),
        CollectError::Broken(_) => client_fault(ClientFault::Broken),
    }
}
