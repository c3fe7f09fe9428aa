//! Where a look into a request is taken: here, or aside on a thread that may take its time.

use http::Method;
use http::header::HeaderMap;
use tokio::sync::Semaphore;

use super::Expectation;
use super::look::{expectation, needs_aside};
use crate::body::Snapshot;

/// How many bodies are looked into aside at once. Each may need a copy, and its coding the memory for a window.
static ROOM: Semaphore = Semaphore::const_new(4);

/// Which header deadline a request has (contract 3.3, "Which deadline").
///
/// Cancel-safe: dropping the future drops the answer. A look that was begun aside goes on to its end.
pub async fn look(method: &Method, path: &str, headers: &HeaderMap, body: &Snapshot) -> Expectation {
    if !needs_aside(method, path, headers, body.len()) {
        return expectation(method, path, headers, || body.joined());
    }
    // Nobody closes it.
    let room = ROOM.acquire().await;
    let (method, path, headers, body) = (method.clone(), path.to_owned(), headers.clone(), body.clone());
    let look = move || {
        let _room = room;
        expectation(&method, &path, &headers, || body.joined())
    };
    // An error means that the process is ending, or that a decoder broke: then give it the time that it may need.
    tokio::task::spawn_blocking(look).await.unwrap_or(Expectation::WholeAnswer)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;
    use http_body_util::Full;

    use super::*;
    use crate::body::{Collected, Limits, Quota};
    use crate::time::LazyDeadline;

    #[tokio::test]
    async fn bodies_are_read_aside_as_they_are_here() {
        let quota: Arc<Quota> = Quota::new(1 << 30);
        let limits = Limits { max: 1 << 30, progress: Duration::from_secs(1) };
        for (padding, aside) in [(0, false), (2 << 20, true)] {
            for (stream, expected) in [("true", Expectation::EarlyHead), ("false", Expectation::WholeAnswer)] {
                let text = format!(r#"{{"input":"{}","model":"m","stream":{stream}}}"#, " ".repeat(padding));
                let mut full = Full::new(Bytes::from(text));
                let Ok(Collected::Whole(body)) =
                    Snapshot::collect(&mut full, limits, &quota, &mut LazyDeadline::default()).await
                else {
                    panic!()
                };
                let headers = HeaderMap::new();
                assert_eq!(needs_aside(&Method::POST, "/responses", &headers, body.len()), aside);
                assert_eq!(look(&Method::POST, "/responses", &headers, &body).await, expected);
            }
        }
        assert_eq!(ROOM.available_permits(), 4, "room is given back");
    }
}
