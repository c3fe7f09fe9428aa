//! A scripted upstream on HTTP/2: prior knowledge in clear, or ALPN over TLS.
//!
//! The protocol is the `h2` crate's, which refuses what breaks it: a malformed request never becomes a [`Seen`], it fails
//! the exchange. Upstreams that break the protocol themselves are written frame by frame: see [`raw`].

mod connection;
pub mod raw;
mod script;

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use tokio::sync::watch;

use super::{Authority, Ledger, Seen};
pub use script::{Play, refuse, reply, reset, stall};

/// A running upstream. Dropped, it closes its listener and all its connections.
pub struct H2Upstream {
    shared: Arc<Shared>,
    address: SocketAddr,
    scheme: &'static str,
}

/// What an upstream says in its SETTINGS, and how it is reached.
#[derive(Default)]
pub struct Options<'a> {
    /// Over TLS, choosing `h2` by ALPN.
    pub tls: Option<&'a Authority>,
    /// `SETTINGS_MAX_CONCURRENT_STREAMS`.
    pub max_streams: Option<u32>,
}

impl H2Upstream {
    /// In clear. Until a script is set it answers every request with `200` and `ok`.
    pub fn start() -> Self {
        Self::start_with(&Options::default())
    }

    /// Over TLS.
    pub fn start_tls(authority: &Authority) -> Self {
        Self::start_with(&Options { tls: Some(authority), ..Options::default() })
    }

    /// With settings of its own.
    pub fn start_with(options: &Options<'_>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = if options.tls.is_some() { "https" } else { "http" };
        let tls = options.tls.map(|authority| authority.server_config(&["h2"]));
        let shared = Shared::new(options.max_streams);
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(connection::accept_all(listener, serving, tls));
        });
        Self { shared, address, scheme }
    }

    /// `UPSTREAM_BASE_URL`.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// What `:authority` must be in every request.
    pub fn authority(&self) -> String {
        self.address.to_string()
    }

    /// One play for each request, in the order of their heads; the last one repeats.
    pub fn script<const N: usize>(&self, plays: [Play; N]) {
        assert!(N > 0, "a script has at least one play");
        self.answer_with(move |_, nth| plays[nth.min(N - 1)].clone());
    }

    /// A play chosen per request: given are its head, and how many requests came before it since this call.
    pub fn answer_with(&self, choose: impl Fn(&Seen, usize) -> Play + Send + Sync + 'static) {
        *self.shared.script.lock().unwrap() = (Arc::new(choose), 0);
    }

    /// The largest number of streams that one connection had open at once.
    pub fn most_streams(&self) -> usize {
        self.shared.most_streams.load(Ordering::SeqCst)
    }
}

/// What it has seen.
impl std::ops::Deref for H2Upstream {
    type Target = Ledger;

    fn deref(&self) -> &Ledger {
        &self.shared.ledger
    }
}

impl Drop for H2Upstream {
    fn drop(&mut self) {
        self.shared.ledger.stop();
        self.shared.stop.send_replace(true);
    }
}

/// Chooses a play by the head, and by how many requests came before.
type Script = dyn Fn(&Seen, usize) -> Play + Send + Sync;

struct Shared {
    ledger: Ledger,
    script: Mutex<(Arc<Script>, usize)>,
    max_streams: Option<u32>,
    most_streams: AtomicUsize,
    stop: watch::Sender<bool>,
}

impl Shared {
    fn new(max_streams: Option<u32>) -> Arc<Self> {
        let ok = Play::from(reply(200).body("ok"));
        let script: Arc<Script> = Arc::new(move |_, _| ok.clone());
        Arc::new(Self {
            ledger: Ledger::new(),
            script: Mutex::new((script, 0)),
            max_streams,
            most_streams: AtomicUsize::new(0),
            stop: watch::Sender::new(false),
        })
    }

    /// Records a request, and what is to be done with it.
    fn begin(&self, seen: Seen) -> (usize, Play) {
        self.ledger.begin(seen, |seen| {
            let mut script = self.script.lock().unwrap();
            script.1 += 1;
            (script.0)(seen, script.1 - 1)
        })
    }
}
