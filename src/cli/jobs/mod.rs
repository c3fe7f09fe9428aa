//! `forebay jobs`: the jobs of the forebay that runs with this environment, through its admin listener.

mod arguments;
mod words;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::check::refuse;
use super::{help, listener};
use crate::config::{Listen, Settings};
use crate::job::Status;
use crate::secret::Secret;
use arguments::{Arguments, Wish};

/// The admin listener gives no more jobs at once.
const PAGE: usize = 500;

/// Does what the arguments behind `jobs` say. 0 = done, 1 = not, 64 = they say nothing, 78 = bad environment.
pub fn run(arguments: &[&str], vars: impl IntoIterator<Item = (OsString, OsString)>) -> ExitCode {
    let Arguments { wish, json } = match arguments::read(arguments) {
        Ok(arguments) => arguments,
        Err(problem) => return help::refuse_jobs(&problem),
    };
    if wish == Wish::Help {
        return help::print_jobs();
    }
    let settings = match Settings::from_env(vars) {
        Ok(settings) => settings,
        Err(problems) => return refuse(&problems),
    };
    let answered = match settings.admin {
        Some(listen) => Admin { listen, token: settings.admin_token }.grant(wish, json),
        None => Err("ADMIN_PORT is off, and jobs are shown by the admin listener".to_owned()),
    };
    match answered {
        Ok(text) => {
            // Whoever has closed the output does not want it: that changes nothing about what was done.
            let _ = io::stdout().lock().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("forebay: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// The admin listener that is asked.
struct Admin {
    listen: Listen,
    token: Option<Secret<String>>,
}

/// `GET /jobs`.
#[derive(Default, Deserialize)]
struct List {
    counts: Value,
    jobs: Vec<Value>,
}

impl Admin {
    /// What to print; or what to say of why there is nothing.
    fn grant(&self, wish: Wish, json: bool) -> Result<String, String> {
        let (document, text) = match wish {
            Wish::Help => return Ok(String::new()),
            Wish::List { status, limit } => {
                let list = self.list(status, limit)?;
                let document = json!({ "counts": list.counts, "jobs": list.jobs });
                let jobs: Vec<words::Job> =
                    list.jobs.into_iter().map(|job| self.read(job)).collect::<Result<_, _>>()?;
                (document, words::table(&jobs, &self.read(list.counts)?, limit))
            }
            Wish::Show(job) => {
                let document = self.ask("GET", &format!("/jobs/{job}"))?;
                (document.clone(), words::page(&self.read(document)?))
            }
            Wish::Cancel(job) => (self.ask("DELETE", &format!("/jobs/{job}"))?, format!("cancelled {job}\n")),
            Wish::Retry(job) => (self.ask("POST", &format!("/jobs/{job}/retry"))?, format!("queued {job} again\n")),
        };
        Ok(if json { format!("{document:#}\n") } else { text })
    }

    fn list(&self, status: Option<Status>, limit: usize) -> Result<List, String> {
        let status = status.map(|status| format!("&status={}", status.as_str())).unwrap_or_default();
        let mut list = List::default();
        loop {
            let most = PAGE.min(limit - list.jobs.len());
            let behind = list.jobs.last().and_then(|job| job["id"].as_str());
            let after = behind.map(|id| format!("&after={id}")).unwrap_or_default();
            let page: List = self.read(self.ask("GET", &format!("/jobs?limit={most}{status}{after}"))?)?;
            let is_last = page.jobs.len() < most;
            list.counts = page.counts;
            list.jobs.extend(page.jobs);
            if is_last || list.jobs.len() >= limit {
                return Ok(list);
            }
        }
    }

    fn ask(&self, method: &str, path: &str) -> Result<Value, String> {
        let answered = listener::ask(&self.listen, method, path, self.token.as_ref());
        let answered = answered.map_err(|error| self.silent(&error))?;
        let document: Value = serde_json::from_slice(&answered.body).map_err(|_| self.strange())?;
        if answered.status == 200 { Ok(document) } else { Err(self.refused(&document)) }
    }

    fn read<T: DeserializeOwned>(&self, document: Value) -> Result<T, String> {
        serde_json::from_value(document).map_err(|_| self.strange())
    }

    fn silent(&self, error: &io::Error) -> String {
        if self.listen.port == 0 {
            return "ADMIN_PORT is 0: the forebay that runs has chosen a port and logged it; set it to that one"
                .to_owned();
        }
        format!("{} cannot be asked: {error}; is forebay running with this environment?", self.address())
    }

    fn strange(&self) -> String {
        format!("{} is no admin listener of a forebay of this version", self.address())
    }

    fn refused(&self, document: &Value) -> String {
        let error = &document["error"];
        let (Some(message), Some(code)) = (error["message"].as_str(), error["code"].as_str()) else {
            return self.strange();
        };
        let hint = match (code, &self.token) {
            ("unauthorized", None) => " It is not set here.",
            ("unauthorized", Some(_)) => " That of this environment is another one.",
            _ => "",
        };
        format!("{message}{hint} ({code})")
    }

    fn address(&self) -> String {
        format!("{}:{} (ADMIN_HOST, ADMIN_PORT)", self.listen.host, self.listen.port)
    }
}
