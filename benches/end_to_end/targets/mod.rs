//! The proxies, each on one worker thread, with connections kept on both sides, streams passed on at once, and one more
//! attempt. Everything else is left as it comes.

mod envoy;
mod forebay;
mod haproxy;
mod nginx;

use std::ffi::OsStr;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bed::Protocol;

use crate::cases::{Case, Setting};

/// How long the impatient setting waits for headers.
const IMPATIENT: Duration = Duration::from_millis(200);

/// Prefixes that no request has: with `/` they are 100 routes.
fn other_prefixes() -> impl Iterator<Item = String> {
    (1..100).map(|number| format!("/tenant-{number}"))
}

/// A proxy that can be measured.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) kind: Kind,
    pub(crate) program: PathBuf,
    /// As it calls itself.
    pub(crate) version: String,
}

/// Which proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Haproxy,
    Nginx,
    Envoy,
    Forebay,
}

/// Between whom it stands.
pub(crate) struct Place<'a> {
    pub(crate) port: u16,
    pub(crate) upstream: SocketAddr,
    pub(crate) protocols: (Protocol, Protocol),
    pub(crate) setting: Setting,
    /// Its own, for its files.
    pub(crate) folder: &'a Path,
}

impl Kind {
    /// In the order of the table. Ratios are to the first one.
    pub(crate) const ALL: [Self; 4] = [Self::Haproxy, Self::Nginx, Self::Envoy, Self::Forebay];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Haproxy => "HAProxy",
            Self::Nginx => "nginx",
            Self::Envoy => "Envoy",
            Self::Forebay => "forebay",
        }
    }

    /// What to call it on the command line.
    pub(crate) fn word(self) -> String {
        self.name().to_lowercase()
    }

    /// Whether there is such a case for it.
    pub(crate) fn can(self, case: &Case) -> bool {
        match self {
            Self::Haproxy | Self::Envoy => case.setting != Setting::NoLook,
            Self::Nginx => case.setting != Setting::NoLook && case.protocols.1 == Protocol::Http1,
            Self::Forebay => true,
        }
    }
}

impl Target {
    /// Looks for a proxy; none if it is not installed. forebay is built.
    pub(crate) fn find(kind: Kind) -> io::Result<Option<Self>> {
        let (program, argument) = match kind {
            Kind::Haproxy => (PathBuf::from("haproxy"), "-v"),
            Kind::Nginx => (PathBuf::from("nginx"), "-v"),
            Kind::Envoy => {
                (std::env::var_os("ENVOY").map_or_else(|| PathBuf::from("envoy"), PathBuf::from), "--version")
            }
            Kind::Forebay => (bed::forebay::build()?, "--version"),
        };
        let output = match Command::new(&program).arg(argument).env("PATH", search_path()).output() {
            Ok(output) => output,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let said = [output.stdout, output.stderr].concat();
        Ok(Some(Self { kind, program, version: version(&String::from_utf8_lossy(&said)) }))
    }

    /// The command that starts it in the foreground, as one process. Its configuration is written to its folder.
    pub(crate) fn command(&self, place: &Place) -> io::Result<Command> {
        let mut command = Command::new(&self.program);
        match self.kind {
            Kind::Haproxy => haproxy::prepare(&mut command, place)?,
            Kind::Nginx => nginx::prepare(&mut command, place)?,
            Kind::Envoy => envoy::prepare(&mut command, place)?,
            Kind::Forebay => forebay::prepare(&mut command, place),
        }
        command.env("PATH", search_path());
        Ok(command)
    }
}

/// Servers are often installed where only root looks.
fn search_path() -> std::ffi::OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(OsStr::new(":/usr/local/sbin:/usr/sbin"));
    path
}

/// The first word that looks like `1.2.3`.
fn version(said: &str) -> String {
    let words = said.split(|c: char| c.is_whitespace() || c == '/');
    let is_version = |word: &&str| word.contains('.') && word.starts_with(|c: char| c.is_ascii_digit());
    words.into_iter().find(is_version).unwrap_or("?").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_say_of_themselves() {
        for (said, found) in [
            ("HAProxy version 3.0.11-1 2026/10/17 - https://haproxy.org/\n", "3.0.11-1"),
            ("nginx version: nginx/1.26.3\n", "1.26.3"),
            ("\nenvoy  version: 9e55809/1.40.0/Clean/RELEASE/BoringSSL\n", "1.40.0"),
            ("forebay 0.1.0\n", "0.1.0"),
        ] {
            assert_eq!(version(said), found);
        }
    }
}
