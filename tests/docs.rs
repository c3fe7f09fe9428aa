//! Documents that are made from the tables of variables and of metrics agree with them: `UPDATE=1 cargo test --test docs`
//! writes them. So do the files for those who run forebay, which people wrote.

#![allow(clippy::panic, clippy::unwrap_used, reason = "this is how tests fail, helpers of tests too")]

use std::path::PathBuf;

use forebay::{admin, config};
use yaml_rust2::{Yaml, YamlLoader};

/// What is run from.
const DEPLOYMENT: [&str; 4] =
    ["Dockerfile", "compose.yaml", "deploy/forebay.service", "deploy/kubernetes-sidecar.yaml"];
/// Names in those that are not forebay's: of builds, of compose, of clients, of the system.
const OTHERS: [&str; 16] = [
    "AF_INET",
    "AF_INET6",
    "AF_NETLINK",
    "AF_UNIX",
    "CAP_NET_BIND_SERVICE",
    "CARGO_HOME",
    "CARGO_REGISTRY",
    "COMPOSE_PROFILES",
    "FOREBAY_PORT",
    "LISTEN_SERVICE_HOST",
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "PROXY_PORT",
    "REDIS_IMAGE",
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
fn jobs_outlive_the_container_and_the_service_or_there_are_none() {
    for (name, line) in [
        ("Dockerfile", "COPY --from=build --chown=65532:65532 --chmod=700 /data /data\n"),
        ("Dockerfile", " DATA_DIR=/data\n"),
        ("Dockerfile", "VOLUME [\"/data\"]\n"),
        ("Dockerfile", "USER 65532:65532\n"),
        (
            "deploy/forebay.service",
            "StateDirectory=forebay\nStateDirectoryMode=0700\nEnvironment=DATA_DIR=%S/forebay\n",
        ),
        ("deploy/kubernetes-sidecar.yaml", "- name: STORE\n              value: \"off\"\n"),
    ] {
        assert!(read(name).contains(line), "{name} does not contain {line:?}");
    }
    let compose = yaml("compose.yaml");
    let forebay = &compose["services"]["forebay"];
    assert_eq!(forebay["environment"]["DATA_DIR"].as_str(), Some("/data"));
    assert_eq!(strings(&forebay["volumes"]), ["forebay-data:/data"]);
    assert_eq!(forebay["read_only"].as_bool(), Some(true), "what is written anywhere else is an error, and seen");
    for volume in ["forebay-data", "redis-data"] {
        assert!(!compose["volumes"][volume].is_badvalue(), "{volume} is declared");
    }
}

#[test]
fn compose_has_a_redis_for_who_asks_for_it_that_loses_no_job() {
    let text = read("compose.yaml");
    let compose = yaml("compose.yaml");
    let (forebay, redis) = (&compose["services"]["forebay"], &compose["services"]["redis"]);
    assert_eq!(strings(&redis["profiles"]), ["redis"]);
    assert!(redis["ports"].is_badvalue(), "there is no password: nobody outside may reach it");
    let command = strings(&redis["command"]);
    for (option, value) in [("--appendonly", "yes"), ("--appendfsync", "always"), ("--maxmemory-policy", "noeviction")]
    {
        assert!(command.windows(2).any(|pair| pair == [option, value]), "{option} {value} is not in {command:?}");
    }
    assert_eq!(strings(&redis["volumes"]), ["redis-data:/data"]);
    // From the shell or .env, as the comment at the top says; the service has no other name.
    assert!(!forebay["environment"]["REDIS_URL"].is_badvalue());
    assert!(text.contains("REDIS_URL=redis://redis:6379 docker compose --profile redis up"));
    // It ends before Redis does, and starts where there is none.
    assert_eq!(forebay["depends_on"]["redis"]["required"].as_bool(), Some(false));
}

fn yaml(name: &str) -> Yaml {
    YamlLoader::load_from_str(&read(name)).unwrap_or_else(|error| panic!("{name}: {error}")).remove(0)
}

fn strings(list: &Yaml) -> Vec<&str> {
    list.as_vec().into_iter().flatten().map(|item| item.as_str().unwrap()).collect()
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
fn every_link_in_the_readme_leads_somewhere() {
    let readme = read("README.md");
    // What stands between fences is no Markdown.
    let prose: Vec<&str> = readme.split("```").step_by(2).flat_map(str::lines).collect();
    let anchors = anchors(prose.iter().filter(|line| line.starts_with('#')));
    let links = prose.iter().flat_map(|line| line.split("](").skip(1)).filter_map(|rest| rest.split(')').next());
    let is_lost = |link: &&str| match link.strip_prefix('#') {
        Some(anchor) => !anchors.iter().any(|known| known == anchor),
        None => !link.starts_with("https://") && !root().join(link).is_file(),
    };
    let lost: Vec<_> = links.filter(is_lost).collect();
    assert!(lost.is_empty(), "README.md links to {lost:?}");
}

/// The anchors of headings: their words in lower case with `-` for blanks, and numbers where they are there already.
fn anchors<'a>(headings: impl Iterator<Item = &'a &'a str>) -> Vec<String> {
    let mut known: Vec<String> = Vec::new();
    for heading in headings {
        let words = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        let word: String = words.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect();
        let free = (0..).map(|n| if n == 0 { word.clone() } else { format!("{word}-{n}") });
        let anchor = free.into_iter().find(|anchor| !known.contains(anchor)).unwrap();
        known.push(anchor);
    }
    known
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

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    let path = root().join(name);
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{name} cannot be read: {error}"))
}

fn agrees(name: &str, expected: impl Fn(&str) -> String) {
    let path = root().join(name);
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
