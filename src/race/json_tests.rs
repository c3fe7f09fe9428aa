//! The scanner against `serde_json`, which is asked the same in its own words.

use std::fmt;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::json::{Malformed, ObjectScanner, Said};

fn scan<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Said, Malformed> {
    let mut scanner = ObjectScanner::default();
    pieces.into_iter().try_for_each(|piece| scanner.feed(piece))?;
    scanner.finish()
}

fn said(stream: Option<bool>, has_model: bool) -> Said {
    Said { stream, has_model }
}

#[test]
fn the_top_level_alone_counts_and_the_last_stream_of_it() {
    for (text, expected) in [
        ("{}", said(None, false)),
        (r#" { "stream" : true } "#, said(Some(true), false)),
        (r#"{"stream":false,"model":null}"#, said(Some(false), true)),
        (r#"{"stream":true,"stream":false}"#, said(Some(false), false)),
        (r#"{"stream":true,"stream":1}"#, said(None, false)),
        (r#"{"stream":"true","model":{}}"#, said(None, true)),
        (r#"{"str\u0065am":true,"\u006dodel":[]}"#, said(Some(true), true)),
        (r#"{"a":{"stream":true,"model":1},"b":["model"]}"#, said(None, false)),
        (r#"{"model":{"stream":true},"x":[{"model":"stream"},true]}"#, said(None, true)),
        (r#"{"streams":true,"strea":true,"mode":1,"models":1,"":1}"#, said(None, false)),
        (r#"{"stream\u0000":true,"\u1173tream":true,"model\n":1}"#, said(None, false)),
        (r#"{"n":[-0,0.5,1e9,1E+2,-12.30e-7,0]}"#, said(None, false)),
    ] {
        assert_eq!(scan([text.as_bytes()]), Ok(expected), "{text}");
    }
}

#[test]
fn what_is_no_object_is_malformed() {
    for text in [
        "",
        " ",
        "[]",
        "1",
        "\u{feff}{}",
        "{",
        r#"{"model":"m""#,
        r#"{"model":"m"}x"#,
        r#"{"model":"m"}{}"#,
        r#"{"model":"m",}"#,
        r#"{,"model":"m"}"#,
        r#"{"model""m"}"#,
        r#"{"model":}"#,
        "{model:1}",
        r#"{"a":[1,]}"#,
        r#"{"a":[1}"#,
        r#"{"a":{"b":1]}"#,
        r#"{"a":01}"#,
        r#"{"a":1.}"#,
        r#"{"a":.5}"#,
        r#"{"a":-}"#,
        r#"{"a":+1}"#,
        r#"{"a":1e}"#,
        r#"{"a":1e+}"#,
        r#"{"a":tru}"#,
        r#"{"a":nulll}"#,
        r#"{"a":"\x"}"#,
        r#"{"a":"\u12g4"}"#,
        "{\"a\":\"\n\"}",
        "{\"a\":\"and a control character far behind all that is read word by word, and even further \x1f\"}",
        "\x0c{}",
    ] {
        assert_eq!(scan([text.as_bytes()]), Err(Malformed), "{text}");
        assert!(serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).is_err(), "{text}");
    }
}

#[test]
fn nesting_is_followed_down_to_a_limit() {
    for (depth, is_read) in [(1, true), (127, true), (1023, true), (1024, false), (100_000, false)] {
        let text = format!(r#"{{"a":{}{},"model":"m"}}"#, "[".repeat(depth), "]".repeat(depth));
        let expected = if is_read { Ok(said(None, true)) } else { Err(Malformed) };
        assert_eq!(scan([text.as_bytes()]), expected, "{depth}");
    }
}

/// What `serde_json` reads at the top level.
struct Oracle(Said);

impl<'de> Deserialize<'de> for Oracle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Oracle;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Oracle, A::Error> {
                let mut said = Said::default();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    said.has_model |= name == "model";
                    if name == "stream" {
                        said.stream = value.get().parse().ok();
                    }
                }
                Ok(Oracle(said))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

fn space() -> impl Strategy<Value = String> {
    prop_oneof![6 => Just(String::new()), 1 => "[ \t\r\n]{1,12}"]
}

fn text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => "[a-z ]{0,9}",
        1 => "[a-zäß€😀{}:,\\[\\]]{0,90}",
        1 => select(vec!["\\n", "\\\"", "\\\\", "\\/", "\\b", "\\u0041", "\\u20ac", "\\ud83d\\ude00", "\\f\\r\\t"])
            .prop_map(str::to_owned),
    ];
    prop::collection::vec(part, 0..5).prop_map(|parts| parts.concat())
}

fn name() -> impl Strategy<Value = String> {
    let ours = vec!["model", "stream", "str\\u0065am", "\\u006Dodel", "streams", "mode", "stream\\n", "st\\/ream", ""];
    prop_oneof![3 => select(ours).prop_map(str::to_owned), 1 => text()]
}

/// Text of a value, of an object where nothing else will do.
fn value() -> impl Strategy<Value = String> {
    let words = select(vec!["true", "false", "null", "0", "-0", "12", "-3.25", "1e5", "0.1E-10", "10E+2", "[]", "{}"]);
    let leaf = prop_oneof![3 => words.prop_map(str::to_owned), 1 => text().prop_map(|text| format!("\"{text}\""))];
    leaf.prop_recursive(4, 40, 5, |inner| {
        let elements = prop::collection::vec(spaced(inner.clone()), 0..5);
        prop_oneof![elements.prop_map(|all| format!("[{}]", all.join(","))), object(inner)]
    })
}

fn spaced(inner: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    (space(), inner, space()).prop_map(|(before, inner, behind)| format!("{before}{inner}{behind}"))
}

fn object(inner: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let quoted = name().prop_map(|name| format!("\"{name}\""));
    let member = (spaced(quoted), spaced(inner)).prop_map(|(name, value)| format!("{name}:{value}"));
    prop::collection::vec(member, 0..6).prop_map(|members| format!("{{{}}}", members.join(",")))
}

#[derive(Clone, Debug)]
enum Damage {
    Set(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Cut(Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let byte = || prop_oneof![4 => select(b"{}[]:,\"\\ \n-+.eE019tfnu\x00\x1f\x7f\x80\xc3".to_vec()), 1 => any::<u8>()];
    prop_oneof![
        (any::<Index>(), byte()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        (any::<Index>(), byte()).prop_map(|(at, byte)| Damage::Insert(at, byte)),
        any::<Index>().prop_map(Damage::Remove),
        any::<Index>().prop_map(Damage::Cut),
    ]
}

fn damaged(mut bytes: Vec<u8>, damages: Vec<Damage>) -> Vec<u8> {
    for damage in damages.into_iter().take(bytes.len()) {
        match damage {
            _ if bytes.is_empty() => {}
            Damage::Set(at, byte) => *at.get_mut(&mut bytes) = byte,
            Damage::Insert(at, byte) => bytes.insert(at.index(bytes.len()), byte),
            Damage::Remove(at) => drop(bytes.remove(at.index(bytes.len()))),
            Damage::Cut(at) => bytes.truncate(at.index(bytes.len())),
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever the bytes and however they are cut: what the scanner reads is what `serde_json` reads. Of bytes that are
    /// not Unicode both judge the grammar.
    #[test]
    fn it_reads_what_serde_json_reads(
        text in spaced(object(value())),
        damages in prop_oneof![2 => Just(Vec::new()), 3 => prop::collection::vec(damage(), 1..4)],
        length in prop_oneof![1_usize..9, 1_usize..2000],
    ) {
        let bytes = damaged(text.into_bytes(), damages);
        let found = scan(bytes.chunks(length)).ok();
        match serde_json::from_slice::<Oracle>(&bytes) {
            Ok(Oracle(said)) => prop_assert_eq!(found, Some(said)),
            Err(_) if std::str::from_utf8(&bytes).is_err() || bytes.windows(2).any(|two| two == b"\\u") => {
                let is_object = bytes.trim_ascii_start().starts_with(b"{");
                let is_json = serde_json::from_slice::<IgnoredAny>(&bytes).is_ok();
                prop_assert_eq!(found.is_some(), is_object && is_json);
            }
            Err(error) => prop_assert_eq!(found, None, "{}", error),
        }
    }
}
