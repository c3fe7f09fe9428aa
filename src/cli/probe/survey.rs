//! One upstream, stage by stage: each line is printed when it is known, because the next stage may take its time.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::Version;
use rustls::ProtocolVersion;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep, timeout};

use super::addresses::knock;
use super::ask::{Answer, ask, question};
use super::certificate::Certificate;
use super::remedy::{Trouble, Way, failed, unresolved};
use super::variables::Variables;
use super::verdict::{of_status, of_time, remark, shown};
use crate::cli::paragraph::paragraph;
use crate::config::Settings;
use crate::routes::RouteSettings;
use crate::shutdown::Tasks;
use crate::upstream::{Failure, Outbound, Pool, ProxyKind, Resolver, Stage, Stages};

/// The first request tells what a new connection costs, the others what a kept one does.
const REQUESTS: usize = 3;
/// Between two of them: the connection is back in the pool by then, and a server that closes it has done so.
const PAUSE: Duration = Duration::from_millis(100);

/// What all upstreams have in common, and what came of them.
pub(super) struct Survey<'a, W> {
    settings: &'a Settings,
    resolver: Resolver,
    tasks: Tasks,
    out: &'a mut W,
    /// What to change, with whose it is.
    pub(super) changes: Vec<String>,
    /// Upstreams that did not answer every request.
    pub(super) silent: usize,
}

/// The connects of one upstream, while they are watched.
struct Watch {
    way: Way,
    stages: UnboundedReceiver<(Instant, Stage)>,
    connects: usize,
    /// When the latest stage was reached, or the request began on a connection that stands.
    latest: Instant,
}

impl<'a, W: Write> Survey<'a, W> {
    pub(super) fn new(settings: &'a Settings, resolver: Resolver, out: &'a mut W) -> Self {
        Self { settings, resolver, tasks: Tasks::default(), out, changes: Vec::new(), silent: 0 }
    }

    /// Looks at the upstream of a route, and of the others that share its connections.
    pub(super) async fn upstream(&mut self, lead: &RouteSettings, others: &[&RouteSettings]) -> io::Result<()> {
        let titles: Vec<String> = [lead].iter().chain(others).map(|route| Variables::title(route)).collect();
        writeln!(self.out, "\n{} ({})", lead.base.origin(), titles.join("; "))?;
        let Some((hop, addresses)) = self.names(lead).await? else { return Ok(()) };
        let (stages, watched) = Stages::watch();
        let (origin, transport) = (lead.base.origin(), lead.transport.clone());
        let pool = match Pool::watched(origin, transport, self.resolver.clone(), self.tasks.clone(), stages) {
            Ok(pool) => pool,
            Err(error) => {
                return self.trouble(
                    lead,
                    &Trouble::new(format!("TLS cannot be set up: {error}"), "look at the roots of trust."),
                );
            }
        };
        let way = Way { hop, peer: None, is_tunnelled: false, certificate: None };
        let mut watch = Watch { way, stages: watched, connects: 0, latest: Instant::now() };
        let mut asked: Vec<Outbound> = Vec::new();
        for route in [lead].iter().chain(others) {
            let Some(question) = question(&self.settings.edge, route) else { continue };
            if asked.iter().any(|a| a.target == question.target && a.headers == question.headers) {
                continue;
            }
            let has_answered = self.ask(route, &pool, &question, &mut watch).await?;
            asked.push(question);
            if !has_answered {
                break;
            }
        }
        self.addresses(lead, &watch.way, &addresses).await
    }

    /// Resolves the names that are resolved here: host and port of what is connected to first, and its addresses. None, and
    /// said, where there are none.
    async fn names(&mut self, route: &RouteSettings) -> io::Result<Option<(String, Vec<SocketAddr>)>> {
        let names = Variables::new(&self.settings.effective, route);
        let (origin, url) = (route.base.origin(), names.of("UPSTREAM_BASE_URL"));
        let Some(proxy) = &route.transport.proxy else {
            let port = origin.uri().port_u16().unwrap_or(if origin.is_https() { 443 } else { 80 });
            return self.name(route, origin.host(), port, &url).await;
        };
        let by_proxy = proxy.kind() != ProxyKind::Socks5;
        let resolves = if by_proxy { "which resolves names itself" } else { "names are resolved here" };
        self.fact("proxy", &format!("{proxy}, {resolves} ({})", names.proxy()))?;
        if !by_proxy && self.name(route, origin.host(), 0, &url).await?.is_none() {
            return Ok(None);
        }
        let uri = proxy.uri();
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        self.name(route, &host, uri.port_u16().unwrap_or_default(), &names.proxy()).await
    }

