//! What the arguments of `forebay jobs` ask for. (p)

use crate::ids::JobId;
use crate::job::Status;

/// How many jobs are listed if nobody says how many.
const USUAL: usize = 50;

/// A command line that is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arguments {
    pub(super) wish: Wish,
    /// `--json`.
    pub(super) json: bool,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Help,
    List { status: Option<Status>, limit: usize },
    Show(JobId),
    Cancel(JobId),
    Retry(JobId),
}

/// Reads what stands behind `jobs`; or says what is wrong with it.
pub(super) fn read(arguments: &[&str]) -> Result<Arguments, String> {
    let mut words = Vec::new();
    let (mut json, mut status, mut limit) = (false, None, None);
    let mut rest = arguments.iter().copied();
    while let Some(argument) = rest.next() {
        if matches!(argument, "--help" | "-h" | "help") {
            return Ok(Arguments { wish: Wish::Help, json });
        }
        let Some(option) = argument.strip_prefix("--") else {
            words.push(argument);
            continue;
        };
        // `--limit 5` and `--limit=5` are the same.
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (option, None),
        };
        match name {
            "json" if value.is_none() => json = true,
            "status" => status = Some(read_status(value.or_else(|| rest.next()))?),
            "limit" => limit = Some(read_limit(value.or_else(|| rest.next()))?),
            _ => return Err(format!("unknown option {argument:?}")),
        }
    }
    let is_plain = status.is_none() && limit.is_none();
    let wish = match words[..] {
        ["list"] => Wish::List { status, limit: limit.unwrap_or(USUAL) },
        ["show", id] if is_plain => Wish::Show(read_id(id)?),
        ["cancel", id] if is_plain => Wish::Cancel(read_id(id)?),
        ["retry", id] if is_plain => Wish::Retry(read_id(id)?),
        ["show" | "cancel" | "retry", _] => return Err("--status and --limit are for jobs list".to_owned()),
        [command @ ("show" | "cancel" | "retry")] => return Err(format!("jobs {command} needs the id of a job")),
        [] => return Err("jobs needs a command: list, show, cancel or retry".to_owned()),
        ["list" | "show" | "cancel" | "retry", .., unknown] | [unknown, ..] => {
            return Err(format!("unknown argument {unknown:?}"));
        }
    };
    Ok(Arguments { wish, json })
}

fn read_status(value: Option<&str>) -> Result<Status, String> {
    value.and_then(Status::named).ok_or_else(|| "--status is queued, running, completed or failed".to_owned())
}

fn read_limit(value: Option<&str>) -> Result<usize, String> {
    let number = value.and_then(|value| value.parse().ok()).filter(|limit| *limit > 0);
    number.ok_or_else(|| "--limit is a number of jobs, 1 or more".to_owned())
}

fn read_id(value: &str) -> Result<JobId, String> {
    value.parse().map_err(|_| format!("{value:?} is no id of a job; jobs list shows them"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(line: &str) -> Result<Wish, String> {
        read(&line.split_whitespace().collect::<Vec<_>>()).map(|arguments| arguments.wish)
    }

    #[test]
    fn each_command_is_understood_with_its_options_anywhere() {
        let id = JobId::random();
        assert_eq!(wish("list"), Ok(Wish::List { status: None, limit: 50 }));
        let failed = Ok(Wish::List { status: Some(Status::Failed), limit: 7 });
        for line in
            ["list --status failed --limit 7", "--limit=7 list --status=failed", "--status failed --limit 7 list"]
        {
            assert_eq!(wish(line), failed, "{line}");
        }
        assert_eq!(wish(&format!("show {id}")), Ok(Wish::Show(id)));
        assert_eq!(wish(&format!("cancel {id}")), Ok(Wish::Cancel(id)));
        assert_eq!(wish(&format!("retry {id}")), Ok(Wish::Retry(id)));
        for line in ["--help", "-h", "help", "list --help"] {
            assert_eq!(wish(line), Ok(Wish::Help), "{line}");
        }
        let json = |line: &str| read(&line.split_whitespace().collect::<Vec<_>>()).unwrap().json;
        assert!(json("list --json") && json("--json list") && !json("list"));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let id = JobId::random();
        for (line, part) in [
            ("", "list, show, cancel or retry"),
            ("lists", "\"lists\""),
            ("list everything", "\"everything\""),
            ("list --statuses x", "\"--statuses\""),
            ("list --json=yes", "\"--json=yes\""),
            ("list --status", "queued, running, completed or failed"),
            ("list --status waiting", "queued, running, completed or failed"),
            ("list --limit", "--limit is a number"),
            ("list --limit 0", "--limit is a number"),
            ("list --limit=many", "--limit is a number"),
            ("show", "jobs show needs the id"),
            ("retry x", "\"x\" is no id"),
            (&format!("cancel {id} {id}"), &format!("\"{id}\"")),
            (&format!("cancel {id} --limit 3"), "are for jobs list"),
        ] {
            let problem = wish(line).unwrap_err();
            assert!(problem.contains(part), "{line}: {problem}");
        }
    }
}
