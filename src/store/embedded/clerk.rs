//! A thread that serves callers: what many of them ask for at the same time, it does in one transaction.

use std::convert;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

use rusqlite::ErrorCode;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::desk::{Desk, Outcome, Share, Trouble};
use super::folder::OpenError;
use crate::store::{Changes, Pending, StoreError};

/// How long a caller waits. What nobody waits for any more is not begun.
pub(super) const PATIENCE: Duration = Duration::from_millis(2500);
/// How many callers may stand in line; more wait until there is room.
const LINE: usize = 1024;
/// How many are served by one transaction.
const GROUP: usize = 256;

/// What a clerk does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It changes what is stored.
    Writing,
    /// It sees what is stored, all of a group at one moment.
    Reading,
}

/// A thread and its line of callers. It leaves when it is dismissed, or dropped.
#[derive(Debug)]
pub(super) struct Clerk {
    line: mpsc::Sender<Order>,
    /// Closed when it has left.
    presence: watch::Receiver<()>,
}

enum Order {
    Work(Box<dyn Work>),
    Leave,
}

/// What one caller asks for.
trait Work: Send {
    /// Whether somebody still waits for the answer.
    fn is_awaited(&self) -> bool;

    /// Does it, inside a transaction. If that fails it may be done again in another one.
    fn carry_out(&mut self, desk: &Desk) -> rusqlite::Result<()>;

    /// Answers: what it came to, or why there was no transaction.
    fn answer(self: Box<Self>, failure: Option<Failure>);
}

/// Why a transaction did not come about.
enum Failure {
    Sqlite(rusqlite::Error),
    /// A fault of ours. It ends this transaction, and not the thread.
    Panicked,
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Clerk {
    /// Starts a thread that sets up its desk and serves from then on. Resolves when the desk is set up.
    pub(super) async fn hire(
        kind: Kind,
        set_up: impl FnOnce() -> Result<Desk, OpenError> + Send + 'static,
        changes: Changes,
    ) -> Result<(Self, Share), OpenError> {
        let (line, orders) = mpsc::channel(LINE);
        let (ready, is_ready) = oneshot::channel();
        let (leaves, presence) = watch::channel(());
        let work = move || {
            match set_up() {
                Ok(desk) => {
                    if ready.send(Ok(desk.share())).is_ok() {
                        serve(kind, &desk, orders, &changes);
                    }
                }
                Err(error) => drop(ready.send(Err(error))),
            }
            // Last, when the desk is gone and the folder free.
            drop(leaves);
        };
        thread::Builder::new().name(kind.name().into()).spawn(work).map_err(OpenError::Thread)?;
        let share = is_ready.await.map_err(|_| OpenError::Thread(std::io::Error::other("it broke down")))??;
        Ok((Self { line, presence }, share))
    }

    /// Has something done that needs no room. Cancel-safe: it is done whole, or not at all.
    pub(super) fn ask<T, W>(&self, work: W) -> Pending<'_, T>
    where
        T: Send + 'static,
        W: FnMut(&Desk) -> Outcome<T> + Send + 'static,
    {
        self.queue_up(work, convert::identity, false)
    }

    /// The same, and what is answered is what `hand_over` makes of it: once it is done, whether or not it is still heard.
    pub(super) fn ask_and<T, U, W, H>(&self, work: W, hand_over: H) -> Pending<'_, U>
    where
        T: Send + 'static,
        U: Send + 'static,
        W: FnMut(&Desk) -> Outcome<T> + Send + 'static,
        H: FnOnce(T) -> U + Send + 'static,
    {
        self.queue_up(work, hand_over, false)
    }

    /// Has something stored: with a disk that is full the answer is [`StoreError::Full`]. Cancel-safe in the same way.
    pub(super) fn ask_for_room<T, W>(&self, work: W) -> Pending<'_, T>
    where
        T: Send + 'static,
        W: FnMut(&Desk) -> Outcome<T> + Send + 'static,
    {
        self.queue_up(work, convert::identity, true)
    }

    fn queue_up<T, U, W, H>(&self, work: W, hand_over: H, needs_room: bool) -> Pending<'_, U>
    where
        T: Send + 'static,
        U: Send + 'static,
        W: FnMut(&Desk) -> Outcome<T> + Send + 'static,
        H: FnOnce(T) -> U + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let order = Order::Work(Box::new(Errand { work, needs_room, outcome: None, hand_over, reply }));
        Box::pin(async move {
            let served = async {
                self.line.send(order).await.ok()?;
                answer.await.ok()
            };
            match timeout(PATIENCE, served).await {
                Ok(Some(answer)) => answer,
                Ok(None) => Err(StoreError::Unavailable("it is closed".into())),
                Err(_) => Err(StoreError::Unavailable("the disk is slow, or the database file is locked".into())),
            }
        })
    }

