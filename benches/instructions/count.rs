//! One case, twice under callgrind.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use bed::client::Client;
use bed::cores::Cores;
use bed::exchange::{EVENT, Exchange};
use bed::process::{Process, Scratch, free_port};
use bed::upstream::Upstream;
use tokio::time::timeout;

use crate::cases::{Case, Load};

/// valgrind needs seconds to begin, and more on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The instructions of one request of a case, or of one event.
pub(crate) fn per_request(
    case: &Case,
    forebay: &Path,
    cores: Cores,
    scratch: &Scratch,
    keep: Option<&Path>,
) -> io::Result<u64> {
    let of = |count: usize| {
        let folder = scratch.folder(&format!("{}-{count}", case.name))?;
        let total = bed::run(one_run(case, count, forebay, cores, &folder))?;
        if let Some(keep) = keep {
            fs::create_dir_all(keep)?;
            fs::copy(folder.join("callgrind.out"), keep.join(format!("callgrind.{}.{count}", case.name)))?;
        }
        Ok::<_, io::Error>(total)
    };
    let (short, long) = (of(case.count)?, of(2 * case.count)?);
    Ok(long.saturating_sub(short) / case.count as u64)
}

async fn one_run(case: &Case, count: usize, forebay: &Path, cores: Cores, folder: &Path) -> io::Result<u64> {
    let upstream = Upstream::start(case.upstream).await?;
    let port = free_port()?;
    let out = folder.join("callgrind.out");
    let mut command = Command::new("valgrind");
    bed::forebay::environment(&mut command, port, upstream.address, case.upstream);
    command.args(["--tool=callgrind", "--quiet"]);
    command.arg(format!("--callgrind-out-file={}", out.display())).arg(forebay);
    // valgrind finds its own parts by itself, but its launcher looks for the program to run, and perhaps itself, here.
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    if case.logged {
        command.env("LOG_LEVEL", "INFO");
    }
    let process = Process::start(command, cores, port, folder, PATIENCE).await?;
    let load = timeout(PATIENCE, load(case, count, &process, &upstream)).await;
    load.map_err(io::Error::from).flatten().map_err(|error| {
        let said = process.said();
        io::Error::other(format!("{error}\n{said}"))
    })?;
    let status = process.stop(PATIENCE).await?;
    if !status.success() {
        return Err(io::Error::other(format!("forebay ended with {status}")));
    }
    let counted = fs::read_to_string(out)?;
    let total = counted.lines().find_map(|line| line.strip_prefix("totals:"));
    total.and_then(|total| total.trim().parse().ok()).ok_or_else(|| io::Error::other("callgrind wrote no total"))
}

/// The client closes its connection at the end, so that both runs end alike.
async fn load(case: &Case, count: usize, process: &Process, upstream: &Upstream) -> io::Result<()> {
    let mut clients = Client::connect(process.address, case.client, 1).await?;
    for client in &mut clients {
        match case.load {
            Load::Exchanges(exchange) => {
                let exchange = exchange();
                for _ in 0..count {
                    client.ask(&exchange, |_| ()).await?;
                }
            }
            Load::Events => {
                let pace = Rc::clone(&upstream.pace);
                pace.add_permits(1);
                let mut read = 0;
                let next = |piece: &[u8]| {
                    let before = read / EVENT.len();
                    read += piece.len();
                    pace.add_permits(read / EVENT.len() - before);
                };
                client.ask(&Exchange::stream(count, None), next).await?;
            }
        }
    }
    Ok(())
}
