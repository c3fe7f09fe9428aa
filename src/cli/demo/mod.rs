//! `forebay demo`: one flaky upstream, two clients, and what each of them sees. No key, no network.
//!
//! The forebay on stage is the real one, with short times. The upstream is scripted (`upstream`), the clients are small
//! (`client`), the plot is a table (`scenes`), and `stage` prints what happens while it happens.

mod client;
mod scenes;
mod stage;
mod upstream;

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use client::Client;
use scenes::{SCENES, Scene};
use stage::{Side, Stage};
use upstream::Upstream;

use super::serve::runtime;
use crate::app::{App, StartError};
use crate::config::{Problem, Settings, render_problems};
use crate::time::Human;

/// How fast the demo is played.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// `RESPONSE_HEADER_TIMEOUT_SECONDS`.
    deadline: Duration,
    /// `STREAM_IDLE_TIMEOUT_SECONDS`.
    idle: Duration,
    /// `RETRY_BACKOFF_SECONDS`.
    backoff: Duration,
    /// A client gives up when nothing came for so long.
    patience: Duration,
    /// Between two events of a stream.
    token: Duration,
}

/// Slow enough to be followed, and about a quarter of a minute in all.
const SHOWN: Pace = Pace {
    deadline: Duration::from_secs(2),
    idle: Duration::from_secs(2),
    backoff: Duration::from_millis(100),
    patience: Duration::from_secs(5),
    token: Duration::from_millis(250),
};

/// Why the demo did not come to its end.
#[derive(Debug)]
enum Interrupted {
    /// Whoever reads the output has left, or it cannot be written.
    Output(io::Error),
    /// The upstream has no port.
    Upstream(io::Error),
    /// forebay refuses the demo's settings.
    Settings(Vec<Problem>),
    /// forebay does not start.
    Start(StartError),
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Output(source) => write!(f, "the demo cannot be shown: {source}"),
            Self::Upstream(source) => write!(f, "the demo's upstream cannot listen on loopback: {source}"),
            Self::Settings(problems) => f.write_str(&render_problems(problems)),
            Self::Start(source) => source.fmt(f),
        }
    }
}

