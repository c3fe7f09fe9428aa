//! `forebay probe`: can the upstreams be reached from here, how long does each stage take, and what is to be changed?
//!
//! It goes the way of the proxy: the same resolver, connector, pool and race, with the same settings. What it asks is
//! harmless (`ask`), what it finds is told as it comes (`survey`), and failures come with a remedy (`remedy`).

mod addresses;
mod ask;
mod certificate;
mod remedy;
mod survey;
mod variables;
mod verdict;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use survey::Survey;

use super::check::refuse;
use super::paragraph::paragraph;
use super::serve::runtime;
use crate::config::Settings;
use crate::routes::RouteSettings;
use crate::telemetry;
use crate::upstream::Resolver;

/// Asks every upstream, and says on standard output what came of it. 0 if each of them answered, 1 if one did not, 78 for a
/// problem in the environment.
pub fn run(vars: impl IntoIterator<Item = (OsString, OsString)>) -> ExitCode {
    let settings = match Settings::from_env(vars) {
        Ok(settings) => settings,
        Err(problems) => return refuse(&problems),
    };
    if let Err(error) = telemetry::start(&settings.log) {
        eprintln!("forebay: LOG_LEVEL: {error}");
        return ExitCode::FAILURE;
    }
    let probed = runtime().and_then(|runtime| {
        let resolver = Resolver::new(settings.dns_cache);
        let probed = runtime.block_on(probe(&settings, resolver, &mut io::stdout().lock()));
        // Nobody waits for a lookup that blocks its thread.
        runtime.shutdown_background();
        probed
    });
    match probed {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // Who reads no further does not want to know.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("forebay: the probe cannot be shown: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Everything from the first line to the last. False if an upstream did not answer.
async fn probe(settings: &Settings, resolver: Resolver, out: &mut impl Write) -> io::Result<bool> {
    let upstreams = upstreams(&settings.routes);
    let intro = "forebay asks each upstream from here, on the way that requests of clients take. It sends GET alone: nothing is \
                 generated, nothing is charged.";
    paragraph(out, "", "", intro)?;
    let mut survey = Survey::new(settings, resolver, out);
    for (lead, others) in &upstreams {
        survey.upstream(lead, others).await?;
    }
    let (changes, silent) = (survey.changes, survey.silent);
    if changes.is_empty() {
        writeln!(out, "\nNothing to change.")?;
    } else {
        writeln!(out, "\nWhat to change")?;
        for change in changes {
            paragraph(out, "  - ", "    ", &change)?;
        }
    }
    if silent > 0 {
        let all = upstreams.len();
        writeln!(out, "\nWithout an answer: {silent} of {all} upstream{}.", if all == 1 { "" } else { "s" })?;
    }
    out.flush()?;
    Ok(silent == 0)
}

/// The routes by their upstreams: those that share a pool are together.
fn upstreams(routes: &[RouteSettings]) -> Vec<(&RouteSettings, Vec<&RouteSettings>)> {
    let mut upstreams: Vec<(&RouteSettings, Vec<&RouteSettings>)> = Vec::new();
    for route in routes {
        match upstreams.iter_mut().find(|(lead, _)| lead.shares_pool_with(route)) {
            Some((_, others)) => others.push(route),
            None => upstreams.push((route, Vec::new())),
        }
    }
    upstreams
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn an_address_that_does_not_answer_is_named_where_another_one_does() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    while stream.read(&mut [0; 1024]).await.is_ok_and(|length| length > 0) {
                        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
                    }
                });
            }
        });
        let url = format!("http://two.test:{port}");
        let settings = Settings::from_env([("UPSTREAM_BASE_URL".into(), url.into())]).unwrap();
        let resolver = Resolver::known("two.test", vec![([127, 0, 0, 2], 0).into(), ([127, 0, 0, 1], 0).into()]);
        let mut out = Vec::new();
        assert!(probe(&settings, resolver, &mut out).await.unwrap());
        let text = String::from_utf8(out).unwrap();
        for part in [
            ": 127.0.0.2, 127.0.0.1\n",
            &format!("  tcp       127.0.0.1:{port} in "),
            "  others    do not: 127.0.0.2 (Connection refused",
            "  - http://two.test:",
            "1 of its addresses cannot be reached from here: 127.0.0.2",
        ] {
            assert!(text.contains(part), "{part:?} is not in:\n{text}");
        }
    }
}
