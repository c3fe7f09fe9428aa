//! The upstream: as flaky as those that the proxy was made for.

mod http1;
mod plan;
mod reading;
mod writing;

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::time::sleep;

pub(super) use plan::{After, AnswerPlan, Framed, Starts};
use plan::{Connect, ConnectionPlan};

use super::dice::Dice;
use super::journal::{Event, Journal, Side};
use super::setting::Setting;
use super::stream::{Stream, pair};
use crate::shutdown::Tasks;
use crate::upstream::Dial;

/// How an upstream speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Http1,
}

/// Whoever answers behind the proxy.
#[derive(Debug)]
pub(super) struct Upstream {
    seed: u64,
    setting: Setting,
    journal: Arc<Journal>,
    tasks: Tasks,
    connections: AtomicUsize,
    answers: AtomicUsize,
}

/// Dice of actors are numbered: the world's, the clients', then those of upstream connections.
const FIRST_ACTOR: u64 = 1_000_000;

impl Upstream {
    pub(super) fn new(seed: u64, setting: Setting, journal: Arc<Journal>, tasks: Tasks) -> Arc<Self> {
        let (connections, answers) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { seed, setting, journal, tasks, connections, answers })
    }

    /// What the pool calls for each new connection.
    pub(super) fn dial(self: &Arc<Self>) -> Dial {
        let upstream = Arc::clone(self);
        Dial::new(move || Arc::clone(&upstream).connect())
    }

    async fn connect(self: Arc<Self>) -> io::Result<Stream> {
        let connection = self.connections.fetch_add(1, Relaxed);
        let mut dice = Dice::new(self.seed, FIRST_ACTOR + connection as u64);
        let plan = ConnectionPlan::draw(&self.setting, &mut dice);
        self.journal.note(Event::Dialled { connection, wire: plan.wire, plan: format!("{plan:?}") });
        match plan.connect {
            Connect::Takes(pause) => sleep(pause).await,
            Connect::Refuses(pause) => {
                sleep(pause).await;
                self.journal.note(Event::Refused { connection });
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            Connect::Hangs => pending().await,
        }
        let (theirs, ours) =
            pair(plan.wire, &self.journal, [Side::ProxyToUpstream(connection), Side::Upstream(connection)]);
        self.journal.note(Event::Connected { connection });
        let upstream = Arc::clone(&self);
        self.tasks.spawn(async move {
            match plan.protocol {
                Protocol::Http1 => http1::serve(&upstream, connection, ours, plan, dice).await,
            }
        });
        Ok(theirs)
    }
}
