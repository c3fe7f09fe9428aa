//! Paths, prefixes of them, and lists of patterns for them.

use http::uri::PathAndQuery;
use regex::{Regex, RegexSet};

use super::{Parsed, list};
use crate::routes::Prefix;
use crate::upstream::has_dot_segment;

/// A path as clients send it, or `off`.
pub(in crate::config) fn path_or_off(text: &str) -> Parsed<Option<String>> {
    if text.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    if !text.starts_with('/') {
        return Err("must be a path that begins with /, or off".into());
    }
    path(text)?;
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("must be a path as it is sent, with anything but visible ASCII percent-encoded".into());
    }
    Ok(Some(text.to_owned()))
}

/// The prefix of a route.
pub(in crate::config) fn prefix(text: &str) -> Parsed<Prefix> {
    if !text.starts_with('/') {
        return Err("must be a path that begins with /".into());
    }
    path(text)?;
    // What http refuses never arrives, and what it drops would not be seen.
    if PathAndQuery::try_from(text).ok().is_none_or(|path| path.as_str() != text) {
        return Err("must be a path as it is sent, with what cannot stand in a URL percent-encoded".into());
    }
    if has_dot_segment(text) {
        return Err("must not contain a dot segment".into());
    }
    Ok(Prefix::new(text))
}

/// The same, for what cannot be everything.
pub(in crate::config) fn prefix_below_root(text: &str) -> Parsed<Prefix> {
    let prefix = prefix(text)?;
    if prefix.is_root() { Err("must be a path other than /".into()) } else { Ok(prefix) }
}

fn path(text: &str) -> Parsed<()> {
    if text.contains(['?', '#']) { Err("must be a path without query and fragment".into()) } else { Ok(()) }
}

/// A list of regular expressions.
pub(in crate::config) fn patterns(text: &str) -> Parsed<RegexSet> {
    let patterns = list(text);
    for (i, pattern) in patterns.iter().enumerate() {
        Regex::new(pattern).map_err(|error| {
            format!("must be a list of regular expressions, and number {} is none: {}", i + 1, in_words(&error))
        })?;
    }
    RegexSet::new(patterns).map_err(|error| in_words(&error))
}

/// What is wrong with a pattern, in one line. The parser's own text shows the pattern and points into it.
fn in_words(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => "it is too large".to_owned(),
        error => {
            let text = error.to_string();
            let last = text.lines().rev().find_map(|line| line.strip_prefix("error: "));
            last.unwrap_or("it cannot be parsed").to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_health_path_is_a_path_or_off() {
        assert_eq!(path_or_off("/healthz"), Ok(Some("/healthz".into())));
        assert_eq!(path_or_off("OFF"), Ok(None));
        for text in ["", "healthz", "/a?b", "/a#b", "/a b", "/é", "/\n", "none"] {
            assert!(path_or_off(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_prefix_is_a_path_that_a_request_can_have() {
        for (text, shown) in
            [("/", "/"), ("/api", "/api"), ("/api/", "/api"), ("/a//b", "/a//b"), ("/%C3%A9", "/%C3%A9")]
        {
            assert_eq!(prefix(text).map(|prefix| prefix.to_string()), Ok(shown.into()), "{text}");
        }
        for text in ["", "api", "*", "http://x/", "/a?b", "/a#b", "/a b", "/a\n", "/a<b>", "/a/../b", "/%2e/x", "/a`"] {
            assert!(prefix(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_path_for_something_of_ours_leaves_room_for_others() {
        for (text, shown) in [("/__jobs", "/__jobs"), ("/a/jobs/", "/a/jobs")] {
            assert_eq!(prefix_below_root(text).map(|prefix| prefix.to_string()), Ok(shown.into()), "{text}");
        }
        for text in ["/", "//", "jobs", "", "/a?b", "/a/../b", "off"] {
            assert!(prefix_below_root(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn patterns_are_unanchored_regular_expressions() {
        let set = patterns("^/v1/(files|upload), \\.bin$ ,/a{2,3}/").unwrap();
        assert_eq!(set.len(), 3);
        assert!(set.is_match("/v1/files/7") && set.is_match("/x.bin") && set.is_match("/b/aaa/"));
        assert!(!set.is_match("/x/v1/files") && !set.is_match("/x.bin.txt"));
        assert!(patterns("").unwrap().is_empty());
    }

    #[test]
    fn a_bad_pattern_is_named_by_its_place_in_one_line() {
        for (text, reason) in [
            ("^/a,(b", "must be a list of regular expressions, and number 2 is none: unclosed group"),
            ("a\n(?z)\nb", "number 1 is none: unrecognized flag"),
            ("(?=a)", "number 1 is none: look-around"),
            ("(\\w{200}){200}", "number 1 is none: it is too large"),
        ] {
            let error = patterns(text).unwrap_err();
            assert!(error.contains(reason) && !error.contains('\n'), "{text:?}: {error}");
        }
    }
}
