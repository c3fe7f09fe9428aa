//! What every store promises, on real servers: one alone, and a cluster of three.

mod alone {
    use std::sync::{Arc, OnceLock};

    use crate::store::Store;
    use crate::store::redis::fixture::{Server, answering, new_prefix, open};
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
            let server = SERVER.get_or_init(|| Server::start(&[]));
            Self { url: server.url(), prefix: new_prefix() }
        }

        async fn open(&self, limits: &Limits) -> Arc<dyn Store> {
            let store = open(&self.url, &self.prefix, limits);
            answering(&store).await;
            store
        }
    }

    conformance!(Alone);
}
