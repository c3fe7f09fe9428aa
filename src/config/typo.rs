//! Names that are almost one of ours.

use super::declare::{VARIABLES, Variable};
use super::not_yet::{NOT_YET, PROCESS_WIDE};

/// Shorter names are too often somebody else's.
const LONG_ENOUGH: usize = 8;

/// Whether a name is one of the contract's, in this version or not; `_FILE` names of secrets too.
pub(super) fn is_known(name: &str) -> bool {
    names().any(|(known, suffix)| name.strip_prefix(known).is_some_and(|rest| rest == suffix))
}

/// The known name that a set, unknown name was probably meant to be: one edit away, and not set itself.
pub(super) fn meant(name: &str, is_set: impl Fn(&str) -> bool) -> Option<String> {
    if name.chars().count() < LONG_ENOUGH {
        return None;
    }
    names().map(|(known, suffix)| format!("{known}{suffix}")).find(|known| one_edit(name, known) && !is_set(known))
}

/// What is wrong with a name `ROUTE_<NAME>_<X>`; none if it has another shape.
pub(super) fn route(name: &str) -> Option<&'static str> {
    let (route, variable) = name.strip_prefix("ROUTE_")?.split_once('_')?;
    if route.is_empty() || variable.is_empty() || !route.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    Some(if variable == "PREFIX" || is_of_a_route(variable) {
        "routes are not available in this version"
    } else if is_known(variable) {
        "cannot be set for one route (and routes are not available in this version)"
    } else {
        "no variable of a route has this name"
    })
}

fn is_of_a_route(name: &str) -> bool {
    let name = name.strip_suffix("_FILE").filter(|bare| is_known(bare) && is_known(name)).unwrap_or(name);
    let declared = VARIABLES.iter().find(|v| v.name == name).copied();
    declared.map_or_else(|| is_known(name) && !PROCESS_WIDE.contains(&name), Variable::per_route)
}

/// Every known name, as a stem and a suffix.
fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
    let built = VARIABLES.iter().map(|v| (v.name, v.is_secret()));
    let not_yet = NOT_YET.iter().map(|v| (v.name, v.secret));
    built.chain(not_yet).flat_map(|(name, secret)| {
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
        for name in ["ROUTE_A_PREFIX", "ROUTE_A1_UPSTREAM_BASE_URL", "ROUTE_a_UPSTREAM_API_KEY_FILE", "ROUTE_A_LANE"] {
            assert_eq!(route(name), Some("routes are not available in this version"), "{name}");
        }
        for name in ["ROUTE_A_LISTEN_PORT", "ROUTE_A_DNS_CACHE_SECONDS", "ROUTE_A_STORE", "ROUTE_A_REDIS_URL_FILE"] {
            assert!(route(name).is_some_and(|r| r.starts_with("cannot be set for one route")), "{name}");
        }
        for name in ["ROUTE_A_PREFX", "ROUTE_A_FOO", "ROUTE_A_UPSTREAM_CA_FILE_FILE"] {
            assert_eq!(route(name), Some("no variable of a route has this name"), "{name}");
        }
        for name in ["ROUTE_A", "ROUTE_", "ROUTE__PREFIX", "ROUTE_A_", "MY_ROUTE_A_PREFIX", "ROUTE_A-B_PREFIX"] {
            assert_eq!(route(name), None, "{name}");
        }
    }
}
