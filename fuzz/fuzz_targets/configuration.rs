//! Any environment: it is accepted or refused in words, and neither says a secret.
//!
//! An input is one entry a line: `NAME=value`, or a single byte for the name, which picks one from the table.

#![no_main]

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use forebay::config::{Problem, Settings, VARIABLES, policy_in_words, render_problems, report};
use libfuzzer_sys::fuzz_target;

const SECRET: &str = "9fK2vXq7Lw3Zr8Tn5Yb1";
/// What must never be seen, the secrets of later versions among it. Not taken from the table, which may be wrong.
const SECRETS: [&str; 4] = ["UPSTREAM_API_KEY", "ADMIN_TOKEN", "REDIS_URL", "OUTBOUND_PROXY"];
/// What may be seen but for a password in it.
const URLS: [&str; 2] = ["UPSTREAM_BASE_URL", "ALLOWED_ORIGINS"];

fuzz_target!(|data: &[u8]| {
    let environment: Vec<(OsString, OsString)> = data.split(|byte| *byte == b'\n').map(entry).collect();
    match Settings::from_env(environment.iter().cloned()) {
        Ok(settings) => accepted(&settings),
        Err(problems) => refused(&environment, &problems),
    }
});

fn entry(line: &[u8]) -> (OsString, OsString) {
    let (name, value) = line.split_at(line.iter().position(|byte| *byte == b'=').unwrap_or(line.len()));
    let name = match name {
        [index] => VARIABLES[usize::from(*index) % VARIABLES.len()].name.as_bytes().to_vec(),
        name => name.to_vec(),
    };
    let value = value_for(&String::from_utf8_lossy(&name), value.get(1..).unwrap_or_default());
    (OsString::from_vec(name), OsString::from_vec(value))
}

fn value_for(name: &str, value: &[u8]) -> Vec<u8> {
    if name.ends_with("_FILE") {
        // No file of this machine is read: some never end.
        value.iter().map(|byte| if *byte == b'/' { b'_' } else { *byte }).collect()
    } else if SECRETS.contains(&name) {
        [value, SECRET.as_bytes()].concat()
    } else if URLS.contains(&name) {
        with_password(value)
    } else {
        value.to_vec()
    }
}

/// A password in place of a byte 1 that stands in front of the host. Behind it, the same characters are a path.
fn with_password(value: &[u8]) -> Vec<u8> {
    let host = value.windows(3).position(|window| window == b"://").map_or(value.len(), |at| at + 3);
    match value.split_at(host) {
        (scheme, [1, rest @ ..]) => [scheme, b"u:", SECRET.as_bytes(), b"@", rest].concat(),
        _ => value.to_vec(),
    }
}

fn refused(environment: &[(OsString, OsString)], problems: &[Problem]) {
    assert!(!problems.is_empty(), "refused without a reason");
    for problem in problems {
        let text = problem.to_string();
        let was_set = environment.iter().any(|(name, _)| name.to_str() == Some(&problem.name));
        let is_declared = VARIABLES.iter().any(|variable| variable.name == problem.name);
        assert!(was_set || is_declared, "a problem with something else: {text:?}");
        assert!(text.starts_with(&problem.name.escape_debug().to_string()), "{text:?}");
    }
    let text = render_problems(problems);
    assert!(!text.contains(SECRET), "a secret in {text:?}");
    assert_eq!(text.lines().count(), problems.len() + 1, "not a line for each: {text:?}");
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "a control character in {text:?}");
}

fn accepted(settings: &Settings) {
    let text = format!("{}{}", report(settings), policy_in_words(&settings.routes[0].policy));
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "a control character in {text:?}");
    for text in [text, format!("{settings:?}")] {
        assert!(!text.contains(SECRET), "a secret in {text:?}");
    }

    // What is shown can be set, and means the same.
    let shown: Vec<(OsString, OsString)> = settings
        .effective
        .iter()
        .filter(|effective| effective.name.ends_with("_SECONDS") || effective.name.ends_with("_BYTES"))
        .map(|effective| match effective.shown.as_str() {
            "off" | "none" => (effective.name.as_str().into(), "0".into()),
            shown => (effective.name.as_str().into(), shown.into()),
        })
        .chain([("UPSTREAM_BASE_URL".into(), "https://api.example".into())])
        .collect();
    let again = Settings::from_env(shown).unwrap_or_else(|problems| panic!("{}", render_problems(&problems)));
    assert_eq!(again.routes[0].policy.header_deadline, settings.routes[0].policy.header_deadline);
    assert_eq!(again.routes[0].policy.whole_answer_deadline, settings.routes[0].policy.whole_answer_deadline);
    assert_eq!(again.routes[0].policy.backoff, settings.routes[0].policy.backoff);
    assert_eq!(times(&again), times(settings));
    assert_eq!(sizes(&again), sizes(settings));
}

fn times(settings: &Settings) -> impl PartialEq + std::fmt::Debug {
    let (edge, transport) = (&settings.edge, &settings.routes[0].transport);
    let timeouts = settings.routes[0].policy.timeouts;
    (
        [edge.header_timeout, edge.body_timeout, edge.write_timeout, edge.idle],
        [timeouts.connect, timeouts.write, timeouts.pool, transport.idle],
        (settings.routes[0].stream_idle, settings.dns_cache, settings.shutdown_timeout),
    )
}

fn sizes(settings: &Settings) -> impl PartialEq + std::fmt::Debug {
    (settings.edge.max_header_bytes, settings.routes[0].max_request_body, settings.max_buffered)
}
