//! nginx. Its buffering of answers, which would hold streams back, is off. It repeats an attempt only at another server of
//! the group, so the upstream is listed twice.

use std::fmt::Write;
use std::fs;
use std::io;
use std::process::Command;

use bed::Protocol;

use super::{IMPATIENT, Place, other_prefixes};
use crate::cases::Setting;

pub(super) fn prepare(command: &mut Command, place: &Place) -> io::Result<()> {
    let folder = place.folder.display();
    let patience = if place.setting == Setting::Impatient { IMPATIENT.as_millis() } else { 300_000 };
    let http2 = if place.protocols.0 == Protocol::Http2 { " http2" } else { "" };
    let mut routes = String::new();
    if place.setting == Setting::Routes {
        for prefix in other_prefixes() {
            let _ = writeln!(routes, "    location {prefix}/ {{ proxy_pass http://upstream/; }}");
        }
    }
    // Bodies of 3 MB stay in memory, as they do elsewhere.
    let configuration = format!(
        "\
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log crit;
events {{ worker_connections 16384; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  client_max_body_size 32m;
  client_body_buffer_size 4m;
  keepalive_timeout 300s;
  keepalive_requests 1000000000;
  proxy_http_version 1.1;
  proxy_set_header Connection \"\";
  proxy_buffering off;
  proxy_read_timeout {patience}ms;
  proxy_next_upstream error timeout non_idempotent;
  proxy_next_upstream_tries 2;
  upstream upstream {{
    server {upstream} max_fails=0;
    server {upstream} max_fails=0;
    keepalive 1024;
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port}{http2} backlog=4096;
    location / {{ proxy_pass http://upstream; }}
{routes}  }}
}}
",
        upstream = place.upstream,
        port = place.port,
    );
    let file = place.folder.join("nginx.conf");
    fs::write(&file, configuration)?;
    command.arg("-e").arg(place.folder.join("error.log")).arg("-p").arg(place.folder).arg("-c").arg(file);
    Ok(())
}
