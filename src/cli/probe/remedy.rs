//! What went wrong on the way to an upstream, in words, and what to change.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::time::SystemTime;

use rustls::{AlertDescription, CertificateError};

use super::certificate::{Certificate, date};
use super::variables::Variables;
use crate::config::stalled;
use crate::routes::RouteSettings;
use crate::telemetry::Escaped;
use crate::time::Human;
use crate::upstream::{Breach, ConnectStage, Failure, Http2};

/// How far the way to the upstream was seen, and over what it leads.
#[derive(Debug)]
pub(super) struct Way {
    /// Host and port of what is connected to first: the upstream, or the outbound proxy.
    pub(super) hop: String,
    /// TCP stands to there.
    pub(super) peer: Option<SocketAddr>,
    /// The proxy has connected.
    pub(super) is_tunnelled: bool,
    /// What the upstream showed, verified or not.
    pub(super) certificate: Option<Certificate>,
}

/// What happened, and what could be done about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// A sentence without its full stop.
    pub(super) what: String,
    /// One or more sentences.
    pub(super) change: String,
}

impl Trouble {
    pub(super) fn new(what: impl Into<String>, change: impl Into<String>) -> Self {
        Self { what: what.into(), change: change.into() }
    }
}

/// A name that does not resolve here. `variable` is where it comes from.
pub(super) fn unresolved(name: &str, variable: &str, error: Option<&(dyn Error + 'static)>) -> Trouble {
    let why = error.map_or_else(|| "the resolver did not answer in time".to_owned(), root);
    Trouble::new(
        format!("{name} does not resolve: {why}"),
        format!(
            "correct the host in {variable}, or the resolver of this machine or container (/etc/resolv.conf). A name that \
             only a proxy knows needs OUTBOUND_PROXY=socks5h://... or http://..., which resolve it themselves."
        ),
    )
}

/// A failure of the one attempt that was made.
pub(super) fn failed(failure: &Failure, route: &RouteSettings, names: &Variables<'_>, way: &Way) -> Trouble {
    let url = names.of("UPSTREAM_BASE_URL");
    match failure {
        Failure::ConnectTimeout(limit) => connect_timeout(&Human(*limit).to_string(), route, names, way),
        Failure::Connect(ConnectStage::Dns, source) => unresolved(route.base.origin().host(), &url, Some(&**source)),
        Failure::Connect(ConnectStage::Tcp, source) => tcp(&**source, names, way),
        Failure::Connect(ConnectStage::Proxy, source) => Trouble::new(
            format!("the outbound proxy does not help: {}", root(&**source)),
            format!(
                "look at {}: its host and port, its scheme (http, socks5, socks5h), its user and password, and whether it \
                 may connect to {}.",
                names.proxy(),
                route.base.origin()
            ),
        ),
        Failure::Connect(ConnectStage::Tls, source) => tls(&**source, route, names, way),
        Failure::Connect(ConnectStage::OpenFiles, source) => Trouble::new(
            format!("no further file can be opened here: {}", root(&**source)),
            "raise the limit of open files (ulimit -n, LimitNOFILE=).",
        ),
        Failure::HeaderTimeout(deadline) => {
            let policy = &route.policy;
            let (attempts, waits) = (policy.max_attempts, Human(stalled(policy, *deadline)));
            let answer = match route.answers.dialect.codex_final_status {
                Some(status) => format!("504 (Codex: {})", status.as_u16()),
                None => "504".to_owned(),
            };
            let attempts = if attempts == 1 { "its one attempt".to_owned() } else { format!("{attempts} attempts") };
            Trouble::new(
                format!("no response headers within {}, the header deadline", Human(*deadline)),
                format!(
                    "it takes the request and says nothing. A client of forebay would get {answer} after {waits}: that is \
                     what {attempts} ({}) of {} ({}) come to. If it is merely slow, raise the deadline; if it stalls now and \
                     then, more attempts or HEDGE_AFTER_SECONDS help; if always, the upstream itself is to be repaired.",
                    names.of("UPSTREAM_MAX_ATTEMPTS"),
                    Human(*deadline),
                    names.of("RESPONSE_HEADER_TIMEOUT_SECONDS"),
                ),
            )
        }
        Failure::WriteTimeout(limit) => Trouble::new(
            format!("it took nothing of the request for {}", Human(*limit)),
            "it accepts connections and does not read: the upstream is overloaded, or something between drops data.",
        ),
        Failure::Broken(breach, ..) => broken(*breach, failure, route, names),
        Failure::PoolTimeout(_) | Failure::Client(_) => Trouble::new(failure.to_string(), "try again."),
    }
}

fn connect_timeout(limit: &str, route: &RouteSettings, names: &Variables<'_>, way: &Way) -> Trouble {
    let hop = &way.hop;
    if way.peer.is_none() {
        return Trouble::new(
            format!("no TCP connection to {hop} within {limit}"),
            format!(
                "nothing comes back from {hop}: a firewall drops it, the address is wrong, or it is reached through a proxy \
                 alone ({}). CONNECT_TIMEOUT_SECONDS is the limit, for the rare network that needs longer.",
                names.proxy()
            ),
        );
    }
    if route.transport.proxy.is_some() && !way.is_tunnelled {
        return Trouble::new(
            format!("the outbound proxy did not connect within {limit}"),
            format!(
                "{hop} accepts connections and does not go on: is it a proxy, of the kind that {} names, and can it reach {}?",
                names.proxy(),
                route.base.origin()
            ),
        );
    }
    Trouble::new(
        format!("TCP stands, and TLS did not come to its end within {limit}"),
        format!(
            "look at the port in {}: does it speak TLS? If it does, something between lets connections pass, but not TLS.",
            names.of("UPSTREAM_BASE_URL")
        ),
    )
}

fn tcp(source: &(dyn Error + 'static), names: &Variables<'_>, way: &Way) -> Trouble {
    let (hop, url) = (&way.hop, names.of("UPSTREAM_BASE_URL"));
    let kind = causes(source).find_map(|error| error.downcast_ref::<io::Error>()).map(io::Error::kind);
    let change = match kind {
        Some(io::ErrorKind::ConnectionRefused) => format!(
            "nothing listens at {hop}: start it, or correct {url}. Inside a container, localhost is the container itself: an \
             upstream on its host is host.docker.internal for Docker."
        ),
        Some(io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable) => {
            format!("no way leads from here to {hop}: look at the network, at {url}, or set {}.", names.proxy())
        }
        _ => format!("look at the network between here and {hop}, and at {url}."),
    };
    Trouble::new(format!("no TCP connection to {hop}: {}", root(source)), change)
}

fn tls(source: &(dyn Error + 'static), route: &RouteSettings, names: &Variables<'_>, way: &Way) -> Trouble {
    let url = names.of("UPSTREAM_BASE_URL");
    let why = root(source);
    match causes(source).find_map(|error| error.downcast_ref()) {
        Some(rustls::Error::InvalidCertificate(error)) => certificate(error, route, names, way),
        Some(rustls::Error::InvalidMessage(_)) => Trouble::new(
            format!("what {} speaks is no TLS: {why}", way.hop),
            format!("write http:// instead of https:// in {url}, or correct its port."),
        ),
        Some(rustls::Error::AlertReceived(AlertDescription::CertificateRequired)) => Trouble::new(
            "it wants a certificate of its client",
            "forebay has none to show: put something that has one between them.",
        ),
        Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => Trouble::new(
            "it speaks no protocol that was offered (ALPN)",
            format!("set {} to auto.", names.of("UPSTREAM_HTTP2")),
        ),
        _ => Trouble::new(
            format!("TLS failed: {why}"),
            format!(
                "look at the host and port in {url}. A firewall that does not like the name ends TLS like this, and so does a \
                 server that knows only TLS 1.1 or older."
            ),
        ),
    }
}

fn certificate(error: &CertificateError, route: &RouteSettings, names: &Variables<'_>, way: &Way) -> Trouble {
    let shown = way.certificate.as_ref();
    let issuer = match shown {
        Some(certificate) if certificate.is_self_issued => "by itself".to_owned(),
        Some(certificate) => format!("by {}", Escaped(&certificate.issuer)),
        None => "by somebody".to_owned(),
    };
    let clock = || format!("This machine's clock says {}: is that right?", date(SystemTime::now()));
    match error {
        CertificateError::UnknownIssuer => Trouble::new(
            format!("its certificate is issued {issuer}, which is not trusted here"),
            format!(
                "if that is an authority of your own, or of a proxy that looks into TLS, put its root as PEM into a file and \
                 name it in {}. If it is a public one, this system's roots are old or missing: install ca-certificates, or \
                 set SSL_CERT_FILE. If it is neither, somebody else answers in place of the upstream.",
                names.of("UPSTREAM_CA_FILE")
            ),
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Trouble::new(
            shown.map_or("its certificate has expired".to_owned(), |c| {
                format!("its certificate expired on {}", date(c.not_after))
            }),
            format!("the upstream has to renew it. {}", clock()),
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Trouble::new(
            shown.map_or("its certificate is not valid yet".to_owned(), |c| {
                format!("its certificate is valid from {} on", date(c.not_before))
            }),
            clock(),
        ),
        CertificateError::NotValidForName => mismatch(route, names, &[]),
        CertificateError::NotValidForNameContext { presented, .. } => mismatch(route, names, presented),
        other => Trouble::new(
            format!("its certificate is refused: {other}"),
            format!(
                "the upstream needs a certificate of its own, issued by an authority that is trusted here; {} is for roots.",
                names.of("UPSTREAM_CA_FILE")
            ),
        ),
    }
}

fn mismatch(route: &RouteSettings, names: &Variables<'_>, presented: &[String]) -> Trouble {
    let host = route.base.origin().host();
    // As rustls has them: DnsName("api.example"), IpAddress(192.0.2.1).
    let plain = |name: &str| name.split(['(', ')']).nth(1).unwrap_or(name).trim_matches('"').to_owned();
    let of: Vec<String> = presented.iter().map(|name| plain(name)).collect();
    let of = if of.is_empty() { "other names".to_owned() } else { Escaped(&of.join(", ")).to_string() };
    Trouble::new(
        format!("its certificate is for {of} and not for {host}"),
        format!(
            "write a name that the certificate has into {}, or give the upstream one for {host}.",
            names.of("UPSTREAM_BASE_URL")
        ),
    )
}

fn broken(breach: Breach, failure: &Failure, route: &RouteSettings, names: &Variables<'_>) -> Trouble {
    let (url, http2) = (names.of("UPSTREAM_BASE_URL"), names.of("UPSTREAM_HTTP2"));
    let protocol = match (route.transport.http2, route.base.origin().is_https()) {
        (Http2::PriorKnowledge, _) => format!("{http2} is prior-knowledge: does it speak HTTP/2? If not, set auto."),
        (_, false) => format!(
            "does it speak TLS there? Then {url} must begin with https://. Does it speak HTTP/2 alone? Then set \
             {http2}=prior-knowledge."
        ),
        (_, true) => format!("look at the host and port in {url}, and at the upstream's own log."),
    };
    let what = match breach {
        Breach::Closed => "it closed the connection without an answer",
        Breach::Reset => "it reset the connection without an answer",
        Breach::Malformed => "what it answered is no HTTP response",
        Breach::Unprocessed => "it refused the stream",
    };
    Trouble::new(format!("{what} ({failure})"), protocol)
}

/// An error and what it comes from, that which an `io::Error` wraps and hides included.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    })
}

/// The cause of all causes.
fn root(error: &(dyn Error + 'static)) -> String {
    causes(error).last().map_or_else(String::new, ToString::to_string)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn refused(error: &CertificateError) -> Trouble {
        let route = RouteSettings::for_tests(1, 1);
        let shown = Certificate {
            subject: "api.example".to_owned(),
            issuer: "An Authority\n".to_owned(),
            is_self_issued: false,
            not_before: SystemTime::UNIX_EPOCH,
            not_after: SystemTime::UNIX_EPOCH + Duration::from_secs(86_400),
        };
        let way = Way { hop: "api.example:443".to_owned(), peer: None, is_tunnelled: false, certificate: Some(shown) };
        certificate(error, &route, &Variables::new(&[], &route), &way)
    }

    #[test]
    fn a_certificate_that_is_refused_is_told_with_what_it_shows() {
        for (error, what, change) in [
            (CertificateError::Expired, "its certificate expired on 02 Jan 1970 00:00:00 GMT", "clock says"),
            (CertificateError::NotValidYet, "its certificate is valid from 01 Jan 1970 00:00:00 GMT on", "clock says"),
            (CertificateError::UnknownIssuer, "issued by An Authority\\n, which is not trusted", "UPSTREAM_CA_FILE"),
            (CertificateError::NotValidForName, "for other names and not for upstream.test", "UPSTREAM_BASE_URL"),
            (CertificateError::BadSignature, "its certificate is refused: ", "of its own"),
        ] {
            let trouble = refused(&error);
            assert!(trouble.what.contains(what) && trouble.change.contains(change), "{trouble:?}");
        }
    }

    #[test]
    fn a_connect_that_takes_too_long_is_told_by_how_far_it_came() {
        let mut route = RouteSettings::for_tests(1, 1);
        let mut way = Way { hop: "h:1".to_owned(), peer: None, is_tunnelled: false, certificate: None };
        let what = |route: &RouteSettings, way: &Way| {
            let failure = Failure::ConnectTimeout(Duration::from_secs(3));
            failed(&failure, route, &Variables::new(&[], route), way).what
        };
        assert_eq!(what(&route, &way), "no TCP connection to h:1 within 3s");
        way.peer = Some(([192, 0, 2, 1], 1).into());
        assert_eq!(what(&route, &way), "TCP stands, and TLS did not come to its end within 3s");
        route.transport.proxy = crate::upstream::OutboundProxy::parse("http://u:p@h:1").ok();
        assert_eq!(what(&route, &way), "the outbound proxy did not connect within 3s");
    }
}
