//! The command line.

use std::fmt::Write;
use std::time::Duration;

use crate::cases::{CASES, Case};
use crate::sample::Spans;
use crate::targets::Kind;

/// What is asked for.
pub(crate) struct Options {
    pub(crate) cases: Vec<&'static Case>,
    pub(crate) targets: Vec<Kind>,
    pub(crate) rounds: usize,
    pub(crate) spans: Spans,
    /// Whether the table goes into the README.
    pub(crate) readme: bool,
}

/// What `--help` says.
pub(crate) fn help() -> String {
    let mut text = "\
Measures forebay (the release binary, which is built first) beside HAProxy, nginx and Envoy where they are installed, and
writes a table in Markdown to standard output.

Usage: cargo run --release -p forebay-benches --bin end_to_end -- [OPTIONS] [CASE]...

  --rounds N       how often each case is measured; the median counts (5)
  --seconds S      how long, each time (3)
  --quick          one round of half a second: whether everything works, not what it costs
  --targets A,B    only these: haproxy, nginx, envoy, forebay
  --readme         writes the table into README.md instead
  --help           this text

The proxy has one core, the upstream and the clients (in this process) another one. Every measurement starts the proxy anew,
and the proxies take turns. Every answer is checked for its status and its length: with a single wrong one the measurement
does not count, and the exit status is 1. Figures are processor time per request or event, from the kernel's counters of the proxy's threads, unless their
unit says otherwise. They compare within one run only, and on a machine that does nothing else.

Envoy is `envoy` in PATH, or what ENVOY names. 10,000 connections need a limit of open files (ulimit -Hn) above 10,500.

Cases:
"
    .to_owned();
    for case in CASES {
        let _ = writeln!(text, "  {:<16} {}", case.name, case.about);
    }
    text
}

/// None where help is asked for.
pub(crate) fn read(mut arguments: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let mut spans = Spans { warm_up: Duration::from_millis(500), measured: Duration::from_secs(3) };
    let (mut cases, mut targets, mut rounds) = (Vec::new(), Kind::ALL.to_vec(), 5);
    let mut readme = false;
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} what?"));
        match argument.as_str() {
            "-h" | "--help" => return Ok(None),
            "--rounds" => rounds = value()?.parse().ok().filter(|rounds| *rounds > 0).ok_or("--rounds is a number")?,
            "--seconds" => {
                let seconds = value()?.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
                spans.measured = seconds.filter(|span| !span.is_zero()).ok_or("--seconds is a number")?;
            }
            "--quick" => {
                rounds = 1;
                spans = Spans { warm_up: Duration::from_millis(200), measured: Duration::from_millis(500) };
            }
            "--readme" => readme = true,
            "--targets" => targets = value()?.split(',').map(target).collect::<Result<_, _>>()?,
            name => match CASES.iter().find(|case| case.name == name) {
                Some(case) => cases.push(case),
                None => return Err(format!("{name} is neither an option nor a case")),
            },
        }
    }
    if cases.is_empty() {
        cases.extend(CASES);
    }
    Ok(Some(Options { cases, targets, rounds, spans, readme }))
}

fn target(word: &str) -> Result<Kind, String> {
    Kind::ALL.into_iter().find(|kind| kind.word() == word).ok_or_else(|| format!("there is no target {word}"))
}
