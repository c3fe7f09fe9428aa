//! Scripted upstreams: HTTP/1.1 on raw sockets here, HTTP/2 in [`h2`]. They do to each request what the script says, and
//! record what they received.
//!
//! Blocking sockets and one thread per connection, so that a behaviour reads as the story it is. Nothing here knows
//! how forebay works; whatever a lenient parser could read differently from another is kept in [`Seen::problems`].

mod connection;
mod either;
pub mod h2;
mod ledger;
mod record;
mod script;
mod tls;

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

pub use either::AnyUpstream;
pub use h2::H2Upstream;
pub use ledger::Ledger;
pub use record::{Framing, Seen, is_token};
pub use script::{Behaviour, Gate, OnAccept, answer, close, echo, raw, reset, stall};
pub use tls::{Authority, Certificate};

/// How long a test waits for something that should happen at once. Only a broken program makes it last that long.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// A running upstream. Dropped, it closes its listener and all its connections.
pub struct FakeUpstream {
    shared: Arc<Shared>,
    address: SocketAddr,
    scheme: &'static str,
    tls: Option<Arc<rustls::ServerConfig>>,
    /// Bound and not listening yet: connects are refused, and nobody else can take the port.
    deaf: Option<Socket>,
}

impl FakeUpstream {
    /// An upstream for `http://`. Until a script is set it answers every request with `200` and `ok`.
    pub fn start() -> Self {
        let upstream = Self::refusing();
        upstream.listening()
    }

    /// An upstream for `https://127.0.0.1`, with a certificate of this authority.
    pub fn start_tls(authority: &Authority) -> Self {
        Self::start_tls_with(authority, &[])
    }

    /// The same, choosing by ALPN among these protocols. What it speaks is HTTP/1.1, whatever was chosen.
    pub fn start_tls_with(authority: &Authority, protocols: &[&str]) -> Self {
        let mut upstream = Self::refusing();
        upstream.scheme = "https";
        upstream.tls = Some(authority.server_config(protocols));
        upstream.listening()
    }

    /// An upstream whose port refuses connections until [`Self::listen`].
    pub fn refusing() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        Self { shared: Shared::new(), address, scheme: "http", tls: None, deaf: Some(socket) }
    }

    fn listening(mut self) -> Self {
        self.listen();
        self
    }

    /// Starts to accept connections.
    pub fn listen(&mut self) {
        let socket = self.deaf.take().expect("the upstream listens already");
        socket.listen(1024).unwrap();
        let (listener, shared, tls) = (TcpListener::from(socket), Arc::clone(&self.shared), self.tls.clone());
        thread::spawn(move || accept_all(&listener, &shared, tls.as_ref()));
    }

    /// `UPSTREAM_BASE_URL`.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// What `Host` must be in every request.
    pub fn authority(&self) -> String {
        self.address.to_string()
    }

    /// One behaviour for each request, in the order of their heads; the last one repeats.
    pub fn script<const N: usize>(&self, behaviours: [Behaviour; N]) {
        assert!(N > 0, "a script has at least one behaviour");
        self.answer_with(move |_, nth| behaviours[nth.min(N - 1)].clone());
    }

    /// A behaviour chosen per request: given are its head, and how many requests came before it since this call.
    pub fn answer_with(&self, choose: impl Fn(&Seen, usize) -> Behaviour + Send + Sync + 'static) {
        *self.shared.script.lock().unwrap() = (Arc::new(choose), 0);
    }

    /// What happens to each connection when it is accepted, in order; afterwards they speak HTTP.
    pub fn on_accept<const N: usize>(&self, behaviours: [OnAccept; N]) {
        *self.shared.on_accept.lock().unwrap() = behaviours.into_iter().collect();
    }
}

/// What it has seen.
impl std::ops::Deref for FakeUpstream {
    type Target = Ledger;

    fn deref(&self) -> &Ledger {
        &self.shared.ledger
    }
}

impl Drop for FakeUpstream {
    fn drop(&mut self) {
        self.shared.ledger.stop();
        // Wakes the accepting thread, which then sees that it is over.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_millis(200));
    }
}

/// What the threads of one upstream share.
struct Shared {
    ledger: Ledger,
    /// The script, and how many requests it has played.
    script: Mutex<(Arc<Script>, usize)>,
    on_accept: Mutex<VecDeque<OnAccept>>,
}

/// Chooses a behaviour by the head, and by how many requests came before.
type Script = dyn Fn(&Seen, usize) -> Behaviour + Send + Sync;

impl Shared {
    fn new() -> Arc<Self> {
        let ok = Behaviour::from(answer(200).body("ok"));
        let script: Arc<Script> = Arc::new(move |_, _| ok.clone());
        Arc::new(Self { ledger: Ledger::new(), script: Mutex::new((script, 0)), on_accept: Mutex::default() })
    }

    /// Records a request, and what is to be done with it.
    fn begin(&self, seen: Seen) -> (usize, Behaviour) {
        self.ledger.begin(seen, |seen| {
            let mut script = self.script.lock().unwrap();
            script.1 += 1;
            (script.0)(seen, script.1 - 1)
        })
    }
}

fn accept_all(listener: &TcpListener, shared: &Arc<Shared>, tls: Option<&Arc<rustls::ServerConfig>>) {
    for socket in listener.incoming() {
        let Ok(socket) = socket else { continue };
        let Some(id) = shared.ledger.opened(&socket) else { return };
        let first = shared.on_accept.lock().unwrap().pop_front().unwrap_or(OnAccept::Speak);
        let (shared, tls) = (Arc::clone(shared), tls.cloned());
        thread::spawn(move || connection::serve(&shared, id, socket, tls, first));
    }
}
