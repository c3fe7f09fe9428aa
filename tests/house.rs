//! The rules of the house, kept by reading every source file under `src`.
//!
//! Sources are read as tokens: what stands in comments and strings is no code, and macros cannot hide a path. Each rule
//! is shown below to refuse what it should: a test that cannot fail is worse than none.

#![allow(clippy::unwrap_used, clippy::panic)] // everything here is a test, the functions between them too

use std::fs;
use std::path::Path;

#[path = "house/names.rs"]
mod names;

use names::Named;

/// Rooms by floor, the lowest first. A room names only itself and rooms on lower floors, so no circle is possible; on top
/// of them all are `lib.rs` and `main.rs`.
///
/// The table was drawn when the house was designed; since then this is the one place where it stands. A new room is put
/// on the lowest floor that is above everything it names.
const FLOORS: [&[&str]; 12] = [
    &["ids", "time", "size", "secret", "gather", "hearing", "trust"],
    &["shutdown", "telemetry", "stats", "headers", "dialect", "job", "answer"],
    &["body", "store"],
    &["upstream", "recording"],
    &["race", "cache"],
    &["routes"],
    &["queue", "gateway"],
    &["relay"],
    &["edge", "admin"],
    &["config"],
    &["app", "simulation"],
    &["cli"],
];

/// Rooms and files without I/O, clock or runtime. (`time` is none of them: it holds a timer.)
const PURE: &[&str] = &[
    "ids",
    "size",
    "secret",
    "answer",
    "dialect",
    "headers",
    "job",
    "cache/entry",
    "cache/key",
    "cache/rules",
    "cache/tape",
    "race/json",
    "race/plan",
    "race/policy",
    "race/signals",
    "race/wording",
    "routes/matching",
    "stats/outlook",
    "edge/validity",
    "admin/guard",
    "admin/jobs/ask",
    "admin/metrics/page",
    "admin/metrics/table",
];

/// A room or file, and all that is below it. The empty one is everything.
const EVERYWHERE: &[&str] = &[""];

const MAX_LINES: usize = 400;

/// Something that may be named, or done, only in some places.
struct Rule {
    refuses: fn(&Named) -> bool,
    why: &'static str,
    within: &'static [&'static str],
    except: &'static [&'static str],
    /// Whether code under `#[cfg(test)]` may do it all the same.
    tests_may: bool,
}

const RULES: &[Rule] = &[
    Rule {
        refuses: |n| {
            n.is_of_crate(|c| matches!(c, "aws_lc_rs" | "aws_lc_sys" | "openssl" | "openssl_sys" | "native_tls"))
        },
        why: "is a second TLS provider: there is one, ring",
        within: EVERYWHERE,
        except: &[],
        tests_may: false,
    },
    Rule {
        refuses: |n| n.has(&["tokio", "spawn"]) || n.has(&["task", "spawn"]) || n.has(&["spawn_local"]),
        why: "is a task that no shutdown waits for: spawn with shutdown::Tasks",
        within: EVERYWHERE,
        except: &["shutdown"],
        tests_may: true,
    },
    Rule {
        refuses: |n| {
            n.is_of_crate(|c| c == "tokio" || c.starts_with("tokio_") || c == "hyper" || c.starts_with("hyper_"))
        },
        why: "drives I/O, and this file is pure",
        within: PURE,
        except: &[],
        tests_may: false,
    },
    Rule {
        refuses: |n| n.has(&["Instant", "now"]) || n.has(&["SystemTime"]),
        why: "reads the clock, and this file is pure: time is an input",
        within: PURE,
        except: &[],
        tests_may: false,
    },
    Rule {
        // In `store/mod.rs` the name is that of our own module.
        refuses: |n| n.is_of_crate(|c| c == "redis"),
        why: "is named under store/redis only",
        within: EVERYWHERE,
        except: &["store/redis", "store/mod", "store/open"],
        tests_may: false,
    },
    Rule {
        refuses: |n| n.is_of_crate(|c| c == "rusqlite" || c == "libsqlite3_sys"),
        why: "is named under store/embedded only",
        within: EVERYWHERE,
        except: &["store/embedded"],
        tests_may: false,
    },
    Rule {
        refuses: |n| {
            ["var", "var_os", "vars", "vars_os", "set_var", "remove_var", "*"].iter().any(|v| n.has(&["env", v]))
        },
        why: "is the environment, which config and cli alone know, and the simulation for its seeds",
        within: EVERYWHERE,
        except: &["config", "cli", "simulation/seeds"],
        tests_may: false,
    },
    Rule {
        refuses: |n| n.is_macro(&["print", "println", "eprint", "eprintln"]),
        why: "writes to the terminal, which cli and main alone may do: log it",
        within: EVERYWHERE,
        except: &["cli", "main"],
        tests_may: false,
    },
    Rule {
        refuses: |n| n.is_macro(&["todo", "unimplemented"]),
        why: "is not finished",
        within: EVERYWHERE,
        except: &[],
        tests_may: false,
    },
];

