//! What the environment says to every program about outbound proxies: `HTTPS_PROXY` and its relatives.

use hyper_util::client::proxy::matcher::Matcher;

use super::problem::Problem;
use super::raw::Texts;
use crate::headers::web::is_loopback_name;
use crate::upstream::{Origin, OutboundProxy};

/// The variables that are set, in either spelling. What they hold may be a password: it is never shown.
#[derive(Default)]
pub(super) struct ProxyVariables {
    https: Option<Set>,
    http: Option<Set>,
    all: Option<Set>,
    no: Option<Set>,
}

struct Set {
    name: &'static str,
    /// None where it is no UTF-8.
    value: Option<String>,
}

impl ProxyVariables {
    /// Upper case wins where both spellings are set.
    pub(super) fn new(texts: &Texts) -> Self {
        let either = |names: [&'static str; 2]| {
            let found = names.into_iter().find_map(|name| Some((name, texts.get(name)?)));
            found.map(|(name, value)| Set { name, value: value.clone() })
        };
        Self {
            https: either(["HTTPS_PROXY", "https_proxy"]),
            http: either(["HTTP_PROXY", "http_proxy"]),
            all: either(["ALL_PROXY", "all_proxy"]),
            no: either(["NO_PROXY", "no_proxy"]),
        }
    }

    /// The proxy on the way to an upstream, if any: that of its scheme, else that of all, unless `NO_PROXY` has the host.
    /// Loopback never has one.
    pub(super) fn proxy_for(&self, origin: &Origin) -> Result<Option<OutboundProxy>, Problem> {
        let of_its_scheme = if origin.is_https() { &self.https } else { &self.http };
        let Some(set) = of_its_scheme.as_ref().or(self.all.as_ref()) else { return Ok(None) };
        if is_loopback_name(origin.host()) || self.excepts(origin)? {
            return Ok(None);
        }
        let url = set.text()?.trim();
        // As everywhere else, a proxy without a scheme is an http one.
        let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        OutboundProxy::parse(&url).map(Some).map_err(|reason| set.unusable(reason))
    }

    /// Whether `NO_PROXY` has the host: a name and all below it, an address, a network, or `*`.
    fn excepts(&self, origin: &Origin) -> Result<bool, Problem> {
        let Some(no) = &self.no else { return Ok(false) };
        let list = no.text()?;
        // The matcher takes `*` for all names, but not for addresses.
        let everything = list.split(',').any(|entry| entry.trim() == "*");
        let matcher = Matcher::builder().all("http://proxy".to_owned()).no(list.to_owned()).build();
        Ok(everything || matcher.intercept(&origin.uri()).is_none())
    }
}

impl Set {
    fn text(&self) -> Result<&str, Problem> {
        self.value.as_deref().ok_or_else(|| self.unusable("is not UTF-8"))
    }

    fn unusable(&self, reason: &str) -> Problem {
        Problem::with_name(self.name, format!("{reason} (OUTBOUND_PROXY=off ignores it)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::BaseUrl;

    fn proxy(vars: &[(&str, &str)], url: &str) -> Result<Option<String>, String> {
        let texts = vars.iter().map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned()))).collect();
        let base = BaseUrl::parse(url).unwrap();
        let proxy = ProxyVariables::new(&texts).proxy_for(base.origin());
        proxy.map(|proxy| proxy.map(|proxy| proxy.to_string())).map_err(|problem| problem.to_string())
    }

    #[test]
    fn the_variable_of_the_scheme_wins_over_that_of_all() {
        let vars = [("HTTPS_PROXY", "http://a:1"), ("http_proxy", "http://b:2"), ("ALL_PROXY", "socks5h://c")];
        assert_eq!(proxy(&vars, "https://api.example"), Ok(Some("http://a:1".into())));
        assert_eq!(proxy(&vars, "http://api.example"), Ok(Some("http://b:2".into())));
        assert_eq!(proxy(&vars[2..], "http://api.example"), Ok(Some("socks5h://c:1080".into())));
        assert_eq!(proxy(&vars[..1], "http://api.example"), Ok(None));
        assert_eq!(proxy(&vars[1..2], "https://api.example"), Ok(None));
        assert_eq!(proxy(&[], "https://api.example"), Ok(None));
    }

    #[test]
    fn upper_case_wins_and_a_proxy_without_a_scheme_is_an_http_one() {
        let vars = [("https_proxy", "lower:1"), ("HTTPS_PROXY", " u:hidden@upper:2/ ")];
        assert_eq!(proxy(&vars, "https://api.example"), Ok(Some("http://upper:2".into())));
        assert_eq!(proxy(&vars[..1], "https://api.example"), Ok(Some("http://lower:1".into())));
    }

    #[test]
    fn loopback_and_what_no_proxy_has_are_reached_directly() {
        let with = |no: &'static str, url| proxy(&[("ALL_PROXY", "http://p:1"), ("no_proxy", no)], url).unwrap();
        for (no, url) in [
            ("", "http://localhost:9"),
            ("", "http://127.0.0.9:9"),
            ("", "https://[::1]"),
            ("x, Example.com", "https://api.example.com"),
            (".example.com", "https://example.com:8443"),
            ("10.0.0.0/8", "http://10.1.2.3"),
            ("fd00::/8", "http://[fd00::1]:9"),
            ("10.1.2.3", "http://10.1.2.3:81"),
            ("*", "https://api.example"),
            ("a, *", "http://10.1.2.3"),
        ] {
            assert_eq!(with(no, url), None, "{no} {url}");
        }
        for (no, url) in
            [("", "https://api.example"), ("example.com", "https://notexample.com"), ("10.0.0.0/8", "http://11.0.0.1")]
        {
            assert!(with(no, url).is_some(), "{no} {url}");
        }
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_a_problem_only_where_it_would_be() {
        for value in ["https://u:hidden@proxy", "socks4://u:hidden@proxy", "http://proxy:hidden", "http://hidden/path"]
        {
            let problem = proxy(&[("HTTPS_PROXY", value)], "https://api.example").unwrap_err();
            assert!(problem.starts_with("HTTPS_PROXY: ") && !problem.contains("hidden"), "{problem}");
            assert!(problem.ends_with("(OUTBOUND_PROXY=off ignores it)"), "{problem}");
            assert_eq!(proxy(&[("HTTPS_PROXY", value)], "http://api.example"), Ok(None));
            assert_eq!(proxy(&[("HTTPS_PROXY", value)], "https://localhost"), Ok(None));
            assert_eq!(proxy(&[("HTTPS_PROXY", value), ("NO_PROXY", "example")], "https://api.example"), Ok(None));
        }
        let texts = [("NO_PROXY".to_owned(), None), ("ALL_PROXY".to_owned(), Some("http://p".to_owned()))].into();
        let origin = BaseUrl::parse("http://api.example").unwrap().origin().clone();
        let problem = ProxyVariables::new(&texts).proxy_for(&origin).unwrap_err().to_string();
        assert!(problem.starts_with("NO_PROXY: is not UTF-8"), "{problem}");
    }
}
