//! A scripted upstream on raw sockets: it does to each request what the script says, and records what it received.
//!
//! Blocking sockets and one thread per connection, so that a behaviour reads as the story it is. Nothing here knows
//! how forebay works; whatever a lenient parser could read differently from another is kept in [`Seen::problems`].

mod connection;
mod record;
mod script;
mod tls;

use std::collections::HashMap;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

pub use record::{Framing, Seen, is_token};
pub use script::{Behaviour, Gate, OnAccept, answer, close, echo, raw, reset, stall};
pub use tls::Authority;

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
        let mut upstream = Self::refusing();
        upstream.scheme = "https";
        upstream.tls = Some(authority.server_config());
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
        let mut state = self.shared.state.lock().unwrap();
        state.script = Arc::new(choose);
        state.played = 0;
    }

    /// What happens to each connection when it is accepted, in order; afterwards they speak HTTP.
    pub fn on_accept<const N: usize>(&self, behaviours: [OnAccept; N]) {
        self.shared.state.lock().unwrap().on_accept = behaviours.into_iter().collect();
    }

    /// Every request so far, in the order in which their heads arrived.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.state.lock().unwrap().seen.clone()
    }

    /// How many connections were accepted so far.
    pub fn accepted(&self) -> usize {
        self.shared.state.lock().unwrap().accepted
    }

    /// Forgets what was seen, between two cases that share one upstream.
    pub fn forget(&self) {
        let mut state = self.shared.state.lock().unwrap();
        state.forgotten += state.seen.len();
        state.seen.clear();
    }

    /// Waits until the heads of at least `count` requests have arrived.
    #[track_caller]
    pub fn wait_seen(&self, count: usize) -> Vec<Seen> {
        self.wait(&format!("{count} requests at the upstream"), |seen| seen.len() >= count)
    }

    /// Waits until what was seen fulfils the condition.
    #[track_caller]
    pub fn wait(&self, what: &str, mut condition: impl FnMut(&[Seen]) -> bool) -> Vec<Seen> {
        let end = Instant::now() + PATIENCE;
        let mut state = self.shared.state.lock().unwrap();
        while !condition(&state.seen) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let seen = state.seen.clone();
                drop(state);
                panic!("waited in vain for {what}; seen: {seen:#?}");
            }
            state = self.shared.changed.wait_timeout(state, left).unwrap().0;
        }
        state.seen.clone()
    }

    /// Waits until every connection is closed.
    #[track_caller]
    pub fn wait_all_closed(&self) {
        let end = Instant::now() + PATIENCE;
        let mut state = self.shared.state.lock().unwrap();
        while !state.open.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let open = state.open.len();
                drop(state);
                panic!("{open} upstream connections are still open");
            }
            state = self.shared.changed.wait_timeout(state, left).unwrap().0;
        }
    }

    /// Asserts that exactly `count` requests have arrived, and that no further one comes for a while.
    ///
    /// The while can only be too short to notice a bug, never turn a good run red.
    #[track_caller]
    pub fn assert_no_more_than(&self, count: usize, a_while: Duration) {
        thread::sleep(a_while);
        let seen = self.seen();
        assert_eq!(seen.len(), count, "requests at the upstream: {seen:#?}");
    }

    /// Asserts that nothing that arrived has two readings.
    #[track_caller]
    pub fn assert_unambiguous(&self) {
        for seen in self.seen() {
            assert!(seen.problems.is_empty(), "an ambiguous request reached the upstream: {seen:#?}");
        }
    }
}

impl Drop for FakeUpstream {
    fn drop(&mut self) {
        // A failed test may have poisoned the lock; what is left must still be closed.
        let mut state = self.shared.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        state.stopped = true;
        for socket in state.open.values() {
            let _ = socket.shutdown(Shutdown::Both);
        }
        drop(state);
        // Wakes the accepting thread, which then sees that it is over.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_millis(200));
    }
}

/// What the threads of one upstream share.
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// Chooses a behaviour by the head, and by how many requests came before.
type Script = dyn Fn(&Seen, usize) -> Behaviour + Send + Sync;

struct State {
    seen: Vec<Seen>,
    /// How many requests [`FakeUpstream::forget`] dropped; the number of a request counts them.
    forgotten: usize,
    script: Arc<Script>,
    /// How many requests the script has played.
    played: usize,
    on_accept: std::collections::VecDeque<OnAccept>,
    accepted: usize,
    /// The open connections by id. Removed before a connection is closed: the last handle closes the socket.
    open: HashMap<usize, TcpStream>,
    stopped: bool,
}

impl Shared {
    fn new() -> Arc<Self> {
        let ok = Behaviour::from(answer(200).body("ok"));
        let state = State {
            seen: Vec::new(),
            forgotten: 0,
            script: Arc::new(move |_, _| ok.clone()),
            played: 0,
            on_accept: std::collections::VecDeque::new(),
            accepted: 0,
            open: HashMap::new(),
            stopped: false,
        };
        Arc::new(Self { state: Mutex::new(state), changed: Condvar::new() })
    }

    fn stopped(&self) -> bool {
        self.state.lock().unwrap().stopped
    }

    /// Records a request, and what is to be done with it.
    fn begin(&self, seen: Seen) -> (usize, Behaviour) {
        let mut state = self.state.lock().unwrap();
        let (script, nth) = (Arc::clone(&state.script), state.played);
        state.played += 1;
        let number = state.forgotten + state.seen.len();
        let behaviour = script(&seen, nth);
        state.seen.push(seen);
        self.changed.notify_all();
        (number, behaviour)
    }

    /// Adds to what is known of a request.
    fn update(&self, number: usize, change: impl FnOnce(&mut Seen)) {
        let mut state = self.state.lock().unwrap();
        if let Some(index) = number.checked_sub(state.forgotten)
            && let Some(seen) = state.seen.get_mut(index)
        {
            change(seen);
        }
        self.changed.notify_all();
    }

    fn closed(&self, id: usize) {
        self.state.lock().unwrap().open.remove(&id);
        self.changed.notify_all();
    }
}

fn accept_all(listener: &TcpListener, shared: &Arc<Shared>, tls: Option<&Arc<rustls::ServerConfig>>) {
    for socket in listener.incoming() {
        let Ok(socket) = socket else { continue };
        let mut state = shared.state.lock().unwrap();
        if state.stopped {
            return;
        }
        state.accepted += 1;
        let id = state.accepted;
        state.open.insert(id, socket.try_clone().unwrap());
        let first = state.on_accept.pop_front().unwrap_or(OnAccept::Speak);
        drop(state);
        shared.changed.notify_all();
        let (shared, tls) = (Arc::clone(shared), tls.cloned());
        thread::spawn(move || connection::serve(&shared, id, socket, tls, first));
    }
}
