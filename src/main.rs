//! The doorknob: arguments, runtime, exit code.

use std::env;
use std::process::ExitCode;

use forebay::cli;

fn main() -> ExitCode {
    let arguments: Vec<String> =
        env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => cli::serve::run(env::vars_os()),
        ["check"] => cli::check::run(env::vars_os()),
        ["healthcheck"] => cli::healthcheck::run(env::vars_os()),
        ["demo"] => cli::demo::run(),
        ["--help" | "-h" | "help"] => cli::help::print(),
        ["--version" | "-V"] => cli::help::print_version(),
        ["check" | "healthcheck" | "demo", unknown, ..] | [unknown, ..] => cli::help::refuse(unknown),
    }
}
