//! A page in Prometheus' text format, version 0.0.4, read as strictly as its guide describes it.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Client, get};
use crate::upstream::PATIENCE;

/// What was on the page.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) text: String,
    pub(super) families: BTreeMap<String, Family>,
}

/// One metric.
#[derive(Debug, Default)]
pub(super) struct Family {
    pub(super) help: String,
    pub(super) kind: String,
    pub(super) samples: Vec<Sample>,
}

/// One line.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) name: String,
    pub(super) labels: Vec<(String, String)>,
    pub(super) value: f64,
}

impl Page {
    /// Asks for it, and reads it.
    #[track_caller]
    pub(super) fn scrape(admin: u16) -> Self {
        let response = Client::connect(admin).ask(&get("/metrics").host("localhost"));
        assert_eq!(response.status, 200, "{response:?}");
        assert_eq!(response.get("content-type").as_deref(), Some("text/plain; version=0.0.4; charset=utf-8"));
        Self::read(&response.text())
    }

    /// Asks for it until it is so.
    #[track_caller]
    pub(super) fn wait(admin: u16, what: &str, is: impl Fn(&Self) -> bool) -> Self {
        let end = Instant::now() + PATIENCE;
        loop {
            let page = Self::scrape(admin);
            if is(&page) {
                return page;
            }
            assert!(Instant::now() < end, "waited in vain for {what}:\n{}", page.text);
            thread::sleep(Duration::from_millis(10));
        }
    }

    #[track_caller]
    pub(super) fn read(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line ends as well");
        let mut page = Self { text: text.to_owned(), ..Self::default() };
        let mut current = String::new();
        for line in text.lines() {
            if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
                let family = Family { help: help.to_owned(), ..Family::default() };
                assert!(page.families.insert(name.to_owned(), family).is_none(), "{name} appears twice");
                name.clone_into(&mut current);
            } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
                assert_eq!(name, current, "TYPE follows HELP");
                kind.clone_into(&mut page.families.get_mut(name).unwrap().kind);
            } else {
                let sample = Sample::read(line);
                let family = page.families.get_mut(&current).unwrap();
                let suffixes: &[&str] = if family.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
                let suffix = sample.name.strip_prefix(&current);
                assert!(suffix.is_some_and(|suffix| suffixes.contains(&suffix)), "{line} stands under {current}");
                family.samples.push(sample);
            }
        }
        page
    }

    /// The sum of all series of this name with these labels: `name`, `name{outcome=2xx}`. All are whole numbers.
    #[track_caller]
    pub(super) fn count(&self, series: &str) -> u32 {
        let sum = self.sum(series);
        let text = sum.to_string();
        text.parse().unwrap_or_else(|_| panic!("{series} is {sum}:\n{}", self.text))
    }

    /// The sum of all series of this name with these labels.
    #[track_caller]
    pub(super) fn sum(&self, series: &str) -> f64 {
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let wanted: Vec<_> =
            labels.trim_end_matches('}').split(',').filter_map(|label| label.split_once('=')).collect();
        let samples = self.families.values().flat_map(|family| &family.samples).filter(|sample| sample.name == name);
        let has = |sample: &Sample| {
            wanted.iter().all(|(name, value)| sample.labels.iter().any(|(n, v)| n == name && v == value))
        };
        samples.filter(|sample| has(sample)).fold(0.0, |sum, sample| sum + sample.value)
    }
}

impl Sample {
    #[track_caller]
    fn read(line: &str) -> Self {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line:?}"));
        let value = value.parse().unwrap_or_else(|_| panic!("no number: {line:?}"));
        let Some((name, rest)) = series.split_once('{') else {
            return Self { name: series.to_owned(), labels: Vec::new(), value };
        };
        let mut rest = rest.strip_suffix('}').unwrap();
        let mut labels = Vec::new();
        while !rest.is_empty() {
            let (label, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("no label: {line:?}"));
            let mut chars = after.char_indices();
            let mut text = String::new();
            let end = loop {
                match chars.next().unwrap_or_else(|| panic!("an open label: {line:?}")) {
                    (at, '"') => break at,
                    (_, '\\') => match chars.next().unwrap().1 {
                        'n' => text.push('\n'),
                        escaped @ ('"' | '\\') => text.push(escaped),
                        other => panic!("\\{other} is no escape: {line:?}"),
                    },
                    (_, char) => text.push(char),
                }
            };
            labels.push((label.to_owned(), text));
            rest = after[end + 1..].strip_prefix(',').unwrap_or(&after[end + 1..]);
        }
        Self { name: name.to_owned(), labels, value }
    }
}

#[test]
fn a_page_is_read_and_what_is_none_is_refused() {
    let text =
        "# HELP a_total b\n# TYPE a_total counter\na_total{x=\"1\",y=\"q\\\"\\\\\\n,\"} 2\na_total{x=\"2\",y=\"\"} 3\n";
    let page = Page::read(text);
    assert_eq!((page.count("a_total"), page.count("a_total{x=2}"), page.count("a_total{x=3}")), (5, 3, 0));
    assert_eq!(page.families["a_total"].samples[0].labels[1].1, "q\"\\\n,");
    for wrong in [
        "a_total 1\n",
        "# HELP a b\na 1",
        "# HELP a b\n# TYPE b counter\n",
        "# HELP a b\n# TYPE a counter\nb 1\n",
        "# HELP a b\n# TYPE a counter\na_count 1\n",
        "# HELP a b\n# TYPE a counter\na{x=\"1} 1\n",
        "# HELP a b\n# TYPE a counter\na x\n",
        "# HELP a b\n# TYPE a counter\na 1\n# HELP a b\n",
    ] {
        assert!(std::panic::catch_unwind(|| Page::read(wrong)).is_err(), "{wrong:?}");
    }
}
