//! What the system knows of this process, under the names that every Prometheus client library gives to it.
//!
//! Where there is no `/proc`, nothing is shown.

use std::fs;

use super::page::{Page, Sample};
use super::table;

/// Ticks in a second, as Linux counts them for programs on every architecture that forebay is built for (`USER_HZ`).
const TICKS: f64 = 100.0;

/// Adds what can be read.
pub(super) fn add_to(page: &mut Page) {
    let none = Vec::new;
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let (stat, status) = (read("/proc/self/stat"), read("/proc/self/status"));
    let times = Times::of(&stat);
    page.add(&table::CPU, times.as_ref().map(|times| Sample::new(none(), times.cpu)));
    let open = fs::read_dir("/proc/self/fd").ok().map(Iterator::count);
    // The folder itself was open while it was read.
    page.add(&table::OPEN_FDS, open.map(|open| Sample::count(none(), open.saturating_sub(1))));
    let limit = rlimit::getrlimit(rlimit::Resource::NOFILE).ok().map(|(soft, _)| soft);
    page.add(&table::MAX_FDS, limit.map(|limit| Sample::count(none(), limit)));
    page.add(&table::VIRTUAL_MEMORY, bytes(&status, "VmSize:").map(|bytes| Sample::count(none(), bytes)));
    page.add(&table::RESIDENT_MEMORY, bytes(&status, "VmRSS:").map(|bytes| Sample::count(none(), bytes)));
    let booted = number_behind(&read("/proc/stat"), "btime");
    let began = booted.zip(times).map(|(booted, times)| booted + times.start);
    page.add(&table::START_TIME, began.map(|began| Sample::new(none(), began)));
}

/// Times of `/proc/<pid>/stat`, in seconds.
#[derive(Debug, PartialEq)]
struct Times {
    cpu: f64,
    /// Since boot.
    start: f64,
}

impl Times {
    fn of(stat: &str) -> Option<Self> {
        // The program's name stands in parentheses and may contain anything.
        let (_, fields) = stat.rsplit_once(')')?;
        // The first of these is the third of all (proc_pid_stat(5)).
        let field = |number: usize| fields.split_ascii_whitespace().nth(number - 3)?.parse::<f64>().ok();
        Some(Self { cpu: (field(14)? + field(15)?) / TICKS, start: field(22)? / TICKS })
    }
}

/// A size of `/proc/<pid>/status`, which is given in units of 1024 bytes.
fn bytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

fn number_behind(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_the_system_are_read() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 12345 1000 200 18446744073709551615";
        assert_eq!(Times::of(stat), Some(Times { cpu: 3.0, start: 123.45 }));
        assert_eq!(Times::of("7 (a) S 1"), None);
        let status = "Name:\tforebay\nVmSize:\t  2048 kB\nVmRSS:\t     3 kB\n";
        assert_eq!((bytes(status, "VmSize:"), bytes(status, "VmRSS:")), (Some(2 << 20), Some(3 << 10)));
        assert_eq!(bytes(status, "VmSwap:"), None);
        assert_eq!(number_behind("cpu 1 2\nbtime 1700000000\n", "btime"), Some(1_700_000_000.0));
    }
}
