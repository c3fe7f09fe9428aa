//! From text to meaning. Pure; an error is the end of a sentence that begins with the variable's name.

mod address;
mod field;
mod log;
mod path;
mod quantity;
mod store;

pub(super) use address::{bind_host, hosts, networks, origins};
pub(super) use field::{credential, header_name, header_names, header_value, source, status_or_off, statuses};
pub(super) use log::filter;
pub(super) use path::{path_or_off, patterns, prefix, prefix_below_root};
pub(super) use quantity::{count, duration, duration_or_zero, port, port_or_off, size};
pub(super) use store::{folder, key_prefix, queue_name, redis_url, roles};

/// What a parser makes of a text.
pub(super) type Parsed<T> = Result<T, String>;

/// `true/false`, `1/0`, `yes/no`, `on/off`, in any case.
pub(super) fn boolean(text: &str) -> Parsed<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("must be true or false".into()),
    }
}

/// One of some words, in any case.
pub(super) fn choice<T: Copy>(text: &str, words: &[(&str, T)]) -> Parsed<T> {
    let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
    found.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        format!("must be {}", words.join(" or "))
    })
}

/// The same, where some words have a meaning only in later versions.
pub(super) fn choice_for_now<T: Copy>(text: &str, words: &[(&str, T)], later: &[&str]) -> Parsed<T> {
    choice(text, words).map_err(|reason| {
        let is_of_later = later.iter().any(|word| word.eq_ignore_ascii_case(text));
        if is_of_later { format!("is not available in this version: {reason}") } else { reason }
    })
}

/// The entries of a comma-separated list, trimmed; empty ones are dropped. Commas inside `{}`, `[]`, `()` do not split,
/// nor does one behind a backslash. Brackets behind a backslash, and others inside `[]`, are no brackets: an entry may be
/// a regular expression.
pub(super) fn list(text: &str) -> Vec<&str> {
    let (mut depth, mut class, mut escaped) = (0_u32, 0_u32, false);
    text.split(|c| {
        if escaped {
            escaped = false;
            return false;
        }
        match c {
            '\\' => escaped = true,
            '[' => class += 1,
            ']' => class = class.saturating_sub(1),
            '{' | '(' if class == 0 => depth += 1,
            '}' | ')' if class == 0 => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0 && class == 0
    })
    .map(str::trim)
    .filter(|entry| !entry.is_empty())
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_taken_in_any_case() {
        for text in ["true", "TRUE", "1", "yes", "On"] {
            assert_eq!(boolean(text), Ok(true), "{text}");
        }
        for text in ["false", "0", "NO", "off"] {
            assert_eq!(boolean(text), Ok(false), "{text}");
        }
        for text in ["", "2", "y", "enabled", " true"] {
            assert!(boolean(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_choice_names_what_can_be_chosen() {
        let words = [("all", 1), ("safe", 2)];
        assert_eq!(choice("SAFE", &words), Ok(2));
        assert_eq!(choice("some", &words), Err("must be all or safe".into()));
    }

    #[test]
    fn what_can_be_chosen_later_is_refused_as_such() {
        let words = [("race", 1), ("stream", 2)];
        assert_eq!(choice_for_now("Race", &words, &["relay"]), Ok(1));
        assert_eq!(choice_for_now("x", &words, &["relay"]), Err("must be race or stream".into()));
        let later = choice_for_now("Relay", &words, &["relay"]);
        assert_eq!(later, Err("is not available in this version: must be race or stream".into()));
    }

    #[test]
    fn commas_inside_brackets_do_not_split_a_list() {
        for (text, entries) in [
            ("", vec![]),
            (" , ,", vec![]),
            ("a, b ,c,", vec!["a", "b", "c"]),
            ("^/a{1,2},[x,y](z,(1,2)),b", vec!["^/a{1,2}", "[x,y](z,(1,2))", "b"]),
            ("a),b", vec!["a)", "b"]),
            ("(a,b", vec!["(a,b"]),
            (r"^/a\(,^/b\,c,d", vec![r"^/a\(", r"^/b\,c", "d"]),
            ("[(],[^)],x", vec!["[(]", "[^)]", "x"]),
        ] {
            assert_eq!(list(text), entries, "{text}");
        }
    }
}
