//! The figures that were committed.

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// By how many percent a figure may be off.
const TOLERANCE: u64 = 3;

const HEAD: &str = "\
# Instructions per request (sse-event: per event) of the release binary, counted by callgrind.
# Written by: cargo run -p forebay-benches --bin instructions -- --update
";

/// `benches/instructions.txt`.
pub(crate) struct Expected {
    /// What the figures depend on besides our sources.
    pub(crate) toolchain: String,
    figures: Vec<(String, u64)>,
}

/// How a figure compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    AsExpected,
    Dearer,
    Cheaper,
    /// Nothing was expected.
    New,
}

impl Verdict {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::AsExpected => "",
            Self::Dearer => "  DEARER",
            Self::Cheaper => "  cheaper",
            Self::New => "  new",
        }
    }
}

impl Expected {
    /// What the file says; nothing if there is none.
    pub(crate) fn read() -> io::Result<Self> {
        match fs::read_to_string(path()) {
            Ok(text) => Ok(Self::parse(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::parse("")),
            Err(error) => Err(error),
        }
    }

    fn parse(text: &str) -> Self {
        let mut toolchain = String::new();
        let mut figures = Vec::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if let Some(what) = line.strip_prefix("with ") {
                what.clone_into(&mut toolchain);
            } else if let Some((name, figure)) = line.split_once(' ')
                && let Ok(figure) = figure.trim().parse()
            {
                figures.push((name.to_owned(), figure));
            }
        }
        Self { toolchain, figures }
    }

    /// What was expected, and the change, as texts.
    pub(crate) fn judge(&self, name: &str, figure: u64) -> (String, String, Verdict) {
        let Some((_, wanted)) = self.figures.iter().find(|(case, _)| case == name) else {
            return ("-".to_owned(), "-".to_owned(), Verdict::New);
        };
        #[allow(clippy::cast_precision_loss, reason = "instructions of a request are far below 2^52")]
        let change = 100.0 * (figure as f64 / *wanted as f64 - 1.0);
        let verdict = if figure * 100 > wanted * (100 + TOLERANCE) {
            Verdict::Dearer
        } else if figure * 100 < wanted * (100 - TOLERANCE) {
            Verdict::Cheaper
        } else {
            Verdict::AsExpected
        };
        (wanted.to_string(), format!("{change:+.1} %"), verdict)
    }

    pub(crate) fn set(&mut self, name: &str, figure: u64) {
        match self.figures.iter_mut().find(|(case, _)| case == name) {
            Some((_, wanted)) => *wanted = figure,
            None => self.figures.push((name.to_owned(), figure)),
        }
    }

    pub(crate) fn write(&self) -> io::Result<()> {
        fs::write(path(), self.text())
    }

    fn text(&self) -> String {
        let mut text = format!("{HEAD}with {}\n", self.toolchain);
        for (name, figure) in &self.figures {
            let _ = writeln!(text, "{name:<12} {figure:>9}");
        }
        text
    }
}

/// Where the figures are.
pub(crate) fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.txt")
}

/// Compiler, C library and valgrind: with another one of them other figures are to be expected.
pub(crate) fn toolchain() -> io::Result<String> {
    let compiler = said_by("rustc", &["-vV"])?;
    let field = |name| compiler.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("?");
    let (release, host) = (field("release: "), field("host: "));
    let library = said_by("getconf", &["GNU_LIBC_VERSION"]).unwrap_or_else(|_| "another C library".to_owned());
    let valgrind = said_by("valgrind", &["--version"])?;
    Ok(format!("rustc {release} ({host}), {library}, {valgrind}"))
}

fn said_by(program: &str, arguments: &[&str]) -> io::Result<String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| io::Error::other(format!("{program}: {error}")))?;
    if !output.status.success() {
        return Err(io::Error::other(format!("{program} {}: {}", arguments.join(" "), output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let mut written = Expected::parse("with rustc 1.95.0 (x), glibc 2.36, valgrind 3\nsmall 50849\n");
        written.set("chat", 70_000);
        written.set("small", 50_000);
        let read = Expected::parse(&written.text());
        assert_eq!(read.toolchain, "rustc 1.95.0 (x), glibc 2.36, valgrind 3");
        assert_eq!(read.figures, [("small".to_owned(), 50_000), ("chat".to_owned(), 70_000)]);
    }

    #[test]
    fn three_percent_are_nothing_and_more_is_judged() {
        let expected = Expected::parse("small 1000\n");
        for (figure, verdict) in
            [(970, Verdict::AsExpected), (1030, Verdict::AsExpected), (1031, Verdict::Dearer), (969, Verdict::Cheaper)]
        {
            assert_eq!(expected.judge("small", figure).2, verdict, "{figure}");
        }
        assert_eq!(expected.judge("chat", 1).2, Verdict::New);
    }
}
