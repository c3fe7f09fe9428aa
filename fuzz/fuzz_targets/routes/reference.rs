//! The contract, sections 3.5, 3.6 and 4, read again.

use forebay::routes::Lane;
use forebay::upstream::BaseUrl;
use regex::Regex;

/// A route.
pub struct Reference {
    /// Without trailing slashes.
    prefix: String,
    base: String,
    pub lane: &'static str,
    /// Stream, redirect, race: in the order in which they are asked.
    pub lists: [Vec<Regex>; 3],
}

const LANES: [(&str, Lane); 3] = [("stream", Lane::Stream), ("redirect", Lane::Redirect), ("race", Lane::Race)];

impl Reference {
    pub fn new(prefix: &str, base: &str) -> Self {
        let prefix = prefix.trim_end_matches('/').to_owned();
        Self { prefix, base: base.to_owned(), lane: "race", lists: Default::default() }
    }

    /// A further word of its line. None if it is none.
    pub fn read(&mut self, word: &str) -> Option<()> {
        let (lane, pattern) = word.split_once(':').map_or((word, None), |(lane, pattern)| (lane, Some(pattern)));
        let which = LANES.iter().position(|(name, _)| *name == lane)?;
        match pattern {
            None => self.lane = LANES[which].0,
            Some("") => {}
            Some(pattern) => self.lists[which].push(Regex::new(pattern).ok()?),
        }
        Some(())
    }

    fn serves(&self, path: &str) -> bool {
        path == self.prefix || path.starts_with(&format!("{}/", self.prefix))
    }

    /// Origin and base path as they are shown: the host in lower case, without the scheme's port and a trailing slash.
    fn base(&self) -> String {
        BaseUrl::parse(&self.base).expect("it was accepted").to_string()
    }

    fn base_path(&self) -> String {
        let behind = self.base.split_once("://").map_or("", |(_, behind)| behind);
        behind.find('/').map_or("", |at| &behind[at..]).trim_end_matches('/').to_owned()
    }

    fn lane_of(&self, path: &str) -> Lane {
        let listed = self.lists.iter().position(|list| list.iter().any(|pattern| pattern.is_match(path)));
        let named = LANES.iter().position(|(name, _)| *name == self.lane);
        LANES[listed.or(named).expect("it has a name")].1
    }
}

/// What a client asks for.
pub struct Target {
    /// As it stands in the request line.
    pub sent: Vec<u8>,
    pub host: String,
    /// Path and query.
    pub asked: Vec<u8>,
}

impl Target {
    /// None for what is neither origin form nor an absolute form with a plain host.
    pub fn read(line: &[u8]) -> Option<Self> {
        let (host, asked) = match line.strip_prefix(b"http://") {
            None => ("client.test", line),
            Some(rest) => {
                let end = rest.iter().position(|b| !b.is_ascii_alphanumeric() && *b != b'.').unwrap_or(rest.len());
                let (host, asked) = rest.split_at(end);
                (std::str::from_utf8(host).ok().filter(|host| !host.is_empty())?, asked)
            }
        };
        // An absolute form may lack a path.
        let asked = match asked {
            [b'/', ..] => asked.to_vec(),
            [] | [b'?', ..] if asked.len() < line.len() => [b"/", asked].concat(),
            _ => return None,
        };
        Some(Self { sent: line.to_vec(), host: host.to_owned(), asked })
    }

    fn path_and_query(&self) -> (&[u8], &[u8]) {
        let query = self.asked.iter().position(|byte| *byte == b'?').unwrap_or(self.asked.len());
        self.asked.split_at(query)
    }

    pub fn has_quoted_query(&self) -> bool {
        self.path_and_query().1.contains(&b'"')
    }

    pub fn has_fragment(&self) -> bool {
        self.asked.contains(&b'#')
    }

    pub fn shown(&self) -> String {
        self.sent.escape_ascii().to_string()
    }

    /// Section 4: what has one reading only.
    fn is_clear(&self) -> bool {
        let is_clear = |byte: &u8| *byte > b' ' && !matches!(byte, 0x7f | b'<' | b'>' | b'#');
        let (path, _) = self.path_and_query();
        self.asked.iter().all(is_clear) && !path.contains(&b'`') && std::str::from_utf8(&self.asked).is_ok()
    }
}

/// What a request is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// 400.
    Refused,
    /// 200.
    Health,
    /// 502 `no_route`.
    NoRoute,
    /// By this lane, from this base URL, as this target.
    Served { lane: Lane, base: String, target: Vec<u8> },
}

pub fn fate(routes: &[Reference], target: &Target) -> Fate {
    if !target.is_clear() {
        return Fate::Refused;
    }
    let (path, query) = target.path_and_query();
    let path = std::str::from_utf8(path).expect("it is clear");
    if path == "/healthz" {
        return Fate::Health;
    }
    let Some(route) = routes.iter().filter(|route| route.serves(path)).max_by_key(|route| route.prefix.len()) else {
        return Fate::NoRoute;
    };
    let base_path = route.base_path();
    let is_fenced = !route.prefix.is_empty() || !base_path.is_empty();
    if is_fenced && has_dots(path) {
        return Fate::Refused;
    }
    let rest = &path[route.prefix.len()..];
    let slash = if rest.is_empty() { "/" } else { "" };
    let sent = [base_path.as_bytes(), slash.as_bytes(), rest.as_bytes(), query].concat();
    Fate::Served { lane: route.lane_of(path), base: route.base(), target: sent }
}

/// A segment of dots, in any spelling.
fn has_dots(path: &str) -> bool {
    let plain =
        path.to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/").replace("%5c", "/").replace('\\', "/");
    plain.split('/').any(|segment| matches!(segment, "." | ".."))
}
