//! What a process uses, as the kernel says.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::time::Duration;

/// The processor time of each thread, in nanoseconds: user and kernel, its sockets' work in system calls included.
#[derive(Clone, Debug, Default)]
pub struct Cpu(HashMap<String, u64>);

impl Cpu {
    /// That of all threads which a process has now. Its children are not among them.
    pub fn of(process: u32) -> io::Result<Self> {
        let mut threads = HashMap::new();
        for thread in fs::read_dir(format!("/proc/{process}/task"))? {
            let thread = thread?;
            // One that has just ended is no more.
            let Ok(times) = fs::read_to_string(thread.path().join("schedstat")) else { continue };
            let running = times.split(' ').next().and_then(|field| field.parse().ok());
            let running = running.ok_or_else(|| io::Error::other("schedstat is unreadable"))?;
            threads.insert(thread.file_name().to_string_lossy().into_owned(), running);
        }
        Ok(Self(threads))
    }

    /// What was used since then. What a thread used that has ended since is lost.
    pub fn since(&self, then: &Self) -> Duration {
        let used =
            self.0.iter().map(|(thread, now)| now.saturating_sub(then.0.get(thread).copied().unwrap_or_default()));
        Duration::from_nanos(used.sum())
    }
}

/// Resident memory in KiB.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Now.
    pub resident: u64,
    /// The most since the process was started.
    pub peak: u64,
}

impl Memory {
    /// That of a process.
    pub fn of(process: u32) -> io::Result<Self> {
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let figure = line.and_then(|line| line.split_whitespace().next()).and_then(|figure| figure.parse().ok());
            figure.ok_or_else(|| io::Error::other(format!("{name} is unreadable")))
        };
        Ok(Self { resident: field("VmRSS:")?, peak: field("VmHWM:")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_and_memory_of_this_process_are_seen() {
        let process = std::process::id();
        let then = Cpu::of(process).unwrap();
        let before = Memory::of(process).unwrap();
        let long = vec![1_u8; 32 << 20];
        let sum: u64 = std::hint::black_box(&long).iter().map(|byte| u64::from(*byte)).sum();
        assert_eq!(sum, 32 << 20);
        assert!(Cpu::of(process).unwrap().since(&then) > Duration::ZERO);
        assert!(Memory::of(process).unwrap().peak >= before.resident + (30 << 10));
    }
}