impl From<io::Error> for Interrupted {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// Plays the demo on standard output. 0 when it was played, or when nobody watches any more; 1 when it cannot be.
pub fn run() -> ExitCode {
    let played = runtime().map_err(Interrupted::Upstream).and_then(|runtime| {
        let played = runtime.block_on(play(SHOWN, &mut io::stdout().lock()));
        runtime.shutdown_background();
        played
    });
    ExitCode::from(status(played))
}

fn status(played: Result<(), Interrupted>) -> u8 {
    match played {
        Ok(()) => 0,
        Err(Interrupted::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => 0,
        Err(interrupted) => {
            eprintln!("forebay: {interrupted}");
            1
        }
    }
}

/// The demo from the first word to the last.
async fn play(pace: Pace, out: &mut impl Write) -> Result<(), Interrupted> {
    // Each client has a copy of the upstream for itself: what one of them breaks is whole for the other.
    let bare = Upstream::start(pace.token).await.map_err(Interrupted::Upstream)?;
    let behind = Upstream::start(pace.token).await.map_err(Interrupted::Upstream)?;
    let variables = variables(pace, &behind);
    let settings = Settings::from_env(variables.iter().map(|(name, value)| (name.into(), value.into())));
    let forebay = App::start(settings.map_err(Interrupted::Settings)?).await.map_err(Interrupted::Start)?;
    let clients = [
        Client { side: Side::Without, address: bare.address(), patience: pace.patience },
        Client { side: Side::With, address: forebay.address, patience: pace.patience },
    ];

    let played = scenes(pace, &variables, clients, [&bare, &behind], out).await;
    forebay.stop().await;
    bare.stop().await;
    behind.stop().await;
    played
}

async fn scenes(
    pace: Pace,
    variables: &[(&str, String)],
    clients: [Client; 2],
    upstreams: [&Upstream; 2],
    out: &mut impl Write,
) -> Result<(), Interrupted> {
    introduce(pace, variables, out)?;
    for (number, scene) in (1..).zip(SCENES) {
        if scene.is_without_upstream() {
            for upstream in upstreams {
                upstream.stop().await;
            }
        }
        show(number, scene, clients, out).await?;
    }
    writeln!(out, "\nThat was all. In front of an upstream of yours:")?;
    writeln!(out, "  UPSTREAM_BASE_URL=https://api.openai.com forebay")?;
    Ok(out.flush()?)
}

/// One scene: both clients send the same request at the same time.
async fn show(number: u32, scene: &Scene, clients: [Client; 2], out: &mut impl Write) -> Result<(), Interrupted> {
    let (mut stage, moments) = Stage::open(number, scene, out)?;
    let [without, with] = clients.map(|client| client.send(scene.name, moments.clone()));
    drop(moments);
    let both = async { tokio::join!(without, with) };
    // An output that fails ends the scene: there is nobody to play it for.
    let (_, shown) = tokio::try_join!(async { Ok::<_, io::Error>(both.await) }, stage.follow())?;
    Ok(shown)
}

/// The environment of the forebay on stage.
fn variables(pace: Pace, upstream: &Upstream) -> Vec<(&'static str, String)> {
    let seconds = |duration: Duration| duration.as_secs_f64().to_string();
    vec![
        ("UPSTREAM_BASE_URL", format!("http://{}", upstream.address())),
        ("RESPONSE_HEADER_TIMEOUT_SECONDS", seconds(pace.deadline)),
        ("UPSTREAM_MAX_ATTEMPTS", "3".to_owned()),
        ("RETRY_BACKOFF_SECONDS", seconds(pace.backoff)),
        ("STREAM_IDLE_TIMEOUT_SECONDS", seconds(pace.idle)),
        ("TIMELINE", "true".to_owned()),
        ("LISTEN_PORT", "0".to_owned()),
        ("ADMIN_PORT", "off".to_owned()),
        ("STORE", "off".to_owned()),
        ("SHUTDOWN_TIMEOUT_SECONDS", "1".to_owned()),
    ]
}

fn introduce(pace: Pace, variables: &[(&str, String)], out: &mut impl Write) -> io::Result<()> {
    let patience = Human(pace.patience);
    writeln!(out, "Two clients send the same request at the same time. Left: straight to a flaky upstream.")?;
    writeln!(out, "Right: through forebay, to a copy of it. Both give up when nothing comes for {patience}.")?;
    writeln!(out, "Everything runs in this process, on loopback. This forebay was started with\n")?;
    for (name, value) in variables {
        writeln!(out, "  {name}={value}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Pace = Pace {
        deadline: Duration::from_millis(300),
        idle: Duration::from_millis(300),
        backoff: Duration::from_millis(10),
        patience: Duration::from_millis(900),
        token: Duration::from_millis(10),
    };

    #[tokio::test]
    async fn the_demo_runs_to_its_end_and_shows_what_became_of_each_attempt() {
        let mut out = Vec::new();
        let played = play(QUICK, &mut out).await;
        let text = String::from_utf8(out).unwrap();
        assert_eq!(status(played), 0, "{text}");
        let scenes: Vec<&str> = text.split("\nScene ").skip(1).collect();
        assert_eq!(scenes.len(), SCENES.len(), "{text}");
        for (scene, parts) in scenes.iter().zip([
            &["nothing for 900ms: gives up", "200 OK", "X-Forebay-Attempts: 2", "1=timeout@0.3,2=200@0.0"][..],
            &["connection reset", "X-Forebay-Attempts: 3", "1=reset@0.0,2=closed@0.0,3=200@0.0"],
            &["nothing for 900ms: gives up", "X-Forebay-Attempts: 2", "data: [DONE]"],
            &["nothing for 900ms: gives up", "X-Forebay-Attempts: 1", "\"code\":\"upstream_stalled\""],
            &["502 Bad Gateway", "X-Forebay-Attempts: 3", "\"code\":\"upstream_request_error\""],
        ]) {
            for part in parts {
                assert!(scene.contains(part), "{part:?} is not in:\n{scene}");
            }
        }
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }

    #[tokio::test]
    async fn a_reader_who_leaves_ends_it_at_once_and_that_is_no_failure() {
        /// Closed by its reader at the sight of the first answer.
        struct Pipe(Vec<u8>);
        impl Write for Pipe {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                if String::from_utf8_lossy(&self.0).contains("200 OK") {
                    return Err(io::ErrorKind::BrokenPipe.into());
                }
                self.0.extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let slow = Pace { patience: Duration::from_secs(60), ..QUICK };
        let played = tokio::time::timeout(Duration::from_secs(20), play(slow, &mut Pipe(Vec::new()))).await.unwrap();
        assert!(matches!(played, Err(Interrupted::Output(_))));
        assert_eq!(status(played), 0);
    }
}
