//! Cores: one for the proxy, another one for the bed.

use std::io;
use std::process::{Child, Command};
use std::thread;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Where everything runs. With a single core both are the same, and wall-clock figures mean little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cores {
    /// The proxy's.
    pub proxy: usize,
    /// Upstream and clients.
    pub bed: usize,
}

impl Cores {
    /// The first two cores that this process may use; the calling thread moves to its own.
    pub fn take() -> io::Result<Self> {
        let ours = sched_getaffinity(None)?;
        let mut ours = (0..CpuSet::MAX_CPU).filter(|&core| ours.is_set(core));
        let proxy = ours.next().unwrap_or_default();
        let bed = ours.next().unwrap_or(proxy);
        stay_on(bed)?;
        Ok(Self { proxy, bed })
    }

    /// Starts a program on the proxy's core: it and all that it starts stay there, and count one core.
    pub fn spawn(self, mut command: Command) -> io::Result<Child> {
        // A child inherits the affinity of the thread that starts it.
        let starter = thread::spawn(move || {
            stay_on(self.proxy)?;
            command.spawn()
        });
        starter.join().unwrap_or_else(|_| Err(io::Error::other("the thread that starts the proxy panicked")))
    }
}

fn stay_on(core: usize) -> io::Result<()> {
    let mut only = CpuSet::new();
    only.set(core);
    Ok(sched_setaffinity(None, &only)?)
}
