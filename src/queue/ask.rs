//! What a request to the jobs API asks for (contract 6.2). (p)

use std::time::Duration;

use http::Method;

use crate::answer::{Answer, Code};
use crate::ids::{ExecutionNo, JobId};

/// A long poll waits no longer.
const MOST_WAIT: u64 = 60;

/// A request to the jobs API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// `GET …/<id>`.
    Status { job: JobId, wait: Duration },
    /// `GET …/<id>/content`.
    Content {
        job: JobId,
        wait: Duration,
        /// What there is, and what will come.
        follow: bool,
        /// The first byte that is wanted.
        from: u64,
        /// …of this execution's.
        execution: Option<ExecutionNo>,
    },
    /// `DELETE …/<id>`.
    Delete { job: JobId },
}

/// Reads what stands behind `JOBS_PATH`: `/<id>` or `/<id>/content`, and the query.
pub(super) fn read(method: &Method, rest: &str, query: Option<&str>) -> Result<Ask, Answer> {
    let (id, is_content) = match rest.strip_suffix("/content") {
        Some(id) => (id, true),
        None => (rest, false),
    };
    let job = id.strip_prefix('/').and_then(|id| id.parse::<JobId>().ok()).ok_or_else(not_found)?;
    let is_get = matches!(*method, Method::GET | Method::HEAD);
    if !is_content && *method == Method::DELETE {
        return Ok(Ask::Delete { job });
    }
    if !is_get {
        let allow = if is_content { "GET, HEAD" } else { "GET, HEAD, DELETE" };
        return Err(Answer::new(Code::MethodNotAllowed, format!("Use {allow} here.")).allow(allow));
    }
    let query = Query::read(query)?;
    let wait = Duration::from_secs(query.wait.unwrap_or_default().min(MOST_WAIT));
    if !is_content {
        return Ok(Ask::Status { job, wait });
    }
    let (follow, from, execution) = (query.follow, query.from.unwrap_or_default(), query.execution);
    Ok(Ask::Content { job, wait, follow, from, execution })
}

/// What is said of a job that is not there, or not the client's.
pub(super) fn not_found() -> Answer {
    Answer::new(
        Code::JobNotFound,
        "There is no such job, or it belongs to somebody else: it is shown to who presents the credentials with which \
         it was submitted.",
    )
}

#[derive(Debug, Default)]
struct Query {
    wait: Option<u64>,
    follow: bool,
    from: Option<u64>,
    execution: Option<ExecutionNo>,
}

impl Query {
    /// Names that mean nothing here are ignored, as everywhere on the web; a value that cannot be read is not.
    fn read(query: Option<&str>) -> Result<Self, Answer> {
        let mut found = Self::default();
        for pair in query.into_iter().flat_map(|query| query.split('&')) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "wait" => found.wait = Some(number(name, value.strip_suffix('s').unwrap_or(value))?),
                "from" => found.from = Some(number(name, value)?),
                "execution" => {
                    let number = u32::try_from(number(name, value)?).unwrap_or(u32::MAX);
                    found.execution = Some(ExecutionNo::new(number));
                }
                "follow" => {
                    found.follow = match value {
                        "" | "true" | "1" | "yes" | "on" => true,
                        "false" | "0" | "no" | "off" => false,
                        _ => return Err(Answer::new(Code::BadRequest, "follow is true or false.")),
                    }
                }
                _ => {}
            }
        }
        Ok(found)
    }
}

fn number(name: &str, value: &str) -> Result<u64, Answer> {
    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let unit = if name == "wait" { "seconds" } else { "a whole number" };
    let refused = || Answer::new(Code::BadRequest, format!("{name} is a number: {unit}, such as {name}=30."));
    if is_number { Ok(value.parse().unwrap_or(u64::MAX)) } else { Err(refused()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_queries_are_read_as_section_6_2_says() {
        let job = JobId::random();
        let ask = |method: &str, rest: &str, query: Option<&str>| {
            read(&method.parse().unwrap(), &rest.replace("ID", &job.to_string()), query).map_err(|answer| answer.code)
        };
        let seconds = Duration::from_secs;
        let content = |wait, follow, from, execution: Option<u32>| {
            let execution = execution.map(ExecutionNo::new);
            Ok(Ask::Content { job, wait: seconds(wait), follow, from, execution })
        };
        assert_eq!(ask("GET", "/ID", None), Ok(Ask::Status { job, wait: seconds(0) }));
        assert_eq!(ask("HEAD", "/ID", Some("wait=30&x")), Ok(Ask::Status { job, wait: seconds(30) }));
        assert_eq!(ask("GET", "/ID", Some("wait=5s")), Ok(Ask::Status { job, wait: seconds(5) }));
        assert_eq!(ask("GET", "/ID", Some("wait=99999")), Ok(Ask::Status { job, wait: seconds(60) }));
        assert_eq!(ask("DELETE", "/ID", None), Ok(Ask::Delete { job }));
        assert_eq!(ask("GET", "/ID/content", None), content(0, false, 0, None));
        let query = "follow=true&from=12&execution=3&wait=1";
        assert_eq!(ask("GET", "/ID/content", Some(query)), content(1, true, 12, Some(3)));
        assert_eq!(ask("GET", "/ID/content", Some("follow")), content(0, true, 0, None));
        for rest in ["", "/", "/x", "/ID/", "/ID/other", "/ID/content/", "//ID", "ID", "/%2a/content"] {
            assert_eq!(ask("GET", rest, None), Err(Code::JobNotFound), "{rest}");
        }
        for query in ["wait=", "wait=-1", "from=1.5", "from=x", "execution=", "follow=maybe"] {
            assert_eq!(ask("GET", "/ID/content", Some(query)), Err(Code::BadRequest), "{query}");
        }
        assert_eq!(ask("POST", "/ID", None), Err(Code::MethodNotAllowed));
        assert_eq!(ask("DELETE", "/ID/content", None), Err(Code::MethodNotAllowed));
    }
}
