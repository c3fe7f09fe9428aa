//! Instructions per request, counted by callgrind: the same number on a busy machine as on a quiet one.
//!
//! The release binary runs on one worker between one client and the upstream of the bed. A case is run with N requests and
//! with 2 N; the difference over N is the cost of a request, free of what starting and ending take. Each figure is compared
//! with the one that was committed. Only user instructions count: what the kernel does is for `end_to_end`.

mod cases;
mod count;
mod expected;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use bed::cores::Cores;
use bed::process::Scratch;

use cases::CASES;
use expected::{Expected, Verdict};

const HELP: &str = "\
Counts the instructions per request of the release binary (it is built first) with valgrind --tool=callgrind, and compares
them with benches/instructions.txt.

Usage: cargo run -p forebay-benches --bin instructions -- [OPTIONS] [CASE]...

  --update        writes the figures to benches/instructions.txt
  --keep FOLDER   keeps what callgrind wrote, for callgrind_annotate
  --forebay PATH  another binary than the release build
  --help          this text

The exit status is 1 if a case costs more than 3 % more than expected, or fails. Figures of another compiler, C library or
valgrind than those of the file are shown, and judged by nobody.";

#[derive(Default)]
struct Options {
    update: bool,
    keep: Option<PathBuf>,
    forebay: Option<PathBuf>,
    cases: Vec<String>,
}

fn main() -> ExitCode {
    let options = match options(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{HELP}\n\nCases: {}", names().join(" "));
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("{problem}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("instructions: {error}");
            ExitCode::FAILURE
        }
    }
}

fn names() -> Vec<&'static str> {
    CASES.iter().map(|case| case.name).collect()
}

/// None where help is asked for.
fn options(mut arguments: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let mut options = Options::default();
    while let Some(argument) = arguments.next() {
        let mut path = || arguments.next().map(PathBuf::from).ok_or_else(|| format!("{argument} what?"));
        match argument.as_str() {
            "--update" => options.update = true,
            "--keep" => options.keep = Some(path()?),
            "--forebay" => options.forebay = Some(path()?),
            "-h" | "--help" => return Ok(None),
            name if names().contains(&name) => options.cases.push(argument),
            _ => return Err(format!("{argument} is neither an option nor a case")),
        }
    }
    Ok(Some(options))
}

/// Whether no case became dearer.
fn run(options: &Options) -> Result<bool, Box<dyn Error>> {
    let mut expected = Expected::read()?;
    let here = expected::toolchain()?;
    let comparable = expected.toolchain == here;
    let forebay = options.forebay.clone().map_or_else(bed::forebay::build, Ok)?;
    let scratch = Scratch::new()?;
    let cores = Cores::take()?;
    println!("{:<12} {:>12} {:>12} {:>9}", "case", "instructions", "expected", "change");
    let (mut dearer, mut cheaper) = (false, false);
    for case in CASES.iter().filter(|case| options.cases.is_empty() || options.cases.iter().any(|n| n == case.name)) {
        let figure = count::per_request(case, &forebay, cores, &scratch, options.keep.as_deref())
            .map_err(|error| format!("{}: {error}", case.name))?;
        let (wanted, change, verdict) = expected.judge(case.name, figure);
        println!(
            "{:<12} {figure:>12} {wanted:>12} {change:>9}{}",
            case.name,
            if comparable { verdict.word() } else { "" }
        );
        dearer |= verdict == Verdict::Dearer;
        cheaper |= verdict == Verdict::Cheaper;
        expected.set(case.name, figure);
    }
    if options.update {
        expected.toolchain = here;
        expected.write()?;
        println!("written to {}", expected::path().display());
        return Ok(true);
    }
    if !comparable {
        println!("not judged: expected with {}; here it is {here}", expected.toolchain);
        return Ok(true);
    }
    let renew = "cargo run -p forebay-benches --bin instructions -- --update";
    if dearer {
        println!("dearer than expected. If it is worth its price, renew the figures: {renew}");
    } else if cheaper {
        println!("cheaper than expected. Keep what was won: {renew}");
    }
    Ok(!dearer)
}
