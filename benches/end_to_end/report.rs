//! The table, in Markdown.

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use crate::cases::{Case, Unit};
use crate::sample::Sample;
use crate::targets::{Kind, Target};

const BEGIN: &str = "<!-- costs -->\n";
const END: &str = "<!-- /costs -->";

/// What was measured, case by case.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<(&'static Case, Vec<Measured>)>,
}

/// The samples of one proxy; none where there is no such case for it.
pub(crate) struct Measured {
    pub(crate) kind: Kind,
    pub(crate) samples: Vec<Sample>,
}

impl Report {
    pub(crate) fn add(&mut self, case: &'static Case, measured: Vec<Measured>) {
        self.rows.push((case, measured));
    }

    /// Everything: where and with what it was measured, and the table.
    pub(crate) fn markdown(&self, targets: &[Target], rounds: usize) -> io::Result<String> {
        let versions: Vec<_> =
            targets.iter().map(|target| format!("{} {}", target.kind.name(), target.version)).collect();
        let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--readme").collect();
        let command = format!("cargo run --release -p forebay-benches --bin end_to_end -- {}", arguments.join(" "));
        let mut text = format!(
            "{}, {}.\n{}.\n{}\n\n\
             ```sh\n{}\n```\n\n",
            date()?,
            machine()?,
            versions.join(", "),
            rounds_of(rounds, self.spread()),
            command.trim_end_matches(" -- ")
        );
        let _ = write!(text, "| case | |");
        for target in targets {
            let _ = write!(text, " {} |", target.kind.name());
        }
        let ratio = Self::has_ratios(targets);
        let _ = writeln!(text, "{}", if ratio { " forebay / HAProxy |" } else { "" });
        let columns = targets.len() + usize::from(ratio);
        let _ = writeln!(text, "|---|---|{}", "--:|".repeat(columns));
        for (case, measured) in &self.rows {
            let _ = write!(text, "| `{}` | {} |", case.name, case.about);
            for target in targets {
                let _ = match figure_of(measured, target.kind) {
                    Some(figure) => write!(text, " {} |", shown(figure, case.load.unit())),
                    None => write!(text, " – |"),
                };
            }
            if ratio {
                let (ours, theirs) = (figure_of(measured, Kind::Forebay), figure_of(measured, Kind::Haproxy));
                let _ = match ours.zip(theirs) {
                    Some((ours, theirs)) if theirs > 0.0 => write!(text, " {:.2} |", ours / theirs),
                    _ => write!(text, " – |"),
                };
            }
            text.push('\n');
        }
        Ok(text)
    }

    fn has_ratios(targets: &[Target]) -> bool {
        [Kind::Forebay, Kind::Haproxy].iter().all(|kind| targets.iter().any(|target| target.kind == *kind))
    }

    /// The largest half range over median of all figures of processor time.
    fn spread(&self) -> f64 {
        let busy = self.rows.iter().filter(|(case, _)| case.load.unit() == Unit::CpuMicros);
        let spreads = busy.flat_map(|(_, measured)| measured).filter_map(|Measured { samples, .. }| {
            let figures = samples.iter().map(|sample| sample.figure);
            let (low, high) = (figures.clone().fold(f64::INFINITY, f64::min), figures.fold(0.0, f64::max));
            median(samples).map(|median| (high - low) / 2.0 / median)
        });
        spreads.fold(0.0, f64::max)
    }
}

/// Replaces the table in `README.md`.
pub(crate) fn put_into_readme(text: &str) -> io::Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = fs::read_to_string(&path)?;
    let replaced = readme.split_once(BEGIN).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some(format!("{before}{BEGIN}\n{text}\n{END}{after}"))
    });
    fs::write(path, replaced.ok_or_else(|| io::Error::other(format!("README.md has no {BEGIN} … {END}")))?)
}

fn rounds_of(rounds: usize, spread: f64) -> String {
    match rounds {
        1 => "A single round.".to_owned(),
        _ => format!(
            "Medians of {rounds} rounds; half the range of a processor time is at most {:.0} %.",
            spread * 100.0
        ),
    }
}

fn figure_of(measured: &[Measured], kind: Kind) -> Option<f64> {
    measured.iter().find(|of| of.kind == kind).and_then(|of| median(&of.samples))
}

/// The median of the figures.
pub(crate) fn median(samples: &[Sample]) -> Option<f64> {
    let mut figures: Vec<f64> = samples.iter().map(|sample| sample.figure).collect();
    figures.sort_unstable_by(f64::total_cmp);
    let upper = *figures.get(figures.len() / 2)?;
    let lower = figures[(figures.len() - 1) / 2];
    Some(f64::midpoint(lower, upper))
}

/// With its unit.
pub(crate) fn shown(figure: f64, unit: Unit) -> String {
    let decimals = usize::from(figure < 100.0);
    match unit {
        Unit::CpuMicros => format!("{figure:.decimals$} µs"),
        Unit::KibPerStream => format!("{figure:.decimals$} KiB"),
        Unit::Millis => format!("{figure:.0} ms"),
        Unit::Kib => format!("{figure:.0} KiB"),
    }
}

/// Processor, cores, kernel.
fn machine() -> io::Result<String> {
    let processors = fs::read_to_string("/proc/cpuinfo")?;
    let mut models = processors.lines().filter_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = models.next().map_or("unknown processor", |(_, model)| model);
    // Not those that this process may use: it has given up all but its own.
    let cores = processors.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(format!("{model}, {cores} cores, Linux {}", kernel.trim()))
}

fn date() -> io::Result<String> {
    let output = Command::new("date").args(["-u", "+%Y-%m-%d"]).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_median_lies_in_the_middle() {
        let sample = |figure| Sample { figure, rate: 0.0, median: Duration::ZERO };
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 9.0].map(sample)), Some(3.0));
        assert_eq!(median(&[4.0, 1.0, 9.0, 2.0].map(sample)), Some(3.0));
    }

    #[test]
    fn figures_are_shown_with_their_unit() {
        assert_eq!(shown(14.26, Unit::CpuMicros), "14.3 µs");
        assert_eq!(shown(1426.4, Unit::CpuMicros), "1426 µs");
        assert_eq!(shown(201.4, Unit::Millis), "201 ms");
    }
}
