//! The settings of a world, and how bad its actors are.

use std::time::Duration;

use crate::edge::EdgeSettings;
use crate::headers::{Forwarded, TrustedProxies};
use crate::race::{Backoff, BudgetSettings, Policy, Retry};
use crate::routes::RouteSettings;
use crate::size::ByteSize;
use crate::upstream::{Timeouts, TransportSettings};

use super::dice::Dice;
use super::stream::Wire;

/// Everything that holds for a whole world.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) route: RouteSettings,
    pub(super) edge: EdgeSettings,
    /// `MAX_BUFFERED_BYTES`.
    pub(super) quota: usize,
    /// When the process begins to drain, and how long after that it is cut.
    pub(super) drain: Option<(Duration, Option<Duration>)>,
    pub(super) clients: usize,
    /// How many of the upstream's connects and answers are bad.
    pub(super) upstream_faults: f64,
    /// How many of the clients' requests are.
    pub(super) client_faults: f64,
    latencies: &'static [u64],
}

impl Setting {
    pub(super) fn draw(dice: &mut Dice) -> Self {
        let drain = dice.chance(0.3).then(|| {
            let at = Duration::from_millis(dice.one_of(&[0, 5, 1000, 30_000, 200_000]));
            (at, dice.chance(0.6).then(|| Duration::from_millis(dice.one_of(&[0, 1, 1000, 20_000]))))
        });
        Self {
            route: route(dice),
            edge: edge(dice),
            quota: dice.one_of(&[1 << 30, 1 << 30, 1 << 30, 1 << 30, 1 << 30, 30_000, 500]),
            drain,
            clients: dice.one_of(&[1, 2, 3, 5, 8, 20]),
            upstream_faults: dice.one_of(&[0.0, 0.1, 0.4, 0.8]),
            client_faults: dice.one_of(&[0.0, 0.0, 0.1, 0.3]),
            latencies: dice.one_of(&[&[0][..], &[0, 1], &[0, 1, 40]]),
        }
    }

    /// What one of its connections is like.
    pub(super) fn wire(&self, dice: &mut Dice) -> Wire {
        Wire {
            room: dice.one_of(&[1 << 16, 1 << 16, 1 << 16, 1 << 13, 1 << 13, 1000, 200]),
            latency: Duration::from_millis(dice.one_of(self.latencies)),
            slice: dice.one_of(&[1 << 16, 1 << 16, 1000, 7]),
            resets_lose: dice.chance(0.7),
        }
    }

    /// `STREAM_IDLE_TIMEOUT_SECONDS`.
    pub(super) fn stream_idle(&self) -> Option<Duration> {
        self.route.stream_idle
    }

    /// No two ends of one connection can disagree about the time by more.
    pub(super) fn slack(&self) -> Duration {
        Duration::from_millis(3 * self.latencies.iter().max().unwrap_or(&0) + 5)
    }
}

fn seconds(dice: &mut Dice, among: &[u64]) -> Duration {
    Duration::from_secs(dice.one_of(among))
}

fn route(dice: &mut Dice) -> RouteSettings {
    let max_attempts = dice.one_of(&[1, 2, 2, 3, 4]);
    let max_connections = dice.one_of(&[1, 2, 3, 8, 100, 100]);
    let plain = RouteSettings::for_tests(max_attempts, max_connections);
    let header_deadline = seconds(dice, &[2, 30]);
    let first = Duration::from_millis(dice.one_of(&[0, 0, 250, 3000]));
    let policy = Policy {
        header_deadline,
        whole_answer_deadline: dice.one_of(&[header_deadline, Duration::from_secs(290)]),
        backoff: Backoff { first, max: Duration::from_secs(5) },
        retry: dice.one_of(&[Retry::All, Retry::All, Retry::Safe]),
        timeouts: Timeouts {
            pool: seconds(dice, &[1, 10]),
            connect: seconds(dice, &[1, 10]),
            write: seconds(dice, &[3, 30]),
        },
        ..plain.policy
    };
    let mut answers = plain.answers;
    answers.timeline = dice.chance(0.5);
    RouteSettings {
        transport: TransportSettings { idle: seconds(dice, &[5, 60]), ..plain.transport },
        policy,
        budget: BudgetSettings { percent: dice.one_of(&[100, 100, 20, 0]), min: dice.one_of(&[10, 10, 1, 0]) },
        stream_idle: dice.one_of(&[None, Some(Duration::from_secs(5)), Some(Duration::from_secs(240))]),
        max_request_body: ByteSize::new(dice.one_of(&[1 << 22, 1 << 22, 1 << 22, 2000])),
        answers,
        ..plain
    }
}

fn edge(dice: &mut Dice) -> EdgeSettings {
    EdgeSettings {
        header_timeout: seconds(dice, &[5, 10]),
        body_timeout: seconds(dice, &[5, 30]),
        write_timeout: seconds(dice, &[10, 60]),
        idle: seconds(dice, &[5, 75]),
        max_connections: 1000,
        max_header_bytes: ByteSize::new(64 << 10),
        health_path: None,
        tls: None,
        trusted_proxies: TrustedProxies::default(),
        forwarded: Forwarded::Keep,
        forwarded_jobs: Forwarded::Add,
    }
}
