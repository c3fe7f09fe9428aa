//! `REDIS_URL`: where Redis is, and how it is found.

use std::fmt;
use std::path::PathBuf;

use crate::secret::Secret;

const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// Where Redis is. Displayed without credentials.
#[derive(Clone)]
pub struct RedisUrl {
    pub(super) place: Place,
    /// `rediss`: everything is said over TLS, to the Sentinels too.
    pub(super) is_tls: bool,
    pub(super) credentials: Option<Credentials>,
    pub(super) database: i64,
}

/// How the server is found that has the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It is this one.
    Server(Endpoint),
    /// It listens on a socket of this machine.
    Socket(PathBuf),
    /// These know who is the master of a service.
    Sentinels(Vec<Endpoint>, String),
    /// These know which node has which slot.
    Cluster(Vec<Endpoint>),
}

/// A server on the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// A name or an address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

/// What a server asks for before anything else.
#[derive(Clone)]
pub(super) struct Credentials {
    /// None = the default user.
    pub(super) user: Option<String>,
    /// None = the user has none.
    pub(super) password: Option<Secret<String>>,
}

const FORMS: &str = "must be redis://[user:password@]host[:port][/database], or one of rediss://, unix:///path, \
                     redis+sentinel://host[:port],…/service[/database] and redis+cluster://host[:port],…";
const CREDENTIALS: &str = "has a user or password in which % is not followed by two hexadecimal digits: write % as %25";
const HOST: &str = "must name a host, with or without a port from 1 to 65535 (a user or password with @, / or : in it is \
                    written with %40, %2F, %3A)";
const HOSTS: &str = "names several hosts: only redis+sentinel:// and redis+cluster:// do";
const DATABASE: &str = "must end in the number of a database, or in nothing, behind its host";
const SERVICE: &str = "must name the service that the Sentinels watch: redis+sentinel://host[:port],…/service";
const CLUSTER: &str = "cannot name a database: Redis Cluster has only one";
const SOCKET: &str = "must name the path of a socket: unix:///path, and perhaps ?db=1";
const QUERY: &str =
    "cannot have ? or # in it: there are no options (in a user or password they are written %3F and %23)";

impl RedisUrl {
    /// Reads `REDIS_URL`. Fails with words that go on behind the variable's name and repeat nothing of the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = text.trim().split_once("://").ok_or(FORMS)?;
        let scheme = scheme.to_ascii_lowercase();
        if matches!(scheme.as_str(), "unix" | "redis+unix") {
            return socket(rest);
        }
        let (kind, is_tls) = match scheme.split_once('+').unwrap_or((&scheme, "")) {
            ("redis", kind) => (kind, false),
            ("rediss", kind) => (kind, true),
            _ => return Err(FORMS),
        };
        if rest.contains(['?', '#']) {
            return Err(QUERY);
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (credentials, hosts) = credentials(authority)?;
        let (place, database) = match kind {
            "" => (Place::Server(single(endpoints(hosts, PORT)?)?), path),
            "sentinel" => {
                let (service, database) = path.split_once('/').unwrap_or((path, ""));
                let service = decoded(service).filter(|service| !service.is_empty()).ok_or(SERVICE)?;
                (Place::Sentinels(endpoints(hosts, SENTINEL_PORT)?, service), database)
            }
            "cluster" if matches!(path, "" | "0") => (Place::Cluster(endpoints(hosts, PORT)?), ""),
            "cluster" => return Err(CLUSTER),
            _ => return Err(FORMS),
        };
        Ok(Self { place, is_tls, credentials, database: number(database)? })
    }
}

/// `unix://[user:password@]/path[?db=1]`.
fn socket(rest: &str) -> Result<RedisUrl, &'static str> {
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_at(rest.find('/').ok_or(SOCKET)?);
    let (credentials, host) = credentials(authority)?;
    let path = decoded(path).filter(|path| host.is_empty() && path.len() > 1).ok_or(SOCKET)?;
    let database = if query.is_empty() { "" } else { query.strip_prefix("db=").ok_or(SOCKET)? };
    let place = Place::Socket(PathBuf::from(path));
    Ok(RedisUrl { place, is_tls: false, credentials, database: number(database)? })
}

/// What is before the hosts, and the hosts.
fn credentials(authority: &str) -> Result<(Option<Credentials>, &str), &'static str> {
    let Some((info, hosts)) = authority.rsplit_once('@') else { return Ok((None, authority)) };
    let (user, password) = match info.split_once(':') {
        Some((user, password)) => (user, Some(decoded(password).ok_or(CREDENTIALS)?)),
        None => (info, None),
    };
    let user = decoded(user).ok_or(CREDENTIALS)?;
    let user = (!user.is_empty()).then_some(user);
    let password = password.filter(|password| !password.is_empty()).map(Secret::new);
    let is_empty = user.is_none() && password.is_none();
    Ok(((!is_empty).then_some(Credentials { user, password }), hosts))
}

fn endpoints(hosts: &str, port: u16) -> Result<Vec<Endpoint>, &'static str> {
    hosts.split(',').map(|host| endpoint(host, port)).collect()
}

fn endpoint(text: &str, port: u16) -> Result<Endpoint, &'static str> {
    let (host, port_text) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (host, behind) = bracketed.split_once(']').ok_or(HOST)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| HOST)?;
            (host, if behind.is_empty() { None } else { Some(behind.strip_prefix(':').ok_or(HOST)?) })
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b':');
    if host.is_empty() || !host.bytes().all(is_name) {
        return Err(HOST);
    }
    let port = port_text.map_or(Ok(port), str::parse).ok().filter(|port| *port != 0).ok_or(HOST)?;
    Ok(Endpoint { host: host.to_owned(), port })
}

