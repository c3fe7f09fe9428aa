//! Scripts: several commands as one, all or nothing.

use std::collections::HashSet;
use std::fmt::Write as _;

use redis::{Arg, Cmd};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use super::keys::Keys;

/// A script, ready to be called.
#[derive(Debug)]
pub(super) struct Script {
    text: String,
    /// What a server knows it by that has seen it.
    name: String,
    base: String,
}

/// The scripts of one queue. What each is told and answers stands above it, in its file.
#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) put_body: Script,
    pub(super) submit: Script,
    pub(super) claim: Script,
    pub(super) renew: Script,
    pub(super) record: Script,
    pub(super) read: Script,
    pub(super) delete: Script,
    pub(super) retry: Script,
    pub(super) list: Script,
    pub(super) counts: Script,
    pub(super) cache: Script,
    pub(super) sweep: Script,
}

impl Scripts {
    /// The scripts over these keys.
    pub(super) fn new(keys: &Keys) -> Self {
        let script = |text: &str| Script::new(keys, text);
        Self {
            put_body: script(include_str!("scripts/put_body.lua")),
            submit: script(include_str!("scripts/submit.lua")),
            claim: script(include_str!("scripts/claim.lua")),
            renew: script(include_str!("scripts/renew.lua")),
            record: script(include_str!("scripts/record.lua")),
            read: script(include_str!("scripts/read.lua")),
            delete: script(include_str!("scripts/delete.lua")),
            retry: script(include_str!("scripts/retry.lua")),
            list: script(include_str!("scripts/list.lua")),
            counts: script(include_str!("scripts/counts.lua")),
            cache: script(include_str!("scripts/cache.lua")),
            sweep: script(include_str!("scripts/sweep.lua")),
        }
    }
}

impl Script {
    fn new(keys: &Keys, text: &str) -> Self {
        let text = assembled(keys, text);
        // The server's own name for a script; nothing is kept secret by it.
        let name = hexadecimal(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()).as_ref());
        Self { text, name, base: keys.base().to_owned() }
    }

    /// The call by name, to which arguments are added.
    pub(super) fn call(&self) -> Cmd {
        let mut call = redis::cmd("EVALSHA");
        call.arg(&self.name).arg(1).arg(&self.base);
        call
    }

    /// The same call with the whole text, for a server that does not know the name.
    pub(super) fn in_full(&self, call: &Cmd) -> Cmd {
        let mut full = redis::cmd("EVAL");
        full.arg(&self.text);
        for arg in call.args_iter().skip(2) {
            if let Arg::Simple(bytes) = arg {
                full.arg(bytes);
            }
        }
        full
    }
}

/// A script as it is sent: behind the rules that it uses, with all names filled in. A server creates whatever functions
/// stand there anew with every call, and names that are constants cost it nothing.
fn assembled(keys: &Keys, text: &str) -> String {
    let rules: Vec<_> = include_str!("scripts/rules.lua").split("\n\n").filter_map(rule).collect();
    let (mut parts, mut used) = (vec![text], words(text));
    for (name, rule) in rules.into_iter().rev() {
        if used.contains(name) {
            used.extend(words(rule));
            parts.push(rule);
        }
    }
    let mut lua = String::from("local call = redis.call\n");
    for line in parts.iter().rev().flat_map(|part| part.lines()).filter(|line| !line.starts_with("--")) {
        for (number, part) in line.split('\'').enumerate() {
            let is_text = number % 2 == 1;
            if is_text {
                let _ = write!(lua, "'{part}'");
            } else {
                fill_in(keys, part, &mut lua);
            }
        }
        lua.push('\n');
    }
    lua
}

/// A function of the rules, and its name.
fn rule(text: &str) -> Option<(&str, &str)> {
    let (_, name) = text.split_once("local function ")?;
    Some((name.split_once('(')?.0, text))
}

fn words(text: &str) -> HashSet<&str> {
    text.split(|c: char| !is_of_word(c)).collect()
}

fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Code, without texts, in which names become what they stand for.
fn fill_in(keys: &Keys, code: &str, lua: &mut String) {
    let mut rest = code;
    while !rest.is_empty() {
        let end = rest.find(|c| !is_of_word(c)).unwrap_or(rest.len()).max(1);
        // What is between words is one byte, or not ASCII, which stands in comments only.
        let Some((word, behind)) = rest.split_at_checked(end) else { return };
        match keys.in_lua(word) {
            Some(text) => lua.push_str(&text),
            None => lua.push_str(word),
        }
        rest = behind;
    }
}

/// Bytes in lower-case digits.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digits = |byte: &u8| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
    bytes.iter().flat_map(digits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_in_full_has_the_arguments_of_the_call_by_name() {
        let keys = Keys::new("p:", "q").unwrap();
        let scripts = Scripts::new(&keys);
        let mut call = scripts.sweep.call();
        call.arg("a").arg(&b"\xff"[..]);
        let args = |cmd: &Cmd| -> Vec<Vec<u8>> {
            let simple = |arg: Arg<&[u8]>| if let Arg::Simple(bytes) = arg { Some(bytes.to_vec()) } else { None };
            cmd.args_iter().filter_map(simple).collect()
        };
        let full = scripts.sweep.in_full(&call);
        assert_eq!(args(&full)[..2], [b"EVAL".to_vec(), scripts.sweep.text.clone().into_bytes()]);
        assert_eq!(args(&full)[2..], args(&call)[2..]);
        assert_eq!(args(&full)[2..], [b"1".to_vec(), b"p:{q}:".to_vec(), b"a".to_vec(), b"\xff".to_vec()]);
    }

    #[test]
    fn a_digest_is_written_as_redis_writes_it() {
        assert_eq!(
            hexadecimal(digest(&SHA1_FOR_LEGACY_USE_ONLY, b"return 1").as_ref()),
            "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"
        );
    }
}
