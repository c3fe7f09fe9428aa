//! A world: one proxy, its clients and its upstream, from a seed to its end.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr};
use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Once};
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::time::{sleep, timeout};

use super::client::{self, ClientPlan};
use super::dice::Dice;
use super::journal::{Event, Journal, Stamp};
use super::setting::Setting;
use super::stream::Stream;
use super::upstream::Upstream;
use crate::body::Quota;
use crate::cache::Cache;
use crate::edge::{Edge, serve};
use crate::headers::Arrival;
use crate::race::RetryBudget;
use crate::routes::{Route, Routes};
use crate::shutdown::{Shutdown, Tasks};
use crate::upstream::Pool;

/// No world lasts so long: the clocks of all its actors together are far shorter.
const FOREVER: Duration = Duration::from_secs(24 * 60 * 60);
/// The dice of a world's own; the clients' follow.
const WORLD: u64 = 0;

/// A world that is over.
#[derive(Debug)]
pub(super) struct Played {
    pub(super) setting: Setting,
    pub(super) clients: Vec<Arc<ClientPlan>>,
    pub(super) journal: Vec<(Stamp, Event)>,
    /// What is wrong with what it left behind.
    pub(super) complaints: Vec<String>,
}

/// Plays a world to its end.
pub(super) fn play(seed: u64) -> Played {
    count_panics();
    PANICS.set(0);
    // The proxy's own dice: backoff, ages of connections.
    fastrand::seed(seed);
    let mut dice = Dice::new(seed, WORLD);
    let setting = Setting::draw(&mut dice);
    let clients: Vec<_> = (0..setting.clients)
        .map(|number| Arc::new(ClientPlan::draw(number, &setting, &mut Dice::new(seed, WORLD + 1 + number as u64))))
        .collect();
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let (journal, mut complaints) = runtime.block_on(async {
        let journal = Journal::new();
        let mut complaints = Vec::new();
        let world = run(seed, &setting, &clients, &journal, &mut complaints);
        if timeout(FOREVER, world).await.is_err() {
            complaints.push("the world does not end".to_owned());
        }
        (journal, complaints)
    });
    drop(runtime);
    if PANICS.get() > 0 {
        complaints.push(format!("{} tasks panicked", PANICS.get()));
    }
    Played { setting, clients, journal: journal.entries(), complaints }
}

/// Where clients come in.
pub(super) struct Door {
    edge: Arc<Edge>,
    pub(super) journal: Arc<Journal>,
    connections: AtomicUsize,
    front: Tasks,
}

impl Door {
    /// The number of the next connection; none when nobody listens any more.
    pub(super) fn next_connection(&self) -> Option<usize> {
        (!self.edge.shutdown.is_draining()).then(|| self.connections.fetch_add(1, Relaxed))
    }

    pub(super) fn accept(&self, stream: Stream) {
        self.front.spawn(serve(Arc::clone(&self.edge), stream, LOCAL));
    }
}

async fn run(
    seed: u64,
    setting: &Setting,
    clients: &[Arc<ClientPlan>],
    journal: &Arc<Journal>,
    complaints: &mut Vec<String>,
) {
    let [front, back, actors] = [Tasks::default(), Tasks::default(), Tasks::default()];
    let upstream = Upstream::new(seed, setting.clone(), Arc::clone(journal), actors.clone());
    let pool = Pool::dialling(setting.route.transport.clone(), upstream.dial(), back.clone());
    let (budget, quota, shutdown) =
        (RetryBudget::new(setting.route.budget), Quota::new(setting.quota), Shutdown::default());
    let route = Route::new(setting.route.clone(), Arc::clone(&pool), Arc::clone(&budget));
    let edge = Edge {
        settings: setting.edge.clone(),
        routes: Routes::new([route]),
        answers: setting.route.answers.clone(),
        quota: Arc::clone(&quota),
        cache: Cache::nothing(),
        queue: None,
        shutdown: shutdown.clone(),
        streams: Tasks::default(),
    };
    back.spawn(Arc::clone(&pool).maintain(shutdown.clone()));
    let (edge, connections) = (Arc::new(edge), AtomicUsize::new(0));
    let door = Arc::new(Door { edge, journal: Arc::clone(journal), connections, front: front.clone() });

    let living = Tasks::default();
    for client in clients {
        living.spawn(client::live(Arc::clone(client), Arc::clone(&door)));
    }
    let end = actors.spawn(stop(setting.drain, shutdown.clone(), Arc::clone(journal)));
    living.finished().await;
    front.finished().await;
    journal.note(Event::Quiet);
    end.abort();

    // Nothing is left of the exchanges at once, …
    let mut is = |what: &str, left: usize| {
        if left > 0 {
            complaints.push(format!("{left} {what}"));
        }
    };
    is("bytes of the quota are still held", quota.used());
    let stats = [&door.edge.routes.find("/").unwrap().stats, door.edge.routes.unrouted()];
    for stats in stats {
        is("exchanges are still counted as in flight", usize::try_from(stats.in_flight.get()).unwrap_or(usize::MAX));
        let heads: u64 = ["1xx", "2xx", "3xx", "4xx", "5xx"].iter().map(|class| stats.attempts.of(class)).sum();
        let observed = stats.time_to_headers.buckets().count;
        is("heads have no time to headers, or the other way round", heads.abs_diff(observed).try_into().unwrap());
    }
    is("exchanges still wait for headers", budget.in_use().0);
    is("further attempts are still under way", budget.in_use().1);
    is("callers still wait for a connection", pool.idle_and_waiting().1);
    // … and of their connections when the pool has given them up.
    let transport = &setting.route.transport;
    let connects = setting.route.policy.timeouts.connect;
    sleep(transport.idle * 2 + connects + Duration::from_secs(30)).await;
    if shutdown.is_draining() {
        // What became idle after that stays so until the process ends, which is soon.
        Arc::clone(&pool).maintain(shutdown.clone()).await;
        sleep(Duration::from_secs(1)).await;
    }
    is("connections are still open", pool.open());
    is("connections are still idle", pool.idle_and_waiting().0);
    shutdown.drain();
    sleep(Duration::from_secs(1)).await;
    is("tasks still run", front.len() + back.len());
    is("owners of the edge are left", Arc::strong_count(&door.edge) - 1);
    drop(door);
    is("owners of the pool are left", Arc::strong_count(&pool) - 1);
    let _ = timeout(Duration::from_secs(60 * 60), actors.finished()).await;
    is("actors still act", actors.len());
}

async fn stop(when: Option<(Duration, Option<Duration>)>, shutdown: Shutdown, journal: Arc<Journal>) {
    let Some((drain, cut)) = when else { return };
    sleep(drain).await;
    journal.note(Event::Draining);
    shutdown.drain();
    let Some(cut) = cut else { return };
    sleep(cut).await;
    journal.note(Event::Cut);
    shutdown.cut();
}

/// Where every client comes from.
const LOCAL: Arrival = Arrival { peer: IpAddr::V4(Ipv4Addr::LOCALHOST), is_tls: false };

thread_local! {
    static PANICS: Cell<usize> = const { Cell::new(0) };
}

/// A panic ends its task and nothing else, so it is counted here. Each world has its thread to itself.
fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            PANICS.set(PANICS.get() + 1);
            before(info);
        }));
    });
}
