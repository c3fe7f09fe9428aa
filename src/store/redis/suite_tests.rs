//! What every store promises, on real servers: one alone, and a cluster of three.

use std::sync::{Arc, OnceLock};

use super::fixture::{Cluster, Server, answering, new_prefix, open};
use crate::store::Store;
use crate::store::suite::{Limits, Place, conformance};

/// One server for all tests.
struct Alone {
    url: String,
    prefix: String,
}

impl Place for Alone {
    const IS_SHARED: bool = true;

    async fn new() -> Self {
        static SERVER: OnceLock<Server> = OnceLock::new();
        Self { url: SERVER.get_or_init(|| Server::start(&[])).url(), prefix: new_prefix() }
    }

    async fn open(&self, limits: &Limits) -> Arc<dyn Store> {
        let store = open(&self.url, &self.prefix, limits);
        answering(&store).await;
        store
    }
}

/// One cluster for all tests. Each asks a node that may have the slot of its queue or not.
struct Clustered {
    url: String,
    prefix: String,
}

impl Place for Clustered {
    const IS_SHARED: bool = true;

    async fn new() -> Self {
        static CLUSTER: OnceLock<Cluster> = OnceLock::new();
        // A hash tag of its own: all queues are called the same, and would be on one node.
        let prefix = format!("{{{}}}", new_prefix());
        Self { url: CLUSTER.get_or_init(Cluster::start).url(&[0]), prefix }
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
