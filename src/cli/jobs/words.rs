//! Jobs as people read them. (p)

use std::fmt::Write;
use std::time::Duration;

use serde::Deserialize;

use crate::size::UNITS;
use crate::telemetry::Escaped;
use crate::time::Human;

/// A path is cut in a table; `jobs show` has it all.
const LONGEST_PATH: usize = 48;
const TITLES: [&str; 8] = ["ID", "STATUS", "AGE", "ROUTE", "METHOD", "PATH", "ATTEMPTS", "ERROR"];

/// A job, as the admin listener describes it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Job {
    id: String,
    status: String,
    route: String,
    method: String,
    path: String,
    has_owner: bool,
    age_seconds: u64,
    created_at: String,
    started_at: Option<String>,
    completed_at: Option<String>,
    attempts: u32,
    error: Option<String>,
}

/// How many jobs there are.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Counts {
    queued: u64,
    running: u64,
    waiting: u64,
    completed: u64,
    failed: u64,
    oldest_seconds: u64,
    bytes: u64,
}

/// A table of jobs, and how many there are in all.
pub(super) fn table(jobs: &[Job], counts: &Counts, limit: usize) -> String {
    let mut text = String::new();
    if jobs.is_empty() {
        text.push_str("No jobs.\n");
    } else {
        let rows: Vec<_> = std::iter::once(TITLES.map(str::to_owned)).chain(jobs.iter().map(row)).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
        let widths: [usize; 8] = std::array::from_fn(width);
        for row in &rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(widths) {
                let _ = write!(line, "{cell:width$}  ");
            }
            let _ = writeln!(text, "{}", line.trim_end());
        }
    }
    if jobs.len() == limit {
        let _ = writeln!(text, "(the newest {limit}; --limit shows more)");
    }
    let _ = writeln!(text, "\n{}", in_all(counts));
    text
}

/// All that is known of a job.
pub(super) fn page(job: &Job) -> String {
    let owner = if job.has_owner { "the client that sent the same credentials" } else { "whoever knows the id" };
    let error = job.error.as_deref().map(|error| Escaped(error).to_string());
    let lines = [
        ("id", Some(job.id.clone())),
        ("status", Some(job.status.clone())),
        ("route", Some(job.route.clone())),
        ("method", Some(job.method.clone())),
        ("path", Some(Escaped(&job.path).to_string())),
        ("shown to", Some(owner.to_owned())),
        ("created", Some(format!("{} ({} ago)", job.created_at, age(job.age_seconds)))),
        ("started", job.started_at.clone()),
        ("completed", job.completed_at.clone()),
        ("attempts", Some(job.attempts.to_string())),
        ("error", error),
    ];
    let mut text = String::new();
    for (name, value) in lines {
        if let Some(value) = value {
            let _ = writeln!(text, "{name:<10} {value}");
        }
    }
    text
}

fn row(job: &Job) -> [String; 8] {
    [
        job.id.clone(),
        job.status.clone(),
        age(job.age_seconds),
        job.route.clone(),
        job.method.clone(),
        cut(&Escaped(&job.path).to_string()),
        job.attempts.to_string(),
        job.error.as_deref().map(|error| Escaped(error).to_string()).unwrap_or_default(),
    ]
}

fn in_all(counts: &Counts) -> String {
    let Counts { queued, running, waiting, completed, failed, oldest_seconds, bytes } = counts;
    let oldest = if *queued > 0 { format!(" (the oldest for {})", age(*oldest_seconds)) } else { String::new() };
    format!(
        "{queued} queued{oldest}, {running} running, {waiting} waiting for a repeat, {completed} completed, {failed} failed; \
         {} stored",
        size(*bytes)
    )
}

fn age(seconds: u64) -> String {
    Human(Duration::from_secs(seconds)).to_string()
}

fn cut(path: &str) -> String {
    if path.chars().count() <= LONGEST_PATH {
        return path.to_owned();
    }
    path.chars().take(LONGEST_PATH - 1).chain(['…']).collect()
}

/// A number of bytes, with a decimal where it is not a small one: `1.5MiB`.
fn size(bytes: u64) -> String {
    match UNITS.iter().find(|(_, unit)| bytes >= *unit) {
        // In whole numbers: the last digit is cut, not rounded.
        Some((name, unit)) => format!("{}.{}{name}", bytes / unit, bytes % unit * 10 / unit),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn job(error: Option<&str>, path: &str) -> Job {
        serde_json::from_value(json!({
            "id": "6d1f2a52-0000-4000-8000-000000000000", "status": "failed", "createdAt": "2026-01-01T00:00:00.000Z",
            "attempts": 2, "route": "default", "method": "POST", "path": path, "hasOwner": false, "ageSeconds": 75,
            "error": error,
        }))
        .unwrap()
    }

    fn counts(queued: u64) -> Counts {
        serde_json::from_value(json!({
            "queued": queued, "running": 1, "waiting": 0, "completed": 9, "failed": 2, "oldestSeconds": 7, "bytes": 1600,
        }))
        .unwrap()
    }

    #[test]
    fn a_table_is_aligned_and_says_how_many_jobs_there_are_in_all() {
        let jobs = [job(Some("lost: gone"), "/v1/x"), job(None, "/")];
        let expected = "\
ID                                    STATUS  AGE  ROUTE    METHOD  PATH   ATTEMPTS  ERROR
6d1f2a52-0000-4000-8000-000000000000  failed  75s  default  POST    /v1/x  2         lost: gone
6d1f2a52-0000-4000-8000-000000000000  failed  75s  default  POST    /      2

3 queued (the oldest for 7s), 1 running, 0 waiting for a repeat, 9 completed, 2 failed; 1.5KiB stored
";
        assert_eq!(table(&jobs, &counts(3), 50), expected);
        let full = table(&jobs, &counts(0), 2);
        assert!(full.contains("\n(the newest 2; --limit shows more)\n\n0 queued, 1 running"), "{full}");
        assert!(table(&[], &counts(0), 50).starts_with("No jobs.\n\n0 queued, "));
    }

    #[test]
    fn what_clients_wrote_cannot_move_the_cursor_or_the_columns() {
        let path = format!("/\u{1b}[2J\u{9b}{}", "ä".repeat(99));
        let text = table(&[job(Some("x: \u{1b}[1m\ny"), &path)], &counts(0), 50);
        assert!(!text.contains(['\u{1b}', '\u{9b}']) && text.lines().count() == 4, "{text:?}");
        assert!(text.contains("ä…  2  ") && text.contains("x: \\u{1b}[1m\\ny"), "{text}");
        let text = page(&job(None, &path));
        assert!(!text.contains('\u{1b}') && text.contains(&"ä".repeat(99)), "{text:?}");
    }

    #[test]
    fn a_page_has_only_what_there_is() {
        let expected = "\
id         6d1f2a52-0000-4000-8000-000000000000
status     failed
route      default
method     POST
path       /x
shown to   whoever knows the id
created    2026-01-01T00:00:00.000Z (75s ago)
attempts   2
error      lost: gone
";
        assert_eq!(page(&job(Some("lost: gone"), "/x")), expected);
    }

    #[test]
    fn sizes_are_short() {
        for (bytes, text) in
            [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1.0KiB"), (1 << 20, "1.0MiB"), (u64::MAX, "16777215.9TiB")]
        {
            assert_eq!(size(bytes), text);
        }
    }
}
