//! The doorknob.

use std::process::ExitCode;

/// Packs the buffers of idle streams more tightly than the system's allocator, and gives back what a burst took.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    forebay::cli::run()
}
