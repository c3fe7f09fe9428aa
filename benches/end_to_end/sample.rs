//! One measurement: a proxy is started, loaded for a while, and ended.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use bed::client::Client;
use bed::cores::Cores;
use bed::exchange::Exchange;
use bed::process::{Process, free_port};
use bed::usage::{Cpu, Memory};
use tokio::time::{sleep, timeout};

use crate::cases::{Case, Load};
use crate::load::Clients;
use crate::targets::{Place, Target};

const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(10);

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// In the unit of the load.
    pub(crate) figure: f64,
    /// Requests or events each second.
    pub(crate) rate: f64,
    /// The median time to an answer; zero for streams.
    pub(crate) median: Duration,
}

/// How long to warm up, and to measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spans {
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

/// Measures one case at one proxy.
///
/// # Errors
///
/// The proxy cannot be started, or a single answer is not what it has to be.
pub(crate) async fn take(
    case: &Case,
    target: &Target,
    upstream: SocketAddr,
    cores: Cores,
    spans: Spans,
    folder: &Path,
) -> io::Result<Sample> {
    let port = free_port()?;
    let place = Place { port, upstream, protocols: case.protocols, setting: case.setting, folder };
    let process = Process::start(target.command(&place)?, cores, port, folder, PATIENCE).await?;
    // It is killed when it goes out of scope: how it ends is nobody's question here.
    measure(case, &process, spans).await.map_err(|error| io::Error::other(format!("{error}\n{}", process.said())))
}

async fn measure(case: &Case, process: &Process, spans: Spans) -> io::Result<Sample> {
    match case.load {
        Load::Silent => silent(case, process).await,
        Load::Peak(_) => peak(case, process).await,
        Load::Requests(_) | Load::Events(..) | Load::Stalled => busy(case, process, spans).await,
    }
}

/// Processor time over what was answered while it was used.
async fn busy(case: &Case, process: &Process, spans: Spans) -> io::Result<Sample> {
    let clients = Clients::start(case, process.address).await?;
    sleep(spans.warm_up).await;
    let (then, began) = (Cpu::of(process.id())?, Instant::now());
    clients.tally.begin();
    sleep(spans.measured).await;
    let (used, lasted) = (Cpu::of(process.id())?.since(&then), began.elapsed());
    well(&clients)?;
    let units = number(clients.tally.units.get());
    let mut latencies = clients.tally.latencies.take();
    latencies.sort_unstable();
    let median = latencies.get(latencies.len() / 2).copied().unwrap_or_default();
    let figure = match case.load {
        Load::Stalled => median.as_secs_f64() * 1e3,
        _ => used.as_secs_f64() * 1e6 / units,
    };
    Ok(Sample { figure, rate: units / lasted.as_secs_f64(), median })
}

/// Memory before and after the streams, over their number.
async fn silent(case: &Case, process: &Process) -> io::Result<Sample> {
    one_at_a_time(case, process).await?;
    let before = Memory::of(process.id())?.resident;
    let clients = Clients::start(case, process.address).await?;
    let streams = (case.connections * case.streams) as u64;
    let began = Instant::now();
    while clients.tally.units.get() < streams {
        well(&clients)?;
        if began.elapsed() > PATIENCE {
            return Err(io::Error::other(format!("only {} streams have begun", clients.tally.units.get())));
        }
        sleep(POLL).await;
    }
    let after = Memory::of(process.id())?.resident;
    well(&clients)?;
    let figure = number(after.saturating_sub(before)) / number(streams);
    Ok(Sample { figure, rate: number(streams) / began.elapsed().as_secs_f64(), median: Duration::ZERO })
}

/// The peak of memory before and after an answer.
async fn peak(case: &Case, process: &Process) -> io::Result<Sample> {
    one_at_a_time(case, process).await?;
    let before = Memory::of(process.id())?.peak;
    let began = Instant::now();
    let clients = Clients::start(case, process.address).await?;
    while clients.tally.units.get() == 0 {
        sleep(POLL).await;
    }
    let after = Memory::of(process.id())?.peak;
    well(&clients)?;
    let rate = number(clients.tally.units.get()) / began.elapsed().as_secs_f64();
    Ok(Sample { figure: number(after - before), rate, median: Duration::ZERO })
}

/// Some plain requests, all answered: what is made at the first one is not the cost of a stream.
async fn one_at_a_time(case: &Case, process: &Process) -> io::Result<()> {
    let mut clients = Client::connect(process.address, case.protocols.0, 1).await?;
    for client in &mut clients {
        for _ in 0..100 {
            timeout(PATIENCE, client.ask(&Exchange::chat(), |_| ())).await??;
        }
    }
    Ok(())
}

/// No answer is allowed to be wrong.
fn well(clients: &Clients) -> io::Result<()> {
    match clients.tally.errors.get() {
        0 => Ok(()),
        errors => Err(io::Error::other(format!("{errors} errors, the last: {}", clients.tally.last_error.borrow()))),
    }
}

#[allow(clippy::cast_precision_loss, reason = "what is counted here is far below 2^52")]
fn number(counted: u64) -> f64 {
    counted as f64
}
