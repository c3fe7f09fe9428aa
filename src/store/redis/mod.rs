//! The store that several machines share: Redis 6.2 or newer, or Valkey, alone, behind Sentinels, or as a cluster.
//!
//! [`RedisUrl`] says where it is, `reach` finds the server, `dial` connects to it. Every call goes over one connection that
//! `line` keeps up, as one command: most are a `script` (`scripts/*.lua`, each with what it is told, answers and costs above
//! it). What others do is heard over a second connection (`wake`). How all of it is named stands in `keys`.
//!
//! # What holds here besides the rules of every store
//!
//! - A job of an ordinary size takes three round trips: submit, claim, and one in which its recording is written and it is
//!   settled.
//! - What is acknowledged is in the memory of the server. What a crash of the server, or a failover, loses is the server's
//!   own setting, of which [`Store::warnings`](super::Store::warnings) tells.
//! - Fences are of the server's clock, in microseconds: none is given twice, whatever a failover has forgotten.
//! - A call is sent again once when its connection ends over it. So a deletion may say that there was nothing although it was
//!   the one that deleted.

mod calls;
mod dial;
mod failure;
mod keys;
mod line;
mod reach;
mod reply;
mod script;
mod server;
mod url;
mod wake;

#[cfg(test)]
mod finding_tests;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod loss_tests;
#[cfg(test)]
mod outage_tests;
#[cfg(test)]
mod suite_tests;

use std::fmt;
use std::sync::Arc;

use redis::{Cmd, Value};
use rustls::RootCertStore;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use url::RedisUrl;

use self::failure::Failure;
use self::keys::{Keys, NoHashTag};
use self::line::Line;
use self::reach::Reach;
use self::script::{Script, Scripts};
use self::wake::Wake;
use super::{Changes, StoreSettings};
use crate::secret::Secret;
use crate::shutdown::Tasks;
use crate::trust;

/// A Redis that holds jobs, recordings and cache entries.
pub struct RedisStore {
    settings: StoreSettings,
    url: RedisUrl,
    keys: Keys,
    scripts: Scripts,
    line: Line,
    changes: Changes,
    /// The name of this process, which it has until it ends.
    process: String,
    claims: Mutex<Turn>,
    closing: CancellationToken,
    /// What keeps the connections. It ends when the store is closed, or dropped.
    tasks: Tasks,
}

/// The number of the claim that is made, one at a time.
#[derive(Debug, Default)]
struct Turn {
    number: u64,
    /// The first one since the last answer: what it took is still to be given.
    unanswered: Option<u64>,
}

/// Why a Redis cannot be a store, whether it is there or not.
#[derive(Clone, Debug, PartialEq)]
pub enum OpenError {
    /// `REDIS_URL` is none; the words go on behind its name.
    Url(&'static str),
    /// `CACHE_KEY_PREFIX` and `QUEUE_NAME` leave the keys without a hash tag.
    Names,
    /// TLS cannot be set up.
    Tls(rustls::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(words) => write!(f, "REDIS_URL {words}"),
            Self::Names => f.write_str("CACHE_KEY_PREFIX must not contain {}, nor QUEUE_NAME begin with }"),
            Self::Tls(error) => write!(f, "TLS cannot be set up: {error}"),
        }
    }
}

impl std::error::Error for OpenError {}

impl RedisStore {
    /// Begins to connect, in the background, where it goes on until the store is closed or dropped. Whether Redis is there,
    /// [`ping`](super::Store::ping) tells. Must be called inside a runtime.
    pub fn open(url: &Secret<String>, prefix: &str, settings: StoreSettings) -> Result<Self, OpenError> {
        Self::open_trusting(trust::roots, url, prefix, settings)
    }

    fn open_trusting(
        roots: impl FnOnce() -> RootCertStore,
        url: &Secret<String>,
        prefix: &str,
        settings: StoreSettings,
    ) -> Result<Self, OpenError> {
        let url = RedisUrl::parse(url.expose()).map_err(OpenError::Url)?;
        let keys = Keys::new(prefix, &settings.queue).map_err(|NoHashTag| OpenError::Names)?;
        let reach = Arc::new(Reach::new(url.clone(), keys.clone(), roots).map_err(OpenError::Tls)?);
        let (closing, changes) = (CancellationToken::new(), Changes::default());
        let process = Uuid::new_v4().simple().to_string();
        let (line, keeping_up) = Line::new(Arc::clone(&reach), keys.clone(), closing.clone());
        let wake = Wake { reach, keys: keys.clone(), changes: changes.clone(), process: process.clone() };
        let tasks = Tasks::default();
        tasks.spawn(keeping_up);
        tasks.spawn(wake.run(closing.clone()));
        let scripts = Scripts::new(&keys);
        let claims = Mutex::default();
        Ok(Self { settings, url, keys, scripts, line, changes, process, claims, closing, tasks })
    }

    /// Sends a command.
    async fn send(&self, command: &Cmd) -> Result<Value, Failure> {
        self.line.send(command).await
    }

    /// Calls a script, by its name if the server knows it.
    async fn run(&self, script: &Script, call: Cmd) -> Result<Value, Failure> {
        match self.line.send(&call).await {
            Err(Failure::NoScript) => self.line.send(&script.in_full(&call)).await,
            answer => answer,
        }
    }

    /// Calls a script that is not sent again when its connection ends.
    async fn run_once(&self, script: &Script, call: Cmd) -> Result<Value, Failure> {
        match self.line.send_once(&call).await {
            Err(Failure::NoScript) => self.line.send_once(&script.in_full(&call)).await,
            answer => answer,
        }
    }
}

impl Drop for RedisStore {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("url", &self.url).field("keys", &self.keys).finish_non_exhaustive()
    }
}
