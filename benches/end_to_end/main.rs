//! forebay beside other proxies, end to end: processor time, memory, and time to an answer. `--help` says how.

mod cases;
mod load;
mod options;
mod report;
mod sample;
mod targets;

use std::io;
use std::process::ExitCode;

use bed::Protocol;
use bed::cores::Cores;
use bed::process::Scratch;
use bed::upstream::Upstream;
use rustix::process::{Resource, getrlimit, setrlimit};

use options::Options;
use report::{Measured, Report};
use targets::Target;

fn main() -> ExitCode {
    let options = match options::read(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{}", options::help());
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("{problem}\n\n{}", options::help());
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("end_to_end: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> io::Result<()> {
    // The proxies inherit it.
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, rustix::process::Rlimit { current: files.maximum, ..files })?;
    let mut targets = Vec::new();
    for &kind in &options.targets {
        match Target::find(kind)? {
            Some(target) => targets.push(target),
            None => eprintln!("{} is not installed", kind.name()),
        }
    }
    let cores = Cores::take()?;
    let (report, failed) = bed::run(measure(options, &targets, cores))?;
    let text = report.markdown(&targets, options.rounds)?;
    if failed == 0 && options.readme {
        return report::put_into_readme(&text);
    }
    print!("{text}");
    match failed {
        0 => Ok(()),
        _ => Err(io::Error::other(format!("{failed} measurements failed, see above"))),
    }
}

/// The report, and how many measurements are missing in it.
async fn measure(options: &Options, targets: &[Target], cores: Cores) -> io::Result<(Report, usize)> {
    let (http1, http2) = (Upstream::start(Protocol::Http1).await?, Upstream::start(Protocol::Http2).await?);
    let scratch = Scratch::new()?;
    let (mut report, mut failed) = (Report::default(), 0);
    for case in &options.cases {
        let upstream = if case.protocols.1 == Protocol::Http2 { &http2 } else { &http1 };
        let measured = |target: &Target| Measured { kind: target.kind, samples: Vec::new() };
        let mut measured: Vec<_> = targets.iter().map(measured).collect();
        for round in 0..options.rounds {
            // A B C, B C A, …: what changes on the machine meanwhile hits all alike.
            for turn in 0..targets.len() {
                let turn = (round + turn) % targets.len();
                let target = &targets[turn];
                if !target.kind.can(case) {
                    continue;
                }
                let name = target.kind.name();
                let folder = scratch.folder(&format!("{}-{}-{round}", case.name, target.kind.word()))?;
                let sample = sample::take(case, target, upstream.address, cores, options.spans, &folder).await;
                let sample = match sample {
                    Ok(sample) => sample,
                    Err(error) => {
                        eprintln!("{:<16} round {:<2} {name:<8} FAILED: {error}", case.name, round + 1);
                        failed += 1;
                        continue;
                    }
                };
                let figure = report::shown(sample.figure, case.load.unit());
                eprintln!(
                    "{:<16} round {:<2} {name:<8} {figure:>10}  {:>9.0}/s  median {:.1?}",
                    case.name,
                    round + 1,
                    sample.rate,
                    sample.median
                );
                measured[turn].samples.push(sample);
            }
        }
        report.add(case, measured);
    }
    Ok((report, failed))
}
