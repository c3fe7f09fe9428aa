//! The look into the cache, before the upstream is asked.

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, Response, StatusCode};

use super::entry::Entry;
use super::flight::{News, Seat, Verdict};
use super::given::Given;
use super::key::{KeyMaker, Scope};
use super::lead::{Errand, Lead};
use super::rules::{Conditions, Permission};
use super::shelves::Shelves;
use super::single_flight::{Boarding, Duty, Flights};
use super::{Asked, CacheKey, CacheKind, CacheSettings, MemorySettings};
use crate::body::{Payload, Quota, Snapshot};
use crate::shutdown::Tasks;
use crate::size::ByteSize;
use crate::stats::RouteStats;
use crate::store::Store;

/// How many leaders one follows who have nothing in the end: an upstream that is away would be waited for as often as there
/// are clients.
const MOST_LEADERS: u32 = 2;
/// So many bytes are digested before others have their turn: less than a millisecond.
const AT_ONCE: usize = 256 << 10;

/// The answers that are kept, of all routes, and those that are on their way.
#[derive(Debug)]
pub struct Cache {
    pub(super) shelves: Shelves,
    pub(super) flights: Arc<Flights>,
    /// What answers are taken from while they come.
    pub(super) quota: Arc<Quota>,
    pub(super) tasks: Tasks,
}

/// What the cache has to say to a request.
pub enum Look {
    /// It has no part in it: there is none for the route, or the request is not kept as a whole.
    Off,
    /// Here is the answer (`X-Cache-Status: HIT`).
    Hit(Response<Given>),
    /// The upstream has to be asked, for others too.
    Lead(Lead),
    /// The upstream has to be asked, for this one alone.
    Alone,
}

impl Cache {
    /// An empty one. Bodies of answers are taken from the quota while they come; the tasks read them on for those who
    /// follow.
    pub fn new(memory: MemorySettings, store: Option<Arc<dyn Store>>, quota: Arc<Quota>, tasks: Tasks) -> Arc<Self> {
        let (shelves, flights) = (Shelves::new(memory, store), Arc::default());
        Arc::new(Self { shelves, flights, quota, tasks })
    }

    /// One that keeps nothing, for whoever has no route that is cached.
    pub fn nothing() -> Arc<Self> {
        let memory = MemorySettings { max_entries: 0, max_bytes: ByteSize::new(0) };
        Self::new(memory, None, Quota::new(0), Tasks::default())
    }

    /// Looks for an answer: among those that are kept, and among those that others have asked for just now. For the latter
    /// it waits, for the head only.
    ///
    /// Cancel-safe: dropping the future gives the place up.
    pub async fn look(self: &Arc<Self>, settings: &CacheSettings, asked: &Asked<'_>, stats: &Arc<RouteStats>) -> Look {
        let Payload::Kept(body) = &asked.outbound.body else { return Look::Off };
        if settings.kind == CacheKind::None || asked.outbound.is_upgrade {
            return Look::Off;
        }
        let permission = Permission::of(&asked.outbound.headers);
        if permission != Permission::Full {
            stats.cache.bypassed.count();
        }
        let look = match permission {
            Permission::Nothing => Look::Alone,
            Permission::Refresh | Permission::Full => {
                let scope = Scope::new(&settings.excluded, asked, permission);
                let key = key_of(asked, &scope, body).await;
                let lead = |(duty, seat): (Duty, Seat)| {
                    let conditions = Conditions::new(scope.clone(), asked, settings.max_entry.get());
                    let (cache, stats) = (Arc::clone(self), Arc::clone(stats));
                    let CacheSettings { kind, ttl, .. } = *settings;
                    Lead { seat, errand: Errand { cache, duty, conditions, kind, ttl, stats } }
                };
                match permission {
                    Permission::Refresh => Look::Lead(lead(self.flights.lead(key))),
                    _ => self.find(settings.kind, key, lead, stats).await,
                }
            }
        };
        match &look {
            Look::Hit(_) => stats.cache.hits.count(),
            _ => stats.cache.misses.count(),
        }
        look
    }

    async fn find(
        &self,
        kind: CacheKind,
        key: CacheKey,
        lead: impl Fn((Duty, Seat)) -> Lead,
        stats: &RouteStats,
    ) -> Look {
        if let Some(entry) = self.shelves.at_hand(kind, key) {
            return kept(entry);
        }
        for _ in 0..MOST_LEADERS {
            match self.flights.board(key) {
                Boarding::First(duty, seat) => {
                    // Whoever comes meanwhile waits for what is found here, and one that has just been put away is found.
                    return match self.shelves.get(kind, key).await {
                        Some(entry) => {
                            duty.has_been_kept(&entry);
                            kept(entry)
                        }
                        None => Look::Lead(lead((duty, seat))),
                    };
                }
                Boarding::Joined(seat) => match seat.news().await {
                    News::Head(head) => {
                        stats.cache.shared.count();
                        return Look::Hit(answer(head.status, head.headers.clone(), Given::live(seat)));
                    }
                    News::Nothing(Verdict::Private) => return Look::Alone,
                    News::Nothing(Verdict::Failed) => {}
                },
            }
        }
        Look::Alone
    }
}

fn kept(entry: Arc<Entry>) -> Look {
    Look::Hit(answer(entry.head.status, entry.head.headers.clone(), Given::kept(entry)))
}

fn answer(status: StatusCode, headers: HeaderMap, body: Given) -> Response<Given> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// The key of a request, made without keeping others waiting.
async fn key_of(asked: &Asked<'_>, scope: &Scope<'_>, body: &Snapshot) -> CacheKey {
    let mut maker = KeyMaker::new(asked, scope, body);
    let mut digested = 0;
    for piece in body.pieces().iter().flat_map(|piece| piece.chunks(AT_ONCE)) {
        if digested + piece.len() > AT_ONCE {
            tokio::task::yield_now().await;
            digested = 0;
        }
        maker.feed(piece);
        digested += piece.len();
    }
    maker.finish()
}

impl fmt::Debug for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("Off"),
            Self::Hit(response) => f.debug_tuple("Hit").field(response).finish(),
            Self::Lead(lead) => lead.fmt(f),
            Self::Alone => f.write_str("Alone"),
        }
    }
}
