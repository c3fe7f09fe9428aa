//! What every store promises, on real servers: one alone, and a cluster of three.

use std::sync::Arc;

use super::fixture::{Cluster, Server, answering, new_prefix, open};
use crate::store::Store;
use crate::store::suite::{Limits, Place, conformance};

struct Alone {
    url: String,
    prefix: String,
}

impl Place for Alone {
    const IS_SHARED: bool = true;

    async fn new() -> Self {
        Self { url: Server::shared().url(), prefix: new_prefix() }
    }

    async fn open(&self, limits: &Limits) -> Arc<dyn Store> {
        let store = open(&self.url, &self.prefix, limits);
        answering(&store).await;
        store
    }
}

/// Each test asks the same node, which may have the slot of its queue or not.
struct Clustered {
    url: String,
    prefix: String,
}

impl Place for Clustered {
    const IS_SHARED: bool = true;

    async fn new() -> Self {
        // A hash tag of its own: all queues are called the same, and would be on one node.
        let prefix = format!("{{{}}}", new_prefix());
        Self { url: Cluster::shared().url(&[0]), prefix }
    }

    async fn open(&self, limits: &Limits) -> Arc<dyn Store> {
        let store = open(&self.url, &self.prefix, limits);
        answering(&store).await;
        store
    }
}

mod alone {
    use super::*;

    conformance!(Alone);
}

mod clustered {
    use super::*;

    conformance!(Clustered);
}
