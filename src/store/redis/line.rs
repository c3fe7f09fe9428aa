//! The connection for commands: one for all who ask, and kept up.
//!
//! A task of its own connects, and connects again whenever the connection ends or somebody finds it dead. Who asks while
//! there is none is told so at once, unless the first try to get another is still under way.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Value};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::dial::Dialled;
use super::failure::Failure;
use super::keys::{FORMAT, Keys};
use super::reach::Reach;
use super::server::Server;

/// How long the server may take for an answer.
const ANSWER: Duration = Duration::from_secs(2);
/// How long a call may take in all.
const CALL: Duration = Duration::from_millis(2500);
/// How long to connect may take in all.
const CONNECT: Duration = Duration::from_secs(2);
/// The first pause between tries to connect, doubled with each up to the last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// The line to the server. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Line {
    state: watch::Receiver<State>,
    /// The highest number of a link that was found dead.
    dead: watch::Sender<u64>,
}

#[derive(Clone, Debug)]
enum State {
    /// The first try is under way.
    Connecting,
    Up(Link),
    /// There is none, and a try has failed.
    Down(Failure),
    Closed,
}

#[derive(Clone, Debug)]
struct Link {
    /// Counted from 1.
    number: u64,
    connection: MultiplexedConnection,
    server: Arc<Server>,
}

impl Line {
    /// A line, and the work of keeping it up, which ends when it is told to close.
    pub(super) fn new(reach: Arc<Reach>, keys: Keys, closing: CancellationToken) -> (Self, impl Future<Output = ()>) {
        let (state, states) = watch::channel(State::Connecting);
        let (dead, deaths) = watch::channel(0);
        let keeper = Keeper { reach, keys, state, deaths, links: 0, tries: 0, failed: Vec::new(), rounds: 0 };
        let work = async move {
            let Keeper { state, .. } = &keeper;
            let closed = state.clone();
            tokio::select! {
                biased;
                () = closing.cancelled() => {}
                () = keeper.keep_up() => {}
            }
            closed.send_replace(State::Closed);
        };
        (Self { state: states, dead }, work)
    }

    /// Sends a command, and once more if its connection ends over it: whatever is sent may be carried out twice. Ends within
    /// three seconds, at once where there is no connection. Cancel-safe; the command may be carried out all the same.
    pub(super) async fn send(&self, command: &Cmd) -> Result<Value, Failure> {
        let sending = async {
            match self.try_to_send(command).await {
                Err(Failure::Gone(_)) => self.try_to_send(command).await,
                answer => answer,
            }
        };
        timeout(CALL, sending).await.unwrap_or(Err(Failure::Silent))
    }

    /// Sends a command that must not be carried out twice. Ends as soon, and is as safe to cancel.
    pub(super) async fn send_once(&self, command: &Cmd) -> Result<Value, Failure> {
        timeout(CALL, self.try_to_send(command)).await.unwrap_or(Err(Failure::Silent))
    }

    async fn try_to_send(&self, command: &Cmd) -> Result<Value, Failure> {
        let mut link = self.link().await?;
        let failure = match timeout(ANSWER, link.connection.send_packed_command(command)).await {
            Ok(Ok(Value::ServerError(error))) => Failure::of(&error.into()),
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => Failure::of(&error),
            Err(_) => Failure::Silent,
        };
        if failure.ends_connection() {
            self.dead.send_if_modified(|dead| {
                let is_news = *dead < link.number;
                *dead = link.number.max(*dead);
                is_news
            });
        }
        Err(failure)
    }

    /// What the server says about itself. Fails where there is no connection.
    pub(super) async fn server(&self) -> Result<Arc<Server>, Failure> {
        timeout(CALL, self.link()).await.unwrap_or(Err(Failure::Silent)).map(|link| link.server)
    }

    /// The connection that is up, after the first try to have one.
    async fn link(&self) -> Result<Link, Failure> {
        let mut states = self.state.clone();
        let settled = states.wait_for(|state| match state {
            State::Connecting => false,
            State::Up(link) => link.number > *self.dead.borrow(),
            State::Down(_) | State::Closed => true,
        });
        match settled.await.as_deref() {
            Ok(State::Up(link)) => Ok(link.clone()),
            Ok(State::Down(failure)) => Err(failure.clone()),
            Ok(State::Connecting | State::Closed) | Err(_) => Err(Failure::Closed),
        }
    }
}

struct Keeper {
    reach: Arc<Reach>,
    keys: Keys,
    state: watch::Sender<State>,
    deaths: watch::Receiver<u64>,
    links: u64,
    tries: usize,
    /// Why the latest tries failed, as long as not all were asked who may know the way.
    failed: Vec<Failure>,
    /// How often all were asked since there was a connection.
    rounds: u32,
}