#[test]
fn every_source_file_keeps_the_rules_of_the_house() {
    let mut files = Vec::new();
    collect(&root().join("src"), "", &mut files);
    assert!(files.iter().any(|(file, _)| file == "lib.rs"), "the sources were not found");
    let offences: Vec<String> = files.iter().flat_map(|(file, text)| offences(file, text)).collect();
    assert!(offences.is_empty(), "\n{}\n", offences.join("\n"));
}

#[test]
fn the_simulation_is_no_part_of_the_program() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    assert!(lib.contains("#[cfg(test)]\nmod simulation;\n"), "it reads the environment and panics: for tests only");
}

#[test]
fn what_people_look_for_at_the_top_is_there() {
    let wanted = [".env.example", "README.md", "CHANGELOG.md", "LICENSE", "deny.toml"];
    let missing: Vec<_> = wanted.into_iter().filter(|name| !root().join(name).is_file()).collect();
    assert!(missing.is_empty(), "missing at the top level: {}", missing.join(", "));
}

#[test]
fn nothing_else_lies_at_the_top() {
    let known = "Cargo.toml Cargo.lock clippy.toml rustfmt.toml deny.toml src tests fuzz benches deploy docs test Dockerfile \
                 compose.yaml README.md CHANGELOG.md LICENSE clients";
    let ignored = fs::read_to_string(root().join(".gitignore")).unwrap();
    let ignored: Vec<_> = ignored.lines().map(|line| line.trim_matches('/')).collect();
    let stray: Vec<_> = fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.') && !ignored.contains(&name.as_str()))
        .filter(|name| !known.split(' ').any(|k| k == name))
        .collect();
    assert!(stray.is_empty(), "at the top level, but not part of the house: {}", stray.join(", "));
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every `.rs` file below a folder: its path relative to `src`, and its text.
fn collect(folder: &Path, prefix: &str, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), &format!("{prefix}{name}/"), files);
        } else if Path::new(&name).extension().is_some_and(|e| e == "rs") {
            files.push((format!("{prefix}{name}"), fs::read_to_string(entry.path()).unwrap()));
        }
    }
}

/// What is wrong with a file, one line each. `file` is relative to `src`.
fn offences(file: &str, text: &str) -> Vec<String> {
    let place = file.trim_end_matches(".rs");
    let mut module: Vec<String> = place.split('/').map(str::to_owned).collect();
    if module.len() > 1 && module.last().is_some_and(|last| last == "mod") {
        module.pop();
    }
    let mut found = Vec::new();
    let lines = text.lines().count();
    if lines > MAX_LINES && file != "config/declare.rs" {
        found.push(format!(
            "src/{file}: {lines} lines, its tests included; over {MAX_LINES} the idea was two: split it"
        ));
    }
    if !text.starts_with("//!") {
        found.push(format!("src/{file}: does not start with //! and what it is about"));
    }
    for word in place.split(['/', '_']) {
        if ["util", "utils", "common", "helper", "helpers", "manager"].contains(&word) {
            found.push(format!("src/{file}: \"{word}\" says nothing: name the concept"));
        }
    }
    let is_top = matches!(place, "lib" | "main");
    if is_top {
        module.clear();
    } else if floor(&module[0]).is_none() {
        found.push(format!(
            "src/{file}: the room {} is on no floor: put it on one, in FLOORS of tests/house.rs",
            module[0]
        ));
        return found;
    }
    for name in &names::names(text, &module).unwrap_or_else(|error| panic!("src/{file}: {error}")) {
        let at = format!("src/{file}:{}: {}", name.line, name.path.join("::"));
        if !is_top && let Some(reason) = climbs(&module[0], name) {
            found.push(format!("{at} {reason}"));
        }
        for rule in RULES {
            let applies =
                lies_in(place, rule.within) && !lies_in(place, rule.except) && !(rule.tests_may && name.in_test);
            if applies && (rule.refuses)(name) {
                found.push(format!("{at} {}", rule.why));
            }
        }
    }
    found
}

