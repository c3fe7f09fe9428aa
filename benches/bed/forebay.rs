//! forebay as it is measured: the release binary, on one worker.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Protocol;

/// Builds the release binary and says where it is.
///
/// A binary that is there already may be old, or have been left by `cargo test --release`, which gives tokio its features
/// for tests; when it is the right one this takes no time.
pub fn build() -> io::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let arguments = ["build", "--release", "--locked", "--quiet", "--package", "forebay", "--manifest-path"];
    let mut build = Command::new(cargo);
    build.args(arguments).arg(manifest);
    // What cargo told us about ourselves would make build scripts run again.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
            build.env_remove(name);
        }
    }
    let status = build.status()?;
    if !status.success() {
        return Err(io::Error::other("forebay could not be built"));
    }
    // We are target/<profile>/<program>.
    let ours = std::env::current_exe()?;
    let target = ours.ancestors().nth(2).unwrap_or(&ours);
    Ok(target.join("release/forebay"))
}

/// The environment of forebay between a port and an upstream; nothing else may reach it.
pub fn environment(command: &mut Command, port: u16, upstream: std::net::SocketAddr, protocol: Protocol) {
    command.env_clear();
    command.env("UPSTREAM_BASE_URL", format!("http://{upstream}"));
    command.env("LISTEN_PORT", port.to_string());
    command.env("ADMIN_PORT", "off");
    // What is measured is the proxy; and several at once would want one folder.
    command.env("STORE", "off");
    command.env("LOG_LEVEL", "WARN");
    // The store works on a thread of its own, now and then, and none of the cases makes a job.
    command.env("STORE", "off");
    if protocol == Protocol::Http2 {
        command.env("UPSTREAM_HTTP2", "prior-knowledge");
    }
}
