//! Where the store is, and who works on it.

use std::path::PathBuf;

use super::{Parsed, choice, list};
use crate::queue::Roles;
use crate::store::redis::RedisUrl;

/// It stands in every key.
const LONGEST_QUEUE_NAME: usize = 64;
const LONGEST_KEY_PREFIX: usize = 64;

/// The URL of a Redis, which the store can read. An error never contains any of it.
pub(in crate::config) fn redis_url(text: &str) -> Parsed<String> {
    let url = text.trim();
    RedisUrl::parse(url)?;
    Ok(url.to_owned())
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
    fn the_url_of_a_redis_is_one_that_the_store_reads() {
        for url in [
            "redis://cache:6379/3",
            "rediss://user:p%40ss@cache.example",
            "redis+sentinel://a:26379,b/main/0",
            "rediss+cluster://a,b:7001",
        ] {
            assert_eq!(redis_url(&format!(" {url}\r\n")), Ok(url.to_owned()));
        }
        for url in ["", "hidden", "http://hidden", "redis://", "redis://u:hidden@", "redis+sentinel://a,,hidden/main"] {
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
        fn no_text_makes_a_parser_panic(text in any::<String>()) {
            let _ = (queue_name(&text), key_prefix(&text), folder(&text), roles(&text), redis_url(&text));
        }
    }
}
