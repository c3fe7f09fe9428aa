//! Documents that are made from the table of variables agree with it. `UPDATE=1 cargo test --test docs` writes them.

#![allow(clippy::panic, clippy::unwrap_used, reason = "this is how tests fail, helpers of tests too")]

use std::path::PathBuf;

use forebay::config;

const BEGIN: &str = "<!-- variables -->\n";
const END: &str = "<!-- /variables -->";

#[test]
fn the_example_environment_is_what_the_table_says() {
    agrees(".env.example", |_| config::env_example());
}

#[test]
fn the_variables_in_the_readme_are_what_the_table_says() {
    agrees("README.md", |readme| {
        let (before, rest) = readme.split_once(BEGIN).expect("README.md has no line <!-- variables -->");
        let (_, after) = rest.split_once(END).expect("README.md has no <!-- /variables --> after <!-- variables -->");
        format!("{before}{BEGIN}\n{}\n{END}{after}", config::readme_table())
    });
}

fn agrees(name: &str, expected: impl Fn(&str) -> String) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name);
    let update = std::env::var_os("UPDATE").is_some_and(|value| value == "1");
    let on_disk = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(_) if update => format!("{BEGIN}{END}\n"),
        Err(error) => panic!("{name} cannot be read: {error}; write it with: UPDATE=1 cargo test --test docs"),
    };
    let expected = expected(&on_disk);
    if update {
        std::fs::write(&path, &expected).unwrap();
    } else {
        assert!(on_disk == expected, "{name} is out of date; write it with: UPDATE=1 cargo test --test docs");
    }
}
