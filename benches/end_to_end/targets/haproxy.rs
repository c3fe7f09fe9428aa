//! HAProxy. With a quarter of its files in use it would keep no connection to the upstream, which is the limit's fault here.
//! Without `http-no-delay` it keeps small pieces of a stream back; it repeats only requests that fit its buffer.

use std::fmt::Write;
use std::fs;
use std::io;
use std::process::Command;

use bed::Protocol;

use super::{IMPATIENT, Place, other_prefixes};
use crate::cases::Setting;

pub(super) fn prepare(command: &mut Command, place: &Place) -> io::Result<()> {
    let protocol = |protocol| if protocol == Protocol::Http2 { " proto h2" } else { "" };
    let patience = if place.setting == Setting::Impatient { IMPATIENT.as_millis() } else { 300_000 };
    let mut routes = String::new();
    if place.setting == Setting::Routes {
        let map = place.folder.join("routes.map");
        let lines: Vec<_> = other_prefixes().map(|prefix| format!("{prefix}/ upstream\n")).collect();
        fs::write(&map, lines.concat())?;
        let _ = writeln!(routes, "  use_backend %[path,map_beg({},upstream)]", map.display());
    }
    let configuration = format!(
        "\
global
  nbthread 1
  maxconn 12000
  no strict-limits
  tune.pool-high-fd-ratio 90
  tune.pool-low-fd-ratio 80
defaults
  mode http
  option http-no-delay
  http-reuse always
  timeout connect 10s
  timeout client 300s
  timeout http-keep-alive 300s
  timeout server {patience}ms
  retries 1
  retry-on conn-failure empty-response response-timeout
frontend clients
  bind 127.0.0.1:{}{}
{routes}  default_backend upstream
backend upstream
  server one {}{}
",
        place.port,
        protocol(place.protocols.0),
        place.upstream,
        protocol(place.protocols.1),
    );
    let file = place.folder.join("haproxy.cfg");
    fs::write(&file, configuration)?;
    // -db: in the foreground, one process.
    command.arg("-db").arg("-f").arg(file);
    Ok(())
}
