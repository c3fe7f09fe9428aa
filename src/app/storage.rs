//! Opens the store, or says why the process goes on without it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::StartError;
use crate::shutdown::{Shutdown, Tasks};
use crate::store::{self, Metered, Store, StoreSettings};

/// The proxy waits so long for a store that does not answer yet, and then opens without it.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(100);

/// The store that the settings ask for; none = off, or it cannot be opened and nothing asks for it.
pub(super) async fn open(
    settings: Option<&StoreSettings>,
    shutdown: &Shutdown,
    tasks: &Tasks,
) -> Result<Option<Arc<Metered>>, StartError> {
    let Some(settings) = settings else { return Ok(None) };
    let store = match store::open(settings).await {
        Ok(store) => Metered::new(store),
        Err(error) if settings.is_required => return Err(StartError::Store(error)),
        Err(error) => {
            tracing::warn!("{error}. Nothing asks for a store, so it goes on without one: no request becomes a job");
            return Ok(None);
        }
    };
    if timeout(PATIENCE, answer(&store)).await.is_err() {
        tracing::warn!("the store does not answer yet: what needs none is served, and jobs once it does");
    }
    // Beside the start, which waits no longer than that.
    let (answering, cutting) = (Arc::clone(&store), shutdown.cutting());
    tasks.spawn(async move {
        tokio::select! {
            () = cutting => {}
            () = warn(&answering) => {}
        }
    });
    Ok(Some(store))
}

/// Says what should be changed about it, once it answers.
async fn warn(store: &Metered) {
    answer(store).await;
    for warning in store.warnings().await.unwrap_or_default() {
        tracing::warn!("{warning}");
    }
}

/// Resolves when the store has answered once.
async fn answer(store: &Metered) {
    while store.ping().await.is_err() {
        sleep(LOOK).await;
    }
}
