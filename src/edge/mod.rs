//! The edge: where clients arrive, and where every answer leaves.
//!
//! `listen` accepts, `connection` runs hyper on a socket that `client_io` guards, `exchange` tells the story of one
//! request, `respond` is the one door out.

mod client_io;
mod connection;
#[cfg(test)]
mod connection_tests;
mod exchange;
mod framing;
mod guard;
mod listen;
mod outgoing;
mod quotes;
mod respond;
mod settings;
mod summary;
mod turn;

use std::sync::Arc;

use tokio::net::TcpListener;

pub use connection::serve;
pub use exchange::outbound;
pub use framing::{BodyScanner, Framing, HeadScanner};
pub use guard::check as guard;
pub use listen::accept_loop;
pub use settings::{EdgeSettings, TlsFiles};

use crate::body::Quota;
use crate::routes::{AnswerSettings, Routes};
use crate::shutdown::{Shutdown, Tasks};

/// What all client connections share.
#[derive(Debug)]
pub struct Edge {
    /// Section 3.4.
    pub settings: EdgeSettings,
    /// Where requests go.
    pub routes: Routes,
    /// How to answer what never became a request, or has no route.
    pub answers: AnswerSettings,
    /// What buffered bodies are taken from.
    pub quota: Arc<Quota>,
    /// When to stop.
    pub shutdown: Shutdown,
}

/// Serves clients until the process drains. The connections run on as `tasks`.
pub async fn run(listener: TcpListener, edge: Arc<Edge>, tasks: Tasks) {
    let (limit, draining) = (edge.settings.max_connections, edge.shutdown.draining());
    accept_loop(listener, limit, draining, |stream, peer, permit| {
        let edge = Arc::clone(&edge);
        tasks.spawn(async move {
            serve(edge, stream, peer.ip()).await;
            drop(permit);
        });
    })
    .await;
}
