//! From the environment to strings: what is set, what is ignored, what must not be there.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::Path;

use super::ReadFile;
use super::declare::{Raw, VARIABLES, Variable, of_routes};
use super::outbound::ProxyVariables;
use super::problem::{Problem, is_surely_a_path, quoted};
use super::typo;

/// What the environment says, before it means anything.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) global: Layer,
    /// By the names of the routes.
    pub(super) routes: BTreeMap<String, Layer>,
    /// What it says to every program about outbound proxies.
    pub(super) proxies: ProxyVariables,
    pub(super) problems: Vec<Problem>,
}

/// The variables of the process, or those of one route.
#[derive(Default)]
pub(super) struct Layer {
    pub(super) raw: Raw,
    /// Secrets that came from a file.
    pub(super) from_file: Vec<&'static str>,
}

/// Name and value of everything that is set and is not ignored; a value that is no UTF-8 is none.
pub(super) type Texts = BTreeMap<String, Option<String>>;

/// Reads the environment. Names are taken as they are: upper case, but for the names of routes.
pub(super) fn gather(vars: impl IntoIterator<Item = (OsString, OsString)>, read: ReadFile) -> Gathered {
    let texts = texts(vars);
    let mut problems = Vec::new();
    let of_a_route = |name: &String| {
        let (route, stem) = typo::route(name)?;
        typo::is_of_routes(stem).then(|| route.to_owned())
    };
    let routes: BTreeSet<String> = texts.keys().filter_map(of_a_route).collect();
    let global = layer(None, &texts, read, &mut problems);
    for name in texts.keys() {
        if let Some(reason) = typo::reason(name, |known| texts.contains_key(known)) {
            problems.push(Problem::with_name(name, reason));
        }
    }
    let routes = routes.into_iter().map(|route| (layer(Some(&route), &texts, read, &mut problems), route));
    Gathered {
        global,
        routes: routes.map(|(layer, route)| (route, layer)).collect(),
        proxies: ProxyVariables::new(&texts),
        problems,
    }
}

/// The variables of the process, or those of one route.
fn layer(route: Option<&str>, texts: &Texts, read: ReadFile, problems: &mut Vec<Problem>) -> Layer {
    let mut ours = Vec::new();
    let mut from_file = Vec::new();
    let variables: Vec<&Variable> = if route.is_some() { of_routes().collect() } else { VARIABLES.iter().collect() };
    for variable in variables {
        let name = route.map_or_else(|| variable.name.to_owned(), |route| variable.of_route(route));
        match value(variable, &name, texts, read) {
            Ok(None) => {}
            Ok(Some((text, was_in_file))) => {
                ours.push((name, text));
                if was_in_file {
                    from_file.push(variable.name);
                }
            }
            Err(problem) => problems.push(problem),
        }
    }
    // Into a struct of optional strings this cannot fail, and the names cannot be ambiguous: all are upper case, but for
    // the prefix, which is the same in all.
    let raw = match route {
        None => envy::from_iter(ours),
        Some(route) => envy::prefixed(format!("ROUTE_{route}_")).from_iter(ours),
    };
    if raw.is_err() {
        problems.push(Problem::with_name("environment", "cannot be read"));
    }
    Layer { raw: raw.unwrap_or_default(), from_file }
}

fn texts(vars: impl IntoIterator<Item = (OsString, OsString)>) -> Texts {
    let mut texts = Texts::new();
    for (name, value) in vars {
        // A name that is no text cannot be one of ours.
        let Ok(name) = name.into_string() else { continue };
        let unset = value.is_empty() && !means_something_empty(&name);
        let value = value.into_string().ok();
        if !unset && !is_ambient(&name, value.as_deref().unwrap_or_default()) {
            // Of two of the same name the first counts, as for getenv.
            texts.entry(name).or_insert(value);
        }
    }
    texts
}

/// Whether an empty value of this name is a value.
fn means_something_empty(name: &str) -> bool {
    let stem = typo::route(name).map_or(name, |(_, stem)| stem);
    VARIABLES.iter().any(|v| v.name == stem && v.empty_is_a_value)
}

/// What environments are full of: locales, and what Kubernetes injects for services.
fn is_ambient(name: &str, value: &str) -> bool {
    let numbered_port = || {
        let mut parts = name.split("_PORT_").skip(1);
        parts.any(|rest| {
            let (number, more) = rest.split_once('_').unwrap_or((rest, ""));
            !more.is_empty() && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
        })
    };
    name == "LANG"
        || name.starts_with("LC_")
        || name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || (name.ends_with("_PORT") && (value.starts_with("tcp://") || value.starts_with("udp://")))
        || numbered_port()
}

