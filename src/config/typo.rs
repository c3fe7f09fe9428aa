//! Names that are almost one of ours.

use super::declare::{VARIABLES, of_routes};

/// Shorter names are too often somebody else's.
const LONG_ENOUGH: usize = 8;

/// What is wrong with a name that is set; none for ours, and for names that are nobody's business here. `is_set` knows
/// which names the environment has.
pub(super) fn reason(name: &str, is_set: impl Fn(&str) -> bool) -> Option<String> {
    match name.strip_prefix("ROUTE_") {
        Some(rest) => reason_in_route(name, rest, is_set),
        None if is_known(name) => None,
        None => meant(name, is_set).map(|known| format!("is not a variable, did you mean {known}?")),
    }
}

/// The name of the route in `ROUTE_<NAME>_<X>`, and X.
pub(super) fn route(name: &str) -> Option<(&str, &str)> {
    let (route, stem) = name.strip_prefix("ROUTE_")?.split_once('_')?;
    let is_a_name = !route.is_empty() && route.bytes().all(|b| b.is_ascii_alphanumeric());
    (is_a_name && !stem.is_empty()).then_some((route, stem))
}

/// Whether X of `ROUTE_<NAME>_<X>` can be set for a route.
pub(super) fn is_of_routes(stem: &str) -> bool {
    names_of_routes().any(|(known, suffix)| is_made_of(stem, known, suffix))
}

fn reason_in_route(name: &str, rest: &str, is_set: impl Fn(&str) -> bool) -> Option<String> {
    let Some((route, stem)) = route(name) else {
        let is_one_of_ours = rest.ends_with("_PREFIX") || rest.ends_with("_UPSTREAM_BASE_URL");
        return is_one_of_ours.then(|| "has no name of a route between ROUTE_ and _: letters and digits".to_owned());
    };
    if is_of_routes(stem) {
        return None;
    }
    if is_known(stem) {
        return Some("cannot be set for one route".to_owned());
    }
    let full = |(known, suffix): (&str, &str)| format!("ROUTE_{route}_{known}{suffix}");
    let meant = names_of_routes().map(full).find(|known| one_edit(name, known) && !is_set(known));
    let has_underscore = || names_of_routes().any(|(known, suffix)| stem.ends_with(&format!("_{known}{suffix}")));
    Some(match meant {
        Some(known) => format!("is not a variable of a route, did you mean {known}?"),
        None if has_underscore() => {
            "is not a variable of a route, whose name is of letters and digits, without _".into()
        }
        None => "is not a variable of a route".to_owned(),
    })
}

fn is_known(name: &str) -> bool {
    names().any(|(known, suffix)| is_made_of(name, known, suffix))
}

fn is_made_of(name: &str, stem: &str, suffix: &str) -> bool {
    name.strip_prefix(stem).is_some_and(|rest| rest == suffix)
}

/// The known name that a set, unknown name was probably meant to be: one edit away, and not set itself.
fn meant(name: &str, is_set: impl Fn(&str) -> bool) -> Option<String> {
    if name.chars().count() < LONG_ENOUGH {
        return None;
    }
    names().map(|(known, suffix)| format!("{known}{suffix}")).find(|known| one_edit(name, known) && !is_set(known))
}

/// Every known name, as a stem and a suffix; `_FILE` names of secrets too.
fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
    with_files(VARIABLES.iter().map(|v| (v.name, v.is_secret())))
}

/// The same behind `ROUTE_<NAME>_`.
fn names_of_routes() -> impl Iterator<Item = (&'static str, &'static str)> {
    with_files(of_routes().map(|v| (v.stem(), v.is_secret())))
}