    async fn name(
        &mut self,
        route: &RouteSettings,
        host: &str,
        port: u16,
        variable: &str,
    ) -> io::Result<Option<(String, Vec<SocketAddr>)>> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            let address = SocketAddr::new(ip, port);
            return Ok(Some((address.to_string(), vec![address])));
        }
        let begin = Instant::now();
        let found = timeout(route.policy.timeouts.connect, self.resolver.clone().resolve(host.to_owned())).await;
        let trouble = match found {
            Ok(Ok(addresses)) => {
                let list: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
                self.fact("dns", &format!("{host} in {}: {}", shown(begin.elapsed()), list.join(", ")))?;
                let addresses = addresses.into_iter().map(|address| SocketAddr::new(address.ip(), port));
                return Ok(Some((format!("{host}:{port}"), addresses.collect())));
            }
            Ok(Err(error)) => unresolved(host, variable, Some(&error)),
            Err(_) => unresolved(host, variable, None),
        };
        self.trouble(route, &trouble)?;
        Ok(None)
    }

    /// Asks several times, on one connection if the upstream keeps it. False if one of the requests got no answer.
    async fn ask(
        &mut self,
        route: &RouteSettings,
        pool: &Arc<Pool>,
        question: &Outbound,
        watch: &mut Watch,
    ) -> io::Result<bool> {
        let mut answers: Vec<(Answer, Duration)> = Vec::new();
        let connects_before = watch.connects.max(1);
        let mut failure = None;
        while answers.len() < REQUESTS && failure.is_none() {
            if watch.connects > 0 {
                sleep(PAUSE).await;
            }
            watch.latest = Instant::now();
            match self.once(route, pool, question, watch).await? {
                Ok(answer) => {
                    let took = answer.at.duration_since(watch.latest);
                    answers.push((answer, took));
                }
                Err(error) => failure = Some(error),
            }
        }
        let names = Variables::new(&self.settings.effective, route);
        let url = format!("{}{}", route.base.origin(), question.target);
        if let Some((first, _)) = answers.first() {
            let reconnected = watch.connects > connects_before;
            self.fact("GET", &format!("{url}: {}", told(&answers, reconnected, route)))?;
            self.change(route, of_status(first, route, &names));
            let slowest = answers.iter().map(|(_, took)| *took).max().unwrap_or_default();
            let (line, change) = of_time(slowest, route, &names);
            self.fact("deadline", &line)?;
            self.change(route, change);
        }
        let Some(failure) = failure else { return Ok(true) };
        if watch.way.peer.is_some() && failure.had_connection() {
            let which = if answers.is_empty() { "no answer" } else { "the next request got no answer" };
            self.fact("GET", &format!("{url}: {which}"))?;
        }
        self.trouble(route, &failed(&failure, route, &names, &watch.way))?;
        Ok(false)
    }

    /// One request; what its connect goes through is told meanwhile.
    async fn once(
        &mut self,
        route: &RouteSettings,
        pool: &Arc<Pool>,
        question: &Outbound,
        watch: &mut Watch,
    ) -> io::Result<Result<Answer, Failure>> {
        let mut asking = pin!(ask(pool, route, question));
        let result = loop {
            tokio::select! {
                biased;
                Some((at, stage)) = watch.stages.recv() => self.reached(at, stage, watch)?,
                result = &mut asking => break result,
            }
        };
        while let Ok((at, stage)) = watch.stages.try_recv() {
            self.reached(at, stage, watch)?;
        }
        Ok(result)
    }

    /// A stage of a connect. Only the first connect is told in full.
    fn reached(&mut self, at: Instant, stage: Stage, watch: &mut Watch) -> io::Result<()> {
        let took = shown(at.duration_since(watch.latest));
        if matches!(stage, Stage::Tcp(_)) {
            watch.connects += 1;
        }
        let is_first = watch.connects == 1;
        match stage {
            Stage::Certificate(der) => {
                watch.way.certificate = Certificate::read(&der);
                return match watch.way.certificate.as_ref().filter(|_| is_first) {
                    Some(certificate) => self.fact("cert", &certificate.to_string()),
                    None => Ok(()),
                };
            }
            Stage::Tcp(peer) => {
                watch.way.peer = Some(peer);
                self.fact_if(is_first, "tcp", || format!("{peer} in {took}"))?;
            }
            Stage::Tunnel => {
                watch.way.is_tunnelled = true;
                self.fact_if(is_first, "tunnel", || format!("the proxy connected in {took}"))?;
            }
            Stage::Tls { version, cipher, alpn } => {
                let version = match version {
                    Some(ProtocolVersion::TLSv1_3) => "TLS 1.3".to_owned(),
                    Some(ProtocolVersion::TLSv1_2) => "TLS 1.2".to_owned(),
                    other => format!("{other:?}"),
                };
                let cipher = cipher.and_then(|cipher| cipher.as_str()).unwrap_or("an unknown cipher");
                let alpn = alpn.map_or_else(|| "none".to_owned(), |alpn| String::from_utf8_lossy(&alpn).into_owned());
                self.fact_if(is_first, "tls", || format!("{version}, {cipher}, ALPN {alpn}, in {took}"))?;
            }
        }
        watch.latest = at;
        Ok(())
    }

    /// The addresses that were not used, or all of them where none was.
    async fn addresses(&mut self, route: &RouteSettings, way: &Way, all: &[SocketAddr]) -> io::Result<()> {
        let used = way.peer.map(|peer| peer.ip().to_canonical());
        let unused = all.iter().copied().filter(|address| Some(address.ip().to_canonical()) != used);
        if all.len() < 2 {
            return Ok(());
        }
        let found = knock(unused, route.policy.timeouts.connect, &self.tasks).await;
        let dead: Vec<String> = found
            .iter()
            .filter_map(|(address, result)| result.as_ref().err().map(|error| format!("{} ({error})", address.ip())))
            .collect();
        let good = found.len() - dead.len();
        if good > 0 {
            self.fact("others", &format!("{good} further addresses accept connections"))?;
        }
        if !dead.is_empty() {
            self.fact("others", &format!("do not: {}", dead.join(", ")))?;
            let some_answer = used.is_some() || good > 0;
            self.change(
                route,
                some_answer.then(|| {
                    format!(
                        "{} of its addresses cannot be reached from here: {}. A new connection may lose time with them before \
                         another one is tried. If they are those of IPv6, this machine's IPv6 leads nowhere.",
                        dead.len(),
                        dead.join(", ")
                    )
                }),
            );
        }
        Ok(())
    }

    fn fact(&mut self, label: &str, text: &str) -> io::Result<()> {
        paragraph(self.out, &format!("  {label:<8}  "), &" ".repeat(12), text)?;
        self.out.flush()
    }

    fn fact_if(&mut self, is_told: bool, label: &str, text: impl FnOnce() -> String) -> io::Result<()> {
        if is_told { self.fact(label, &text()) } else { Ok(()) }
    }

    /// The upstream does not answer.
    fn trouble(&mut self, route: &RouteSettings, trouble: &Trouble) -> io::Result<()> {
        self.silent += 1;
        self.change(route, Some(trouble.change.clone()));
        self.fact("PROBLEM", &trouble.what)
    }

    fn change(&mut self, route: &RouteSettings, change: Option<String>) {
        let text = change.map(|change| format!("{}: {change}", route.base.origin()));
        self.changes.extend(text.filter(|text| !self.changes.contains(text)));
    }
}

/// Status and times of the answers to one question.
fn told(answers: &[(Answer, Duration)], reconnected: bool, route: &RouteSettings) -> String {
    let [(first, took), further @ ..] = answers else { return String::new() };
    let version = match first.version {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    };
    let once = format!("{} over {version}, headers in {}", first.status, shown(*took));
    let again = if further.is_empty() {
        String::new()
    } else {
        let times: Vec<String> = further
            .iter()
            .map(|(answer, took)| {
                let other = (answer.status != first.status).then(|| format!(" ({})", answer.status));
                format!("{}{}", shown(*took), other.unwrap_or_default())
            })
            .collect();
        let connection = match (reconnected, first.is_whole) {
            (false, _) => "on the same connection",
            (true, true) => "on new connections, for it keeps none open",
            (true, false) => "on new connections, for its answer does not end",
        };
        format!(", then {} {connection}", times.join(" and "))
    };
    format!("{once}{again}{}", remark(first.status, route))
}