/// The value of a variable that is set by a name, and whether a file held it.
fn value(variable: &Variable, name: &str, texts: &Texts, read: ReadFile) -> Result<Option<(String, bool)>, Problem> {
    let own = match texts.get(name) {
        Some(None) => return Err(Problem::with(variable, None, "is not UTF-8").named(name)),
        Some(Some(text)) => Some(text),
        None => None,
    };
    let file_name = format!("{name}_FILE");
    let file = texts.get(&file_name).filter(|_| variable.is_secret());
    match (own, file) {
        (own, None) => Ok(own.map(|text| (text.clone(), false))),
        (Some(_), Some(_)) => Err(Problem::with_name(name, format!("must not be set together with {file_name}"))),
        (None, Some(None)) => Err(Problem::with_name(file_name, "is not UTF-8")),
        (None, Some(Some(path))) => {
            secret_from(path, read).map(|secret| Some((secret, true))).map_err(|r| Problem::with_name(file_name, r))
        }
    }
}

fn secret_from(path: &str, read: ReadFile) -> Result<String, String> {
    // Somebody may have put the secret itself where its file belongs, so only what is surely a path is shown.
    let shown = if is_surely_a_path(path) { quoted(path) } else { "that it names".to_owned() };
    let bytes = read(Path::new(path)).map_err(|error| format!("the file {shown} cannot be read: {error}"))?;
    let text = String::from_utf8(bytes).map_err(|_| format!("the file {shown} is not UTF-8"))?;
    let secret = text.strip_suffix("\r\n").or_else(|| text.strip_suffix('\n')).unwrap_or(&text);
    if secret.is_empty() { Err(format!("the file {shown} is empty")) } else { Ok(secret.to_owned()) }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::os::unix::ffi::OsStringExt;

    use super::super::declare;
    use super::*;

    fn no_files(_: &Path) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn gathered(vars: &[(&str, &str)]) -> Gathered {
        gather(vars.iter().map(|(n, v)| (n.into(), v.into())), &no_files)
    }

    fn problems(vars: &[(&str, &str)]) -> Vec<String> {
        gathered(vars).problems.iter().map(ToString::to_string).collect()
    }

    fn key_file(text: &'static [u8]) -> Result<Option<String>, String> {
        let read = move |path: &Path| {
            assert_eq!(path, Path::new("/run/key"));
            Ok(text.to_vec())
        };
        let gathered = gather([("UPSTREAM_API_KEY_FILE".into(), "/run/key".into())], &read);
        if let Some(problem) = gathered.problems.first() {
            return Err(problem.to_string());
        }
        assert_eq!(gathered.global.from_file, ["UPSTREAM_API_KEY"]);
        Ok(declare::UPSTREAM_API_KEY.of(&gathered.global.raw).map(str::to_owned))
    }

    #[test]
    fn empty_means_unset_but_for_the_prefix_of_the_key() {
        let gathered = gathered(&[
            ("LISTEN_PORT", ""),
            ("UPSTREAM_API_KEY_PREFIX", ""),
            ("TLS_CERT_FILE", ""),
            ("LISTEN_PROT", ""),
            ("UPSTREAM_API_KEY", "k"),
            ("UPSTREAM_API_KEY_FILE", ""),
        ]);
        assert_eq!(gathered.problems, []);
        assert_eq!(declare::LISTEN_PORT.of(&gathered.global.raw), None);
        assert_eq!(declare::UPSTREAM_API_KEY_PREFIX.of(&gathered.global.raw), Some(""));
    }

    #[test]
    fn names_count_only_in_upper_case() {
        let gathered = gathered(&[("listen_port", "1"), ("LISTEN_PORT", "2"), ("Listen_Port", "3")]);
        assert_eq!(declare::LISTEN_PORT.of(&gathered.global.raw), Some("2"));
        assert_eq!(gathered.problems, []);
    }

    #[test]
    fn what_kubernetes_injects_and_locales_are_ignored() {
        let gathered = gathered(&[
            ("LANG", "C"),
            ("LC_ALL", "C"),
            ("LISTEN_PORT", "tcp://10.0.0.1:80"),
            ("ADMIN_PORT", "udp://10.0.0.1:80"),
            ("LISTEN_PORT_80_TCP", "tcp://10.0.0.1:80"),
            ("LISTEN_PORT_80_TCP_ADDR", "10.0.0.1"),
            ("LISTEN_SERVICE_HOST", "10.0.0.1"),
            ("LISTEN_SERVICE_PORT", "80"),
            ("LISTEN_SERVICE_PORT_HTTP", "80"),
            ("DMIN_PORT", "tcp://10.0.0.1:80"),
            ("ROUTE_API_PORT", "tcp://10.0.0.1:80"),
            ("ROUTE_API_SERVICE_HOST", "10.0.0.1"),
            ("ROUTE_API_PORT_80_TCP_PROTO", "tcp"),
        ]);
        assert_eq!(gathered.problems, []);
        assert_eq!(declare::LISTEN_PORT.of(&gathered.global.raw), None);
        assert_eq!(declare::ADMIN_PORT.of(&gathered.global.raw), None);
    }

    #[test]
    fn a_port_that_only_resembles_a_kubernetes_one_is_no_exception() {
        assert_eq!(problems(&[("DMIN_PORT", "80")]), ["DMIN_PORT: is not a variable, did you mean ADMIN_PORT?"]);
        assert_eq!(problems(&[("ROUTE_API_PORT", "80")]).len(), 1);
        assert_eq!(problems(&[("ROUTE_API_PORT_X_TCP", "80")]).len(), 1);
    }

    #[test]
    fn a_route_is_whatever_has_a_variable_of_routes() {
        let gathered = gathered(&[
            ("ROUTE_A_PREFIX", "/a"),
            ("ROUTE_a_LANE", "stream"),
            ("ROUTE_B_QUEUE_CONCURRENCY", "1"),
            ("ROUTE_C_UPSTREAM_API_KEY_PREFIX", ""),
            ("ROUTE_D_UPSTREAM_API_KEY_FILE", "/x"),
            ("ROUTE_E_LANE", ""),
            ("PREFIX", "/usr"),
        ]);
        assert_eq!(gathered.routes.keys().collect::<Vec<_>>(), ["A", "C", "D", "a"]);
        assert_eq!(declare::PREFIX.of(&gathered.routes["A"].raw), Some("/a"));
        assert_eq!(declare::LANE.of(&gathered.routes["a"].raw), Some("stream"));
        assert_eq!(declare::UPSTREAM_API_KEY_PREFIX.of(&gathered.routes["C"].raw), Some(""));
        assert_eq!((declare::PREFIX.of(&gathered.global.raw), declare::LANE.of(&gathered.global.raw)), (None, None));
        let problems: Vec<_> = gathered.problems.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(problems, ["ROUTE_B_QUEUE_CONCURRENCY", "ROUTE_D_UPSTREAM_API_KEY_FILE"]);
    }

    #[test]
    fn typos_are_named_without_their_values() {
        assert_eq!(
            problems(&[("UPSTREAM_API_KYE", "sk-hidden")]),
            ["UPSTREAM_API_KYE: is not a variable, did you mean UPSTREAM_API_KEY?"]
        );
        assert_eq!(problems(&[("UPSTREAM_API_KYE", "x"), ("UPSTREAM_API_KEY", "y")]), [""; 0]);
        assert_eq!(
            problems(&[("ROUTE_A_UPSTREAM_API_KYE", "sk-hidden")]),
            ["ROUTE_A_UPSTREAM_API_KYE: is not a variable of a route, did you mean ROUTE_A_UPSTREAM_API_KEY?"]
        );
    }

    #[test]
    fn a_secret_comes_from_its_file_without_the_last_newline() {
        assert_eq!(key_file(b"sk-1\n"), Ok(Some("sk-1".into())));
        assert_eq!(key_file(b"sk-1\r\n"), Ok(Some("sk-1".into())));
        assert_eq!(key_file(b"sk-1"), Ok(Some("sk-1".into())));
        assert_eq!(key_file(b"sk-1\n\n"), Ok(Some("sk-1\n".into())));
        assert_eq!(key_file(b"\n"), Err("UPSTREAM_API_KEY_FILE: the file \"/run/key\" is empty".into()));
        assert_eq!(key_file(b"\xff"), Err("UPSTREAM_API_KEY_FILE: the file \"/run/key\" is not UTF-8".into()));
    }

    #[test]
    fn a_secret_that_is_set_twice_or_whose_file_cannot_be_read_is_a_problem() {
        assert_eq!(
            problems(&[("UPSTREAM_API_KEY", "sk-hidden"), ("UPSTREAM_API_KEY_FILE", "/run/key")]),
            ["UPSTREAM_API_KEY: must not be set together with UPSTREAM_API_KEY_FILE"]
        );
        let unreadable = problems(&[("UPSTREAM_API_KEY_FILE", "/run/key")]);
        assert!(unreadable[0].contains("/run/key") && unreadable[0].contains("not found"), "{unreadable:?}");
        let misplaced = problems(&[("UPSTREAM_API_KEY_FILE", "sk-hidden")]);
        assert!(misplaced.len() == 1 && !misplaced[0].contains("hidden"), "{misplaced:?}");
    }

    #[test]
    fn a_value_that_is_no_text_is_a_problem_only_where_the_name_is_ours() {
        let bad = || OsString::from_vec(vec![b'a', 0xff]);
        let gathered = gather(
            [("RETRY".into(), bad()), ("PATH".into(), bad()), (bad(), bad()), ("UPSTREAM_API_KEY_FILE".into(), bad())],
            &no_files,
        );
        let problems: Vec<String> = gathered.problems.iter().map(ToString::to_string).collect();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems.iter().any(|p| p.starts_with("RETRY: is not UTF-8")), "{problems:?}");
        assert!(problems.iter().any(|p| p.starts_with("UPSTREAM_API_KEY_FILE: is not UTF-8")), "{problems:?}");
    }

    #[test]
    fn every_secret_comes_from_a_file_too() {
        for variable in VARIABLES.iter().filter(|v| v.is_secret()) {
            let gathered =
                gather([(format!("{}_FILE", variable.name).into(), "/run/x".into())], &|_| Ok(b"x\n".to_vec()));
            assert_eq!(variable.of(&gathered.global.raw), Some("x"), "{}", variable.name);
            let unreadable = problems(&[(&format!("{}_FILE", variable.name), "u:hidden@x")]);
            assert!(unreadable.len() == 1 && !unreadable[0].contains("hidden"), "{unreadable:?}");
        }
    }
}
