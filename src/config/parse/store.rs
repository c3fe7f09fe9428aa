//! Where the store is, and who works on it.

use std::path::PathBuf;

use super::{Parsed, choice, list};
use crate::queue::Roles;

/// How the URL of a Redis begins: a server, Sentinels, a Cluster, each with TLS or without.
const SCHEMES: [&str; 6] = ["redis", "rediss", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"];
/// It stands in every key.
const LONGEST_QUEUE_NAME: usize = 64;
const LONGEST_KEY_PREFIX: usize = 64;

/// The URL of a Redis. What it says is the store's to understand; here it has a scheme and hosts. An error never contains
/// any of it.
pub(in crate::config) fn redis_url(text: &str) -> Parsed<String> {
    let url = text.trim();
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    if !SCHEMES.iter().any(|known| known.eq_ignore_ascii_case(scheme)) {
        let known: Vec<String> = SCHEMES.iter().map(|scheme| format!("{scheme}://")).collect();
        return Err(format!("must begin with {}", known.join(" or ")));
    }
    if !url.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("must have anything but visible ASCII percent-encoded".into());
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let hosts = authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts);
    if hosts.split(',').all(is_host) {
        Ok(url.to_owned())
    } else {
        Err("must name a host, or several separated by commas, each with a port where it is not the usual one".into())
    }
}

/// `host` or `host:port`.
fn is_host(text: &str) -> bool {
    let authority = text.parse::<http::uri::Authority>();
    authority.is_ok_and(|authority| {
        let host = authority.host();
        !host.is_empty() && (authority.port_u16().is_some_and(|port| port > 0) || host.len() == text.len())
    })
}

/// The name of a queue.
pub(in crate::config) fn queue_name(text: &str) -> Parsed<String> {
    let is_a_name = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if is_a_name && (1..=LONGEST_QUEUE_NAME).contains(&text.len()) {
        return Ok(text.to_owned());
    }
    Err(format!("must be of letters, digits, -, _ and ., at most {LONGEST_QUEUE_NAME} of them"))
}

/// How every key begins. Braces would decide about the place of a key in a Cluster.
pub(in crate::config) fn key_prefix(text: &str) -> Parsed<String> {
    let can_be_a_key = text.bytes().all(|b| b.is_ascii_graphic() && !b"{}".contains(&b));
    if can_be_a_key && (1..=LONGEST_KEY_PREFIX).contains(&text.len()) {
        return Ok(text.to_owned());
    }
    Err(format!("must be of visible ASCII without braces, at most {LONGEST_KEY_PREFIX} characters"))
}

/// A folder, which need not be there yet.
pub(in crate::config) fn folder(text: &str) -> Parsed<PathBuf> {
    if text.is_empty() || text.contains(char::is_control) {
        return Err("must be the path of a folder, without control characters".into());
    }
    Ok(PathBuf::from(text))
}

/// What a process does: one of two things, or both.
pub(in crate::config) fn roles(text: &str) -> Parsed<Roles> {
    let (front, worker) = (Roles { front: true, worker: false }, Roles { front: false, worker: true });
    let named: Result<Vec<Roles>, String> =
        list(text).into_iter().map(|entry| choice(entry, &[("front", front), ("worker", worker)])).collect();
    let together = named.ok().and_then(|named| {
        named.into_iter().reduce(|a, b| Roles { front: a.front || b.front, worker: a.worker || b.worker })
    });
    together.ok_or_else(|| "must be front, worker, or both, separated by a comma".into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_url_of_a_redis_is_that_of_a_server_of_sentinels_or_of_a_cluster() {
        for url in [
            "redis://127.0.0.1",
            "redis://cache:6379/3",
            "REDIS://cache",
            "rediss://user:p%40ss@cache.example:6380/0?protocol=resp3",
            "redis://:password@[::1]:6379",
            "redis+sentinel://a:26379,b:26379,[::1]/main/0",
            "rediss+sentinel://user:p,w@a,b:26379/main",
            "redis+cluster://a:7000,b:7001",
            "rediss+cluster://a",
        ] {
            assert_eq!(redis_url(url), Ok(url.to_owned()), "{url}");
        }
        assert_eq!(redis_url(" redis://a\r\n"), Ok("redis://a".into()));
    }

    #[test]
    fn what_is_no_url_of_a_redis_is_refused_without_a_word_of_it() {
        for url in [
            "",
            "hidden",
            "hidden:6379",
            "http://hidden",
            "redis-sentinel://hidden",
            "unix:///hidden",
            "redis:hidden",
            "redis://",
            "redis://:6379",
            "redis:///hidden",
            "redis://user:hidden@",
            "redis://hidden:99999",
            "redis://hidden:0",
            "redis://hidden:port",
            "redis://hid den",
            "redis://hidden\u{7f}",
            "redis://é.hidden",
            "redis://a,,hidden",
            "redis+sentinel://hidden,/main",
        ] {
            let error = redis_url(url).unwrap_err();
            assert!(!error.contains("hidden"), "{url}: {error}");
        }
    }

    #[test]
    fn a_queue_has_a_name_that_can_stand_in_a_key() {
        for name in ["default", "a", "reports-2_b.c", &"x".repeat(64)] {
            assert_eq!(queue_name(name), Ok(name.to_owned()));
        }
        for name in ["", "a b", "a:b", "{a}", "é", "a/b", &"x".repeat(65)] {
            assert!(queue_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn keys_begin_with_anything_that_leaves_their_place_in_a_cluster_alone() {
        for prefix in ["forebay:", "a", "team/app*?[1]:"] {
            assert_eq!(key_prefix(prefix), Ok(prefix.to_owned()));
        }
        for prefix in ["", "a b", "{a}", "a}", "é", "a\n", &"x".repeat(65)] {
            assert!(key_prefix(prefix).is_err(), "{prefix}");
        }
    }

    #[test]
    fn a_process_has_one_role_or_both() {
        let (front, worker) = (Roles { front: true, worker: false }, Roles { front: false, worker: true });
        let both = Roles { front: true, worker: true };
        for (text, expected) in [
            ("front", front),
            ("WORKER", worker),
            ("front,worker", both),
            (" worker , front, ", both),
            ("front,front", front),
        ] {
            assert_eq!(roles(text), Ok(expected), "{text}");
        }
        for text in ["", ",", "back", "front worker", "front,back"] {
            assert!(roles(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_a_parser_panic_and_no_error_repeats_a_url(
            text in any::<String>(),
            rest in "(u:)?Zq7[!-~é ]{0,12}",
            scheme in proptest::sample::select(&SCHEMES[..]),
        ) {
            let _ = (queue_name(&text), key_prefix(&text), folder(&text), roles(&text), redis_url(&text));
            if let Err(error) = redis_url(&format!("{scheme}://{rest}")) {
                prop_assert!(!error.contains("Zq7"), "{}", error);
            }
        }
    }
}