fn with_files(names: impl Iterator<Item = (&'static str, bool)>) -> impl Iterator<Item = (&'static str, &'static str)> {
    names.flat_map(|(name, secret)| {
        let file = secret.then_some((name, "_FILE"));
        std::iter::once((name, "")).chain(file)
    })
}

/// Whether one letter inserted, deleted or replaced, or two neighbours swapped, makes `b` of `a`.
fn one_edit(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let start = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[start..], &b[start..]);
    let end = a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[..a.len() - end], &b[..b.len() - end]);
    match (a, b) {
        ([_], [] | [_]) | ([], [_]) => true,
        ([a1, a2], [b1, b2]) => a1 == b2 && a2 == b1,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_edit_is_an_insertion_a_deletion_a_substitution_or_a_swap() {
        for name in ["LISTEN_PRT", "LISTEN_PORTT", "LISTEN_PART", "LISTNE_PORT", "LLISTEN_PORT", "ISTEN_PORT"] {
            assert!(one_edit(name, "LISTEN_PORT"), "{name}");
        }
        for name in ["LISTEN_PORT", "LISTEN_PO", "LISTEN_PORTSS", "TISLEN_PORT", "NETSIL_PORT", "", "PORT_LISTEN"] {
            assert!(!one_edit(name, "LISTEN_PORT"), "{name}");
        }
        assert!(one_edit("AABB", "AAB") && one_edit("AAB", "AABB") && !one_edit("AAA", "AAA"));
    }

    #[test]
    fn a_name_that_is_almost_one_of_ours_was_probably_meant_to_be_it() {
        let nothing_set = |_: &str| false;
        for (name, known) in [
            ("UPSTREAM_BASE_URI", Some("UPSTREAM_BASE_URL")),
            ("UPSTREAM_API_KEY_FIL", Some("UPSTREAM_API_KEY_FILE")),
            ("TLS_CERTFILE", Some("TLS_CERT_FILE")),
            ("REDIS_URL_FLIE", Some("REDIS_URL_FILE")),
            ("LOGLEVEL", Some("LOG_LEVEL")),
            ("TIMELIN", None),
            ("PATH", None),
            ("HOSTNAME", None),
        ] {
            assert_eq!(meant(name, nothing_set).as_deref(), known, "{name}");
        }
        assert_eq!(reason("LOGLEVEL", nothing_set).as_deref(), Some("is not a variable, did you mean LOG_LEVEL?"));
        assert_eq!(meant("UPSTREAM_BASE_URI", |known| known == "UPSTREAM_BASE_URL"), None);
    }

    #[test]
    fn no_known_name_is_a_typo_of_another_when_both_are_meant() {
        for (stem, suffix) in names() {
            assert!(is_known(&format!("{stem}{suffix}")));
        }
        assert!(!is_known("UPSTREAM_BASE_URL_FILE") && !is_known("PATH") && !is_known("") && !is_known("listen_port"));
    }

    #[test]
    fn names_of_routes_are_told_apart() {
        let reason = |name: &str| reason(name, |known| known == "ROUTE_B_PREFIX");
        for name in [
            "ROUTE_A_PREFIX",
            "ROUTE_A1_UPSTREAM_BASE_URL",
            "ROUTE_a_UPSTREAM_API_KEY_FILE",
            "ROUTE_A_LANE",
            "ROUTE_A_QUEUE_PATHS",
            "ROUTE_A",
            "ROUTE_",
            "ROUTE_A_",
            "ROUTE_PREFIX",
            "MY_ROUTE_A_PREFIX",
        ] {
            assert_eq!(reason(name), None, "{name}");
        }
        for name in [
            "ROUTE_A_LISTEN_PORT",
            "ROUTE_A_DNS_CACHE_SECONDS",
            "ROUTE_A_STORE",
            "ROUTE_A_REDIS_URL_FILE",
            "ROUTE_A_TRUSTED_PROXIES",
            "ROUTE_A_TLS_KEY_FILE",
        ] {
            assert_eq!(reason(name).as_deref(), Some("cannot be set for one route"), "{name}");
        }
        for (name, part) in [
            ("ROUTE_A_FOO", "is not a variable of a route"),
            ("ROUTE_A_UPSTREAM_CA_FILE_FILE", "is not a variable of a route"),
            ("ROUTE_B_PREFX", "is not a variable of a route"),
            ("ROUTE_A_PREFX", "is not a variable of a route, did you mean ROUTE_A_PREFIX?"),
            ("ROUTE_A_LANES", "is not a variable of a route, did you mean ROUTE_A_LANE?"),
            ("ROUTE_A_OUTBOUND_PROXY_FIEL", "is not a variable of a route, did you mean ROUTE_A_OUTBOUND_PROXY_FILE?"),
            ("ROUTE_MY_API_LANE", "is not a variable of a route, whose name is of letters and digits, without _"),
            ("ROUTE__PREFIX", "has no name of a route between ROUTE_ and _: letters and digits"),
            ("ROUTE_A-B_PREFIX", "has no name of a route between ROUTE_ and _: letters and digits"),
        ] {
            assert_eq!(reason(name).as_deref(), Some(part), "{name}");
        }
    }
}
