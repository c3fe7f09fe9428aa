//! The table of variables as documents: `.env.example`, and the tables of the README. Tests compare them with the files.

use super::declare::{Section, VARIABLES, Variable};

/// The text of `.env.example`: every variable with its help and its default, commented out, but for the one that is
/// required.
pub fn env_example() -> String {
    let mut lines = vec![
        "# forebay reads its configuration from the environment. This is all of it, with the defaults.".to_owned(),
        "# Times are seconds, or carry a unit (250ms, 30s, 5m, 1h30m); sizes are bytes, or carry one (64KiB, 32MiB)."
            .to_owned(),
        "# Empty means unset. `forebay check` shows what is in force.".to_owned(),
    ];
    for section in Section::ALL {
        lines.extend([String::new(), format!("# --- {section} ---")]);
        if section == Section::Routes {
            lines.push("#".to_owned());
            lines.extend(about_routes().lines().map(|line| format!("# {line}").trim_end().to_owned()));
            lines.push("#".to_owned());
            lines.extend(ROUTES_EXAMPLE.lines().map(|line| format!("# {line}")));
            continue;
        }
        for variable in section.variables() {
            lines.extend(["#".to_owned(), format!("# {}", variable.help)]);
            if let Some(words) = variable.default_in_words {
                lines.push(format!("# default: {words}"));
            }
            lines.push(assignment(variable));
        }
    }
    lines.join("\n") + "\n"
}

/// What routes are. No line is wider than 115 columns.
fn about_routes() -> String {
    let sections: Vec<String> = Section::OF_ROUTES.iter().map(ToString::to_string).collect();
    let process_wide = VARIABLES.iter().filter(|v| v.process).map(|v| v.name);
    let process_wide: Vec<_> = process_wide.collect();
    format!(
        "Further upstreams, each below a path prefix. <NAME> is made of letters and digits. The longest prefix that matches\n\
         wins, and is stripped from the path. ROUTE_<NAME>_PREFIX and ROUTE_<NAME>_UPSTREAM_BASE_URL make a route; every\n\
         variable of the sections {}\n\
         (but {}) can be set for it\n\
         as ROUTE_<NAME>_<VARIABLE>. What is not set falls back to the global value: the UPSTREAM_API_KEY ones, and an\n\
         OUTBOUND_PROXY that is a URL, only where the route's scheme, host and port are those of UPSTREAM_BASE_URL. With\n\
         routes, UPSTREAM_BASE_URL is the route / if it is set.\n",
        sections.join(", "),
        process_wide.join(", "),
    )
}

const ROUTES_EXAMPLE: &str = "\
ROUTE_FILES_PREFIX=/files
ROUTE_FILES_UPSTREAM_BASE_URL=http://storage:9000/bucket
ROUTE_FILES_LANE=stream
";

fn assignment(variable: &Variable) -> String {
    let name = variable.name;
    if variable.is_required() {
        return format!("{name}={}", variable.example);
    }
    match variable.default {
        // Blanks survive only in quotes.
        default if default.contains(' ') => format!("# {name}=\"{default}\""),
        default => format!("# {name}={default}"),
    }
}

/// The tables of the README, one for each section: name, default, meaning.
pub fn readme_table() -> String {
    let mut lines = Vec::new();
    for section in Section::ALL {
        lines.extend([format!("### {section}"), String::new()]);
        if section == Section::Routes {
            lines.extend([about_in_markdown(), format!("```sh\n{ROUTES_EXAMPLE}```"), String::new()]);
        }
        lines.extend(["| name | default | meaning |".to_owned(), "|---|---|---|".to_owned()]);
        lines.extend(section.variables().map(row));
        lines.push(String::new());
    }
    lines.pop();
    lines.join("\n") + "\n"
}

/// The same with names as code.
fn about_in_markdown() -> String {
    let is_name =
        |word: &str| word.contains('_') && word.bytes().all(|b| b.is_ascii_uppercase() || b"_<>".contains(&b));
    let about = about_routes();
    let mut text = String::new();
    for word in about.split_inclusive([' ', '\n', ',', '.', ')', ':']) {
        let end = word.trim_end_matches([' ', '\n', ',', '.', ')', ':']).len();
        let (bare, rest) = word.split_at(end);
        if is_name(bare) || bare == "<NAME>" {
            text.extend(["`", bare, "`", rest]);
        } else {
            text.push_str(word);
        }
    }
    text
}

fn row(variable: &Variable) -> String {
    let name =
        if variable.is_secret() { format!("`{0}`, `{0}_FILE`", variable.name) } else { format!("`{}`", variable.name) };
    let default = match variable.default_in_words {
        Some(words) => words.to_owned(),
        None if variable.default.is_empty() => variable.shown_default().to_owned(),
        None => format!("`{}`", variable.default),
    };
    // What looks like a tag would be taken for one.
    let meaning = variable.help.replace('|', "\\|").replace('<', "&lt;");
    format!("| {name} | {default} | {meaning} |")
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::super::Settings;
    use super::*;

    #[test]
    fn the_example_file_is_a_configuration_that_starts_and_changes_nothing() {
        let read = |commented: bool| {
            let text = env_example();
            let lines = text.lines().filter_map(|line| line.strip_prefix("# ").filter(|_| commented).or(Some(line)));
            let vars: Vec<(OsString, OsString)> = lines
                .filter_map(|line| line.split_once('='))
                .filter(|(name, _)| VARIABLES.iter().any(|v| v.name == *name))
                .map(|(name, value)| (name.into(), value.trim_matches('"').into()))
                .collect();
            assert_eq!(vars.len(), if commented { VARIABLES.len() } else { 1 });
            let missing = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
            Settings::resolve(vars, &missing).unwrap()
        };
        let (as_is, all_set) = (read(false), read(true));
        assert_eq!(as_is.listen, all_set.listen);
        assert_eq!(as_is.routes[0].transport.idle, all_set.routes[0].transport.idle);
        assert_eq!(as_is.routes[0].policy.backoff, all_set.routes[0].policy.backoff);
        assert_eq!(as_is.routes[0].policy.whole_answer_deadline, all_set.routes[0].policy.whole_answer_deadline);
        assert_eq!(as_is.max_buffered, all_set.max_buffered);
        assert_eq!(as_is.warnings, [""; 0]);
    }

    #[test]
    fn what_routes_are_names_every_section_that_they_have_and_fits_a_screen() {
        let about = about_routes();
        for variable in VARIABLES.iter().filter(|v| v.per_route()) {
            assert!(about.contains(&variable.section.to_string()), "{}", variable.name);
        }
        assert!(about.lines().all(|line| line.chars().count() <= 115), "{about}");
    }

    #[test]
    fn every_variable_is_a_row_of_the_readme() {
        let table = readme_table();
        for variable in VARIABLES {
            assert_eq!(table.matches(&format!("| `{}`", variable.name)).count(), 1, "{}", variable.name);
        }
        assert!(table.lines().filter(|l| l.starts_with('|')).all(|l| l.matches('|').count() == 4));
    }
}