impl Keeper {
    async fn keep_up(mut self) {
        loop {
            match self.connect().await {
                Ok((link, driver)) => {
                    if self.links > 1 || self.rounds > 0 {
                        tracing::info!(url = %self.reach.url(), "the store answers");
                    }
                    self.failed.clear();
                    self.rounds = 0;
                    let number = link.number;
                    self.state.send_replace(State::Up(link));
                    tokio::select! {
                        () = driver => {}
                        _ = self.deaths.wait_for(|dead| *dead >= number) => {}
                    }
                    self.state.send_replace(State::Connecting);
                    tracing::warn!(url = %self.reach.url(), "the store is lost: its connection is over, or silent");
                }
                Err(failure) => self.pause_after(failure).await,
            }
        }
    }

    /// After all who may know the way were asked: says so, the first time, and waits before the next try.
    async fn pause_after(&mut self, failure: Failure) {
        self.failed.push(failure);
        let guides = self.reach.guides().max(1);
        if self.failed.len() < guides {
            return;
        }
        let failure = together(std::mem::take(&mut self.failed));
        let words = failure.words();
        match &failure {
            Failure::Newer(_) if self.rounds == 0 => tracing::error!(url = %self.reach.url(), "the store: {words}"),
            _ if self.rounds == 0 => tracing::warn!(url = %self.reach.url(), "the store does not answer: {words}"),
            _ => tracing::debug!(url = %self.reach.url(), "the store does not answer: {words}"),
        }
        self.state.send_replace(State::Down(failure));
        let (first, last) = PAUSES;
        let pause = first.saturating_mul(1 << self.rounds.min(10)).min(last);
        self.rounds = self.rounds.saturating_add(1);
        // Many processes lose a server at once, and need not come back in step.
        tokio::time::sleep(pause.mul_f64(0.8 + 0.4 * fastrand::f64())).await;
    }

    async fn connect(&mut self) -> Result<(Link, impl Future<Output = ()> + use<>), Failure> {
        let number = self.tries;
        self.tries = self.tries.wrapping_add(1);
        let connecting = async {
            let Dialled { mut connection, mut driver } = self.reach.connect(number, None).await?;
            let server = tokio::select! {
                biased;
                server = examine(&mut connection, &self.keys) => server?,
                () = &mut driver => return Err(Failure::Gone("the server closes the connection".into())),
            };
            Ok((connection, driver, server))
        };
        let (connection, driver, server) = timeout(CONNECT, connecting).await.unwrap_or(Err(Failure::Silent))?;
        self.links += 1;
        Ok((Link { number: self.links, connection, server: Arc::new(server) }, driver))
    }
}

/// What several failures are as one: the only one that says more than that somebody was not reached, or what all say.
fn together(failures: Vec<Failure>) -> Failure {
    let mut words: Vec<String> = Vec::new();
    for failure in failures {
        match failure {
            Failure::Gone(_) | Failure::Silent | Failure::Odd => {
                let said = failure.words();
                if !words.contains(&said) {
                    words.push(said);
                }
            }
            Failure::Full | Failure::NoScript | Failure::Newer(_) | Failure::Refused(_) | Failure::Closed => {
                return failure;
            }
        }
    }
    Failure::Gone(words.join("; "))
}

/// Whether this server can be used, and what it says about itself.
async fn examine(connection: &mut MultiplexedConnection, keys: &Keys) -> Result<Server, Failure> {
    let mut format = redis::cmd("HGET");
    format.arg(keys.meta()).arg("format");
    let mut ask = async |question: &Cmd| {
        let answer = connection.send_packed_command(question).await.and_then(Value::extract_error);
        answer.map_err(|error| Failure::of(&error))
    };
    let server = match ask(&redis::cmd("INFO")).await {
        Ok(Value::BulkString(text)) => Server::read(&String::from_utf8_lossy(&text)),
        Ok(Value::VerbatimString { text, .. }) => Server::read(&text),
        Ok(_) => return Err(Failure::Odd),
        // Some services keep it to themselves.
        Err(Failure::Refused(_)) => Server::default(),
        Err(failure) => return Err(failure),
    };
    if server.is_replica() {
        return Err(Failure::Gone("it is a replica, and takes no writes".into()));
    }
    match ask(&format).await? {
        Value::Nil => Ok(server),
        Value::BulkString(stored) if stored == FORMAT.as_bytes() => Ok(server),
        Value::BulkString(stored) => Err(Failure::Newer(String::from_utf8_lossy(&stored).into_owned())),
        _ => Err(Failure::Odd),
    }
}
