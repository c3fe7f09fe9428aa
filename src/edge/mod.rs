//! The edge: where clients arrive, and where every answer leaves.
//!
//! `listen` accepts, `tls` encrypts, `serve` finds out which protocol is spoken, `http1` and `http2` run hyper on a guarded
//! socket, `exchange` tells the story of one request, `respond` is the one door out, and `tunnel` is what an upgraded
//! connection becomes.

mod beyond;
pub mod certificate;
mod clocks;
mod exchange;
#[cfg(test)]
mod fixture;
mod guard;
mod http1;
mod http2;
mod intake;
mod jobs;
mod listen;
mod outgoing;
mod respond;
mod rewound;
mod serve;
mod settings;
mod summary;
mod tls;
mod tunnel;
#[cfg(test)]
mod tunnel_tests;
mod upload;
pub mod validity;
mod wording;

use std::sync::Arc;

use tokio::net::TcpListener;

pub use guard::check as guard;
pub use http1::{BodyScanner, Framing, HeadScanner};
pub use listen::accept_loop;
pub use serve::serve;
pub use settings::{EdgeSettings, TlsFiles};
pub use tls::{Tls, TlsError};
pub use tunnel::carry;

use crate::body::Quota;
use crate::cache::Cache;
use crate::headers::Arrival;
use crate::queue::Queue;
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
    /// The answers that are kept.
    pub cache: Arc<Cache>,
    /// Where requests become jobs; none = there is no store.
    pub queue: Option<Arc<Queue>>,
    /// When to stop.
    pub shutdown: Shutdown,
    /// The exchanges of HTTP/2 connections.
    pub streams: Tasks,
}

/// Serves clients until the process drains, over TLS if there is a certificate. The connections run on as `tasks`.
pub async fn run(listener: TcpListener, tls: Option<Arc<Tls>>, edge: Arc<Edge>, tasks: Tasks) {
    let (limit, draining) = (edge.settings.max_connections, edge.shutdown.draining());
    accept_loop(listener, limit, draining, |stream, peer, permit| {
        let (edge, tls) = (Arc::clone(&edge), tls.clone());
        let arrival = Arrival { peer: peer.ip(), is_tls: tls.is_some() };
        tasks.spawn(async move {
            match tls {
                Some(tls) => Box::pin(serve::serve_tls(edge, tls, stream, arrival)).await,
                None => serve(edge, stream, arrival).await,
            }
            drop(permit);
        });
    })
    .await;
}
