//! The command line: no options, a handful of commands.

pub mod check;
pub mod demo;
pub mod healthcheck;
pub mod help;
pub mod jobs;
mod listener;
mod paragraph;
pub mod probe;
pub mod serve;

use std::env;
use std::process::ExitCode;

/// Does what the arguments say, with this process's environment. The exit code is the process's.
pub fn run() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => serve::run(env::vars_os()),
        ["check"] => check::run(env::vars_os()),
        ["healthcheck"] => healthcheck::run(env::vars_os()),
        ["demo"] => demo::run(),
        ["jobs", ref further @ ..] => jobs::run(further, env::vars_os()),
        ["probe"] => probe::run(env::vars_os()),
        ["--help" | "-h" | "help"] => help::print(),
        ["--version" | "-V"] => help::print_version(),
        ["check" | "healthcheck" | "demo" | "probe", unknown, ..] | [unknown, ..] => help::refuse(unknown),
    }
}