/// Why a room may not name this, if it may not.
fn climbs(own: &str, name: &Named) -> Option<String> {
    let target = name.within_crate()?;
    let Some(target) = target.first().filter(|room| *room != "*") else {
        return Some("is the whole house: name a room".to_owned());
    };
    let (Some(from), Some(to)) = (floor(own), floor(target)) else {
        return Some(format!("names {target}, which is no room"));
    };
    (to >= from && target != own)
        .then(|| format!("names {target} (floor {to}), but {own} is on floor {from}: only lower floors may be named"))
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

fn lies_in(place: &str, places: &[&str]) -> bool {
    places
        .iter()
        .any(|p| p.is_empty() || place.strip_prefix(p).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

#[test]
fn what_breaks_a_rule_is_refused() {
    for (file, code, reason) in [
        // Floors: upwards, sideways, and by every spelling of a path.
        (
            "race/run.rs",
            "use crate::edge::EdgeSettings;",
            "src/race/run.rs:2: crate::edge::EdgeSettings names edge (floor 8)",
        ),
        ("edge/mod.rs", "use crate::admin;", "names admin"),
        ("race/run.rs", "use crate::{ids::AttemptNo, upstream::{self, pool::{Pool as P}}, queue::*};", "names queue"),
        ("race/run.rs", "use crate::{answer, app};", "names app"),
        ("race/run.rs", "fn f() -> crate::edge::X { loop {} }", "names edge"),
        ("race/run.rs", "fn f() { vec![g(<crate::relay::X as Y>::z())]; }", "names relay"),
        ("race/run.rs", "#[cfg(test)] mod tests { fn f() { crate::config::load() } }", "names config"),
        ("race/run.rs", "macro_rules! m { () => { $crate::edge::x() } }", "names edge"),
        ("race/run.rs", "extern crate self as forebay; use forebay::edge::X;", "names edge"),
        ("race/mod.rs", "use super::edge::X;", "names edge"),
        ("race/run.rs", "fn f() { super::super::edge::x() }", "names edge"),
        ("race/run.rs", "fn f() { self::super::super::edge::x() }", "names edge"),
        ("size.rs", "mod inner { mod tests { use super::super::super::edge::X; } }", "names edge"),
        ("race/mod.rs", "use super::*;", "whole house"),
        ("race/run.rs", "use crate as house;", "whole house"),
        ("race/run.rs", "use crate::{self, ids};", "whole house"),
        ("race/run.rs", "use crate::lobby::X;", "no room"),
        ("lobby/mod.rs", "", "put it on one"),
        ("lobby.rs", "", "put it on one"),
        // What is named.
        ("main.rs", "fn f() { openssl::init() }", "TLS"),
        ("upstream/connect.rs", "use rustls::crypto::{self}; use aws_lc_rs as ring;", "TLS"),
        ("upstream/connect.rs", "extern crate native_tls;", "TLS"),
        ("answer/mod.rs", "fn f(x: ::hyper::Error) {}", "pure"),
        ("dialect/codex.rs", "use hyper_util::rt::TokioIo;", "pure"),
        ("headers/hop.rs", "#[cfg(test)] mod tests { #[tokio::test] async fn f() {} }", "pure"),
        ("race/plan.rs", "use tokio;", "pure"),
        ("race/policy.rs", "use std::time::Instant; fn f() { Instant::now(); }", "reads the clock"),
        ("job/record.rs", "use std::time::{Duration, SystemTime};", "reads the clock"),
        ("queue/lease.rs", "fn f(c: redis::Client) {}", "store/redis"),
        ("store/embedded.rs", "use redis::Client;", "store/redis"),
        ("store/mod.rs", "use rusqlite::Connection;", "store/embedded"),
        ("store/suite/limits.rs", "fn f(sql: rusqlite::Connection) {}", "store/embedded"),
        // What is done.
        ("edge/listen.rs", "fn f() { tokio::spawn(g()); }", "no shutdown waits"),
        ("edge/listen.rs", "use tokio::{net, task::{self, spawn}};", "no shutdown waits"),
        ("edge/listen.rs", "fn f() { task::spawn(g()); }", "no shutdown waits"),
        ("edge/listen.rs", "fn f(set: LocalSet) { set.spawn_local(g()); }", "no shutdown waits"),
        ("edge/listen.rs", "#[cfg(test)] mod tests {} fn f() { tokio::spawn(g()); }", "no shutdown waits"),
        ("edge/listen.rs", "#[cfg(test)] use a::b; fn f() { tokio::spawn(g()); }", "no shutdown waits"),
        ("edge/listen.rs", "fn f() { std::env::var(\"X\"); }", "environment"),
        ("app.rs", "use std::env::{self, vars_os};", "environment"),
        ("simulation/world.rs", "fn f() { std::env::var(\"X\"); }", "environment"),
        ("app.rs", "fn f() { if a != b { println!(\"x\") } }", "terminal"),
        ("app.rs", "fn f() { std::eprintln! { \"x\" } }", "terminal"),
        ("main.rs", "fn f() { todo!() }", "not finished"),
        ("size.rs", "fn f() { unimplemented!(\"later\") }", "not finished"),
        // Files.
        ("race/utils.rs", "", "says nothing"),
        ("edge/common/mod.rs", "", "says nothing"),
        ("queue/lease_manager.rs", "", "says nothing"),
    ] {
        let found = offences(file, &format!("//! About.\n{code}\n"));
        assert!(
            found.iter().any(|offence| offence.contains(reason)),
            "{file}: {code}\nshould be: {reason}\nis: {found:#?}"
        );
    }
    assert!(offences("size.rs", "// About.\n")[0].contains("does not start"));
    let long = format!("//! About.\n{}", "\n".repeat(MAX_LINES));
    assert!(offences("size.rs", &long)[0].contains("401 lines"));
    assert!(offences("config/parse.rs", &long)[0].contains("401 lines"));
}

#[test]
fn what_keeps_the_rules_passes() {
    for (file, code) in [
        ("race/run.rs", "use crate::{ids::AttemptNo, race::plan::Plan, upstream}; use super::policy::*;"),
        ("race/run.rs", "mod tests { use super::*; use super::super::plan; }"),
        ("size.rs", "mod tests { use super::*; }"),
        ("race/run.rs", "pub(crate) fn f() {} pub(super) fn g(self) -> impl Fn() + use<> { self.crates }"),
        (
            "race/run.rs",
            "/// [`crate::edge::X`] \nfn f() { g(\"crate::edge\", r#\"tokio::spawn(\"x\")\"#, 'a', b'\\''); } // crate::edge",
        ),
        ("race/run.rs", "fn f<'edge>(x: &'edge str) { Human { edge: crate::time::Offset::ZERO }; }"),
        ("lib.rs", "pub mod edge; pub use edge::EdgeSettings;"),
        ("main.rs", "fn main() { eprintln!(\"{}\", forebay::cli::run()); }"),
        ("shutdown.rs", "fn f() { tokio::spawn(g()); }"),
        ("upstream/pool.rs", "#[cfg(test)] #[allow(x)] mod tests { fn f() { tokio::spawn(g()); } }"),
        ("upstream/tests.rs", "fn f() { tokio::spawn(g()); }"),
        ("upstream/pool_tests.rs", "fn f() { tokio::spawn(g()); }"),
        ("edge/listen.rs", "fn f() { std::thread::spawn(g); shutdown::Tasks::spawn(g()); std::env::args(); }"),
        ("config/raw.rs", "fn f() { std::env::vars_os(); let redis = 1; }"),
        ("store/redis/client.rs", "use redis::Client;"),
        ("store/mod.rs", "mod redis; pub use redis::RedisStore;"),
        ("config/mod.rs", "fn f(x: X) { x.redis.is_some(); crate::store::redis::f(); }"),
        ("cli/check.rs", "fn f() { println!(\"x\"); std::env::var(\"X\"); }"),
        ("simulation/seeds.rs", "fn f() { std::env::var(\"X\"); }"),
        ("time.rs", "use tokio::time::Instant; fn f() { Instant::now(); }"),
        ("race/run.rs", "fn f() { hyper::f(); Instant::now(); if !print != (todo) {} }"),
    ] {
        let found = offences(file, &format!("//! About.\n{code}\n"));
        assert!(found.is_empty(), "{file}: {code}\nis refused: {found:#?}");
    }
    assert!(offences("config/declare.rs", &format!("//! About.\n{}", "\n".repeat(MAX_LINES))).is_empty());
}