    /// Serves those who stand in line, and ends the thread. Resolves when it has ended, however long that takes.
    pub(super) async fn dismiss(&self) {
        let mut presence = self.presence.clone();
        // If the line is closed it has left, or is about to.
        let _ = self.line.send(Order::Leave).await;
        while presence.changed().await.is_ok() {}
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Writing => "store-write",
            Self::Reading => "store-read",
        }
    }

    fn begin(self) -> &'static str {
        match self {
            Self::Writing => "BEGIN IMMEDIATE",
            Self::Reading => "BEGIN",
        }
    }
}

/// The life of the thread.
fn serve(kind: Kind, desk: &Desk, mut orders: mpsc::Receiver<Order>, changes: &Changes) {
    let (mut group, mut is_leaving) = (Vec::with_capacity(GROUP), false);
    while !is_leaving && orders.blocking_recv_many(&mut group, GROUP) > 0 {
        let mut works = Vec::with_capacity(group.len());
        for order in group.drain(..) {
            match order {
                Order::Work(work) => works.push(work),
                Order::Leave => is_leaving = true,
            }
        }
        serve_group(kind, desk, works, changes);
    }
}

/// Serves a group in one transaction. If one of them fails the transaction does: then each gets one of its own.
fn serve_group(kind: Kind, desk: &Desk, mut works: Vec<Box<dyn Work>>, changes: &Changes) {
    works.retain(|work| work.is_awaited());
    if works.len() > 1 && transact(kind, desk, &mut works, changes).is_ok() {
        for work in works {
            work.answer(None);
        }
        return;
    }
    for mut work in works {
        // Whoever has gone while others failed slowly is not kept waiting for.
        if work.is_awaited() {
            let failure = transact(kind, desk, std::slice::from_mut(&mut work), changes).err();
            work.answer(failure);
        }
    }
}

/// All of it, or nothing. When it is done, and only then, the news are told.
fn transact(kind: Kind, desk: &Desk, works: &mut [Box<dyn Work>], changes: &Changes) -> Result<(), Failure> {
    let done = attempt(kind, desk, works);
    let news = desk.told();
    if done.is_ok() {
        desk.tidy_up();
        for topic in news {
            changes.tell(topic);
        }
    } else if !desk.sql.is_autocommit() {
        let _ = desk.run("ROLLBACK", []);
    }
    done
}

fn attempt(kind: Kind, desk: &Desk, works: &mut [Box<dyn Work>]) -> Result<(), Failure> {
    if !desk.sql.is_autocommit() {
        // The end of an earlier one failed: no other can begin before it is over.
        desk.run("ROLLBACK", [])?;
    }
    desk.run(kind.begin(), [])?;
    let carried_out = catch_unwind(AssertUnwindSafe(|| works.iter_mut().try_for_each(|work| work.carry_out(desk))));
    carried_out.map_err(|_| Failure::Panicked)??;
    desk.run("COMMIT", [])?;
    Ok(())
}

/// What a caller asks for, what came of it, and where he waits.
struct Errand<T, U, W, H> {
    work: W,
    needs_room: bool,
    outcome: Option<Result<T, StoreError>>,
    hand_over: H,
    reply: oneshot::Sender<Result<U, StoreError>>,
}

impl<T, U, W, H> Work for Errand<T, U, W, H>
where
    T: Send,
    U: Send,
    W: FnMut(&Desk) -> Outcome<T> + Send,
    H: FnOnce(T) -> U + Send,
{
    fn is_awaited(&self) -> bool {
        !self.reply.is_closed()
    }

    fn carry_out(&mut self, desk: &Desk) -> rusqlite::Result<()> {
        self.outcome = match (self.work)(desk) {
            Ok(answer) => Some(Ok(answer)),
            Err(Trouble::Refused(why)) => Some(Err(why)),
            Err(Trouble::Failed(error)) => return Err(error),
        };
        Ok(())
    }

    fn answer(self: Box<Self>, failure: Option<Failure>) {
        let unavailable = |why: String| Err(StoreError::Unavailable(why));
        let answer = match failure {
            Some(Failure::Sqlite(error))
                if self.needs_room && error.sqlite_error_code() == Some(ErrorCode::DiskFull) =>
            {
                Err(StoreError::Full)
            }
            Some(Failure::Sqlite(error)) => unavailable(error.to_string()),
            Some(Failure::Panicked) => unavailable("a fault of the program".into()),
            None => match self.outcome {
                Some(outcome) => outcome.map(self.hand_over),
                None => unavailable("nothing was done".into()),
            },
        };
        // Whoever has gone in the meantime does not mind.
        let _ = self.reply.send(answer);
    }
}
