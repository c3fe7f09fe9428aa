//! `forebay` without arguments: the proxy.

use std::ffi::OsString;
use std::process::ExitCode;

use tokio::runtime::{Builder, Runtime};

use crate::app::{App, StartError};
use crate::cli::check::{EX_CONFIG, refuse};
use crate::config::Settings;
use crate::telemetry;

/// Runs the proxy until it is told to stop. 78 for a problem in the environment or a store that cannot be opened, 1 when it
/// cannot start otherwise, 0
/// after a signal.
pub fn run(vars: impl IntoIterator<Item = (OsString, OsString)>) -> ExitCode {
    let settings = match Settings::from_env(vars) {
        Ok(settings) => settings,
        Err(problems) => return refuse(&problems),
    };
    let logs = match telemetry::start(&settings.log) {
        Ok(logs) => logs,
        Err(error) => {
            eprintln!("forebay: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = match runtime() {
        Ok(runtime) => {
            let ended = runtime.block_on(async { App::start(settings).await?.run_until_signalled().await });
            // Connections to upstreams end with the process; nobody waits for a lookup that blocks its thread.
            runtime.shutdown_background();
            ended.map_err(|error| (error.to_string(), code(&error)))
        }
        Err(error) => Err((error.to_string(), ExitCode::FAILURE)),
    };
    drop(logs);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err((error, code)) => {
            eprintln!("forebay: {error}");
            code
        }
    }
}

fn code(error: &StartError) -> ExitCode {
    if error.is_of_the_environment() { EX_CONFIG.into() } else { ExitCode::FAILURE }
}

/// As many threads as there are processors for this process (cgroup and affinity counted); on one, no second thread
/// gets in the way.
pub(super) fn runtime() -> std::io::Result<Runtime> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut builder = if threads == 1 { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    builder.enable_all().build()
}
