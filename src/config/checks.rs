//! What only shows when several variables are seen together.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use http::{HeaderName, header};

use super::declare::{self as var, Variable};
use super::resolve::{Resolver, Taken};
use super::settings::Listen;
use crate::answer::Source;
use crate::headers::web::is_loopback_name;
use crate::headers::{ApiKey, WebPageRule};
use crate::race::Policy;
use crate::size::ByteSize;
use crate::time::Human;
use crate::upstream::BaseUrl;

pub(super) mod cache;
pub(super) mod routes;
pub(super) mod store;

/// The admin listener is what a token is for.
pub(super) fn token_is_plausible(r: &mut Resolver, admin: &Taken<Option<Listen>>) {
    if let Ok(admin) = admin {
        needs(r, var::ADMIN_TOKEN, &[(admin.is_some(), "an admin listener (ADMIN_PORT)")]);
    }
}

/// Two listeners cannot share a socket.
pub(super) fn listeners(r: &mut Resolver, listen: &Taken<Listen>, admin: &Taken<Option<Listen>>) {
    if let (Ok(listen), Ok(Some(admin))) = (listen, admin)
        && listen.port == admin.port
        && listen.port != 0
        && any_pair(listen, &admin.host, |a, b| a == b || takes_all_of(a, b) || takes_all_of(b, a))
    {
        let which = if r.is_set(var::ADMIN_PORT) { var::ADMIN_PORT } else { var::LISTEN_PORT };
        r.problem(which, "is the port of both the proxy and the admin listener (LISTEN_PORT, ADMIN_PORT)");
    }
}

/// An upstream that is this process would be asked by itself for ever.
pub(super) fn no_loop(r: &mut Resolver, listen: &Taken<Listen>, base: &Taken<BaseUrl>) {
    let (Ok(listen), Ok(base)) = (listen, base) else { return };
    let origin = base.origin();
    let port = origin.uri().port_u16().unwrap_or(if origin.is_https() { 443 } else { 80 });
    // To connect to "all addresses" is to connect to this machine.
    let host = match origin.host() {
        "0.0.0.0" => "127.0.0.1",
        "::" => "::1",
        host => host,
    };
    let own = any_pair(listen, host, |ours, theirs| {
        ours == theirs || (takes_all_of(ours, theirs) && theirs.to_canonical().is_loopback())
    });
    if listen.port == port && own {
        r.conflict(var::UPSTREAM_BASE_URL, "is the address that forebay itself listens on (LISTEN_HOST, LISTEN_PORT)");
    }
}

/// Whether two hosts are the same name, or have addresses of which a pair meets the condition.
fn any_pair(listen: &Listen, host: &str, condition: impl Fn(IpAddr, IpAddr) -> bool) -> bool {
    let theirs = addresses(host);
    listen.host.eq_ignore_ascii_case(host)
        || addresses(&listen.host).iter().any(|a| theirs.iter().any(|b| condition(*a, *b)))
}

/// The addresses that a host is known to have without asking anybody.
fn addresses(host: &str) -> Vec<IpAddr> {
    match host.parse::<IpAddr>() {
        Ok(address) => vec![address.to_canonical()],
        Err(_) if is_loopback_name(host) => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        Err(_) => Vec::new(),
    }
}

/// Whether a listener on the one address takes what is for the other: `0.0.0.0` all of IPv4, `::` everything.
fn takes_all_of(listener: IpAddr, other: IpAddr) -> bool {
    listener.is_unspecified() && (listener.is_ipv6() || other.is_ipv4())
}

/// The source header is removed from what clients send, so it would take the client's key with it.
pub(super) fn source_is_not_the_key(r: &mut Resolver, source: &Taken<Source>, key: &Taken<Option<ApiKey>>) {
    let (Ok(source), Ok(Some(key))) = (source, key) else { return };
    if source.name != key.header {
        return;
    }
    let culprit = r.culprit([var::SOURCE_HEADER, var::UPSTREAM_API_KEY_HEADER]);
    let reason = if culprit.name == var::SOURCE_HEADER.name {
        format!("must not be the header that carries the key ({})", r.name(var::UPSTREAM_API_KEY_HEADER))
    } else {
        format!("must not be the header that marks answers made here ({})", r.name(var::SOURCE_HEADER))
    };
    r.conflict(culprit, reason);
}

/// Things about a key that are legal, and almost always a mistake. Its header is a credential of clients without it too.
pub(super) fn key_is_plausible(r: &mut Resolver, header: &HeaderName, prefix: &str, key: Option<&str>) {
    needs(r, var::UPSTREAM_API_KEY_PREFIX, &[(key.is_some(), "UPSTREAM_API_KEY")]);
    let Some(key) = key else { return };
    let (key_name, prefix_name) = (r.name(var::UPSTREAM_API_KEY), r.name(var::UPSTREAM_API_KEY_PREFIX));
    if *header != header::AUTHORIZATION && !r.is_set(var::UPSTREAM_API_KEY_PREFIX) {
        r.warn(format!(
            "{key_name} is sent as \"{header}: Bearer ...\": set UPSTREAM_API_KEY_PREFIX to an empty value if the \
             upstream wants the bare key, or to \"Bearer \" if this is right"
        ));
    }
    if !prefix.is_empty() && key.starts_with(prefix) {
        r.warn(format!("{key_name} begins with {prefix_name}, which is sent twice then"));
    }
}

