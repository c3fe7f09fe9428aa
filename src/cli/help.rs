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
  probe        ask the upstreams from here: DNS, TCP, TLS, time to headers, what to change
  demo         see a race against an upstream that stalls, without any configuration
  --help       this text
  --version    the version

Configuration comes from the environment alone. Empty means unset. Times are seconds, or carry a
unit (250ms, 30s, 5m, 1h30m); sizes are bytes, or carry one (64KiB, 32MiB). Defaults are in
brackets.
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
        for word in
            ["UPSTREAM_API_KEY, UPSTREAM_API_KEY_FILE [unset]", "check", "healthcheck", "probe", "demo", "--version"]
        {
            assert!(text.contains(word), "{word}");
        }
        for line in text.lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
    }

    #[test]
    fn the_version_is_the_packages() {
        assert_eq!(version(), format!("forebay {}", env!("CARGO_PKG_VERSION")));
    }
}
