//! How this process ends, and the one place where it starts tasks.
//!
//! Three stages, each once: *running*; *draining* – nothing new is accepted, what runs is finished; *cut* – what still
//! runs is told so and ended.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::task::AbortHandle;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;

const RUNNING: u8 = 0;
const DRAINING: u8 = 1;
const CUT: u8 = 2;

/// The stage of the process, shared by everything in it. Cheap to clone and to ask.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    stage: AtomicU8,
    drain: CancellationToken,
    cut: CancellationToken,
}

impl Shutdown {
    /// Stops taking new work. Idempotent.
    pub fn drain(&self) {
        self.0.stage.fetch_max(DRAINING, Ordering::Release);
        self.0.drain.cancel();
    }

    /// Ends what still runs. Idempotent; implies [`drain`](Self::drain).
    pub fn cut(&self) {
        self.0.stage.fetch_max(CUT, Ordering::Release);
        self.0.drain.cancel();
        self.0.cut.cancel();
    }

    /// Whether nothing new is taken any more.
    pub fn is_draining(&self) -> bool {
        self.0.stage.load(Ordering::Acquire) != RUNNING
    }

    /// Whether what still runs has to end now.
    pub fn is_cut(&self) -> bool {
        self.0.stage.load(Ordering::Acquire) == CUT
    }

    /// Resolves when draining begins. Cancel-safe.
    pub fn draining(&self) -> WaitForCancellationFutureOwned {
        self.0.drain.clone().cancelled_owned()
    }

    /// Resolves when what still runs has to end. Cancel-safe.
    pub fn cutting(&self) -> WaitForCancellationFutureOwned {
        self.0.cut.clone().cancelled_owned()
    }
}

/// Tasks of one kind, counted so that the end of the process can wait for them.
///
/// The only `spawn` of the program: a task that nobody waits for is a task that is lost at shutdown.
#[derive(Clone, Debug, Default)]
pub struct Tasks(TaskTracker);

impl Tasks {
    /// Runs a future to its end in the background. Dropping the handle does not stop it; aborting does.
    pub fn spawn<F>(&self, task: F) -> AbortHandle
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.0.spawn(task).abort_handle()
    }

    /// How many are running.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is running.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Resolves when none is running any more. Cancel-safe. New tasks may still be started.
    pub async fn finished(&self) {
        self.0.close();
        self.0.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn cutting_implies_draining_and_never_goes_back() {
        let shutdown = Shutdown::default();
        assert!(!shutdown.is_draining() && !shutdown.is_cut());
        shutdown.cut();
        shutdown.drain();
        assert!(shutdown.is_draining() && shutdown.is_cut());
        shutdown.draining().await;
        shutdown.cutting().await;
    }

    #[tokio::test]
    async fn finished_waits_for_every_task() {
        let tasks = Tasks::default();
        let (tx, rx) = tokio::sync::oneshot::channel::<()>();
        tasks.spawn(async move {
            let _ = rx.await;
        });
        assert_eq!(tasks.len(), 1);
        drop(tx);
        tasks.finished().await;
        assert!(tasks.is_empty());
    }
}
