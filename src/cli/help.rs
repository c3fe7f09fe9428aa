//! `forebay --help` and `forebay --version`.

use std::process::ExitCode;

use crate::config::{Section, Variable};

/// The exit status of a command line that is not understood (EX_USAGE of sysexits.h).
const EX_USAGE: u8 = 64;

/// Prints the help and succeeds.
pub fn print() -> ExitCode {
    print!("{}", text());
    ExitCode::SUCCESS
}

/// Prints the help of `forebay jobs` and succeeds.
pub fn print_jobs() -> ExitCode {
    print!("{JOBS}");
    ExitCode::SUCCESS
}

/// Prints the version and succeeds.
pub fn print_version() -> ExitCode {
    println!("{}", version());
    ExitCode::SUCCESS
}

/// There is no such command.
pub fn refuse(argument: &str) -> ExitCode {
    eprintln!("forebay: unknown argument {argument:?}; see forebay --help. Settings are environment variables.");
    ExitCode::from(EX_USAGE)
}

/// There is such a command, but not like this.
pub fn refuse_jobs(problem: &str) -> ExitCode {
    eprintln!("forebay: {problem}; see forebay jobs --help");
    ExitCode::from(EX_USAGE)
}

/// `forebay 0.1.0`
pub fn version() -> String {
    format!("forebay {}", env!("CARGO_PKG_VERSION"))
}

/// What forebay is, its commands, and all its variables. No line is wider than 100 columns.
pub fn text() -> String {
    let variables = Section::ALL.iter().flat_map(|section| {
        let entries = section.variables().map(entry);
        std::iter::once(format!("\n{section}\n")).chain(entries)
    });
    std::iter::once(INTRODUCTION.to_owned()).chain(variables).collect()
}

const INTRODUCTION: &str = "\
forebay stands in front of a flaky HTTP backend. It races every request against a deadline for
response headers: an attempt that misses it is replaced, and the first answer is streamed on.

Usage: forebay [COMMAND]

Commands
  (none)       serve, until SIGTERM or SIGINT
  check        show the configuration that is in force, or all that is wrong with it
  healthcheck  ask a running forebay whether it is well; exit status 0 or 1
  jobs         list the jobs of a running forebay, show, cancel or retry one: jobs --help
  probe        ask the upstreams from here: DNS, TCP, TLS, time to headers, what to change
  demo         see a race against an upstream that stalls, without any configuration
  --help       this text
  --version    the version

Configuration comes from the environment alone. Empty means unset. Times are seconds, or carry a
unit (250ms, 30s, 5m, 1h30m); sizes are bytes, or carry one (64KiB, 32MiB). Defaults are in
brackets.
";

const JOBS: &str = "\
Shows and changes the jobs of a running forebay. It asks the admin listener of this environment
(ADMIN_HOST, ADMIN_PORT), with ADMIN_TOKEN where that is set.

Usage: forebay jobs COMMAND [--json]

Commands
  list [--status STATUS] [--limit N]
               the newest 50 jobs, or N, the newest first; STATUS is queued, running (a job that
               waits for a repeat is running, too), completed or failed
  show ID      all that is known of a job, but for its request and its response
  cancel ID    end a job, whatever its state, and forget it
  retry ID     queue a failed job again

Options
  --json       the answer of the admin listener instead of text

Exit status: 0 done, 1 not done (standard error says why), 64 a wrong command line, 78 a problem in
the environment.
";

fn entry(variable: &Variable) -> String {
    let names = if variable.is_secret() { format!("{0}, {0}_FILE", variable.name) } else { variable.name.to_owned() };
    // Quotes make a blank at the end visible.
    let default = variable.shown_default();
    let default = if default.ends_with(' ') { format!("\"{default}\"") } else { default.to_owned() };
    format!("  {names} [{default}]\n      {}\n", variable.help)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::VARIABLES;

    #[test]
    fn the_help_names_every_variable_and_command_and_fits_a_terminal() {
        let text = text();
        for variable in VARIABLES {
            assert!(text.contains(&format!("\n  {} [", variable.name)) || variable.is_secret(), "{}", variable.name);
        }
        for word in [
            "UPSTREAM_API_KEY, UPSTREAM_API_KEY_FILE [unset]",
            "check",
            "healthcheck",
            "jobs",
            "probe",
            "demo",
            "--version",
        ] {
            assert!(text.contains(word), "{word}");
        }
        for line in text.lines().chain(JOBS.lines()) {
            assert!(line.chars().count() <= 100, "{line}");
        }
    }

    #[test]
    fn the_version_is_the_packages() {
        assert_eq!(version(), format!("forebay {}", env!("CARGO_PKG_VERSION")));
    }
}
