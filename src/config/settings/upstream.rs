//! Where requests go, and with which credentials (contract 3.2).

use std::path::Path;
use std::sync::Arc;

use http::HeaderName;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::MAX_CONNECTIONS;
use crate::config::ReadFile;
use crate::config::checks;
use crate::config::declare as var;
use crate::config::parse::{self, Parsed};
use crate::config::resolve::{Refused, Resolver, Taken};
use crate::headers::{ApiKey, WebPageRule};
use crate::secret::Secret;
use crate::upstream::{BaseUrl, Http2, OutboundProxy, TransportSettings};

/// `UPSTREAM_API_KEY_HEADER`, and the key with it, if there is one.
pub(super) fn key(r: &mut Resolver) -> (Taken<HeaderName>, Taken<Option<ApiKey>>) {
    let header = r.take(var::UPSTREAM_API_KEY_HEADER, parse::header_name);
    let prefix = r.take(var::UPSTREAM_API_KEY_PREFIX, |text| match parse::header_value(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err("must be of visible ASCII and blanks".into()),
    });
    let key = r.optional(var::UPSTREAM_API_KEY, parse::credential);
    let key = (|| in_header(r, header.clone()?, &prefix?, key?))();
    (header, key)
}

fn in_header(r: &mut Resolver, header: HeaderName, prefix: &str, key: Option<String>) -> Taken<Option<ApiKey>> {
    checks::key_is_plausible(r, &header, prefix, key.as_deref());
    let Some(key) = key else { return Ok(None) };
    if r.is_fallback() {
        r.warn_of_fallback(var::UPSTREAM_API_KEY);
    }
    let Some(mut value) = parse::header_value(&format!("{prefix}{key}")) else {
        // Both parts could be sent, so the whole can.
        r.problem(var::UPSTREAM_API_KEY, "cannot be sent in a header");
        return Err(Refused);
    };
    value.set_sensitive(true);
    Ok(Some(ApiKey { header, value: Secret::new(value) }))
}

pub(super) fn web(r: &mut Resolver) -> Taken<WebPageRule> {
    let hosts = r.optional(var::ALLOWED_HOSTS, parse::hosts);
    let origins = r.optional(var::ALLOWED_ORIGINS, parse::origins);
    Ok(WebPageRule { hosts: hosts?.unwrap_or_default(), origins: origins?.unwrap_or_default() })
}

pub(super) fn transport(r: &mut Resolver, base: &Taken<BaseUrl>, read: ReadFile) -> Taken<TransportSettings> {
    let max_connections = r.count(var::UPSTREAM_MAX_CONNECTIONS, 1..=MAX_CONNECTIONS);
    let idle = r.duration(var::UPSTREAM_IDLE_SECONDS);
    let extra_roots = r.optional(var::UPSTREAM_CA_FILE, |path| roots(path, read));
    let versions = [("auto", Http2::Auto), ("off", Http2::Off), ("prior-knowledge", Http2::PriorKnowledge)];
    let http2 = r.take(var::UPSTREAM_HTTP2, |text| parse::choice(text, &versions));
    let proxy = proxy(r, base);
    Ok(TransportSettings {
        http2: http2?,
        max_connections: max_connections?,
        idle: idle?,
        extra_roots: Arc::new(extra_roots?.unwrap_or_default()),
        proxy: proxy?,
    })
}

/// What `OUTBOUND_PROXY` can be.
enum Proxy {
    /// What the environment's variables say.
    Env,
    Off,
    At(OutboundProxy),
}

fn proxy(r: &mut Resolver, base: &Taken<BaseUrl>) -> Taken<Option<OutboundProxy>> {
    let proxy = r.take(var::OUTBOUND_PROXY, |text| match text.trim() {
        text if text.eq_ignore_ascii_case("env") => Ok(Proxy::Env),
        text if text.eq_ignore_ascii_case("off") => Ok(Proxy::Off),
        text => OutboundProxy::parse(text).map(Proxy::At).map_err(|reason| format!("{reason}; or be env or off")),
    });
    match (proxy?, base) {
        (Proxy::At(proxy), _) => {
            if r.is_fallback() {
                r.warn_of_fallback(var::OUTBOUND_PROXY);
            }
            Ok(Some(proxy))
        }
        (Proxy::Env, Ok(base)) => r.proxies.proxy_for(base.origin()).map_err(|problem| {
            r.report(problem);
            Refused
        }),
        (Proxy::Off, _) | (Proxy::Env, Err(Refused)) => Ok(None),
    }
}

fn roots(path: &str, read: ReadFile) -> Parsed<Vec<CertificateDer<'static>>> {
    let bytes = read(Path::new(path)).map_err(|error| format!("cannot be read: {error}"))?;
    let roots: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|_| "is not a PEM file that can be read to its end")?;
    if roots.is_empty() {
        return Err("contains no certificate in PEM form".into());
    }
    for (i, root) in roots.iter().enumerate() {
        let usable = RootCertStore::empty().add(root.clone());
        usable.map_err(|_| format!("contains a certificate that cannot be a root (number {})", i + 1))?;
    }
    Ok(roots)
}
