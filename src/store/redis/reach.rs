//! Finds the server that has the data, and connects to it.
//!
//! All keys of a queue are in one slot, so that also of a cluster only one node is talked to: the one that has the slot.
//! Whenever a server turns out not to be the right one any more, it is looked for again.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::{Cmd, Value};
use rustls::RootCertStore;
use tokio::time::timeout;

use super::dial::{Dialer, Dialled, Listener, To, WithPassword};
use super::failure::Failure;
use super::keys::Keys;
use super::url::{Endpoint, Place, RedisUrl};

/// How long one connection may take: the name, TCP, TLS and the greeting.
const CONNECT: Duration = Duration::from_secs(1);

/// Knows the way to the server.
pub(super) struct Reach {
    url: RedisUrl,
    dialer: Dialer,
    keys: Keys,
    /// Nodes of the cluster besides those that the URL names.
    learned: Mutex<Vec<Endpoint>>,
}

impl Reach {
    /// Trusts these roots, where TLS is spoken. Fails when that cannot be set up.
    pub(super) fn new(url: RedisUrl, keys: Keys, roots: impl FnOnce() -> RootCertStore) -> Result<Self, rustls::Error> {
        let dialer = Dialer::new(&url, roots)?;
        Ok(Self { url, dialer, keys, learned: Mutex::default() })
    }

    /// How many there are who know the way: if one does not, the next one may.
    pub(super) fn guides(&self) -> usize {
        match &self.url.place {
            Place::Server(_) | Place::Socket(_) => 1,
            Place::Sentinels(sentinels, _) => sentinels.len(),
            Place::Cluster(seeds) => seeds.len() + self.learned().len(),
        }
    }

    /// For the log, without credentials.
    pub(super) fn url(&self) -> &RedisUrl {
        &self.url
    }

    /// Asks one guide, if there are any, another for each number, and connects. Ends within two seconds. Cancel-safe.
    pub(super) async fn connect(&self, number: usize, listener: Option<Listener>) -> Result<Dialled, Failure> {
        match &self.url.place {
            Place::Server(endpoint) => self.dial(To::Server(endpoint), listener).await,
            Place::Socket(path) => self.dial(To::Socket(path), listener).await,
            Place::Sentinels(sentinels, service) => {
                let Some(sentinel) = nth(number, sentinels.iter()) else { return Err(no_guide()) };
                let master = within(self.master_of(service, &sentinel)).await?;
                self.dial(To::Server(&master), listener).await
            }
            Place::Cluster(seeds) => {
                let Some(node) = nth(number, seeds.iter().chain(&self.learned())) else { return Err(no_guide()) };
                let owner = within(self.owner_of_slot(&node)).await?;
                self.dial(To::Server(&owner), listener).await
            }
        }
    }

    async fn dial(&self, to: To<'_>, listener: Option<Listener>) -> Result<Dialled, Failure> {
        let dialled = timeout(CONNECT, self.dialer.dial(to, listener)).await;
        dialled.unwrap_or_else(|_| Err(Failure::Gone(format!("{to}: no connection within {CONNECT:?}"))))
    }

    fn learned(&self) -> Vec<Endpoint> {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whom a Sentinel holds for the master.
    async fn master_of(&self, service: &str, sentinel: &Endpoint) -> Result<Endpoint, Failure> {
        let mut question = redis::cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(service);
        let answer = match self.ask(To::Sentinel(sentinel, WithPassword::No), &[&question]).await {
            // It wants to know who asks.
            Err(_) if self.url.credentials.is_some() => {
                self.ask(To::Sentinel(sentinel, WithPassword::Yes), &[&question]).await
            }
            answer => answer,
        };
        match &answer?[..] {
            [Value::Array(address)] => match &address[..] {
                [host, port] => endpoint(host, port, sentinel).ok_or(Failure::Odd),
                _ => Err(Failure::Odd),
            },
            [Value::Nil] => Err(Failure::Gone(format!("Sentinel {sentinel} knows no service named {service}"))),
            _ => Err(Failure::Odd),
        }
    }

    /// Which node has the slot of all our keys, as far as this one knows.
    async fn owner_of_slot(&self, node: &Endpoint) -> Result<Endpoint, Failure> {
        let (mut slot, mut slots) = (redis::cmd("CLUSTER"), redis::cmd("CLUSTER"));
        slot.arg("KEYSLOT").arg(self.keys.base());
        slots.arg("SLOTS");
        let answers = self.ask(To::Server(node), &[&slot, &slots]).await?;
        let [Value::Int(slot), Value::Array(ranges)] = &answers[..] else { return Err(Failure::Odd) };
        let (mut owner, mut nodes) = (None, Vec::new());
        for range in ranges {
            let Value::Array(range) = range else { return Err(Failure::Odd) };
            let [Value::Int(first), Value::Int(last), members @ ..] = &range[..] else { return Err(Failure::Odd) };
            let members: Vec<_> = members.iter().filter_map(|member| self.member(member, node)).collect();
            if (first..=last).contains(&slot) {
                owner = members.first().cloned();
            }
            nodes.extend(members);
        }
        *self.learned.lock().unwrap_or_else(PoisonError::into_inner) = nodes;
        owner.ok_or_else(|| Failure::Gone(format!("{node} knows no node that has slot {slot}")))
    }

    /// A node as another one names it: address, port, id, and perhaps more about it.
    fn member(&self, member: &Value, asked: &Endpoint) -> Option<Endpoint> {
        let Value::Array(parts) = member else { return None };
        let [host, port, rest @ ..] = &parts[..] else { return None };
        let mut node = endpoint(host, port, asked)?;
        // Certificates are made for names.
        if self.url.is_tls
            && let [_, Value::Array(more)] = rest
            && let Some(name) = more.chunks(2).find(|pair| text(&pair[0]).as_deref() == Some("hostname"))
            && let Some(name) = name.get(1).and_then(text).filter(|name| !name.is_empty())
        {
            node.host = name;
        }
        Some(node)
    }

    /// Asks a server something, on a connection of its own.
    async fn ask(&self, to: To<'_>, questions: &[&Cmd]) -> Result<Vec<Value>, Failure> {
        let Dialled { mut connection, driver } = self.dialer.dial(to, None).await?;
        let questioning = async {
            let mut answers = Vec::with_capacity(questions.len());
            for question in questions {
                let answer = connection.send_packed_command(question).await.and_then(Value::extract_error);
                answers.push(answer.map_err(|error| Failure::Gone(format!("{to}: {error}")))?);
            }
            Ok(answers)
        };
        tokio::select! {
            biased;
            answers = questioning => answers,
            () = driver => Err(Failure::Gone(format!("{to} closes the connection"))),
        }
    }
}

fn nth<'a>(number: usize, guides: impl Iterator<Item = &'a Endpoint>) -> Option<Endpoint> {
    let guides: Vec<_> = guides.collect();
    guides.get(number.checked_rem(guides.len())?).copied().cloned()
}

async fn within<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    timeout(CONNECT, work).await.unwrap_or(Err(Failure::Silent))
}

fn no_guide() -> Failure {
    Failure::Gone("REDIS_URL names nobody to ask".into())
}

/// An address in an answer. Where the host is left out, it is that of the one who was asked.
fn endpoint(host: &Value, port: &Value, asked: &Endpoint) -> Option<Endpoint> {
    let host = text(host).filter(|host| !host.is_empty() && host != "?").unwrap_or_else(|| asked.host.clone());
    let port = match port {
        Value::Int(port) => u16::try_from(*port).ok()?,
        other => text(other)?.parse().ok()?,
    };
    Some(Endpoint { host, port })
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        _ => None,
    }
}
