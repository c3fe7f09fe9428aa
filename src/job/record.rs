//! What is known of a job without its request and its result.

use serde_json::json;

use super::Owner;
use crate::ids::{ExecutionNo, JobId};
use crate::time::UnixMillis;

/// How far a job has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Nobody executes it yet.
    Queued,
    /// A worker executes it, or it waits for a repeat.
    Running,
    /// It has a response, whatever its status.
    Completed,
    /// It has none, and will not be tried again.
    Failed,
}

impl Status {
    /// As clients and stores read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }

    /// The status of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Queued, Self::Running, Self::Completed, Self::Failed].into_iter().find(|status| status.as_str() == name)
    }

    /// Whether it stays so.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed)
    }
}

/// What operators know a job by. It has no query, which may hold secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Title {
    /// The route's label.
    pub route: String,
    /// The method.
    pub method: String,
    /// The path as the client sent it, cut at 200 bytes.
    pub path: String,
}

impl Title {
    const LONGEST_PATH: usize = 200;

    /// Of a request.
    pub fn new(route: &str, method: &str, path: &str) -> Self {
        let path = &path[..path.floor_char_boundary(Self::LONGEST_PATH)];
        Self { route: route.to_owned(), method: method.to_owned(), path: path.to_owned() }
    }
}

/// What is known of a job without its request and its result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Which job.
    pub id: JobId,
    /// What operators know it by.
    pub title: Title,
    /// Whose it is; none = whoever knows the id.
    pub owner: Option<Owner>,
    /// How far it has come.
    pub status: Status,
    /// When it was stored.
    pub created: UnixMillis,
    /// When its latest execution began.
    pub started: Option<UnixMillis>,
    /// When it became final.
    pub completed: Option<UnixMillis>,
    /// The number of its executions; zero as long as there was none.
    pub executions: ExecutionNo,
    /// Why it failed, or why the latest execution did: `<code>: <message>`.
    pub error: Option<String>,
}

impl Record {
    /// The document of section 6.2: absent fields are left out.
    pub fn document(&self) -> serde_json::Value {
        let mut document = json!({
            "id": self.id.to_string(),
            "status": self.status.as_str(),
            "createdAt": self.created.to_string(),
            "attempts": self.executions.get(),
        });
        let optional = [
            ("startedAt", self.started.map(|at| at.to_string())),
            ("completedAt", self.completed.map(|at| at.to_string())),
            ("error", self.error.clone()),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                document[name] = value.into();
            }
        }
        document
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_has_only_what_there_is() {
        let id = JobId::random();
        let mut record = Record {
            id,
            title: Title::new("default", "POST", "/x"),
            owner: Some(Owner::new([1; 32])),
            status: Status::Queued,
            created: UnixMillis::new(0),
            started: None,
            completed: None,
            executions: ExecutionNo::new(0),
            error: None,
        };
        let queued =
            json!({"id": id.to_string(), "status": "queued", "createdAt": "1970-01-01T00:00:00.000Z", "attempts": 0});
        assert_eq!(record.document(), queued);
        record.status = Status::Failed;
        record.error = Some("lost: gone".into());
        record.completed = Some(UnixMillis::new(1));
        let document = record.document();
        assert_eq!(document["error"], "lost: gone");
        assert_eq!(document["completedAt"], "1970-01-01T00:00:00.001Z");
        assert_eq!(document.get("startedAt"), None);
    }

    #[test]
    fn every_status_is_found_by_its_name() {
        for status in [Status::Queued, Status::Running, Status::Completed, Status::Failed] {
            assert_eq!(Status::named(status.as_str()), Some(status));
        }
        assert_eq!(Status::named("cancelled"), None);
    }

    #[test]
    fn a_title_is_cut_between_characters() {
        let title = Title::new("r", "GET", &format!("/{}", "ä".repeat(200)));
        assert_eq!(title.path.len(), 199);
    }
}
