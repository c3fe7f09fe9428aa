//! From text to meaning. Pure; an error is the end of a sentence that begins with the variable's name.

mod address;
mod field;
mod log;
mod quantity;

pub(super) use address::{bind_host, hosts, origins, path_or_off};
pub(super) use field::{header_name, header_value, source, status_or_off};
pub(super) use log::filter;
pub(super) use quantity::{count, duration, duration_or_zero, port, port_or_off, size};

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

/// The entries of a comma-separated list, trimmed; empty ones are dropped. Commas inside `{}`, `[]`, `()` do not split.
pub(super) fn list(text: &str) -> Vec<&str> {
    let mut depth = 0_u32;
    text.split(|c| {
        match c {
            '{' | '[' | '(' => depth += 1,
            '}' | ']' | ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
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
    fn commas_inside_brackets_do_not_split_a_list() {
        for (text, entries) in [
            ("", vec![]),
            (" , ,", vec![]),
            ("a, b ,c,", vec!["a", "b", "c"]),
            ("^/a{1,2},[x,y](z,(1,2)),b", vec!["^/a{1,2}", "[x,y](z,(1,2))", "b"]),
            ("a),b", vec!["a)", "b"]),
            ("(a,b", vec!["(a,b"]),
        ] {
            assert_eq!(list(text), entries, "{text}");
        }
    }
}
