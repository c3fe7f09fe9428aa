//! Documents that are made from the tables of variables and of metrics agree with them: `UPDATE=1 cargo test --test docs`
//! writes them. So do the files for those who run forebay, which people wrote.

#![allow(clippy::panic, clippy::unwrap_used, reason = "this is how tests fail, helpers of tests too")]

use std::path::PathBuf;

use forebay::{admin, config};

/// What is run from.
const DEPLOYMENT: [&str; 4] =
    ["Dockerfile", "compose.yaml", "deploy/forebay.service", "deploy/kubernetes-sidecar.yaml"];
/// Names in those that are not forebay's: of builds, of compose, of clients, of the system.
const OTHERS: [&str; 14] = [
    "AF_INET",
    "AF_INET6",
    "AF_NETLINK",
    "AF_UNIX",
    "CAP_NET_BIND_SERVICE",
    "CARGO_HOME",
    "CARGO_REGISTRY",
    "FOREBAY_PORT",
    "LISTEN_SERVICE_HOST",
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "PROXY_PORT",
    "RUNTIME_IMAGE",
    "RUST_IMAGE",
];

#[test]
fn the_example_environment_is_what_the_table_says() {
    agrees(".env.example", |_| config::env_example());
}

#[test]
fn the_variables_and_the_metrics_in_the_readme_are_what_their_tables_say() {
    agrees("README.md", |readme| {
        let readme = with_part(readme, "variables", &config::readme_table());
        with_part(&readme, "metrics", &admin::readme_table())
    });
}

#[test]
fn the_readme_names_only_metrics_that_there_are() {
    let readme = read("README.md");
    let words = readme.split(|c: char| !(c.is_ascii_lowercase() || c == '_'));
    let suffixes = ["", "_bucket", "_sum", "_count"];
    let known = |word: &str| {
        admin::METRICS.iter().any(|metric| suffixes.iter().any(|s| word.strip_suffix(s) == Some(metric.name)))
    };
    let unknown: Vec<_> = words.filter(|word| word.starts_with("forebay_") && !known(word)).collect();
    assert!(unknown.is_empty(), "README.md speaks of {unknown:?}");
}

/// The document with this between `<!-- name -->` and `<!-- /name -->`.
fn with_part(document: &str, name: &str, part: &str) -> String {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let (before, rest) = document.split_once(&begin).unwrap_or_else(|| panic!("there is no line <!-- {name} -->"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("<!-- {name} --> has no end"));
    format!("{before}{begin}\n{part}\n{end}{after}")
}

#[test]
fn what_forebay_is_deployed_with_names_only_variables_that_there_are() {
    for name in DEPLOYMENT {
        let text = read(name);
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let names = words.filter(|word| word.contains('_') && !word.contains(|c: char| c.is_ascii_lowercase()));
        let unknown: Vec<_> = names.filter(|word| !known(word)).collect();
        assert!(unknown.is_empty(), "{name} speaks of {unknown:?}");
    }
}

#[test]
fn what_forebay_is_deployed_with_agrees_with_the_defaults() {
    let default = |name| config::VARIABLES.iter().find(|v| v.name == name).unwrap().default;
    let (port, admin) = (default("LISTEN_PORT"), default("ADMIN_PORT"));
    let grace = default("SHUTDOWN_TIMEOUT_SECONDS").parse::<u32>().unwrap() + 10;
    for (name, line) in [
        ("Dockerfile", format!("EXPOSE {port} {admin}")),
        ("Dockerfile", format!("--stop-timeout {grace}")),
        ("compose.yaml", format!("\"127.0.0.1:${{PROXY_PORT:-{port}}}:{port}\"")),
        ("compose.yaml", format!("LISTEN_PORT: \"{port}\"")),
        ("compose.yaml", format!("stop_grace_period: {grace}s")),
        ("deploy/forebay.service", format!("TimeoutStopSec={grace}")),
        ("deploy/kubernetes-sidecar.yaml", format!("containerPort: {admin} ")),
        ("deploy/kubernetes-sidecar.yaml", format!("http://127.0.0.1:{port}/")),
        ("deploy/kubernetes-sidecar.yaml", format!("terminationGracePeriodSeconds: {grace}\n")),
        ("deploy/kubernetes-sidecar.yaml", format!("image: forebay:{}\n", env!("CARGO_PKG_VERSION"))),
    ] {
        assert!(read(name).contains(&line), "{name} does not contain {line:?}");
    }
}

#[test]
fn the_settings_that_the_readme_shows_are_accepted() {
    let readme = read("README.md");
    let blocks = readme.split("```ini\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    for block in blocks {
        let lines = block.lines().filter_map(|line| line.split_once('='));
        // Files that are not here. What they are for is tested where they are read.
        let lines = lines.filter(|(name, _)| !name.ends_with("_FILE"));
        let shown = lines.map(|(name, value)| (name.into(), value.trim_matches('"').into()));
        let upstream = (!block.contains("UPSTREAM_BASE_URL=")).then(|| ("UPSTREAM_BASE_URL".into(), "http://a".into()));
        if let Err(problems) = config::Settings::from_env(shown.chain(upstream)) {
            panic!("{block}{}", config::render_problems(&problems));
        }
    }
}

#[test]
fn the_readme_names_only_variables_that_there_are() {
    // Names of others that it speaks of, and what is left of names with a blank in them (`ROUTE_<NAME>_PREFIX`, `…_FILE`).
    let others = "ALL_PROXY HTTPS_PROXY HTTP_PROXY NO_PROXY ROUTE_ RST_STREAM SHUT_WR SSL_CERT_FILE PIP_ PYTHON_IMAGE \
                  TLS13_AES_256_GCM_SHA384 UPSTREAM_API_KYE";
    let readme = read("README.md");
    let words = readme.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let names = words.filter(|word| word.contains('_') && !word.starts_with('_'));
    let names = names.filter(|word| !word.contains(|c: char| c.is_ascii_lowercase()));
    let unknown: Vec<_> = names
        .filter(|word| !others.split_whitespace().any(|other| other == *word) && !known(of_a_route(word)))
        .collect();
    assert!(unknown.is_empty(), "README.md speaks of {unknown:?}");
}

/// `ROUTE_FILES_OVERSIZE` is `OVERSIZE` of a route.
fn of_a_route(word: &str) -> &str {
    match word.strip_prefix("ROUTE_").and_then(|rest| rest.split_once('_')) {
        Some((_, "PREFIX")) => "UPSTREAM_BASE_URL",
        Some((_, variable)) => variable,
        None => word,
    }
}

/// Whether it is a variable, a secret's file, or one of the names of [`OTHERS`].
fn known(word: &str) -> bool {
    let variable = |name| config::VARIABLES.iter().find(|v| v.name == name);
    let file = || word.strip_suffix("_FILE").and_then(variable).is_some_and(|v| v.is_secret());
    OTHERS.contains(&word) || variable(word).is_some() || file()
}

fn read(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{name} cannot be read: {error}"))
}

fn agrees(name: &str, expected: impl Fn(&str) -> String) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name);
    let update = std::env::var_os("UPDATE").is_some_and(|value| value == "1");
    let on_disk = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(_) if update => String::new(),
        Err(error) => panic!("{name} cannot be read: {error}; write it with: UPDATE=1 cargo test --test docs"),
    };
    let expected = expected(&on_disk);
    if update {
        std::fs::write(&path, &expected).unwrap();
    } else {
        assert!(on_disk == expected, "{name} is out of date; write it with: UPDATE=1 cargo test --test docs");
    }
}