fn single(endpoints: Vec<Endpoint>) -> Result<Endpoint, &'static str> {
    let mut endpoints = endpoints.into_iter();
    match (endpoints.next(), endpoints.next()) {
        (Some(endpoint), None) => Ok(endpoint),
        _ => Err(HOSTS),
    }
}

/// The number of a database; none is the first.
fn number(text: &str) -> Result<i64, &'static str> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse::<u16>().map(i64::from).map_err(|_| DATABASE)
}

/// Takes percent-encoding away (RFC 3986 §2.1). None = a `%` that begins none, or what is no UTF-8.
fn decoded(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, behind) = rest.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok().filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = behind;
    }
    String::from_utf8(bytes).ok()
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "rediss" } else { "redis" };
        let list = |hosts: &[Endpoint]| hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        match &self.place {
            Place::Server(host) => write!(f, "{scheme}://{host}/{}", self.database),
            Place::Socket(path) => write!(f, "unix://{}?db={}", path.display(), self.database),
            Place::Sentinels(hosts, service) => {
                write!(f, "{scheme}+sentinel://{}/{service}/{}", list(hosts), self.database)
            }
            Place::Cluster(hosts) => write!(f, "{scheme}+cluster://{}", list(hosts)),
        }
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn user_and_password(url: &RedisUrl) -> (Option<&str>, Option<&str>) {
        let Some(credentials) = &url.credentials else { return (None, None) };
        (credentials.user.as_deref(), credentials.password.as_ref().map(|password| password.expose().as_str()))
    }

    #[test]
    fn every_form_is_read() {
        for (text, shown, user, password) in [
            ("redis://localhost", "redis://localhost:6379/0", None, None),
            ("redis://10.0.0.1:7000/3", "redis://10.0.0.1:7000/3", None, None),
            ("REDIS://h/", "redis://h:6379/0", None, None),
            ("rediss://[::1]:7/1", "rediss://[::1]:7/1", None, None),
            ("redis://[fe80::1]", "redis://[fe80::1]:6379/0", None, None),
            ("redis://:secret@h", "redis://h:6379/0", None, Some("secret")),
            ("redis://u:p%40%2f%3a%25@h", "redis://h:6379/0", Some("u"), Some("p@/:%")),
            ("redis://u:p@ss:word@h", "redis://h:6379/0", Some("u"), Some("p@ss:word")),
            ("redis://u@h", "redis://h:6379/0", Some("u"), None),
            ("redis://@h", "redis://h:6379/0", None, None),
            ("unix:///run/redis.sock", "unix:///run/redis.sock?db=0", None, None),
            ("redis+unix://u:p@/run/a%20b?db=2", "unix:///run/a b?db=2", Some("u"), Some("p")),
            ("redis+sentinel://a,b:1/main", "redis+sentinel://a:26379,b:1/main/0", None, None),
            ("rediss+sentinel://:p@a/main/4", "rediss+sentinel://a:26379/main/4", None, Some("p")),
            ("redis+cluster://u:p@a,b:1,[::1]", "redis+cluster://a:6379,b:1,[::1]:6379", Some("u"), Some("p")),
            ("rediss+cluster://a/0", "rediss+cluster://a:6379", None, None),
        ] {
            let url = RedisUrl::parse(text).unwrap();
            assert_eq!(url.to_string(), shown, "{text}");
            assert_eq!(user_and_password(&url), (user, password), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_of_redis_is_refused_in_words() {
        for (text, words) in [
            ("", FORMS),
            ("localhost:6379", FORMS),
            ("http://h", FORMS),
            ("redis+ring://h", FORMS),
            ("redis://", HOST),
            ("redis://h:0", HOST),
            ("redis://h:65536", HOST),
            ("redis://h:", HOST),
            ("redis://:pa/ss@h", HOST),
            ("redis://[::1", HOST),
            ("redis://[x]", HOST),
            ("redis://[::1]7", HOST),
            ("redis://h ost", HOST),
            ("redis://a,b", HOSTS),
            ("redis://h/x", DATABASE),
            ("redis://h/-1", DATABASE),
            ("redis://h/0/1", DATABASE),
            ("redis://h?db=1", QUERY),
            ("redis://u:p#@h", QUERY),
            ("redis://u:50%@h", CREDENTIALS),
            ("redis://u:%+1@h", CREDENTIALS),
            ("redis://%ff:p@h", CREDENTIALS),
            ("redis+sentinel://a,b", SERVICE),
            ("redis+sentinel://a//1", SERVICE),
            ("redis+sentinel://a,/main", HOST),
            ("redis+sentinel://a/main/x", DATABASE),
            ("redis+cluster://a/1", CLUSTER),
            ("redis+cluster://", HOST),
            ("unix://run/redis.sock", SOCKET),
            ("unix:///", SOCKET),
            ("unix://", SOCKET),
            ("unix:///a?x=1", SOCKET),
            ("unix:///a?db=x", DATABASE),
        ] {
            assert_eq!(RedisUrl::parse(text).err(), Some(words), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_no_password_is_shown(text in ".*", password in "[a-z]{12}") {
            let _ = RedisUrl::parse(&text);
            let url = RedisUrl::parse(&format!("redis://u:{password}@h/1")).unwrap();
            let shown = format!("{url} {url:?}");
            prop_assert!(!shown.contains(&password));
        }
    }
}