/// Of two variables, the first says no more than the second.
pub(super) fn is_ordered(r: &mut Resolver, first: Variable, max: Variable) {
    let culprit = r.culprit([max, first]);
    let reason = if culprit.name == max.name {
        format!("must not be less than {}", r.name(first))
    } else {
        format!("must not be more than {}", r.name(max))
    };
    r.conflict(culprit, reason);
}

/// A hedge that would never start: the attempt before it has been given up by then.
pub(super) fn hedge_starts(
    r: &mut Resolver,
    hedge_after: Taken<Option<Duration>>,
    header_deadline: Taken<Duration>,
    whole_answer_deadline: Taken<Duration>,
) {
    let (Ok(Some(after)), Ok(header), Ok(whole)) = (hedge_after, header_deadline, whole_answer_deadline) else {
        return;
    };
    let (shorter, deadline) = if whole < header {
        (whole, var::NONSTREAM_RESPONSE_HEADER_TIMEOUT_SECONDS)
    } else {
        (header, var::RESPONSE_HEADER_TIMEOUT_SECONDS)
    };
    if after < shorter {
        return;
    }
    let culprit = r.culprit([var::HEDGE_AFTER_SECONDS, deadline]);
    let reason = if culprit.name == deadline.name {
        format!("must be more than {} ({})", r.name(var::HEDGE_AFTER_SECONDS), Human(after))
    } else {
        format!("must be less than the header deadline ({}, {})", r.name(deadline), Human(shorter))
    };
    r.conflict(culprit, reason);
}

/// What needs a further attempt, or a hedge.
pub(super) fn attempts_are_plausible(r: &mut Resolver, policy: &Policy) {
    needs(r, var::HEDGE_BUDGET_PERCENT, &[(policy.hedge_after.is_some(), "HEDGE_AFTER_SECONDS")]);
    for variable in [var::HEDGE_AFTER_SECONDS, var::RETRY_STATUSES] {
        needs(r, variable, &[(policy.max_attempts > 1, "a second attempt (UPSTREAM_MAX_ATTEMPTS)")]);
    }
}

/// Writes down whether a variable, if it is set, changes anything here: not without all of these.
fn needs(r: &mut Resolver, variable: Variable, all: &[(bool, &str)]) {
    match all.iter().find(|(is_there, _)| !is_there) {
        Some((_, what)) => r.changes_nothing(variable, what),
        None => r.changes_something(variable),
    }
}

/// The field that a key is sent in. Without a key it still tells clients apart: owners of jobs, and whose answers are cached.
pub(super) fn key_header_is_plausible(
    r: &mut Resolver,
    key: &Taken<Option<ApiKey>>,
    has_store: bool,
    tells_clients_apart: bool,
) {
    let Ok(key) = key else { return };
    let without = if has_store { "UPSTREAM_API_KEY (but to tell owners of jobs apart)" } else { "UPSTREAM_API_KEY" };
    needs(r, var::UPSTREAM_API_KEY_HEADER, &[(key.is_some() || tells_clients_apart, without)]);
}

/// A body that is allowed but can never be buffered.
pub(super) fn body_fits(r: &mut Resolver, body: &Taken<ByteSize>, all: &Taken<ByteSize>) {
    if let (Ok(body), Ok(all)) = (body, all)
        && body > all
    {
        let name = r.name(var::MAX_REQUEST_BODY_BYTES);
        r.warn(format!(
            "request bodies above {all} are answered with 503: MAX_BUFFERED_BYTES is less than {name} ({body})"
        ));
    }
}

/// The rule against web pages that spend the key: in force with a key, on a loopback listener (contract 3.2).
pub(super) fn web_in_force(
    r: &mut Resolver,
    listen: &Taken<Listen>,
    key: &Taken<Option<ApiKey>>,
    web: Taken<WebPageRule>,
) -> Taken<Option<WebPageRule>> {
    let web = web?;
    let (Ok(listen), Ok(key)) = (listen, key) else { return Ok(None) };
    let lists = [var::ALLOWED_HOSTS, var::ALLOWED_ORIGINS];
    if key.is_some() && is_loopback_name(&listen.host) {
        for variable in lists {
            r.changes_something(variable);
        }
        return Ok(Some(web));
    }
    if key.is_some() {
        let name = r.name(var::UPSTREAM_API_KEY);
        r.warn(format!(
            "{name} is set and {} is no loopback address: whoever reaches the listener uses the key",
            listen.host
        ));
    }
    for variable in lists {
        r.changes_nothing(variable, if key.is_some() { "a loopback LISTEN_HOST" } else { "UPSTREAM_API_KEY" });
    }
    Ok(None)
}
