//! Envoy. Its limits of connections and requests, which are low, are out of the way. The timeout of a single try runs until
//! the answer is complete, and is set only where a short one is asked for.

use std::fmt::Write;
use std::fs;
use std::io;
use std::process::Command;

use bed::Protocol;

use super::{IMPATIENT, Place, other_prefixes};
use crate::cases::Setting;

const HTTP2: &str = "
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: { http2_protocol_options: {} }";

pub(super) fn prepare(command: &mut Command, place: &Place) -> io::Result<()> {
    let per_try = if place.setting == Setting::Impatient {
        format!(", per_try_timeout: {}s", IMPATIENT.as_secs_f64())
    } else {
        String::new()
    };
    let action = format!(
        "route: {{ cluster: upstream, timeout: 0s, retry_policy: {{ retry_on: \"reset,connect-failure\", num_retries: 1, \
         retry_back_off: {{ base_interval: 0.001s }}{per_try} }} }}"
    );
    let mut routes = String::new();
    if place.setting == Setting::Routes {
        for prefix in other_prefixes() {
            let _ = writeln!(routes, "              - {{ match: {{ prefix: \"{prefix}/\" }}, {action} }}");
        }
    }
    let protocol = if place.protocols.1 == Protocol::Http2 { HTTP2 } else { "" };
    let (host, port) = (place.upstream.ip(), place.upstream.port());
    let configuration = format!(
        "\
static_resources:
  listeners:
  - address: {{ socket_address: {{ address: 127.0.0.1, port_value: {} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: clients
          route_config:
            virtual_hosts:
            - name: all
              domains: [\"*\"]
              routes:
{routes}              - {{ match: {{ prefix: \"/\" }}, {action} }}
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: upstream
    type: STATIC
    circuit_breakers:
      thresholds:
      - {{ max_connections: 20000, max_pending_requests: 20000, max_requests: 20000, max_retries: 20000 }}
    load_assignment:
      cluster_name: upstream
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: {host}, port_value: {port} }} }} }}{protocol}
",
        place.port,
    );
    let file = place.folder.join("envoy.yaml");
    fs::write(&file, configuration)?;
    command.args(["--concurrency", "1", "--use-dynamic-base-id", "--log-level", "error", "-c"]).arg(file);
    Ok(())
}
