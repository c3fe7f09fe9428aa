//! What a request about jobs asks for. (p)

use http::Method;

use crate::answer::{Answer, Code};
use crate::ids::JobId;
use crate::job::Status;

/// How many jobs a list has that does not say how many.
const USUAL: usize = 50;
/// A list has no more.
pub(super) const MOST: usize = 500;

/// What is asked of jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// `GET /jobs`: the newest, or those behind a job.
    List { status: Option<Status>, after: Option<JobId>, limit: usize },
    /// `GET /jobs/<id>`.
    Show { job: JobId },
    /// `DELETE /jobs/<id>`.
    Cancel { job: JobId },
    /// `POST /jobs/<id>/retry`.
    Retry { job: JobId },
}

/// Reads what stands behind `/jobs`, and the query.
pub(super) fn read(method: &Method, rest: &str, query: Option<&str>) -> Result<Ask, Answer> {
    let is_get = matches!(*method, Method::GET | Method::HEAD);
    if rest.is_empty() {
        return if is_get { list(query) } else { Err(instead("GET, HEAD")) };
    }
    let (id, is_retry) = match rest.strip_suffix("/retry") {
        Some(id) => (id, true),
        None => (rest, false),
    };
    let job = id.strip_prefix('/').and_then(|id| id.parse().ok()).ok_or_else(not_found)?;
    match (is_retry, method) {
        (true, &Method::POST) => Ok(Ask::Retry { job }),
        (true, _) => Err(instead("POST")),
        (false, &Method::DELETE) => Ok(Ask::Cancel { job }),
        (false, _) if is_get => Ok(Ask::Show { job }),
        (false, _) => Err(instead("GET, HEAD, DELETE")),
    }
}

/// What is said of a job that is not there.
pub(super) fn not_found() -> Answer {
    Answer::new(Code::JobNotFound, "There is no such job: it never was, was cancelled, or its retention is over.")
}

fn instead(allow: &'static str) -> Answer {
    Answer::new(Code::MethodNotAllowed, format!("Use {allow} here.")).allow(allow)
}

fn list(query: Option<&str>) -> Result<Ask, Answer> {
    let (mut status, mut after, mut limit) = (None, None, USUAL);
    for pair in query.into_iter().flat_map(|query| query.split('&')) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        // Names that mean nothing here are ignored, as everywhere on the web.
        match name {
            "status" => {
                let named = Status::named(value);
                status = Some(named.ok_or_else(|| refused("status is queued, running, completed or failed."))?);
            }
            "after" => {
                let job = value.parse().map_err(|_| refused("after is the id of a job, the last one of a list."))?;
                after = Some(job);
            }
            "limit" => {
                let number = value.parse().ok().filter(|limit| (1..=MOST).contains(limit));
                limit = number.ok_or_else(|| refused(format!("limit is a number from 1 to {MOST}.")))?;
            }
            _ => {}
        }
    }
    Ok(Ask::List { status, after, limit })
}

fn refused(message: impl Into<String>) -> Answer {
    Answer::new(Code::BadRequest, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(method: &str, rest: &str, query: Option<&str>) -> Result<Ask, (Code, Option<&'static str>)> {
        read(&method.parse().unwrap(), rest, query).map_err(|answer| (answer.code, answer.allow))
    }

    #[test]
    fn a_list_is_the_newest_fifty_unless_it_is_asked_for_otherwise() {
        let newest = Ask::List { status: None, after: None, limit: 50 };
        for query in [None, Some(""), Some("x"), Some("state=failed&_=1")] {
            assert_eq!(ask("GET", "", query), Ok(newest), "{query:?}");
        }
        let job = JobId::random();
        let query = format!("status=failed&limit=500&after={job}");
        let expected = Ask::List { status: Some(Status::Failed), after: Some(job), limit: 500 };
        assert_eq!(ask("HEAD", "", Some(&query)), Ok(expected));
        for query in [
            "status=",
            "status=cancelled",
            "limit=",
            "limit=0",
            "limit=501",
            "limit=-1",
            "limit=x",
            "after=",
            "after=1",
        ] {
            assert_eq!(ask("GET", "", Some(query)), Err((Code::BadRequest, None)), "{query}");
        }
    }

    #[test]
    fn each_wish_has_its_path_and_its_method() {
        let job = JobId::random();
        let (one, retry) = (format!("/{job}"), format!("/{job}/retry"));
        assert_eq!(ask("GET", &one, None), Ok(Ask::Show { job }));
        assert_eq!(ask("HEAD", &one, Some("limit=0")), Ok(Ask::Show { job }));
        assert_eq!(ask("DELETE", &one, None), Ok(Ask::Cancel { job }));
        assert_eq!(ask("POST", &retry, None), Ok(Ask::Retry { job }));
        let refused = |allow| Err((Code::MethodNotAllowed, Some(allow)));
        assert_eq!(ask("DELETE", "", None), refused("GET, HEAD"));
        assert_eq!(ask("POST", &one, None), refused("GET, HEAD, DELETE"));
        assert_eq!(ask("GET", &retry, None), refused("POST"));
        for rest in ["/", "/x", "/retry", &format!("/{job}/"), &format!("/{job}/content"), &format!("//{job}")] {
            for method in ["GET", "DELETE", "POST"] {
                assert_eq!(ask(method, rest, None), Err((Code::JobNotFound, None)), "{method} {rest}");
            }
        }
    }
}
